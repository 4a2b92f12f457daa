//! Sleeping until there is something to do, and the limits to that.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags};

use super::{Buffer, End, Farewell, LOOK_EVERY, Leg, Pace, Pump, Side, index, name};
use crate::net::wait::{Need, happened, poll_until};

/// The limits that end a session from outside.
#[derive(Clone, Copy)]
enum Limit {
    Idle,
    Login,
    Stalled(Side),
    ClientClosed,
    ClientGone,
    Finish,
    /// No limit: the protocol wants to know that nobody speaks.
    Rest,
}

impl Pump<'_, '_> {
    /// Sleeps until a socket is ready, or ends the session because a limit is over. `busy`: looks, but does not sleep.
    pub(super) fn sleep(&mut self, busy: bool) {
        if !busy && self.listens_to_one() {
            return;
        }
        let (deadline, limit) = self.next_limit();
        if deadline <= Instant::now() {
            return match limit {
                Limit::Rest => self.rest(),
                limit => self.end_by(limit),
            };
        }
        let (events, ready_already) = self.wanted();
        if ready_already && !busy {
            return;
        }
        let now = Instant::now();
        let step = self.connections.repose.next(self.settings.rest_after).map(|pause| now + pause);
        let until = if busy { now } else { step.map_or(deadline, |step| step.min(deadline)) };
        // For a moment nobody need hear that the program ends.
        let listens = busy || !self.connections.repose.is_awake() || now >= self.connections.last_look + LOOK_EVERY;
        if listens {
            self.connections.last_look = now;
        }
        let happens = self.poll(events, listens, until);
        if self.connections.stopped {
            self.end_hard("the program is ending".to_owned(), Farewell::Shutdown);
        } else if !busy && !happens && step.is_some_and(|step| step <= Instant::now()) && self.connections.repose.step()
        {
            self.doze_off();
        }
    }

    /// In a dialogue it is one side's turn: the next read of it may wait, for a moment, and there is no need of a poll before that (nor of its timer: two
    /// interrupts of the machine). The other side, the limits and the stop pipe are looked at after that moment.
    fn listens_to_one(&mut self) -> bool {
        let turn = if self.protocol.awaits_server() { Side::Server } else { Side::Client };
        let connections = &*self.connections;
        if !connections.repose.is_awake()
            || connections.talk.spoke_last() != Some(turn.other())
            || connections.last_look.elapsed() >= LOOK_EVERY
            || !self.host.wire().queues.iter().all(Buffer::is_empty)
        {
            return false;
        }
        let free = |leg: &Leg| {
            let silent = leg.stream.as_ref().is_some_and(|stream| stream.buffered() == 0);
            silent && !leg.may_read && leg.broken.is_none() && leg.closed.is_none() && leg.read_need == Need::Readable
        };
        if !connections.legs.iter().all(free) || !self.wants_read(turn) {
            return false;
        }
        let leg = self.leg(turn);
        leg.hasty = leg.hasty.saturating_sub(1);
        if leg.hasty > 0 {
            return false;
        }
        (leg.may_read, leg.patient) = (true, true);
        self.connections.polls += 1;
        true
    }

    /// Sleeps until there is something to do, and does nothing of it.
    pub(super) fn watch(&mut self) {
        let (events, ready_already) = self.wanted();
        let mut happens = ready_already;
        while !happens {
            let (deadline, _) = self.next_limit();
            happens = self.poll(events, true, deadline) || deadline <= Instant::now();
        }
    }

    /// What to ask the sockets, and whether there is something that they do not know of.
    fn wanted(&mut self) -> ([PollFlags; 2], bool) {
        let wants_read = [self.wants_read(Side::Client), self.wants_read(Side::Server)];
        let mut ready_already = false;
        let mut events = [PollFlags::empty(); 2];
        for side in [Side::Client, Side::Server] {
            let i = index(side);
            let leg = &mut self.connections.legs[i];
            if wants_read[i] {
                // poll does not see what was read and decrypted already. Where TLS has to write first, that does not help it.
                let buffered = leg.stream.as_ref().is_some_and(|stream| stream.buffered() > 0);
                leg.may_read |= buffered && leg.read_need == Need::Readable;
                ready_already |= leg.may_read;
                events[i] |= leg.read_need.flags();
            }
            if !self.host.wire().queue(side).is_empty() {
                events[i] |= self.connections.legs[i].write_need.flags();
            }
        }
        (events, ready_already)
    }

