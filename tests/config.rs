//! `mailstore.ini` as an administrator writes it: what is understood, and what is said about each thing that is wrong.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use mailstore::config::keys::{self, Fallback, Place};
use mailstore::config::{Config, ImapFolders, Keep, Kind, OnArchiveFailure, TlsMode, load};
use proptest::prelude::*;
use tempfile::TempDir;

const SHIPPED: &str = include_str!("../mailstore.ini");

/// The least that is a configuration; three lines.
const LEAST: &str = "[pop3]\nlisten = 127.0.0.1:1110\nupstream = mail.example.com:995\n";

/// A folder with a configuration and the files that the examples name.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        for name in ["fullchain.pem", "privkey.pem", "authority.pem"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        Site { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("a.ini")
    }

    /// The configuration, or the faults' texts with `FILE` for the file's name.
    fn load(&self, text: impl AsRef<[u8]>) -> Result<Config, Vec<String>> {
        std::fs::write(self.file(), text).unwrap();
        let (file, folder) = (self.file(), self.folder.path());
        load(&file).map_err(|faults| {
            let texts = faults.iter().map(ToString::to_string);
            let plain =
                |text: String| text.replace(file.to_str().unwrap(), "FILE").replace(folder.to_str().unwrap(), "FOLDER");
            texts.map(plain).collect()
        })
    }
}

#[track_caller]
fn good(text: &str) -> Config {
    Site::new().load(text).unwrap_or_else(|faults| panic!("{faults:#?}\nin\n{text}"))
}

#[track_caller]
fn faults(text: impl AsRef<[u8]>, right: &[&str]) {
    match Site::new().load(text) {
        Ok(config) => panic!("no fault found in {config:#?}"),
        Err(faults) => assert_eq!(faults, right),
    }
}

// What is understood.

/// INTERFACE.md's tables, by hand: the contract must not change because the program did.
const CONTRACT: &[(Place, &str, &str)] = &[
    (Place::Shared, "spool", "mailSpool"),
    (Place::Shared, "maildir", "%d/%n"),
    (Place::Shared, "default_domain", "none"),
    (Place::Shared, "sent_folder", "Sent"),
    (Place::Shared, "skip_folders", "Drafts, Junk, Spam, Trash"),
    (Place::Shared, "imap_folders", "mirror"),
    (Place::Shared, "on_archive_failure", "refuse"),
    (Place::Shared, "sync", "yes"),
    (Place::Shared, "learn_logins", "none"),
    (Place::Shared, "max_sessions", "1000"),
    (Place::Shared, "max_sessions_per_client", "200"),
    (Place::Shared, "max_message_size", "100M"),
    (Place::Shared, "login_timeout", "60s"),
    (Place::Shared, "idle_timeout", "31m"),
    (Place::Shared, "shutdown_grace", "30s"),
    (Place::Shared, "user", "none"),
    (Place::Shared, "group", "none"),
    (Place::Shared, "log", "info"),
    (Place::Proxy, "listen", "required"),
    (Place::Proxy, "listen_tls", "none"),
    (Place::Proxy, "certificate", "required with TLS"),
    (Place::Proxy, "private_key", "required with TLS"),
    (Place::Proxy, "upstream", "required"),
    (Place::Proxy, "upstream_tls", "implicit"),
    (Place::Proxy, "upstream_ca", "the system's"),
    (Place::Proxy, "default_domain", "`[mailstore]`'s"),
    (Place::Smtp, "keep", "sender"),
    (Place::Smtp, "local_domains", "none"),
    (Place::Imap, "follow", "no"),
];

#[test]
fn the_table_is_the_contract() {
    let table: Vec<_> = keys::all()
        .map(|about| {
            let default = match about.default {
                Fallback::Value(text) | Fallback::ValueOrEmpty(text) | Fallback::Absent(text) => text,
                Fallback::Required => "required",
                Fallback::RequiredWithTls => "required with TLS",
            };
            (about.place, about.name, default)
        })
        .collect();
    assert_eq!(table, CONTRACT);
}

