//! Every key, once: its name, where it stands, its default, what it means, and how its value gets into the configuration.
//!
//! Reading, the search for unknown and missing keys, and the tests of `mailstore.ini` all follow these tables. A default is
//! text that goes through the same parser as a value of the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::addresses;
use super::values;
use super::{Follow, ImapFolders, Keep, Kind, OnArchiveFailure, Proxy, Shared, TlsMode};

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub name: &'static str,
    pub place: Place,
    pub default: Fallback,
    /// What it means, and what can be written, in one line.
    pub doc: &'static str,
}

/// The sections that a key can stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `[mailstore]`.
    Shared,
    /// Every proxy.
    Proxy,
    /// Only smtp proxies.
    Smtp,
    /// Only imap proxies.
    Imap,
}

/// What holds where the key is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value.
    Value(&'static str),
    /// This value; a key with nothing behind `=` is something else.
    ValueOrEmpty(&'static str),
    /// Nothing, as with nothing behind `=`; this word says what that means.
    Absent(&'static str),
    /// It has to be given.
    Required,
    /// It has to be given unless `listen_tls` is `none`.
    RequiredWithTls,
}

/// All keys, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static About> {
    SHARED.iter().map(|key| &key.about).chain(PROXY.iter().map(|key| &key.about))
}

/// A key of a section that becomes a `T`. Relative paths start at the folder given.
pub(super) struct Key<T: 'static> {
    pub(super) about: About,
    pub(super) set: fn(&mut T, &str, &Path) -> Result<(), String>,
}

/// The default of `skip_folders`: while it stands, IMAP's SPECIAL-USE attributes count as well.
const SKIP_FOLDERS: &str = "Drafts, Junk, Spam, Trash";

const ONE_SECOND: Duration = Duration::from_secs(1);

const TLS_MODES: [(&str, TlsMode); 3] =
    [("none", TlsMode::None), ("starttls", TlsMode::StartTls), ("implicit", TlsMode::Implicit)];

/// One row of a table; `$set` puts the parsed value where it belongs.
macro_rules! key {
    ($place:ident $name:literal, $default:expr, $doc:literal, $set:expr) => {
        Key { about: About { name: $name, place: Place::$place, default: $default, doc: $doc }, set: $set }
    };
}

use Fallback::{Absent, Required, RequiredWithTls, Value, ValueOrEmpty};

