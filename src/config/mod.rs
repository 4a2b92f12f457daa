//! `mailstore.ini`: read, checked, explained.
//!
//! [`load`] gives a configuration in which every value has its meaning and every promise of the file's contract was
//! checked, or *all* that is wrong, each [`Fault`] with its place. Files that are named are looked at (they are there and
//! can be read), as are users and groups; what certificates hold, the spool, and whether addresses can be bound are for
//! those who use them. Nothing is ignored, nothing is guessed, nothing panics whatever the file holds.

mod addresses;
mod check;
mod doubts;
mod fault;
pub mod keys;
mod read;
mod values;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use fault::Fault;
use fault::Faults;
pub use values::user_now;

/// A larger file is not a configuration.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Reads and checks a configuration file. An error holds every fault found, in the order of the file.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let mut faults = Faults::new(path);
    match contents(path) {
        Ok(bytes) => {
            let sections = read::sections(&bytes, &mut faults);
            let mut config = check::build(path, &sections, &mut faults);
            config.warnings = doubts::find(&config, &sections, &mut faults);
            if faults.is_empty() {
                return Ok(config);
            }
        }
        Err(why) => faults.add(None, None, None, why),
    }
    Err(faults.into_list())
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(fault) => Err(format!("cannot be read: {fault}; name an INI file that can be with -c FILE")),
        Ok(_) if bytes.len() as u64 > FILE_LEN_MAX => {
            Err("is larger than 1 MiB; name an INI file with -c FILE".to_owned())
        }
        Ok(_) => Ok(bytes),
    }
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    pub shared: Shared,
    pub proxies: Vec<Proxy>,
    /// What can be, but hardly was meant.
    pub warnings: Vec<Fault>,
}

/// `[mailstore]`.
#[derive(Clone, Debug)]
pub struct Shared {
    pub spool: PathBuf,
    /// The template of an owner's Maildir below the spool: `%u`, `%n`, `%d`.
    pub maildir: String,
    /// `localhost` where none is given.
    pub default_domain: String,
    /// Empty: the inbox.
    pub sent_folder: String,
    pub skip_folders: Vec<String>,
    /// The key stands at its default (or is not given): SPECIAL-USE attributes count too.
    pub skip_special_use: bool,
    pub imap_folders: ImapFolders,
    pub on_archive_failure: OnArchiveFailure,
    pub sync: bool,
    /// The passwd-file that accepted passwords are learnt into, as hashes.
    pub learn_logins: Option<PathBuf>,
    pub max_sessions: usize,
    pub max_sessions_per_client: usize,
    /// Octets.
    pub max_message_size: u64,
    pub login_timeout: Duration,
    pub idle_timeout: Duration,
    pub shutdown_grace: Duration,
    pub user: Option<String>,
    pub group: Option<String>,
    pub log: log::LevelFilter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImapFolders {
    Mirror,
    Flat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnArchiveFailure {
    Refuse,
    Pass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Pop3,
    Imap,
    Smtp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    None,
    StartTls,
    Implicit,
}

/// `keep` of an smtp proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Sender,
    Recipients,
    Both,
}

/// One proxy section.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub kind: Kind,
    /// The section's name: `pop3` or `pop3:office`.
    pub name: String,
    pub listen: Vec<SocketAddr>,
    pub listen_tls: TlsMode,
    /// Both are there unless `listen_tls` is `None`.
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub upstream_host: String,
    pub upstream_port: u16,
    pub upstream_tls: TlsMode,
    pub upstream_ca: Option<PathBuf>,
    /// This proxy's, or the shared one.
    pub default_domain: String,
    pub keep: Keep,
    /// Lower case.
    pub local_domains: Vec<String>,
    pub follow: Follow,
}

/// Which folders' messages are kept although no client fetches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    No,
    Inbox,
    /// Of every folder that a client opens.
    All,
}

impl Proxy {
    /// `host:port` of the real server, an IPv6 address in brackets.
    pub fn upstream(&self) -> String {
        if self.upstream_host.contains(':') {
            format!("[{}]:{}", self.upstream_host, self.upstream_port)
        } else {
            format!("{}:{}", self.upstream_host, self.upstream_port)
        }
    }
}

/// What was understood, in one line: `pop3:office: 127.0.0.1:1110 (starttls) -> pop.example.com:995 (implicit)`.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        let (name, listen, upstream) = (&self.name, listen.join(", "), self.upstream());
        write!(
            f,
            "{name}: {listen} ({}) -> {upstream} ({}), default domain {}",
            self.listen_tls, self.upstream_tls, self.default_domain
        )?;
        if self.kind == Kind::Smtp {
            write!(f, ", keep {}", self.keep)?;
            if !self.local_domains.is_empty() {
                write!(f, " in {}", self.local_domains.join(", "))?;
            }
        }
        if self.kind == Kind::Imap {
            write!(f, ", follow {}", self.follow)?;
        }
        Ok(())
    }
}

/// What was understood of `[mailstore]`, in one line: `mailstore: spool /srv/mail, maildir %d/%n, ...`.
impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |text: &str, empty: &str| {
            if text.is_empty() { empty.to_owned() } else { text.to_owned() }
        };
        write!(
            f,
            "mailstore: spool {}, maildir {}, sent mail in {}, skipped folders {}, imap_folders {}, on_archive_failure {}, sync {}",
            self.spool.display(),
            self.maildir,
            named(&self.sent_folder, "the inbox"),
            named(&self.skip_folders.join(", "), "none"),
            self.imap_folders,
            self.on_archive_failure,
            if self.sync { "yes" } else { "no" },
        )?;
        if let Some(file) = &self.learn_logins {
            write!(f, ", learn_logins {}", file.display())?;
        }
        if let Some(user) = &self.user {
            write!(f, ", run as {user}")?;
        }
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ", group {group}"))
    }
}

/// The words of the file.
macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),* }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word),* })
            }
        }
    };
}

words!(Kind { Pop3 => "pop3", Imap => "imap", Smtp => "smtp" });
words!(TlsMode { None => "none", StartTls => "starttls", Implicit => "implicit" });
words!(Keep { Sender => "sender", Recipients => "recipients", Both => "both" });
words!(Follow { No => "no", Inbox => "inbox", All => "all" });
words!(ImapFolders { Mirror => "mirror", Flat => "flat" });
words!(OnArchiveFailure { Refuse => "refuse", Pass => "pass" });