#[test]
fn the_defaults_have_their_meaning() {
    let site = Site::new();
    let config = site.load(LEAST).unwrap();
    assert_eq!(config.file, site.file());
    let shared = &config.shared;
    assert_eq!(shared.spool, site.folder.path().join("mailSpool"));
    assert_eq!(shared.maildir, "%d/%n");
    assert_eq!(shared.default_domain, "localhost");
    assert_eq!(shared.sent_folder, "Sent");
    assert_eq!(shared.skip_folders, ["Drafts", "Junk", "Spam", "Trash"]);
    assert!(shared.skip_special_use);
    assert_eq!(shared.imap_folders, ImapFolders::Mirror);
    assert_eq!(shared.on_archive_failure, OnArchiveFailure::Refuse);
    assert!(shared.sync);
    assert_eq!(shared.learn_logins, None);
    assert_eq!((shared.max_sessions, shared.max_sessions_per_client), (1000, 200));
    assert_eq!(shared.max_message_size, 100 << 20);
    assert_eq!(shared.login_timeout, Duration::from_secs(60));
    assert_eq!(shared.idle_timeout, Duration::from_secs(31 * 60));
    assert_eq!(shared.shutdown_grace, Duration::from_secs(30));
    assert_eq!((&shared.user, &shared.group), (&None, &None));
    assert_eq!(shared.log, LevelFilter::Info);
    let [proxy] = &config.proxies[..] else { panic!("not one proxy") };
    assert_eq!((proxy.kind, proxy.name.as_str()), (Kind::Pop3, "pop3"));
    assert_eq!(proxy.listen, ["127.0.0.1:1110".parse::<SocketAddr>().unwrap()]);
    assert_eq!(proxy.listen_tls, TlsMode::None);
    assert_eq!((&proxy.certificate, &proxy.private_key, &proxy.upstream_ca), (&None, &None, &None));
    assert_eq!((proxy.upstream_host.as_str(), proxy.upstream_port), ("mail.example.com", 995));
    assert_eq!(proxy.upstream_tls, TlsMode::Implicit);
    assert_eq!(proxy.default_domain, "localhost");
    assert_eq!(proxy.keep, Keep::Sender);
    assert_eq!(proxy.local_domains, [""; 0]);
}

#[test]
fn every_key_is_taken() {
    let site = Site::new();
    let config = site
        .load(
            "[mailstore]\nspool = /srv/mail\nmaildir = %u\ndefault_domain = Example.COM\nsent_folder =\nskip_folders = Junk, A B\n\
             imap_folders = Flat\non_archive_failure = pass\nsync = no\nlearn_logins = logins/passwd\nmax_sessions = 5\nmax_sessions_per_client = 4\n\
             max_message_size = 64K\nlogin_timeout = 10\nidle_timeout = 1h\nshutdown_grace = 0s\nuser = root\ngroup = root\nlog = DEBUG\n\
             [smtp:MX]\nlisten = 127.0.0.1:25, [::1]:25\nlisten_tls = starttls\ncertificate = fullchain.pem\nprivate_key = privkey.pem\n\
             upstream = [2001:db8::1]:25\nupstream_tls = none\nupstream_ca = authority.pem\ndefault_domain = Example.org\n\
             keep = both\nlocal_domains = A.example, b.example\n\
             [imap]\nlisten = 127.0.0.1:0\nupstream = 192.0.2.1:143\nupstream_tls = starttls\n",
        )
        .unwrap();
    let shared = &config.shared;
    assert_eq!((shared.spool.as_path(), shared.maildir.as_str()), (Path::new("/srv/mail"), "%u"));
    assert_eq!((shared.default_domain.as_str(), shared.sent_folder.as_str()), ("example.com", ""));
    assert_eq!(
        (&shared.skip_folders[..], shared.skip_special_use),
        (&["Junk".to_owned(), "A B".to_owned()][..], false)
    );
    assert_eq!(
        (shared.imap_folders, shared.on_archive_failure, shared.sync),
        (ImapFolders::Flat, OnArchiveFailure::Pass, false)
    );
    assert_eq!(shared.learn_logins, Some(site.folder.path().join("logins/passwd")));
    assert_eq!((shared.max_sessions, shared.max_sessions_per_client, shared.max_message_size), (5, 4, 65536));
    assert_eq!(
        (shared.login_timeout.as_secs(), shared.idle_timeout.as_secs(), shared.shutdown_grace.as_secs()),
        (10, 3600, 0)
    );
    assert_eq!((shared.user.as_deref(), shared.group.as_deref()), (Some("root"), Some("root")));
    assert_eq!(shared.log, LevelFilter::Debug);
    let [mx, imap] = &config.proxies[..] else { panic!("not two proxies") };
    assert_eq!((mx.kind, mx.name.as_str(), mx.listen_tls), (Kind::Smtp, "smtp:mx", TlsMode::StartTls));
    assert_eq!(mx.listen, ["127.0.0.1:25", "[::1]:25"].map(|address| address.parse::<SocketAddr>().unwrap()));
    let folder = site.folder.path();
    assert_eq!(mx.certificate, Some(folder.join("fullchain.pem")));
    assert_eq!(mx.private_key, Some(folder.join("privkey.pem")));
    assert_eq!(mx.upstream_ca, Some(folder.join("authority.pem")));
    assert_eq!((mx.upstream_host.as_str(), mx.upstream_port, mx.upstream_tls), ("2001:db8::1", 25, TlsMode::None));
    assert_eq!((mx.default_domain.as_str(), mx.keep), ("example.org", Keep::Both));
    assert_eq!(mx.local_domains, ["a.example", "b.example"]);
    assert_eq!(
        (imap.kind, imap.default_domain.as_str(), imap.upstream_tls),
        (Kind::Imap, "example.com", TlsMode::StartTls)
    );
}

