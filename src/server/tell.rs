//! What is said of the machine and of the spool: faults with their places, and what recovery found.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::check;
use crate::archive::{self, Archive};
use crate::config::{self, Config, Fault};
use crate::logging;

/// Logs what a program that died had left.
pub(super) fn clear_up(archive: &Archive, config: &Config) {
    let found = archive.recover();
    tell_kept(&found);
    if found.removed > 0 {
        let count = usize::try_from(found.removed).unwrap_or(usize::MAX);
        log::info!("recovery removed {}", logging::counted(count, "unfinished draft"));
    }
    for e in &found.failed {
        log::error!("recovery: {e}");
    }
    if found.failed.iter().any(|e| e.kind() == io::ErrorKind::PermissionDenied) {
        log::error!("recovery: not all of the spool can be used{}", give_away(config));
    }
}

/// What helps where the spool was made by another user, as before `user` was set; or cannot be made.
fn give_away(config: &Config) -> String {
    let user = config.shared.user.clone().unwrap_or_else(config::user_now);
    let spool = config.shared.spool.display();
    if fs::symlink_metadata(&config.shared.spool).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return format!("; to make it, as root: install -d -m 700 -o {user} {spool}");
    }
    format!("; if it belongs to another user: chown -R {user}: {spool}")
}

pub(super) fn spool_fault(config: &Config, e: &archive::Error) -> Fault {
    let help = if e.kind() == io::ErrorKind::PermissionDenied { give_away(config) } else { String::new() };
    shared_fault(config, "spool", format!("cannot be used: {e}{help}"))
}

pub(super) fn tell_kept(found: &archive::Recovery) {
    for one in &found.kept {
        let event = if one.duplicate { "duplicate" } else { "kept" };
        let folder = if one.folder.is_empty() { "INBOX" } else { one.folder.trim_start_matches('.') };
        log::info!(
            "recovery {event} maildir={} folder={} size={} hash={}",
            escape_path(&one.maildir),
            logging::escape(folder.as_bytes()),
            one.size,
            one.hash
        );
    }
}

pub(super) fn escape_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    logging::escape(path.as_os_str().as_bytes())
}

fn fault(config: &Config, section: Option<&str>, key: Option<&str>, text: String) -> Fault {
    Fault {
        file: config.file.clone(),
        section: section.map(str::to_owned),
        key: key.map(str::to_owned),
        line: None,
        text,
    }
}

pub(super) fn shared_fault(config: &Config, key: &str, text: String) -> Fault {
    fault(config, Some("mailstore"), Some(key), text)
}

pub(super) fn general(config: &Config, text: String) -> Fault {
    fault(config, None, None, text)
}

pub(super) fn unbound(config: &Config, proxy: &str, address: SocketAddr, e: &io::Error) -> Fault {
    let help = match e.kind() {
        io::ErrorKind::AddrInUse => match check::holder(address) {
            Some(holder) => format!("it is in use by {holder}; stop that, or choose another port"),
            None => "it is in use; choose another port, or see with ss -ltnp by whom".to_owned(),
        },
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root at the start (see user), or CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => e.to_string(),
    };
    fault(config, Some(proxy), Some("listen"), format!("{address} cannot be bound: {help}"))
}
