//! Plays a script: two clients, each with a proxy's session of its own, and the model server behind them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use super::client::Client;
use super::host::{Archive, SharedHost};
use super::server::{Around, Server};
use super::steps::{Case, Say, Step, mailbox};
use super::world::{DELETED, MAILBOXES, SEEN, TRASH, World};
use crate::config::{Follow, TlsMode};
use crate::protocol::imap::tests::shared;
use crate::protocol::imap::{FolderRules, Imap, Settings};
use crate::protocol::{End, Origin, Protocol, Side};

/// Rounds after which nothing may move any more.
const ROUNDS_MAX: usize = 5000;

/// A client, its session in the proxy, and the server's.
struct Link {
    protocol: Imap,
    host: SharedHost,
    client: Client,
    server: Server,
    /// Said by the client, and not at the proxy yet.
    said: Vec<u8>,
    waiting: [Vec<u8>; 2],
    held: [bool; 2],
    /// The client has closed its side, and the proxy has been told; the server's side is closed.
    leaves: bool,
    left: bool,
    server_left: bool,
}

pub(super) struct Game {
    pub(super) world: World,
    archive: Rc<RefCell<Archive>>,
    folders: Arc<FolderRules>,
    links: Vec<Link>,
    case: Case,
    sessions: usize,
    /// Messages that were kept, in order.
    pub(super) kept: Vec<Vec<u8>>,
    /// At most so many octets at once.
    piece: usize,
    pub(super) heard: Vec<Vec<u8>>,
}

impl Game {
    pub(super) fn new(case: &Case, piece: usize) -> Game {
        let mut world = World::new(case.ways);
        for (to, len) in &case.messages {
            let content = world.make(*len);
            world.deliver(mailbox(*to), &content, 0);
        }
        let mut game = Game {
            world,
            archive: Rc::default(),
            folders: Arc::new(FolderRules::new(&shared())),
            links: Vec::new(),
            case: case.clone(),
            sessions: 0,
            kept: Vec::new(),
            piece,
            heard: vec![Vec::new(); 2],
        };
        game.archive.borrow_mut().refusals = case.refusals.clone();
        for number in 0..2 {
            let link = game.connect(number);
            game.links.push(link);
            game.log_in(number);
        }
        game
    }

    fn connect(&mut self, number: usize) -> Link {
        self.sessions += 1;
        let settings = Settings {
            listen_tls: TlsMode::None,
            upstream_tls: TlsMode::Implicit,
            default_domain: "example.org".to_owned(),
            folders: self.folders.clone(),
            follow: self.case.follow,
            trouble: Arc::default(),
            own_tag: "X".to_owned(),
        };
        Link {
            protocol: Imap::new(settings),
            host: SharedHost::new(self.archive.clone()),
            client: Client::new(self.case.tags[number]),
            server: Server::new(number),
            said: Vec::new(),
            waiting: Default::default(),
            held: [false; 2],
            leaves: false,
            left: false,
            server_left: false,
        }
    }

    fn log_in(&mut self, number: usize) {
        let line = self.links[number].client.log_in();
        self.links[number].said.extend(line);
        self.quiet(number);
        if self.case.selected {
            self.say(number, &Say::Select(0, false));
            self.quiet(number);
        }
    }