#[test]
fn what_was_understood_is_told_in_a_line() {
    let config = good(
        "[mailstore]\nspool = /srv/mail\nlearn_logins = /srv/logins/passwd\nuser = root\nskip_folders =\n\
         [pop3:office]\nlisten = 127.0.0.1:1110, [::1]:1110\nlisten_tls = starttls\ncertificate = fullchain.pem\nprivate_key = privkey.pem\n\
         upstream = pop.example.com:995\n\
         [smtp]\nlisten = 127.0.0.1:25\nupstream = [::1]:2525\nupstream_tls = none\nkeep = recipients\nlocal_domains = a.example, b.example\n",
    );
    let lines = config.proxies.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        lines,
        [
            "pop3:office: 127.0.0.1:1110, [::1]:1110 (starttls) -> pop.example.com:995 (implicit), default domain localhost",
            "smtp: 127.0.0.1:25 (none) -> [::1]:2525 (none), default domain localhost, keep recipients in a.example, b.example",
        ]
    );
    assert_eq!(
        config.shared.to_string(),
        "mailstore: spool /srv/mail, maildir %d/%n, sent mail in Sent, skipped folders none, imap_folders mirror, \
         on_archive_failure refuse, sync yes, learn_logins /srv/logins/passwd, run as root"
    );
}

#[test]
fn special_use_counts_only_while_skip_folders_is_at_its_default() {
    for (value, right) in [
        ("skip_folders = Drafts, Junk, Spam, Trash", true),
        ("skip_folders = Drafts,Junk,Spam,Trash # as it was", true),
        ("skip_folders = Drafts", false),
        ("skip_folders =", false),
        ("", true),
    ] {
        assert_eq!(good(&format!("{LEAST}[mailstore]\n{value}\n")).shared.skip_special_use, right, "{value}");
    }
}

#[test]
fn a_hash_in_a_path_stays() {
    let spool = |value: &str| good(&format!("{LEAST}[mailstore]\nspool = {value}\n")).shared.spool;
    assert_eq!(spool("/srv/mail#2;x ; the second"), Path::new("/srv/mail#2;x"));
    assert_eq!(spool("\"/srv/mail #2\""), Path::new("/srv/mail #2"));
}

#[test]
fn a_byte_order_mark_crlf_and_capitals_are_fine() {
    let text = format!("\u{feff}{}", LEAST.to_uppercase().replace('\n', "\r\n"));
    let config = good(&text);
    assert_eq!(
        (config.proxies[0].name.as_str(), config.proxies[0].upstream_host.as_str()),
        ("pop3", "mail.example.com")
    );
}

#[test]
fn nothing_behind_the_equals_sign_is_as_not_given_where_nothing_is_the_default() {
    let config = good(&format!(
        "{LEAST}certificate =\nupstream_ca =\ndefault_domain =\n[mailstore]\nuser =\ngroup =\ndefault_domain =\n"
    ));
    assert_eq!(config.proxies[0].default_domain, "localhost");
    assert_eq!(config.shared.user, None);
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let site = Site::new();
    let folder = site.folder.path().join("sub");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("../a.ini");
    std::fs::write(&file, LEAST).unwrap();
    assert_eq!(load(&file).unwrap().shared.spool, folder.join("../mailSpool"));
}

// What is wrong, and what is said.

#[test]
fn a_file_that_cannot_be_read() {
    let site = Site::new();
    let text = |path: &Path| load(path).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>();
    let file = site.folder.path().join("none.ini");
    let right = "cannot be read: No such file or directory (os error 2); name an INI file that can be with -c FILE";
    assert_eq!(text(&file), [format!("{}: {right}", file.display())]);
    assert_eq!(text(Path::new("/dev/zero")), ["/dev/zero: is larger than 1 MiB; name an INI file with -c FILE"]);
}

#[test]
fn no_proxy() {
    let right = "FILE: has no proxy; add a section [pop3], [imap] or [smtp] with listen and upstream";
    faults("", &[right]);
    faults("[mailstore]\nsync = no\n", &[right]);
}

