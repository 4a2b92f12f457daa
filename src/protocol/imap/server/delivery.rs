//! A FETCH response on its way: read, kept, passed, or withheld where its message cannot be kept.

use super::State;
use crate::protocol::imap::Imap;
use crate::protocol::imap::capture::{Found, Reading};
use crate::protocol::imap::fetch::{Event, FetchParser, Item};
use crate::protocol::{Host, Refused, Side};

/// So much of a FETCH response is held until it is certain that its message can be kept.
const HELD_MAX: usize = 16 * 1024;

/// A FETCH response in progress.
pub(super) struct Fetch {
    parser: FetchParser,
    delivery: Delivery,
}

enum Delivery {
    /// Nothing has been forwarded yet.
    Held(Vec<u8>),
    Passing,
    /// Its message cannot be kept: it does not pass.
    Withheld,
}

impl Imap {
    pub(super) fn fetch_begins(&mut self, number: u32, line: &[u8], host: &mut dyn Host) {
        if self.login.is_none() {
            return self.lost("it shows a message to nobody who is logged in", host);
        }
        if number == 0 {
            return self.lost("it speaks of message 0", host);
        }
        // Behind `* n FETCH`.
        let head = line.iter().enumerate().filter(|(_, b)| **b == b' ').nth(2).map_or(line.len(), |(at, _)| at);
        let mut rest = &line[head..];
        if self.own.fetches() || self.own.is_private() {
            self.server.state = State::Own(self.own_fetch_begins(number));
            while !rest.is_empty() {
                let State::Own(fetch) = std::mem::replace(&mut self.server.state, State::Line) else { return };
                rest = &rest[self.own_fetch(fetch, rest, host)..];
            }
            return;
        }
        let destination = self.destination();
        self.capture.begin(number, destination);
        let fetch = Fetch { parser: FetchParser::new(), delivery: Delivery::Held(line[..head].to_vec()) };
        self.server.state = State::Fetch(Box::new(fetch));
        while !rest.is_empty() {
            let State::Fetch(fetch) = std::mem::replace(&mut self.server.state, State::Line) else { return };
            rest = &rest[self.fetch(fetch, rest, host)..];
        }
    }

    /// Octets of a FETCH response, up to the next event.
    pub(super) fn fetch(&mut self, mut fetch: Box<Fetch>, bytes: &[u8], host: &mut dyn Host) -> usize {
        let (taken, event) = fetch.parser.next(bytes);
        if let Event::Lost(what) = event {
            // What stands before it passes, whatever the pieces that it came in.
            self.deliver(&mut fetch, &bytes[..taken - 1], host);
            self.lost(what, host);
            return taken;
        }
        let mut reading = Reading::AsNamed;
        if let Event::Begin(item, len) = event
            && self.capture.keeps()
        {
            reading = self.reading(item, len, host);
        }
        // Passes first whatever the pieces that it came in; the line end that completes the response does not.
        let before = if event == Event::Complete { taken - 1 } else { 0 };
        self.deliver(&mut fetch, &bytes[..before], host);
        let result = match event {
            Event::Complete => self.capture.complete(self.mailbox.as_ref(), host),
            _ => self.capture.event(&event, reading, host).map(|()| Found::Nothing),
        };
        match result {
            Ok(found) => {
                self.found(found, host);
                if event == Event::Complete {
                    // A set of messages may be asked for by one command: what has to make room must not pile up until its end.
                    self.stop_downloads(false, host);
                }
            }
            Err(refused) if self.withhold(&mut fetch, refused) => {}
            Err(_) => {
                self.capture.abandon(host);
                self.not_kept(host);
                return taken;
            }
        }
        self.deliver(&mut fetch, &bytes[before..taken], host);
        match event {
            Event::Complete => {
                if let Delivery::Held(held) = &fetch.delivery {
                    host.send(Side::Client, held);
                }
                self.server.midway = false;
                self.response_over(host);
            }
            _ => self.server.state = State::Fetch(fetch),
        }
        taken
    }

    /// The response's message cannot be kept. True: nothing of it has passed, and nothing will.
    fn withhold(&mut self, fetch: &mut Fetch, refused: Refused) -> bool {
        let unseen = matches!(fetch.delivery, Delivery::Held(_) | Delivery::Withheld);
        if unseen {
            fetch.delivery = Delivery::Withheld;
            // Whose answer it was is not said; a NO too many only makes the client ask again.
            self.commands.fetches().for_each(|withheld| *withheld = Some(refused));
        }
        unseen
    }

    fn deliver(&mut self, fetch: &mut Fetch, bytes: &[u8], host: &mut dyn Host) {
        match &mut fetch.delivery {
            Delivery::Withheld => {}
            Delivery::Passing => host.send(Side::Client, bytes),
            Delivery::Held(held) => {
                held.extend_from_slice(bytes);
                if held.len() > HELD_MAX {
                    host.send(Side::Client, held);
                    fetch.delivery = Delivery::Passing;
                    self.server.midway = true;
                }
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
