//! `start_proxies -t`: everything that a start would do, but no client is accepted and nothing is cleared up.

use std::fs;
use std::net::SocketAddr;

use super::counters::Registry;
use super::{Prepared, Root};
use crate::config::{Config, Fault};

/// Tries it all, and leaves nothing behind. Root is set aside while the spool is tried, so that it is tried by whom it is for. Returns what can be used, but hardly was meant so.
///
/// # Errors
/// Every fault found.
pub fn test(config: &Config) -> Result<Vec<Fault>, Vec<Fault>> {
    let prepared = Prepared::new(config, &Registry::default(), Root::SetAside)?;
    let doubts = prepared.proxies.iter().flat_map(|proxy| &proxy.doubts);
    Ok(config.warnings.iter().chain(doubts).cloned().collect())
}

/// The process that listens on this port, as far as this one may know: `dovecot (process 123)`. Reads Linux's /proc.
pub(super) fn holder(address: SocketAddr) -> Option<String> {
    let inodes = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect::<Vec<_>>();
    let holds = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .find(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
    };
    let processes =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = processes.into_iter().find(|&pid| holds(pid).is_some())?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (process {pid})", name.trim().escape_debug()))
}

/// The inodes of the sockets that listen on this port, from a table of /proc/net.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
            let found = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTEN;
            found.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = holder(socket.local_addr().unwrap()).unwrap();
        assert!(holder.ends_with(&format!("(process {})", std::process::id())), "{holder}");
    }

    #[test]
    fn only_listeners_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0456 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n\
            1: 0100007F:0456 0100007F:0999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0\n\
            2: nonsense\n";
        assert_eq!(listening_inodes(table, 0x456), ["111"]);
    }
}