#[test]
fn broken_lines() {
    faults(
        format!("{LEAST}listen_tls\n= none\n[imap\n[imap] x\n[]\nlog = info\n[smtp]]\nupstream: a:1\n\x07 = 1\n"),
        &[
            "FILE: [pop3]: \"listen_tls\" is neither [section] nor key = value nor a comment (which begins with #) (line 4)",
            "FILE: [pop3]: \"= none\" is neither [section] nor key = value nor a comment (which begins with #) (line 5)",
            "FILE: \"[imap\" is not a section; write [name], as [mailstore] or [pop3:office] (line 6)",
            "FILE: \"[imap] x\" is not a section; write [name], as [mailstore] or [pop3:office] (line 7)",
            "FILE: \"[]\" is not a section; write [name], as [mailstore] or [pop3:office] (line 8)",
            "FILE: \"[smtp]]\" is not a section; write [name], as [mailstore] or [pop3:office] (line 10)",
            "FILE: \"upstream: a:1\" is neither [section] nor key = value nor a comment (which begins with #) (line 11)",
        ],
    );
}

#[test]
fn a_key_before_any_section() {
    faults(
        format!("spool = a\n{LEAST}"),
        &["FILE: spool: stands before any section; put it below [mailstore] or a proxy (line 1)"],
    );
}

#[test]
fn encodings() {
    faults(b"\xff\xfe[\0", &["FILE: is UTF-16; save it as UTF-8"]);
    faults(
        [b"[mailstore]\nsent_folder = f\xfcr\n# f\xfcr\n\xfc\n", LEAST.as_bytes()].concat(),
        &[
            "FILE: [mailstore] sent_folder: is not UTF-8; save the file as UTF-8 (line 2)",
            "FILE: [mailstore]: is not UTF-8; save the file as UTF-8 (line 4)",
        ],
    );
    faults(
        format!("{LEAST}[mailstore]\nspool = a\x1b[2J\n# b\rsync = no\n[im\x07ap]\n"),
        &[
            "FILE: [mailstore] spool: has a control character (\\x1b) in it; take it out (line 5)",
            "FILE: [mailstore]: has a control character (\\x0d) in it; end each line with LF or CRLF (line 6)",
            "FILE: has a control character (\\x07) in it; take it out (line 7)",
        ],
    );
}

#[test]
fn quotes() {
    faults(
        format!("{LEAST}[mailstore]\nskip_folders = \"a\", \"b\"\nsent_folder = \"a\n"),
        &[
            "FILE: [mailstore] skip_folders: has text behind its closing quote; put one pair of quotes around the whole value, or none (line 5)",
            "FILE: [mailstore] sent_folder: has no closing quote; put a \" at its end, or none at its beginning (line 6)",
        ],
    );
}

#[test]
fn unknown_sections() {
    faults(
        "[pop]\nx = y\n[mailstore:x]\n[imap:]\n[imap:a b]\n[general]\n",
        &[
            "FILE: [pop]: is an unknown section: it can be [mailstore], [pop3], [imap], [smtp], or one with a name, as [pop3:office]; did you mean [pop3]? (line 1)",
            "FILE: [mailstore:x]: takes no name; write [mailstore] (line 3)",
            "FILE: [imap:]: has a name that is not 1 to 64 of the characters a-z 0-9 . _ -; write it as [imap:office] (line 4)",
            "FILE: [imap:a b]: has a name that is not 1 to 64 of the characters a-z 0-9 . _ -; write it as [imap:office] (line 5)",
            "FILE: [general]: is an unknown section: it can be [mailstore], [pop3], [imap], [smtp], or one with a name, as [pop3:office] (line 6)",
        ],
    );
}

#[test]
fn twice() {
    faults(
        format!("{LEAST}Listen = 127.0.0.1:1\n[POP3]\nlistn = 1\n[mailstore]\n[mailstore]\nsync = maybe\n"),
        &[
            "FILE: [pop3] listen: is given twice, first in line 2; leave one (line 4)",
            "FILE: [pop3]: is there twice, first in line 1; two proxies of a kind need names, as [pop3:one] and [pop3:two] (line 5)",
            "FILE: [pop3] listn: is an unknown key; did you mean listen? (line 6)",
            "FILE: [mailstore]: is there twice, first in line 7; put all its keys into one (line 8)",
            "FILE: [mailstore] sync: \"maybe\" is neither yes nor no (line 9)",
        ],
    );
}