/// `[mailstore]`.
pub(super) const SHARED: &[Key<Shared>] = &[
    key!(Shared "spool", Value("mailSpool"), "The root of the Maildirs: a folder.", |to, text, base| {
        put(&mut to.spool, values::path(text, base))
    }),
    key!(
        Shared "maildir", Value("%d/%n"),
        "One Maildir for each mailbox owner below the root: %u is user@domain, %n the user, %d the domain.",
        |to, text, _| put(&mut to.maildir, values::maildir_template(text))
    ),
    key!(
        Shared "default_domain", Absent("none"),
        "The domain of an owner whose login names none; without it such a login goes to the domain localhost.",
        |to, text, _| put(&mut to.default_domain, addresses::domain(text))
    ),
    key!(
        Shared "sent_folder", ValueOrEmpty("Sent"),
        "The folder of the owner's Maildir that outgoing mail goes to; empty: the inbox.",
        |to, text, _| put(&mut to.sent_folder, values::folder(text))
    ),
    key!(
        Shared "skip_folders", ValueOrEmpty(SKIP_FOLDERS),
        "IMAP folders whose messages are not kept, with commas; empty: all are kept.",
        |to, text, _| {
            let names = values::list(text)?;
            to.skip_special_use = values::list(SKIP_FOLDERS).as_ref() == Ok(&names);
            to.skip_folders = names.into_iter().map(str::to_owned).collect();
            Ok(())
        }
    ),
    key!(
        Shared "imap_folders", Value("mirror"),
        "mirror: a message of the IMAP folder A/B goes to the Maildir++ folder .A.B; flat: all go to the inbox.",
        |to, text, _| {
            put(&mut to.imap_folders, values::word(text, &[("mirror", ImapFolders::Mirror), ("flat", ImapFolders::Flat)]))
        }
    ),
    key!(
        Shared "on_archive_failure", Value("refuse"),
        "refuse: no message passes that could not be kept; pass: mail flows on, the failure is logged and counted.",
        |to, text, _| {
            let words = [("refuse", OnArchiveFailure::Refuse), ("pass", OnArchiveFailure::Pass)];
            put(&mut to.on_archive_failure, values::word(text, &words))
        }
    ),
    key!(
        Shared "sync", Value("yes"),
        "yes or no; no leaves flushing to the operating system: faster, and a power cut can lose what was just kept.",
        |to, text, _| put(&mut to.sync, values::boolean(text))
    ),
    key!(
        Shared "learn_logins", Absent("none"),
        "A passwd-file for an IMAP server over the spool: the users' own passwords, as hashes, once the real server has accepted them.",
        |to, text, base| put(&mut to.learn_logins, values::path(text, base).map(Some))
    ),
    key!(
        Shared "max_sessions", Value("1000"),
        "Sessions at once over all proxies; the next client is told to come back later.",
        |to, text, _| put(&mut to.max_sessions, values::count(text))
    ),
    key!(
        Shared "max_sessions_per_client", Value("200"),
        "The same for one client address (an office behind one address counts as one; of IPv6 a whole /64 network does).",
        |to, text, _| put(&mut to.max_sessions_per_client, values::count(text))
    ),
    key!(
        Shared "max_message_size", Value("100M"),
        "Larger messages are treated as on_archive_failure says: bytes, or a number with K, M or G.",
        |to, text, _| put(&mut to.max_message_size, values::size(text))
    ),
    key!(
        Shared "login_timeout", Value("60s"),
        "Time for a client to log in: seconds, or a number with s, m, h or d.",
        |to, text, _| put(&mut to.login_timeout, values::duration(text, ONE_SECOND))
    ),
    key!(
        Shared "idle_timeout", Value("31m"),
        "A session in which nobody said anything for so long ends.",
        |to, text, _| put(&mut to.idle_timeout, values::duration(text, ONE_SECOND))
    ),
    key!(
        Shared "shutdown_grace", Value("30s"),
        "How long SIGTERM waits for open sessions; 0s: not at all.",
        |to, text, _| put(&mut to.shutdown_grace, values::duration(text, Duration::ZERO))
    ),
    key!(
        Shared "user", Absent("none"),
        "Started as root: run as this user once the ports are bound.",
        |to, text, _| put(&mut to.user, values::user(text).map(Some))
    ),
    key!(
        Shared "group", Absent("none"),
        "And as this group; without it as the user's own.",
        |to, text, _| put(&mut to.group, values::group(text).map(Some))
    ),
    key!(Shared "log", Value("info"), "How much is logged: error, warn, info, debug or trace.", |to, text, _| {
        use log::LevelFilter;
        let words = [
            ("error", LevelFilter::Error),
            ("warn", LevelFilter::Warn),
            ("info", LevelFilter::Info),
            ("debug", LevelFilter::Debug),
            ("trace", LevelFilter::Trace),
        ];
        put(&mut to.log, values::word(text, &words))
    }),
];

