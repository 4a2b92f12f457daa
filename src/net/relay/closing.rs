//! The end of a session's connections: what is queued leaves, then close_notify and FIN, then the client's rest is drained.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::{Leg, Outcome, Pump, Side, index};
use crate::net::wait::{Need, happened, poll_until};

/// How long a queue may stand still before the rest is given up.
const FLUSH_STALL: Duration = Duration::from_secs(30);
/// How long a queue may take in all, however it crawls.
const FLUSH_MAX: Duration = Duration::from_secs(5 * 60);
/// How long closing may take when the program is ending.
const STOPPED: Duration = Duration::from_secs(2);
/// How long a client that still sends is listened to after our FIN.
const LINGER: Duration = Duration::from_secs(2);
/// How many octets of a peer are thrown away at most, after our FIN or while it takes nothing: a flood must not keep us busy.
const DISCARD_MAX: usize = 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Flushing,
    /// FIN sent (or there is nobody to send it to).
    Finished,
}

impl Pump<'_, '_> {
    /// Closes both connections.
    pub(super) fn close(&mut self) {
        let begun = Instant::now();
        let stall = FLUSH_STALL.min(self.settings.idle_timeout);
        let mut deadline = begun + if self.connections.stopped { STOPPED } else { stall };
        let mut state = [State::Flushing; 2];
        let mut lingering: Option<Instant> = None;
        let mut drained = [0; 2];
        let mut scratch = vec![0; 16 * 1024];
        for leg in &mut self.connections.legs {
            (leg.may_read, leg.may_write) = (true, true);
        }
        loop {
            let mut progress = false;
            for side in [Side::Client, Side::Server] {
                let i = index(side);
                if state[i] == State::Flushing && self.write(side) {
                    progress = true;
                    drained[i] = 0;
                    if !self.connections.stopped {
                        deadline = (Instant::now() + stall).min(begun + FLUSH_MAX);
                    }
                }
                let flushed = self.host.wire().queue(side).is_empty();
                let leg = &mut self.connections.legs[i];
                if state[i] == State::Flushing && flushed && leg.may_write && finish(leg) {
                    state[i] = State::Finished;
                    progress = true;
                }
                // Read on meanwhile: a peer that cannot get rid of its own bytes may not take ours.
                if drained[i] <= DISCARD_MAX {
                    drained[i] += discard(leg, &mut scratch);
                }
            }
            if state == [State::Finished; 2] {
                let since = *lingering.get_or_insert_with(|| {
                    drained[index(Side::Client)] = 0;
                    Instant::now()
                });
                deadline = deadline.min(since + LINGER);
                let client = &self.connections.legs[index(Side::Client)];
                if client.stream.is_none()
                    || client.closed.is_some()
                    || client.broken.is_some()
                    || drained[index(Side::Client)] > DISCARD_MAX
                {
                    return;
                }
            }
            if Instant::now() >= deadline {
                return;
            }
            if !progress {
                let listening = drained.map(|count| count <= DISCARD_MAX);
                self.sleep_closing(state, listening, &mut deadline);
            }
        }
    }

    fn sleep_closing(&mut self, state: [State; 2], listening: [bool; 2], deadline: &mut Instant) {
        let mut fds = Vec::with_capacity(3);
        let mut polled = [None; 2];
        for (i, leg) in self.connections.legs.iter().enumerate() {
            let mut events = PollFlags::empty();
            if state[i] == State::Flushing {
                events |= leg.write_need.flags();
            }
            if leg.closed.is_none() && listening[i] {
                events |= PollFlags::POLLIN;
            }
            if let (Some(stream), None, false) = (&leg.stream, leg.broken, events.is_empty()) {
                polled[i] = Some(fds.len());
                fds.push(PollFd::new(stream.as_fd(), events));
            }
        }
        if !self.connections.stopped {
            fds.push(PollFd::new(self.settings.stop, PollFlags::POLLIN));
        }
        self.connections.polls += 1;
        poll_until(&mut fds, Some(*deadline));
        let stopped = !self.connections.stopped && fds.last().is_some_and(happened);
        let found = polled.map(|at| at.and_then(|at| fds[at].revents()).unwrap_or(PollFlags::empty()));
        for (leg, found) in self.connections.legs.iter_mut().zip(found) {
            leg.may_read |= found.contains(PollFlags::POLLIN);
            leg.may_write |= found.intersects(leg.write_need.flags());
            if found.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
                leg.break_off();
            }
        }
        if stopped {
            self.connections.stopped = true;
            *deadline = (*deadline).min(Instant::now() + STOPPED);
        }
    }
}

/// Sends close_notify and FIN. True when that is done or cannot be done.
fn finish(leg: &mut Leg) -> bool {
    match leg.stream.as_mut().map(|stream| stream.close_write()) {
        Some(Outcome::WouldBlock(need)) => {
            leg.may_write = false;
            leg.write_need = need;
            false
        }
        _ => true,
    }
}

/// Throws away what the peer still says. Returns how many octets.
fn discard(leg: &mut Leg, scratch: &mut [u8]) -> usize {
    let mut count = 0;
    while leg.may_read && leg.closed.is_none() && count < scratch.len() * 4 {
        let Some(stream) = leg.stream.as_mut() else { break };
        match stream.discard(scratch) {
            Outcome::Ready(n) => count += n,
            Outcome::WouldBlock(_) => {
                leg.may_read = false;
                leg.read_need = Need::Readable;
            }
            Outcome::Eof { .. } => leg.closed = Some(super::Closed { at: Instant::now(), error: None }),
            Outcome::Error(e) => leg.closed = Some(super::Closed { at: Instant::now(), error: Some(e) }),
        }
    }
    count
}