#[test]
fn keys_that_are_not_there() {
    faults(
        format!(
            "{LEAST}keep = both\nlocal_domains = a\nspool = a\ncert = a\na[0] = 1\n[mailstore]\nlisten = 1\nkeep = 1\nfrobnicate = 1\n"
        ),
        &[
            "FILE: [pop3] keep: belongs into an smtp section only (line 4)",
            "FILE: [pop3] local_domains: belongs into an smtp section only (line 5)",
            "FILE: [pop3] spool: belongs into [mailstore] (line 6)",
            "FILE: [pop3] cert: is an unknown key; did you mean certificate? (line 7)",
            "FILE: [pop3] a[0]: is an unknown key; the mailstore.ini that comes with the program lists all (line 8)",
            "FILE: [mailstore] listen: belongs into the section of a proxy (line 10)",
            "FILE: [mailstore] keep: belongs into an smtp section only (line 11)",
            "FILE: [mailstore] frobnicate: is an unknown key; the mailstore.ini that comes with the program lists all (line 12)",
        ],
    );
}

#[test]
fn keys_that_are_missing() {
    faults(
        "[imap]\n[smtp]\nlisten =\nupstream =\n",
        &[
            "FILE: [imap] listen: is missing. Where clients connect: address:port, several with commas; [::1]:1110 for IPv6. (line 1)",
            "FILE: [imap] upstream: is missing. The real server: host:port. (line 1)",
            "FILE: [smtp] listen: is empty. Where clients connect: address:port, several with commas; [::1]:1110 for IPv6. (line 3)",
            "FILE: [smtp] upstream: is empty. The real server: host:port. (line 4)",
        ],
    );
    faults(
        format!("{LEAST}listen_tls = implicit\nprivate_key =\n"),
        &[
            "FILE: [pop3] certificate: is missing, and listen_tls = implicit needs it. The certificate that clients see: a PEM file, the chain in order. (line 1)",
            "FILE: [pop3] private_key: is missing, and listen_tls = implicit needs it. Its private key: a PEM file. (line 1)",
        ],
    );
}

#[test]
fn empty_values() {
    faults(
        format!("{LEAST}[mailstore]\nspool =\nsync = # nothing\n"),
        &[
            "FILE: [mailstore] spool: is empty; leave the line out for the default mailSpool (line 5)",
            "FILE: [mailstore] sync: is empty; leave the line out for the default yes (line 6)",
        ],
    );
}

#[test]
fn every_value_that_cannot_be_is_named_at_once() {
    faults(
        "[mailstore]\nspool = ~/mail\nmaildir = %n\ndefault_domain = @a\nsent_folder = ../x\nskip_folders = a,,b\nimap_folders = x\n\
         on_archive_failure = x\nsync = x\nmax_sessions = 0\nmax_sessions_per_client = x\nmax_message_size = x\nlogin_timeout = 0\n\
         idle_timeout = x\nshutdown_grace = 8d\nuser = no-such-user\ngroup = no-such-group\nlog = off\n\
         [smtp]\nlisten = localhost:25, x\nlisten_tls = ssl\ncertificate = none.pem\nprivate_key = .\nupstream = mail\nupstream_tls = tls\n\
         upstream_ca = none.pem\ndefault_domain = a b\nkeep = x\nlocal_domains = *.a, b/c\n",
        &[
            "FILE: [mailstore] spool: \"~/mail\" begins with ~, which only a shell understands; write the whole path (line 2)",
            "FILE: [mailstore] maildir: \"%n\" would give two owners the same Maildir; write %u, or %n and %d with a / or @ between, as %d/%n (line 3)",
            "FILE: [mailstore] default_domain: \"@a\" is no domain; write only what stands behind the @: \"a\" (line 4)",
            "FILE: [mailstore] sent_folder: \"../x\" has an empty level; write a folder's name, as Sent or Archive/Sent (line 5)",
            "FILE: [mailstore] skip_folders: \"a,,b\" has a comma too many (line 6)",
            "FILE: [mailstore] imap_folders: \"x\" is none of the values it can have: mirror, flat (line 7)",
            "FILE: [mailstore] on_archive_failure: \"x\" is none of the values it can have: refuse, pass (line 8)",
            "FILE: [mailstore] sync: \"x\" is neither yes nor no (line 9)",
            "FILE: [mailstore] max_sessions: \"0\" is out of range; write a number from 1 to 1000000 (line 10)",
            "FILE: [mailstore] max_sessions_per_client: \"x\" is not a number; write a number from 1 to 1000000 (line 11)",
            "FILE: [mailstore] max_message_size: \"x\" is not a size; write bytes, or a number with K, M or G, as 100M (line 12)",
            "FILE: [mailstore] login_timeout: \"0\" is out of range; write a time from 1s to 7d (line 13)",
            "FILE: [mailstore] idle_timeout: \"x\" is not a time; write seconds, or a number with s, m, h or d, as 90s or 31m (line 14)",
            "FILE: [mailstore] shutdown_grace: \"8d\" is out of range; write a time from 0s to 7d (line 15)",
            "FILE: [mailstore] user: there is no user \"no-such-user\" on this machine; name one that is there (line 16)",
            "FILE: [mailstore] group: there is no group \"no-such-group\" on this machine; name one that is there (line 17)",
            "FILE: [mailstore] log: \"off\" is none of the values it can have: error, warn, info, debug, trace (line 18)",
            "FILE: [smtp] listen: \"localhost:25\" is a name; write the address, 127.0.0.1:25 or [::1]:25; \"x\" has no port; write address:port, as 127.0.0.1:1110 or [::1]:1110 (line 20)",
            "FILE: [smtp] listen_tls: \"ssl\" is none of the values it can have: none, starttls, implicit (line 21)",
            "FILE: [smtp] certificate: \"FOLDER/none.pem\" cannot be read: No such file or directory (os error 2); name a PEM file that can be (line 22)",
            "FILE: [smtp] private_key: \"FOLDER/.\" is not a file; name a PEM file (line 23)",
            "FILE: [smtp] upstream: \"mail\" has no port; write host:port, as mail.example.com:995 (line 24)",
            "FILE: [smtp] upstream_tls: \"tls\" is none of the values it can have: none, starttls, implicit (line 25)",
            "FILE: [smtp] upstream_ca: \"FOLDER/none.pem\" cannot be read: No such file or directory (os error 2); name a PEM file that can be (line 26)",
            "FILE: [smtp] default_domain: \"a b\" has a \" \" in it; write a domain, as example.com (line 27)",
            "FILE: [smtp] keep: \"x\" is none of the values it can have: sender, recipients, both (line 28)",
            "FILE: [smtp] local_domains: \"*.a\" is no domain; each subdomain has to be named itself; \"b/c\" has a \"/\" in it; write a domain, as example.com (line 29)",
        ],
    );
}

