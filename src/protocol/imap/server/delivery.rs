//! A FETCH response on its way: read, kept, passed, or withheld where its message cannot be kept.

use super::State;
use crate::archive::Destination;
use crate::logging::escape;
use crate::protocol::imap::Imap;
use crate::protocol::imap::fetch::{Event, FetchParser, Item};
use crate::protocol::{Host, Refused, Side};

/// So much of a FETCH response is held until it is certain that its message can be kept.
const HELD_MAX: usize = 16 * 1024;

/// A FETCH response in progress.
pub(super) struct Fetch {
    parser: FetchParser,
    delivery: Delivery,
    /// What calls itself whole, or a text, but has at most so many octets is a piece: the client asked for pieces of that size.
    chunk: Option<u64>,
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
        let destination = self.login.as_ref().and_then(|owner| {
            let folder = match &self.mailbox {
                Some(mailbox) => self.settings.folders.place_fetched(owner, mailbox)?,
                None => crate::archive::Folder::inbox(),
            };
            Some(Destination { owner: owner.clone(), folder, outgoing: false })
        });
        self.capture.begin(number, destination);
        let chunk = self.commands.chunk();
        // Behind `* n FETCH`.
        let head = line.iter().enumerate().filter(|(_, b)| **b == b' ').nth(2).map_or(line.len(), |(at, _)| at);
        let fetch = Fetch { parser: FetchParser::new(), delivery: Delivery::Held(line[..head].to_vec()), chunk };
        let mut rest = &line[head..];
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
            self.lost(what, host);
            return taken;
        }
        let mut chunked = false;
        if let Event::Begin(item, len) = event {
            let small = fetch.chunk.is_some_and(|chunk| len.is_none_or(|len| len <= chunk));
            chunked = matches!(item, Item::Whole | Item::Text) && small;
            if (item == Item::Piece || chunked) && self.capture.keeps() {
                self.note_pieces(host);
            }
        }
        // Passes first whatever the pieces that it came in; the line end that completes the response does not.
        let before = if event == Event::Complete { taken - 1 } else { 0 };
        self.deliver(&mut fetch, &bytes[..before], host);
        if let Err(refused) = self.capture.event(&event, chunked, host)
            && !self.withhold(&mut fetch, refused)
        {
            self.capture.abandon(host);
            self.not_kept(host);
            return taken;
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
            self.commands.fetches().for_each(|(_, withheld)| *withheld = Some(refused));
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

    /// Says once a session that what is fetched in pieces is not kept.
    fn note_pieces(&mut self, host: &mut dyn Host) {
        if std::mem::replace(&mut self.pieces_noted, true) {
            return;
        }
        let mailbox = self.mailbox.as_deref().map_or_else(|| "no folder".to_string(), escape);
        host.not_kept(&format!("the client fetches messages of {mailbox} in chunks or by parts; a message of which it got only these is not kept"));
    }
}
