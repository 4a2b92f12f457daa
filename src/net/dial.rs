//! Connecting to a server: every address of its name in turn, none of them waited for too long.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt};

use super::wait::{Interrupted, Need, Until, wait};

/// An address that does not answer must not use up the time of those behind it.
const ONE_ADDRESS: Duration = Duration::from_secs(10);

/// Connects to the first address of `host` that answers.
///
/// # Errors
/// A sentence with what went wrong at the last address (and how many there were), or with the name that does not resolve.
pub fn dial(host: &str, port: u16, until: Until<'_>) -> Result<TcpStream, String> {
    // getaddrinfo cannot be interrupted; its own limit is some seconds (resolv.conf).
    let addresses: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(e) => return Err(format!("{host} cannot be resolved: {e}")),
    };
    if let Err(why) = check(until) {
        return Err(format!("{host} was not resolved in time: {why} (look at the name servers in /etc/resolv.conf)"));
    }
    let mut last = format!("{host} has no address");
    for (n, address) in addresses.iter().enumerate() {
        match connect_to(*address, until.at_most(ONE_ADDRESS)) {
            Ok(tcp) => return Ok(tcp),
            Err(e) => last = format!("{address}: {e} (address {} of {})", n + 1, addresses.len()),
        }
        if let Err(why) = check(until) {
            return Err(format!("{last}; {why}"));
        }
    }
    Err(last)
}

/// Whether there is time left.
fn check(until: Until<'_>) -> Result<(), Interrupted> {
    if super::wait::sleep(Duration::ZERO, until.stop) {
        return Err(Interrupted::Stopped);
    }
    if std::time::Instant::now() >= until.deadline { Err(Interrupted::TimedOut) } else { Ok(()) }
}

fn connect_to(address: SocketAddr, until: Until<'_>) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS | Errno::EINTR) => {
            wait(&fd, Need::Writable, until).map_err(|why| match why {
                Interrupted::TimedOut => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
                Interrupted::Stopped => io::Error::other(why.to_string()),
            })?;
            match getsockopt(&fd, sockopt::SocketError)? {
                0 => {}
                errno => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    Ok(TcpStream::from(fd))
}