#[test]
fn a_group_alone() {
    faults(
        format!("{LEAST}[mailstore]\ngroup = root\n"),
        &["FILE: [mailstore] group: needs user as well: with the group alone the program would go on as root (line 5)"],
    );
}

#[test]
fn addresses_asked_for_twice() {
    faults(
        format!(
            "{LEAST}[imap]\nlisten = 127.0.0.1:143, 127.0.0.1:1110, 127.0.0.1:0, 127.0.0.1:0\nupstream = a:1\n\
             [smtp]\nlisten = 0.0.0.0:143, [::1]:25, [::1]:25\nupstream = a:1\n"
        ),
        &[
            "FILE: [imap] listen: 127.0.0.1:1110 is taken by [pop3] already; give each address once (line 5)",
            "FILE: [smtp] listen: 0.0.0.0:143 and 127.0.0.1:143 of [imap] include each other; give one of them another port (line 8)",
            "FILE: [smtp] listen: [::1]:25 is taken by [smtp] already; give each address once (line 8)",
        ],
    );
}

/// The warnings that this is taken with.
#[track_caller]
fn warnings(text: impl AsRef<str>, right: &[&str]) {
    let site = Site::new();
    let config = site.load(text.as_ref()).unwrap();
    let told = config.warnings.iter().map(|doubt| doubt.to_string().replace(site.file().to_str().unwrap(), "FILE"));
    assert_eq!(told.collect::<Vec<_>>(), right);
}

#[test]
fn keys_without_effect_are_told_and_taken() {
    warnings(
        "[smtp]\nlisten = 127.0.0.1:25\ncertificate = fullchain.pem\nprivate_key = privkey.pem\nupstream = a:25\nupstream_tls = none\n\
         upstream_ca = authority.pem\nlocal_domains = a.example\n",
        &[
            "FILE: [smtp] certificate: has no effect while listen_tls is none: clients get no TLS; write listen_tls = implicit or starttls, or leave this line out (line 3)",
            "FILE: [smtp] private_key: has no effect while listen_tls is none: clients get no TLS; write listen_tls = implicit or starttls, or leave this line out (line 4)",
            "FILE: [smtp] upstream_ca: has no effect while upstream_tls is none: the server is not asked for TLS; write upstream_tls = implicit or starttls, or leave this line out (line 7)",
            "FILE: [smtp] local_domains: has no effect while keep is sender; write keep = recipients or both, or leave this line out (line 8)",
        ],
    );
    warnings(format!("{LEAST}certificate =\nupstream_ca = authority.pem\n"), &[]);
    warnings(SHIPPED, &[]);
    warnings(switched_on(|_| true), &[]);
}

