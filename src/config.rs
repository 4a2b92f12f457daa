//! `mailstore.ini`: read, checked, explained.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    pub shared: Shared,
    pub proxies: Vec<Proxy>,
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
}