    pub(super) fn play(&mut self) {
        for step in self.case.steps.clone() {
            self.step(&step);
        }
        for number in 0..2 {
            self.rest_until_all_is_followed(number);
        }
        for number in 0..2 {
            self.end(number, self.case.steps.len() % 2 == number);
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        self.world.log.push(format!("{step:?}"));
        match step {
            Step::Say(number, say, waits) => {
                self.say(*number, say);
                if *waits {
                    self.quiet(*number);
                }
            }
            Step::Up(number, octets) => drop(self.up(*number, *octets)),
            Step::Serve(number) => drop(self.serve(*number)),
            Step::Down(number, octets) => drop(self.down(*number, *octets)),
            Step::Push(number) => self.links[*number].server.push(&self.world),
            Step::Rest(number) => drop(self.rest(*number)),
            Step::Quiet(number) => self.quiet(*number),
            Step::Leave(number) => {
                self.links[*number].leaves = true;
                self.up(*number, usize::MAX);
            }
            Step::Deliver { to, len, flags } => {
                let content = self.world.make(*len);
                self.world.deliver(mailbox(*to), &content, *flags);
            }
            Step::Flag { of, nth, deleted } => {
                let flag = if *deleted { DELETED } else { SEEN };
                self.world.mark_past(mailbox(*of), usize::from(*nth), flag);
            }
            Step::Remove { of, nth } => self.world.remove_past(mailbox(*of), usize::from(*nth)),
        }
        for number in 0..2 {
            if self.links[number].is_over() {
                self.end(number, false);
                self.links[number] = self.connect(number);
                self.log_in(number);
            }
        }
    }

    fn say(&mut self, number: usize, say: &Say) {
        let (link, world) = (&mut self.links[number], &mut self.world);
        if link.leaves {
            return;
        }
        let ever = world.lens(link.client.view.as_ref().map(|view| view.mailbox));
        let text = link.client.say(say, |len| world.make(len), |uid| ever.get(&uid).copied().unwrap_or(0));
        if let Some(text) = text {
            self.world.log.push(format!("    client {number} says {}", text[..text.len().min(150)].escape_ascii()));
            link.said.extend(text);
        }
    }

    /// Octets of the client's for the proxy. Whether there were any.
    fn up(&mut self, number: usize, octets: usize) -> bool {
        let link = &mut self.links[number];
        let octets = octets.min(link.said.len());
        let bytes: Vec<u8> = link.said.drain(..octets).collect();
        self.feed(number, Side::Client, &bytes);
        let link = &mut self.links[number];
        if link.leaves && !link.left && link.said.is_empty() && link.waiting[0].is_empty() {
            link.left = true;
            link.client.left = true;
            self.closed(number, Side::Client);
            return true;
        }
        octets > 0
    }

    fn serve(&mut self, number: usize) -> bool {
        let link = &mut self.links[number];
        let archive = self.archive.borrow();
        let mut around = Around {
            world: &mut self.world,
            archive: &archive,
            intents: &link.client.intents,
            idle_may_end: link.client.said_done || link.left,
            left: link.left,
            logs_out: link.client.logs_out,
        };
        link.server.serve(&mut around)
    }

    fn down(&mut self, number: usize, octets: usize) -> bool {
        let link = &mut self.links[number];
        let bytes = link.server.take_output(octets);
        let moved = !bytes.is_empty();
        self.feed(number, Side::Server, &bytes);
        let link = &mut self.links[number];
        let all_came = link.server.waiting() == 0 && link.waiting[1].is_empty();
        if link.server.closed && all_came && !link.server_left {
            link.server_left = true;
            self.closed(number, Side::Server);
            return true;
        }
        moved
    }

    fn rest(&mut self, number: usize) -> bool {
        let link = &mut self.links[number];
        // Silence means that nothing is on its way.
        let silent = link.said.is_empty()
            && link.server.waiting() == 0
            && link.host.up.bytes.is_empty()
            && link.server.input.bytes.is_empty();
        if link.host.end.is_some() || !silent || link.protocol.rest().is_none() {
            return false;
        }
        self.world.log.push(format!("    rest {number}"));
        link.protocol.rested(&mut link.host);
        link.held = [false; 2];
        self.pump(number, Side::Client);
        true
    }

    /// All arrives.
    fn quiet(&mut self, number: usize) {
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "this has no end");
            let mut moved = false;
            while self.up(number, self.piece) {
                moved = true;
            }
            while self.serve(number) {
                moved = true;
            }
            while self.down(number, self.piece) {
                moved = true;
            }
            if !moved {
                break;
            }
        }
        let link = &self.links[number];
        if link.host.end.is_some() || link.left {
            return;
        }
        let open: Vec<_> = link
            .client
            .open
            .iter()
            .filter(|_| !link.client.idle)
            .map(|open| open.tag.escape_ascii().to_string())
            .collect();
        assert!(open.is_empty(), "client {number} waits for {open:?}, and nobody says anything");
        let (heard, told) = (link.client.view.as_ref(), link.server.selected.as_ref());
        let heard = heard.map(|view| (view.mailbox, &view.uids));
        assert_eq!(heard, told.map(|selected| (selected.mailbox, &selected.uids)), "the views of client and server");
    }

    fn rest_until_all_is_followed(&mut self, number: usize) {
        self.quiet(number);
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "following has no end");
            if !self.rest(number) {
                break;
            }
            self.quiet(number);
        }
        let link = &self.links[number];
        let Some(selected) = &link.server.selected else { return };
        let wanted = match self.case.follow {
            Follow::No => false,
            Follow::Inbox => selected.mailbox == 0,
            Follow::All => selected.mailbox != TRASH,
        };
        // In an IDLE that the server knows of nothing can be asked for.
        if !wanted || link.host.end.is_some() || link.left || self.has_refused() || link.server.idle.is_some() {
            return;
        }
        for uid in &selected.uids {
            if let Some(message) = self.world.find(selected.mailbox, *uid) {
                let kept = self.archive.borrow().has(&message.content);
                assert!(kept, "message {uid} of {} is not followed", MAILBOXES[selected.mailbox]);
            }
        }
    }

    /// The client leaves, in the one way or the other, and its session comes to an end.
    fn end(&mut self, number: usize, logs_out: bool) {
        self.world.log.push(format!("client {number} leaves"));
        if !self.links[number].is_over() {
            self.quiet(number);
        }
        if logs_out {
            // The first one may be DONE.
            for _ in 0..2 {
                self.say(number, &Say::Logout);
                self.quiet(number);
            }
        }
        if !self.links[number].is_over() {
            self.links[number].leaves = true;
            self.quiet(number);
        }
        let refused = self.has_refused();
        let link = &mut self.links[number];
        let fault = matches!(link.host.end, Some(End::Fault(_)));
        assert!(!fault || refused, "session {number} ended: {:?}", link.host.end);
        if link.host.end.is_none() {
            assert!(!link.protocol.outstanding(), "session {number} has no end");
            link.protocol.over(&mut link.host);
        }
        let left = link.host.over();
        // What had left for the server arrives.
        while self.serve(number) {}
        let link = &mut self.links[number];
        assert_eq!(left, 0, "drafts are left");
        let got = std::mem::take(&mut link.client.got);
        self.look_at_what_is_kept();
        let link = &self.links[number];
        // Behind half a command nothing can be asked for; then it has to be told.
        let excused = link.client.is_midway() && !link.host.warnings.is_empty();
        for (mailbox, uid, content) in got {
            let there = mailbox != TRASH && self.world.find(mailbox, uid).is_some();
            if there && !refused && !excused {
                let kept = self.archive.borrow().has(&content);
                let shown = content[..content.len().min(60)].escape_ascii();
                assert!(kept, "message {uid} of {} was read and is not kept: {shown}", MAILBOXES[mailbox]);
            }
        }
    }

    fn has_refused(&self) -> bool {
        self.world.has_refused || self.archive.borrow().has_refused
    }

    fn closed(&mut self, number: usize, side: Side) {
        let link = &mut self.links[number];
        if link.host.end.is_none() {
            self.world.log.push(format!("    {side:?} {number} closes"));
            link.protocol.eof(side, &mut link.host);
            link.held = [false; 2];
            self.pump(number, side.other());
        }
    }

    fn feed(&mut self, number: usize, from: Side, bytes: &[u8]) {
        self.links[number].waiting[index(from)].extend_from_slice(bytes);
        self.pump(number, from);
    }

    fn pump(&mut self, number: usize, first: Side) {
        self.collect(number);
        let mut heard = true;
        while heard {
            heard = false;
            for side in [first, first.other()] {
                heard |= self.give(number, side);
                self.collect(number);
            }
        }
    }

    /// As the real host delivers: a side that is held back hears nothing until the other one was heard.
    fn give(&mut self, number: usize, side: Side) -> bool {
        let link = &mut self.links[number];
        let waiting = std::mem::take(&mut link.waiting[index(side)]);
        if link.host.end.is_some() || waiting.is_empty() {
            return false;
        }
        if link.held[index(side)] {
            link.waiting[index(side)] = waiting;
            return false;
        }
        let before = link.host.heard;
        if side == Side::Server {
            link.host.heard += waiting.len() as u64;
        }
        let taken = link.protocol.input(side, &waiting, &mut link.host);
        if side == Side::Server {
            link.host.heard = before + taken as u64;
        }
        link.held[index(side)] = taken < waiting.len();
        link.waiting[index(side)] = waiting[taken..].to_vec();
        if taken > 0 {
            link.held[index(side.other())] = false;
        }
        taken > 0
    }

    /// What the proxy said reaches the server's input, and the client.
    fn collect(&mut self, number: usize) {
        let refused = self.has_refused();
        let (link, world) = (&mut self.links[number], &mut self.world);
        link.host.up.pass_to(&mut link.server.input);
        self.heard[number].extend_from_slice(&link.host.down.bytes);
        let archive = self.archive.borrow();
        let kept = |content: &[u8], count: usize| archive.had(content, count);
        let says = link.client.hear(&mut link.host.down, &mut link.server, refused, kept, &mut world.log);
        if !link.leaves {
            link.said.extend(says);
        }
        drop(archive);
        if self.links.len() == 2 {
            self.look_at_what_is_kept();
        }
    }

    /// What was kept is a message of that folder, with its own date and name.
    fn look_at_what_is_kept(&mut self) {
        let fresh = std::mem::take(&mut self.archive.borrow_mut().fresh);
        for kept in fresh {
            let shown = kept.content[..kept.content.len().min(60)].escape_ascii().to_string();
            self.world.log.push(format!("    kept in {:?} as {:?}: {shown}", kept.folder, kept.origin));
            let mailbox = match kept.folder.as_str() {
                "" => 0,
                ".Work" => 1,
                other => panic!("something is kept in {other}"),
            };
            assert!(
                kept.unsure || self.world.was_in(mailbox, &kept.content),
                "what is kept is no message of {}: {shown}",
                MAILBOXES[mailbox]
            );
            if let Some(date) = kept.date {
                assert_eq!(date, self.world.dates[&kept.content], "the date of {shown}");
            }
            if let Some(Origin::Imap { mailbox: name, uid_validity, uid }) = &kept.origin {
                let lasts = !self.world.ways.no_validity && !self.world.ways.not_sticky;
                assert!(lasts, "an origin that does not last");
                assert_eq!(name, MAILBOXES[mailbox].as_bytes());
                assert_eq!(*uid_validity, self.world.mailboxes[mailbox].uid_validity);
                assert!(self.world.had(mailbox, *uid, &kept.content), "{shown} is not message {uid}");
            }
            self.kept.push(kept.content);
        }
    }

    pub(super) fn executed(&self, number: usize) -> HashSet<Vec<u8>> {
        self.links[number].server.executed.clone()
    }
}

impl Link {
    /// Nothing more comes of it.
    fn is_over(&self) -> bool {
        self.host.end.is_some() || self.left && !self.protocol.outstanding()
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Server)
}