#[test]
fn a_server_that_is_this_program_itself() {
    let proxies = |upstreams: &[(&str, &str)]| -> String {
        let section = |(n, (listen, upstream)): (usize, &(&str, &str))| {
            format!("[imap:{n}]\nlisten = {listen}\nupstream = {upstream}\n")
        };
        upstreams.iter().enumerate().map(section).collect()
    };
    const CIRCLE: &str = "listens: it would connect to itself for ever; name the real server (line 3)";
    faults(
        proxies(&[("127.0.0.1:143", "127.0.0.1:143")]),
        &[&format!("FILE: [imap:0] upstream: 127.0.0.1:143 is where this proxy itself {CIRCLE}")],
    );
    faults(
        proxies(&[("[::1]:143", "127.0.0.1:144"), ("127.0.0.1:144", "[::1]:143")]),
        &[
            &format!("FILE: [imap:0] upstream: 127.0.0.1:144 is where [imap:1] {CIRCLE}"),
            &format!("FILE: [imap:1] upstream: [::1]:143 is where [imap:0] {}", CIRCLE.replace('3', "6")),
        ],
    );
    for (listen, upstream) in [
        ("0.0.0.0:143", "127.0.0.1:143"),
        ("127.0.0.1:143", "localhost:143"),
        ("[::]:143", "[::1]:143"),
        ("127.0.0.1:143", "0.0.0.0:143"),
    ] {
        warnings(
            proxies(&[(listen, upstream)]),
            &[&format!("FILE: [imap:0] upstream: {upstream} seems to be where this proxy itself {CIRCLE}")],
        );
    }
    let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let named = Site::new().load(proxies(&[("0.0.0.0:143, [::]:143", &format!("{own}:143"))]));
    // A machine whose own name does not lead to it cannot tell.
    if std::net::ToSocketAddrs::to_socket_addrs(&(own.as_str(), 0)).is_ok() {
        assert_eq!(named.unwrap().warnings.len(), 1, "{own}");
    }
    warnings(
        proxies(&[("127.0.0.1:143", "127.0.0.1:144"), ("127.0.0.1:144", "mail.example.com:993")]),
        &[
            "FILE: [imap:0] upstream: 127.0.0.1:144 is where [imap:1] listens: what passes is kept by both; name the real server (line 3)",
        ],
    );
    // A server beside it, on another port or another address; a free port.
    for (listen, upstream) in [
        ("127.0.0.1:143", "127.0.0.1:144"),
        ("192.0.2.1:143", "127.0.0.1:143"),
        ("127.0.0.1:0", "127.0.0.1:143"),
        ("0.0.0.0:143", "192.0.2.1:143"),
        ("0.0.0.0:143", "[::1]:143"),
    ] {
        warnings(proxies(&[(listen, upstream)]), &[]);
    }
}

// The file that comes with the program.

/// One line of it.
enum Line<'a> {
    Section { name: &'a str, active: bool },
    Setting { key: &'a str, value: &'a str },
    Prose(&'a str),
    Blank,
}

/// `#` with no blank behind it switches a setting off; with a blank it is prose. No other mark is needed: what is
/// switched off has to look like a setting.
fn understand(line: &str) -> Line<'_> {
    let (text, active) = match line.strip_prefix('#') {
        Some("") => return Line::Prose(""),
        Some(prose) if prose.starts_with(' ') => return Line::Prose(prose.trim()),
        Some(setting) => (setting, false),
        None => (line, true),
    };
    if let Some(name) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Line::Section { name, active }
    } else if let Some((key, value)) = text.split_once('=') {
        Line::Setting { key: key.trim(), value: value.trim() }
    } else {
        assert!(text.trim().is_empty(), "not understood: {line}");
        Line::Blank
    }
}

#[test]
fn the_shipped_file_is_good_and_small() {
    let config = good(SHIPPED);
    let [proxy] = &config.proxies[..] else { panic!("not one proxy") };
    assert!(proxy.listen.iter().all(|address| address.ip().is_loopback() && address.port() > 1024));
    assert_eq!(proxy.upstream_host, "mail.example.com");
}

#[test]
fn the_shipped_file_explains_every_key_and_shows_its_default() {
    // Section, key, value, and the prose above it.
    let mut settings: Vec<(&str, &str, &str, String)> = Vec::new();
    let (mut section, mut prose) = ("", String::new());
    for line in SHIPPED.lines() {
        match understand(line) {
            Line::Section { name, .. } => section = name,
            Line::Setting { key, value } => settings.push((section, key, value, prose.clone())),
            Line::Prose(text) => prose = format!("{prose}{text} "),
            Line::Blank => prose.clear(),
        }
    }
    for about in keys::all() {
        let home = match about.place {
            Place::Shared => "mailstore",
            Place::Proxy => "pop3",
            Place::Smtp => "smtp",
            Place::Imap => "imap",
        };
        let found: Vec<_> =
            settings.iter().filter(|(section, key, ..)| *section == home && *key == about.name).collect();
        let [(_, _, value, prose)] = found[..] else {
            panic!("[{home}] {} is there {} times", about.name, found.len())
        };
        assert!(prose.contains(about.doc), "[{home}] {}: {:?} is not in {prose:?}", about.name, about.doc);
        match about.default {
            Fallback::Value(default) | Fallback::ValueOrEmpty(default) => {
                assert_eq!(*value, default, "{}", about.name)
            }
            Fallback::Absent(default) => {
                assert_eq!(*value, "", "{}", about.name);
                assert!(prose.contains(&format!("Default: {default}")), "{}: {prose}", about.name);
            }
            Fallback::RequiredWithTls => {
                assert_eq!(*value, "", "{}", about.name);
                assert!(prose.contains("Required with TLS"), "{}: {prose}", about.name);
            }
            Fallback::Required => assert_ne!(*value, "", "{}", about.name),
        }
    }
    for (section, key, ..) in settings {
        assert!(keys::all().any(|about| about.name == key), "[{section}] {key} is no key");
    }
}

