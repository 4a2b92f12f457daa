//! Tells the service manager that started the program how it stands (sd_notify(3)): one datagram to the socket that `NOTIFY_SOCKET` names.
//! Without that variable nobody wants to know. What fails is told at debug: the manager has its own patience.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Every listener is bound.
pub(crate) const READY: &str = "READY=1";
/// The program was asked to end, and lets sessions finish.
pub(crate) const STOPPING: &str = "STOPPING=1";

pub(crate) fn tell(state: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(why) = send(socket.as_bytes(), state)
    {
        log::debug!("the service manager cannot be told {state}: {why}");
    }
}

fn send(socket: &[u8], state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_with_a_path_and_one_without_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("mailstore-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().as_bytes().to_vec()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into_bytes()),
        ] {
            send(&address, READY).unwrap();
            let mut heard = [0; 32];
            let octets = socket.recv(&mut heard).unwrap();
            assert_eq!(&heard[..octets], b"READY=1");
        }
        assert!(send(b"/nowhere/at/all", READY).is_err());
    }
}