/// `[pop3]`, `[imap]`, `[smtp]` and the named ones.
pub(super) const PROXY: &[Key<Proxy>] = &[
    key!(
        Proxy "listen", Required,
        "Where clients connect: address:port, several with commas; [::1]:1110 for IPv6.",
        |to, text, _| put(&mut to.listen, values::each(text, addresses::listen_address))
    ),
    key!(
        Proxy "listen_tls", Value("none"),
        "TLS towards clients: none, starttls (offered, and required before a login) or implicit.",
        |to, text, _| put(&mut to.listen_tls, values::word(text, &TLS_MODES))
    ),
    key!(
        Proxy "certificate", RequiredWithTls,
        "The certificate that clients see: a PEM file, the chain in order.",
        |to, text, base| put(&mut to.certificate, values::readable_file(text, base).map(Some))
    ),
    key!(
        Proxy "private_key", RequiredWithTls,
        "Its private key: a PEM file.",
        |to, text, base| put(&mut to.private_key, values::readable_file(text, base).map(Some))
    ),
    key!(Proxy "upstream", Required, "The real server: host:port.", |to, text, _| {
        (to.upstream_host, to.upstream_port) = addresses::upstream(text)?;
        Ok(())
    }),
    key!(
        Proxy "upstream_tls", Value("implicit"),
        "TLS towards the real server: none, starttls or implicit; there is no falling back.",
        |to, text, _| put(&mut to.upstream_tls, values::word(text, &TLS_MODES))
    ),
    key!(
        Proxy "upstream_ca", Absent("the system's"),
        "The authorities to trust for this server, instead of the system's: a PEM file.",
        |to, text, base| put(&mut to.upstream_ca, values::readable_file(text, base).map(Some))
    ),
    key!(
        Proxy "default_domain", Absent("`[mailstore]`'s"),
        "As in [mailstore], for this proxy.",
        |to, text, _| put(&mut to.default_domain, addresses::domain(text))
    ),
    key!(
        Smtp "keep", Value("sender"),
        "Whose Maildir gets a copy: sender (the login, or without one the envelope sender), recipients, or both.",
        |to, text, _| {
            let words = [("sender", Keep::Sender), ("recipients", Keep::Recipients), ("both", Keep::Both)];
            put(&mut to.keep, values::word(text, &words))
        }
    ),
    key!(
        Smtp "local_domains", Absent("none"),
        "With recipients or both: only recipients in these domains get a copy; with commas.",
        |to, text, _| put(&mut to.local_domains, values::each(text, addresses::domain))
    ),
    key!(
        Imap "follow", Value("no"),
        "While a client is connected and quiet, also keep what it never fetches: no, inbox (of the inbox), or all (of every folder it opens).",
        |to, text, _| {
            let words = [("no", Follow::No), ("inbox", Follow::Inbox), ("all", Follow::All)];
            put(&mut to.follow, values::word(text, &words))
        }
    ),
];

fn put<T>(to: &mut T, value: Result<T, String>) -> Result<(), String> {
    *to = value?;
    Ok(())
}

impl Shared {
    /// Before any key, defaults too, was put in.
    pub(super) fn blank() -> Shared {
        Shared {
            spool: PathBuf::new(),
            maildir: String::new(),
            default_domain: String::new(),
            sent_folder: String::new(),
            skip_folders: Vec::new(),
            skip_special_use: false,
            imap_folders: ImapFolders::Mirror,
            on_archive_failure: OnArchiveFailure::Refuse,
            sync: true,
            learn_logins: None,
            max_sessions: 0,
            max_sessions_per_client: 0,
            max_message_size: 0,
            login_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            shutdown_grace: Duration::ZERO,
            user: None,
            group: None,
            log: log::LevelFilter::Info,
        }
    }
}

impl Proxy {
    /// Before any key, defaults too, was put in.
    pub(super) fn blank(kind: Kind, name: &str) -> Proxy {
        Proxy {
            kind,
            name: name.to_owned(),
            listen: Vec::new(),
            listen_tls: TlsMode::None,
            certificate: None,
            private_key: None,
            upstream_host: String::new(),
            upstream_port: 0,
            upstream_tls: TlsMode::Implicit,
            upstream_ca: None,
            default_domain: String::new(),
            keep: Keep::Sender,
            local_domains: Vec::new(),
            follow: Follow::No,
        }
    }
}
