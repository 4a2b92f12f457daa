//! A FETCH response on its way: read, kept, passed, or withheld where its message cannot be kept.

use super::State;
use crate::protocol::imap::Imap;
use crate::protocol::imap::capture::Reading;
use crate::protocol::imap::fetch::{Event, FetchParser, Item};
use crate::protocol::{Host, Refused, Side};

/// So much of a FETCH response is held until it is certain that its message can be kept.
const HELD_MAX: usize = 16 * 1024;

/// The FETCH response in progress.
pub(super) struct Fetch {
    parser: FetchParser,
    delivery: Delivery,
    /// What waits of it, of the pieces that came before.
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// Nothing has been forwarded yet.
    Held,
    Passing,
    /// Its message cannot be kept: it does not pass.
    Withheld,
}

impl Fetch {
    pub(super) fn new() -> Fetch {
        Fetch { parser: FetchParser::new(), delivery: Delivery::Held, held: Vec::new() }
    }

    /// What is held passes.
    fn let_go(&mut self, host: &mut dyn Host) {
        if !self.held.is_empty() {
            host.send(Side::Client, &self.held);
            self.held.clear();
        }
    }
}

/// The number, and how long the beginning is, of what begins with `* n FETCH `.
pub(super) fn head(response: &[u8]) -> Option<(Option<u32>, usize)> {
    let behind = response.strip_prefix(b"* ")?;
    let digits = &behind[..behind.iter().position(|b| !b.is_ascii_digit())?];
    let word = behind[digits.len()..].strip_prefix(b" ")?.get(..b"FETCH ".len())?;
    let head = 2 + digits.len() + 1 + b"FETCH".len();
    let number = || std::str::from_utf8(digits).ok()?.parse().ok();
    (!digits.is_empty() && word.eq_ignore_ascii_case(b"FETCH ")).then(|| (number(), head))
}

impl Imap {
    /// A FETCH response begins, of which `head` octets are read. Returns how many were taken of the bytes.
    pub(super) fn fetch_begins(
        &mut self,
        number: Option<u32>,
        bytes: &[u8],
        head: usize,
        host: &mut dyn Host,
    ) -> usize {
        let fault = match number {
            None => Some("a message sequence number is too large"),
            Some(_) if self.login.is_none() => Some("it shows a message to nobody who is logged in"),
            Some(0) => Some("it speaks of message 0"),
            Some(_) => None,
        };
        let (None, Some(number)) = (fault, number) else {
            self.lost(fault.unwrap_or_default(), host);
            return head;
        };
        if self.own.fetches() || self.own.is_private() {
            self.server.state = State::Own(self.own_fetch_begins(number));
            return head;
        }
        let destination = self.destination();
        self.capture.begin(number, destination);
        self.server.fetch().parser.begin();
        self.server.fetch().delivery = Delivery::Held;
        self.server.fetch().held.clear();
        self.server.state = State::Fetch;
        self.fetch(bytes, head, host)
    }

    /// Octets of a FETCH response. The first ones, `read` of them, have been read and wait to be delivered.
    pub(super) fn fetch(&mut self, bytes: &[u8], read: usize, host: &mut dyn Host) -> usize {
        let (mut at, mut delivered) = (read, 0);
        while at < bytes.len() {
            let (taken, event) = self.server.fetch().parser.next(&bytes[at..]);
            at += taken;
            match event {
                Event::Nothing => continue,
                Event::Lost(what) => {
                    // What stands before it passes, whatever the pieces that it came in.
                    self.deliver(&bytes[delivered..at - 1], host);
                    self.server.state = State::Line;
                    self.lost(what, host);
                    return at;
                }
                Event::Complete => {
                    self.fetch_over(&bytes[delivered..at], host);
                    return at;
                }
                _ => {}
            }
            let mut reading = Reading::AsNamed;
            if let Event::Begin(item, len) = event
                && self.capture.keeps()
            {
                reading = self.reading(item, len, host);
            }
            if let Err(refused) = self.capture.event(&event, reading, host)
                && !self.withhold(refused)
            {
                return self.give_up_fetch(at, host);
            }
            // What is held is gathered here, and not copied, where all of it comes at once.
            let fetch = self.server.fetch();
            if fetch.delivery != Delivery::Held || fetch.held.len() + at - delivered > HELD_MAX {
                self.deliver(&bytes[delivered..at], host);
                delivered = at;
            }
        }
        self.deliver(&bytes[delivered..], host);
        at
    }

    /// The response is complete; `rest` is what has not been delivered of it.
    fn fetch_over(&mut self, rest: &[u8], host: &mut dyn Host) {
        self.server.state = State::Line;
        // The line end that completes the response does not pass before the message is dealt with.
        let (before, rest) = match self.server.fetch().delivery {
            Delivery::Passing => rest.split_at(rest.len() - 1),
            Delivery::Held | Delivery::Withheld => (&b""[..], rest),
        };
        self.deliver(before, host);
        match self.capture.complete(self.mailbox.as_ref(), host) {
            Ok(found) => {
                self.found(found, host);
                // A set of messages may be asked for by one command: what has to make room must not pile up until its end.
                self.stop_downloads(false, host);
            }
            Err(refused) if self.withhold(refused) => {}
            Err(_) => {
                self.give_up_fetch(0, host);
                return;
            }
        }
        let fetch = self.server.fetch();
        match fetch.delivery {
            Delivery::Withheld => fetch.held.clear(),
            Delivery::Held | Delivery::Passing => {
                fetch.let_go(host);
                host.send(Side::Client, rest);
            }
        }
        self.server.midway = false;
        self.response_over(host);
    }

    /// Its message cannot be kept, and a part of it has passed.
    fn give_up_fetch(&mut self, taken: usize, host: &mut dyn Host) -> usize {
        self.server.state = State::Line;
        self.capture.abandon(host);
        self.not_kept(host);
        taken
    }

    /// The response's message cannot be kept. True: nothing of it has passed, and nothing will.
    fn withhold(&mut self, refused: Refused) -> bool {
        let unseen = self.server.fetch().delivery != Delivery::Passing;
        if unseen {
            self.server.fetch().delivery = Delivery::Withheld;
            // Whose answer it was is not said; a NO too many only makes the client ask again.
            self.commands.fetches().for_each(|withheld| *withheld = Some(refused));
        }
        unseen
    }

    fn deliver(&mut self, bytes: &[u8], host: &mut dyn Host) {
        let fetch = self.server.fetch();
        match fetch.delivery {
            _ if bytes.is_empty() => {}
            Delivery::Withheld => {}
            Delivery::Passing => host.send(Side::Client, bytes),
            Delivery::Held if fetch.held.len() + bytes.len() <= HELD_MAX => fetch.held.extend_from_slice(bytes),
            Delivery::Held => {
                fetch.let_go(host);
                host.send(Side::Client, bytes);
                fetch.delivery = Delivery::Passing;
                self.server.midway = true;
            }
        }
    }

    /// How the string that begins is to be taken. Of a message that is kept nothing more is looked at than what comes whole.
    fn reading(&mut self, item: Item, len: Option<u64>, host: &mut dyn Host) -> Reading {
        let (reading, sound) = self.commands.reading(item, len);
        if !sound {
            self.own.in_one = true;
        }
        let in_pieces = matches!(item, Item::Text) || matches!(reading, Reading::Chunk { .. } | Reading::Part);
        match in_pieces && self.is_known(self.capture.which(), host) {
            true => Reading::Passing,
            false => reading,
        }
    }
}
