//! Waiting for one socket, with a deadline, and with an ear for the end of the process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a socket has to become before an operation can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Readable,
    Writable,
}

impl Need {
    pub(crate) fn flags(self) -> PollFlags {
        match self {
            Need::Readable => PollFlags::POLLIN,
            Need::Writable => PollFlags::POLLOUT,
        }
    }
}

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// The deadline is over.
    TimedOut,
    /// The process is about to end: the stop pipe was closed.
    Stopped,
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Interrupted::TimedOut => "timed out",
            Interrupted::Stopped => "stopped, the program is ending",
        })
    }
}

/// How long a wait may last: until a moment, or until the stop pipe is closed at its other end.
#[derive(Clone, Copy)]
pub struct Until<'a> {
    pub deadline: Instant,
    pub stop: BorrowedFd<'a>,
}

impl Until<'_> {
    /// The same stop, an earlier deadline where `limit` (from now) is shorter.
    pub fn at_most(self, limit: Duration) -> Self {
        Until { deadline: self.deadline.min(Instant::now() + limit), stop: self.stop }
    }
}

/// A pipe whose reading end wakes every sleeper once the writing end is dropped.
///
/// # Errors
/// The process has no file descriptor left.
pub fn stop_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK)?)
}

/// Waits until the socket is as needed, or broken (the operation itself then tells how).
///
/// # Errors
/// [`Interrupted`] says which end came first.
pub fn wait(socket: impl AsFd, need: Need, until: Until<'_>) -> Result<(), Interrupted> {
    loop {
        let mut fds = [PollFd::new(socket.as_fd(), need.flags()), PollFd::new(until.stop, PollFlags::POLLIN)];
        poll_until(&mut fds, Some(until.deadline));
        if happened(&fds[1]) {
            return Err(Interrupted::Stopped);
        }
        if happened(&fds[0]) {
            return Ok(());
        }
        if Instant::now() >= until.deadline {
            return Err(Interrupted::TimedOut);
        }
    }
}

/// Sleeps until the stop pipe is closed (true) or the time is over (false).
pub fn sleep(limit: Duration, stop: BorrowedFd<'_>) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let mut fds = [PollFd::new(stop, PollFlags::POLLIN)];
        poll_until(&mut fds, Some(deadline));
        if happened(&fds[0]) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
    }
}

/// Whether poll had anything to say of it.
pub(crate) fn happened(fd: &PollFd<'_>) -> bool {
    fd.revents().is_some_and(|events| !events.is_empty())
}

/// poll(2) until the deadline. May return early with nothing (a signal, a deadline too far for one call): the caller looks
/// at the clock anyway. Whether there is anything to look at.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> bool {
    let timeout = match deadline {
        None => PollTimeout::NONE,
        Some(deadline) => {
            // Rounded up: a poll that returns a fraction of a millisecond early would be repeated with a timeout of nothing.
            let left = deadline.saturating_duration_since(Instant::now());
            let ms = left.as_micros().div_ceil(1000).min(i32::MAX as u128);
            PollTimeout::try_from(ms as i32).unwrap_or(PollTimeout::MAX)
        }
    };
    match poll(fds, timeout) {
        Ok(ready) => ready > 0,
        Err(Errno::EINTR) => false,
        // ENOMEM is all that can be left: a short rest instead of a busy loop.
        Err(_) => {
            std::thread::sleep(Duration::from_millis(20));
            false
        }
    }
}