/// The shipped file with the settings of these sections switched on.
fn switched_on(wanted: impl Fn(&str) -> bool) -> String {
    let mut on = false;
    let lines = SHIPPED.lines().map(|line| {
        match understand(line) {
            Line::Section { name, .. } => on = wanted(name),
            Line::Setting { .. } => {}
            Line::Prose(_) | Line::Blank => return line,
        }
        if on { line.strip_prefix('#').unwrap_or(line) } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_example_works_by_itself_and_with_all_others() {
    let sections = SHIPPED.lines().filter_map(|line| match understand(line) {
        Line::Section { name, active } => Some((name, active)),
        _ => None,
    });
    let sections: Vec<_> = sections.collect();
    assert!(sections.len() > 8);
    let proxies = |text: &str| good(text).proxies.into_iter().map(|proxy| proxy.name).collect::<Vec<_>>();
    for (name, active) in &sections {
        let names = proxies(&switched_on(|section| section == *name));
        let right = if *active { vec!["pop3"] } else { vec!["pop3", *name] };
        assert_eq!(names, right);
    }
    let all: Vec<_> = sections.iter().map(|(name, _)| *name).filter(|name| *name != "mailstore").collect();
    assert_eq!(proxies(&switched_on(|_| true)), all);
}

#[test]
fn switching_every_default_on_changes_nothing() {
    let site = Site::new();
    let plain = site.load(SHIPPED).unwrap();
    let all = site.load(switched_on(|name| matches!(name, "mailstore" | "pop3"))).unwrap();
    assert_eq!(format!("{plain:?}"), format!("{all:?}"));
}

#[test]
fn the_examples_do_what_they_say() {
    let config = good(&switched_on(|_| true));
    let proxy = |name: &str| config.proxies.iter().find(|proxy| proxy.name == name).unwrap();
    for kind in ["pop3:host", "imap:host", "smtp:host"] {
        assert_eq!((proxy(kind).listen_tls, proxy(kind).upstream_tls), (TlsMode::Implicit, TlsMode::Implicit));
    }
    for kind in ["pop3:starttls", "imap:starttls", "smtp:submission"] {
        assert_eq!((proxy(kind).listen_tls, proxy(kind).upstream_tls), (TlsMode::StartTls, TlsMode::StartTls));
    }
    assert_eq!((proxy("smtp:mx").keep, proxy("smtp:mx").local_domains.len()), (Keep::Recipients, 2));
}

// Whatever the file holds.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_a_configuration_or_have_faults(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_any(&bytes)?;
    }

    #[test]
    fn any_change_of_a_good_file_is_understood_or_named(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..4usize, 0..3u8, any::<u8>()), 1..12)
    ) {
        let mut bytes = switched_on(|_| true).into_bytes();
        for (at, length, how, byte) in changes {
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            let syntax = b"[]=#;,:\"% \n\r\t\0\xff0-";
            let byte = syntax.get(usize::from(byte)).copied().unwrap_or(byte);
            match how {
                0 => { bytes.splice(at..end, []); }
                1 => { bytes.splice(at..end, [byte]); }
                _ => {
                    // A piece from elsewhere: keys and sections twice, lines torn.
                    let piece = bytes[end..(end + 60).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        check_any(&bytes)?;
    }
}

/// Good, or faults that can be printed in a line each.
fn check_any(bytes: &[u8]) -> Result<(), TestCaseError> {
    match Site::new().load(bytes) {
        Ok(config) => {
            prop_assert!(!config.proxies.is_empty() && config.proxies.iter().all(|proxy| !proxy.listen.is_empty()))
        }
        Err(faults) => {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.starts_with("FILE: ") && !fault.contains(|c: char| c.is_control()), "{:?}", fault);
            }
        }
    }
    Ok(())
}
