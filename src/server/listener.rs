//! Listening: one socket and one thread for each address.
//!
//! The proxy behind an address can be changed while it listens (SIGHUP). Where the system has no file descriptor left, the
//! listener rests instead of spinning, says so once a minute, and goes on when there are some again.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind as bind_socket, listen, setsockopt, socket,
    sockopt,
};

use super::World;
use super::proxy::Proxy;
use super::session;
use crate::net::wait::{happened, poll_until, sleep, stop_pipe};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long to rest when there is no file descriptor for the next client.
const REST: Duration = Duration::from_millis(200);
/// How often that is told.
const TELL_EVERY_S: u64 = 60;

/// Binds an address and listens. An IPv6 address is IPv6 only, so that `0.0.0.0:110` and `[::]:110` can stand side by side.
///
/// # Errors
/// The system's.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind_socket(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(fd))
}

/// An address that is listened on, until this is dropped: then the socket is closed. Sessions go on.
pub(super) struct Listener {
    /// With the port really bound.
    pub(super) local: SocketAddr,
    proxy: Arc<Mutex<Arc<Proxy>>>,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Begins to accept clients.
    ///
    /// # Errors
    /// The system has no thread or no file descriptor left.
    pub(super) fn start(world: &Arc<World>, socket: TcpListener, proxy: Arc<Proxy>) -> io::Result<Listener> {
        let local = socket.local_addr()?;
        let (stop_read, stop_write) = stop_pipe()?;
        let proxy = Arc::new(Mutex::new(proxy));
        let body = {
            let (world, proxy) = (Arc::clone(world), Arc::clone(&proxy));
            move || accept_all(&world, &socket, &proxy, &stop_read)
        };
        let thread = thread::Builder::new().name(format!("listen {local}")).spawn(body)?;
        Ok(Listener { local, proxy, stop: Some(stop_write), thread: Some(thread) })
    }

    /// The next client is for this proxy.
    pub(super) fn change(&self, proxy: Arc<Proxy>) {
        *self.proxy.lock().unwrap_or_else(PoisonError::into_inner) = proxy;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic but by a bug, and then its socket is closed all the same.
            let _ = thread.join();
        }
    }
}

fn accept_all(world: &Arc<World>, socket: &TcpListener, proxy: &Mutex<Arc<Proxy>>, stop: &OwnedFd) {
    loop {
        let mut fds = [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        poll_until(&mut fds, None);
        if happened(&fds[0]) {
            return;
        }
        match socket.accept() {
            Ok((tcp, client)) => {
                let proxy = Arc::clone(&proxy.lock().unwrap_or_else(PoisonError::into_inner));
                session::start(world, &proxy, tcp, client);
            }
            Err(e) => {
                // All else: nobody is there yet, or is gone already.
                let no_room = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
                if e.raw_os_error().is_some_and(|code| no_room.contains(&code)) {
                    tell_now_and_then(world.begun, &e);
                    if sleep(REST, stop.as_fd()) {
                        return;
                    }
                }
            }
        }
    }
}

fn tell_now_and_then(begun: Instant, e: &io::Error) {
    /// When it may be told again, seconds since the start.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = begun.elapsed().as_secs();
    let next = NEXT.load(Ordering::Relaxed);
    if now >= next && NEXT.compare_exchange(next, now + TELL_EVERY_S, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        log::error!(
            "clients have to wait: {e}; raise the limit of open files (ulimit -n, LimitNOFILE=) or lower max_sessions"
        );
    }
}