    /// Sleeps until a socket is ready, and remembers what for. Whether anything has happened. `listens`: for the stop pipe, too.
    fn poll(&mut self, events: [PollFlags; 2], listens: bool, until: Instant) -> bool {
        let stop = PollFd::new(self.settings.stop, PollFlags::POLLIN);
        let mut fds = [stop.clone(), stop.clone(), stop];
        let mut polled = [None; 2];
        let mut count = usize::from(listens);
        for (i, leg) in self.connections.legs.iter().enumerate() {
            if let (Some(stream), None) = (&leg.stream, leg.broken) {
                // Also with nothing to ask for: poll then still tells that the peer is dead.
                polled[i] = Some(count);
                fds[count] = PollFd::new(stream.as_fd(), events[i]);
                count += 1;
            }
        }
        let happens = poll_until(&mut fds[..count], Some(until));
        let stopped = listens && happened(&fds[0]);
        let found = polled.map(|at| at.and_then(|at| fds[at].revents()).unwrap_or(PollFlags::empty()));
        for (leg, found) in self.connections.legs.iter_mut().zip(found) {
            leg.may_read |= found.intersects(leg.read_need.flags());
            leg.may_write |= found.intersects(leg.write_need.flags());
            if found.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
                leg.break_off();
            }
        }
        self.connections.polls += 1;
        self.connections.stopped |= stopped;
        happens
    }

    /// Gives back what a sleeping session does not need, and acknowledges what was read: a peer that writes a message and then its end waits under Nagle's
    /// algorithm for our acknowledgement, which the kernel delays by 40 ms (an APPEND took 45 ms instead of 2). In a dialogue our own octets carry it.
    fn doze_off(&mut self) {
        self.protocol.release();
        for side in [Side::Client, Side::Server] {
            self.host.wire().queue(side).release();
            let leg = &mut self.connections.legs[index(side)];
            leg.input.release();
            if let Some(stream) = &mut leg.stream {
                if std::mem::take(&mut leg.unacknowledged) {
                    stream.acknowledge();
                }
                stream.release();
            }
        }
    }

    fn rest(&mut self) {
        self.connections.last_rest = Instant::now();
        self.protocol.rested(self.host);
        self.connections.legs.iter_mut().for_each(|leg| leg.held = false);
    }

    /// The next moment at which a limit is over, and which limit that is.
    fn next_limit(&mut self) -> (Instant, Limit) {
        let idle = self.settings.idle_timeout;
        let mut next = (self.connections.talk.over(), Limit::Idle);
        let mut also = |at: Instant, limit| {
            if at < next.0 {
                next = (at, limit);
            }
        };
        if !self.host.identified() {
            also(self.settings.login_deadline, Limit::Login);
        }
        for side in [Side::Client, Side::Server] {
            if !self.host.wire().queue(side).is_empty() {
                let now = Instant::now();
                let stalled = self.connections.legs[index(side)].stalled.get_or_insert_with(|| Pace::new(idle, now));
                also(stalled.over(), Limit::Stalled(side));
            }
        }
        if let Some(rest) = self.protocol.rest() {
            also(self.connections.talk.last_heard().max(self.connections.last_rest) + rest, Limit::Rest);
        }
        let [client, server] = &self.connections.legs;
        let left = client.closed.as_ref().map(|closed| closed.at).into_iter().chain(client.broken).min();
        if let Some(left) = left
            && self.protocol.finishing()
        {
            also(server.last_read.max(left) + self.settings.client_closed_wait, Limit::Finish);
            also(left + self.settings.finish_wait, Limit::Finish);
            return next;
        }
        if let Some(closed) = &client.closed {
            also(
                server.last_read.max(client.last_write).max(closed.at) + self.settings.client_closed_wait,
                Limit::ClientClosed,
            );
        }
        if let Some(since) = client.broken {
            also(since + self.settings.client_gone_wait, Limit::ClientGone);
        }
        next
    }

    fn end_by(&mut self, limit: Limit) {
        let awaits_server = self.protocol.awaits_server();
        let stuck = !self.host.wire().queue(Side::Server).is_empty();
        let silent = if awaits_server || stuck { Farewell::Silent } else { Farewell::Timeout };
        let (why, farewell) = match limit {
            Limit::Idle => (self.idle_because(awaits_server), silent),
            Limit::Login if awaits_server => ("the server did not answer in time (login_timeout)".to_owned(), silent),
            Limit::Login => ("no login in time (login_timeout)".to_owned(), silent),
            Limit::Stalled(side) => (self.took_nothing(side), silent),
            Limit::ClientClosed => {
                ("the client closed, and the server did not answer in time".to_owned(), Farewell::Lost)
            }
            Limit::Finish => (
                "the client left, and the server did not give in time what was due to the archive".to_owned(),
                Farewell::Lost,
            ),
            Limit::Rest => return,
            Limit::ClientGone => ("the client went away".to_owned(), Farewell::Lost),
        };
        self.end_hard(why, farewell);
    }

    /// Why it has come to the idle timeout. Who takes nothing also keeps the other side from saying anything.
    fn idle_because(&mut self, awaits_server: bool) -> String {
        let idle = self.settings.idle_timeout;
        for side in [Side::Client, Side::Server] {
            if !self.host.wire().queue(side).is_empty() {
                return self.took_nothing(side);
            }
        }
        if let Some(side) = self.connections.talk.dripping(Instant::now()) {
            return format!("the {} said next to nothing for {} s (idle_timeout)", name(side), idle.as_secs());
        }
        if awaits_server {
            return format!("the server did not answer for {} s (idle_timeout)", idle.as_secs());
        }
        format!("nobody said anything for {} s (idle_timeout)", idle.as_secs())
    }

    fn took_nothing(&self, side: Side) -> String {
        let idle = self.settings.idle_timeout.as_secs();
        format!("the {} took nothing, or next to nothing, for {idle} s (idle_timeout)", name(side))
    }

    /// Ends it from outside, with a last line in the protocol's words where that can be understood.
    fn end_hard(&mut self, why: String, farewell: Farewell) {
        if let Some(line) = self.protocol.farewell(farewell) {
            self.host.wire().send(Side::Client, &line);
        }
        self.host.wire().end(End::Fault(why));
    }
}
