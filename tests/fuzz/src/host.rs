//! A host that watches what a protocol does: it fails where a promise breaks, and folds all that happened into one number.
//!
//! What is sent and appended is data: between two other actions it is joined for each channel, so that the number does not depend on how
//! the bytes came. In POP3 a draft counts when it is finished only: what `TOP` shows is gathered before one is begun, and whether that happens at all before it is
//! seen to be a part depends on the pieces.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use mailstore::archive::{Destination, Owner};
use mailstore::protocol::{DraftId, End, Host, Origin, Refused, Secret, Side};

use crate::kinds::Kind;
use crate::peers::{Heard, ImapClient, SmtpServer};

pub struct Watcher {
    kind: Kind,
    refuses: bool,
    knows_all: bool,
    /// What a text must not hold.
    secrets: Vec<Vec<u8>>,
    refuse: Vec<u8>,
    drafts: BTreeMap<DraftId, Draft>,
    drafts_begun: u32,
    /// What was appended.
    drafts_said: BTreeMap<DraftId, DefaultHasher>,
    login: Option<Owner>,
    /// Whose bytes the protocol is being given.
    pub hearing: Option<Side>,
    pub handshake: Option<Side>,
    pub ended: bool,
    digest: DefaultHasher,
    channels: BTreeMap<(u8, u32), DefaultHasher>,
    /// Where it is asked for: all that happened, in words.
    pub log: Option<Vec<String>>,
    texts: BTreeMap<(u8, u32), Vec<u8>>,
    /// Who listens, where the server says a line only when it was heard.
    pub server: Option<SmtpServer>,
    client: Option<ImapClient>,
    /// Of the message on its way the archive refused something.
    refused_message: bool,
    /// Some `begin` or `append` was refused.
    pub refused_early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draft {
    Open,
    Prepared,
    Finished,
}

/// Drafts that a session may have open at once: each is a file.
const DRAFTS_MAX: usize = 150;

impl Watcher {
    pub fn new(kind: Kind, refuses: bool, secrets: Vec<Vec<u8>>, verbose: bool) -> Watcher {
        Watcher {
            kind,
            refuses,
            knows_all: false,
            secrets,
            refuse: Vec::new(),
            drafts: BTreeMap::new(),
            drafts_begun: 0,
            drafts_said: BTreeMap::new(),
            login: None,
            hearing: None,
            handshake: None,
            ended: false,
            digest: DefaultHasher::new(),
            channels: BTreeMap::new(),
            log: verbose.then(Vec::new),
            texts: BTreeMap::new(),
            server: None,
            client: None,
            refused_message: false,
            refused_early: false,
        }
    }

    /// Has the peers listen, where what is theirs comes line by line.
    pub fn listen_to(&mut self, kind: Kind) {
        self.client = (kind == Kind::Imap).then(ImapClient::default);
        self.server = (kind == Kind::Smtp).then(SmtpServer::default);
    }

    /// The next call of this kind is refused.
    pub fn refuse(&mut self, call: u8) {
        // With `on_archive_failure = pass` the host never refuses.
        if self.refuses && self.refuse.len() < 8 {
            self.refuse.push(call);
        }
    }

    pub fn know(&mut self) {
        self.knows_all = !self.knows_all;
    }

    /// All that happened.
    pub fn digest(&mut self) -> u64 {
        self.fold();
        self.digest.finish()
    }

    /// The server has been heard: what it has answered is kept, or not.
    pub fn heard(&self) {
        let answered = self.server.as_ref().is_some_and(|server| !server.owes());
        let waits = self.drafts.values().any(|&draft| draft == Draft::Prepared);
        assert!(self.ended || !answered || !waits, "the server has answered, and the message still waits");
    }

    /// What the peers make of it: nothing is complete to them that is not kept.
    fn listen(&mut self, to: Side, bytes: &[u8]) {
        if let (Some(client), Side::Client) = (&mut self.client, to) {
            let unsettled = self.drafts.values().any(|&draft| draft == Draft::Finished);
            for &byte in bytes {
                let done = client.hear(byte);
                assert!(!done || !unsettled, "a command is done, and a message of it is not settled");
            }
        }
        let Some(server) = self.server.as_mut().filter(|_| to == Side::Server) else { return };
        for &byte in bytes {
            match server.hear(byte) {
                Heard::Nothing => {}
                Heard::Begins => self.refused_message = false,
                Heard::Complete(hash) => {
                    assert!(!self.drafts.values().any(|&draft| draft == Draft::Open), "complete, and not prepared");
                    assert!(!self.refused_message, "complete, and refused by the archive");
                    let prepared = self.drafts.keys().next_back().and_then(|draft| self.drafts_said.get(draft));
                    if let (Some(hash), Some(prepared)) = (hash, prepared) {
                        assert_eq!(hash, prepared.finish(), "the server got other bytes than the archive");
                    }
                }
            }
        }
    }

    /// Of a draft that may come to nothing.
    fn did_early(&mut self, what: std::fmt::Arguments<'_>) {
        if self.kind == Kind::Pop3 {
            assert!(!self.ended, "after the end: {what}");
        } else {
            self.did(what);
        }
    }

    fn refused(&mut self, call: u8) -> Option<Refused> {
        let at = self.refuse.iter().position(|refused| refused % 4 == call)?;
        self.refused_early |= call < 2;
        self.refused_message |= call < 3;
        let large = self.refuse.remove(at) & 4 != 0 && call < 2;
        Some(if large { Refused::TooLarge } else { Refused::Unavailable })
    }

    fn data(&mut self, channel: (u8, u32), bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if channel.0 == 0 && self.kind != Kind::Imap {
            self.drafts_said.entry(DraftId(channel.1)).or_default().write(bytes);
        }
        if channel.0 == 0 && self.kind == Kind::Pop3 {
            return;
        }
        self.channels.entry(channel).or_default().write(bytes);
        if self.log.is_some() {
            self.texts.entry(channel).or_default().extend_from_slice(bytes);
        }
    }

    fn fold(&mut self) {
        for ((channel, draft), hasher) in std::mem::take(&mut self.channels) {
            self.digest.write_u8(channel);
            self.digest.write_u32(draft);
            self.digest.write_u64(hasher.finish());
        }
        for ((channel, draft), bytes) in std::mem::take(&mut self.texts) {
            let what = [format!("append {draft}"), "-> S".to_owned(), "-> C".to_owned()];
            let lines = bytes.split_inclusive(|&b| b == b'\n');
            let lines = lines.map(|line| format!("{}: {}", what[usize::from(channel)], line.escape_ascii()));
            self.log.get_or_insert_default().extend(lines);
        }
    }

    fn did(&mut self, what: std::fmt::Arguments<'_>) {
        assert!(!self.ended, "after the end: {what}");
        self.fold();
        let what = what.to_string();
        self.digest.write(what.as_bytes());
        if let Some(log) = &mut self.log {
            log.push(what);
        }
    }

    /// A text for the log: one line without control characters, and without what was planted.
    fn text(&self, text: &str) {
        assert!(!text.chars().any(char::is_control), "a control character in {text:?}");
        for secret in &self.secrets {
            let holds = text.as_bytes().windows(secret.len()).any(|part| part == secret);
            assert!(!holds, "the password in {text:?}");
        }
    }

    fn must_be(&self, draft: DraftId, state: Draft) {
        assert_eq!(self.drafts.get(&draft), Some(&state), "draft {}", draft.0);
    }
}

impl Host for Watcher {
    fn send(&mut self, to: Side, bytes: &[u8]) {
        assert!(!self.ended || bytes.is_empty(), "sent after the end: {}", bytes.escape_ascii());
        if self.kind == Kind::Pop3 && to == Side::Client && !bytes.is_empty() {
            // Nothing stands between the last line of a message and its dot.
            assert!(!self.drafts.values().any(|&draft| draft == Draft::Finished), "sent before it was settled");
        }
        self.listen(to, bytes);
        self.data((if to == Side::Server { 1 } else { 2 }, 0), bytes);
    }

    fn start_tls(&mut self, side: Side) {
        self.did(format_args!("start_tls {side:?}"));
        assert_eq!(self.handshake.replace(side), None, "two handshakes at once");
    }

    fn end(&mut self, end: End) {
        match &end {
            End::Orderly(why) => self.text(why),
            End::Fault(why) => self.text(why),
        }
        self.did(format_args!("end {end:?}"));
        self.ended = true;
    }

    fn logged_in(&mut self, owner: &Owner) {
        assert_eq!(self.hearing, Some(Side::Server), "a login that the server did not accept");
        self.did(format_args!("logged_in {owner:?}"));
        // The server took it for a name.
        let secrets = std::mem::take(&mut self.secrets);
        let is_name = |secret: &Vec<u8>| owner.user().windows(secret.len()).any(|part| part == secret);
        self.secrets = if secrets.iter().any(is_name) { Vec::new() } else { secrets };
        self.login = Some(owner.clone());
    }

    fn learns(&self) -> bool {
        true
    }

    fn learn(&mut self, owner: &Owner, password: Secret) {
        assert_eq!(self.login.as_ref(), Some(owner), "a password of a login that there is not");
        let octets = password.bytes();
        assert!(
            !octets.is_empty() && !octets.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')),
            "no password: {octets:?}"
        );
        self.did(format_args!("learn {octets:?}"));
    }

    fn refused(&mut self, what: &str) {
        self.text(what);
    }

    fn login_failed(&mut self, why: &str) {
        self.text(why);
    }

    fn logged_out(&mut self) {
        self.did(format_args!("logged_out"));
        self.login = None;
    }

    fn about(&mut self, message: &str) {
        self.text(message);
    }

    fn begin(&mut self, to: &[Destination], size: Option<u64>) -> Result<DraftId, Refused> {
        assert!(!to.is_empty(), "a draft for nobody");
        if self.kind != Kind::Smtp {
            let login = self.login.as_ref().expect("a draft before a login");
            assert!(to.iter().all(|to| to.owner == *login), "a draft for somebody else");
        }
        let refused = self.refused(0);
        self.did_early(format_args!("begin {to:?} {size:?} {refused:?}"));
        if let Some(refused) = refused {
            return Err(refused);
        }
        assert!(self.drafts.len() < DRAFTS_MAX, "{DRAFTS_MAX} drafts at once");
        self.refused_message = false;
        self.drafts_begun += 1;
        let draft = DraftId(self.drafts_begun);
        self.drafts.insert(draft, Draft::Open);
        self.drafts_said.insert(draft, DefaultHasher::new());
        Ok(draft)
    }

    fn append(&mut self, draft: DraftId, bytes: &[u8]) -> Result<(), Refused> {
        self.must_be(draft, Draft::Open);
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(refused) = self.refused(1) {
            self.drafts.remove(&draft);
            self.did_early(format_args!("append {} refused", draft.0));
            return Err(refused);
        }
        self.data((0, draft.0), bytes);
        Ok(())
    }

    fn append_draft(&mut self, draft: DraftId, other: DraftId) -> Result<(), Refused> {
        self.must_be(draft, Draft::Open);
        self.must_be(other, Draft::Open);
        self.drafts.remove(&other);
        self.did_early(format_args!("append_draft {} {}", draft.0, other.0));
        Ok(())
    }

    fn date(&mut self, draft: DraftId, seconds: i64) {
        assert!(self.drafts.contains_key(&draft), "draft {} is gone", draft.0);
        self.did_early(format_args!("date {} {seconds}", draft.0));
    }

    fn origin(&mut self, draft: DraftId, origin: Origin) {
        self.must_be(draft, Draft::Open);
        self.text(&origin.to_string());
        self.did_early(format_args!("origin {} {origin}", draft.0));
    }

    fn has(&mut self, owner: &Owner, _: &Origin) -> bool {
        assert_eq!(Some(owner), self.login.as_ref(), "asked for somebody else's");
        self.knows_all
    }

    fn fetched(&mut self, _: u64) {}

    fn prepare(&mut self, draft: DraftId) -> Result<(), Refused> {
        self.must_be(draft, Draft::Open);
        let refused = self.refused(2);
        self.did(format_args!("prepare {} {refused:?}", draft.0));
        if let Some(refused) = refused {
            self.drafts.remove(&draft);
            return Err(refused);
        }
        self.drafts.insert(draft, Draft::Prepared);
        Ok(())
    }

    fn commit(&mut self, draft: DraftId) {
        assert_eq!(self.hearing, Some(Side::Server), "committed without the server's word");
        self.must_be(draft, Draft::Prepared);
        self.drafts.remove(&draft);
        self.drafts_said.remove(&draft);
        self.did(format_args!("commit {}", draft.0));
    }

    fn finish(&mut self, draft: DraftId) {
        self.must_be(draft, Draft::Open);
        self.drafts.insert(draft, Draft::Finished);
        if self.kind == Kind::Pop3 {
            let said = self.drafts_said.remove(&draft).map(|said| said.finish());
            self.did(format_args!("finish {said:?}"));
        } else {
            self.did(format_args!("finish {}", draft.0));
        }
    }

    fn settle(&mut self) -> Result<(), Refused> {
        self.drafts.retain(|_, state| *state != Draft::Finished);
        let refused = self.refused(3);
        self.did(format_args!("settle {refused:?}"));
        refused.map_or(Ok(()), Err)
    }

    fn abort(&mut self, draft: DraftId) {
        let state = self.drafts.remove(&draft);
        self.drafts_said.remove(&draft);
        assert!(matches!(state, Some(Draft::Open | Draft::Prepared)), "draft {}: {state:?}", draft.0);
        self.did_early(format_args!("abort {}", draft.0));
    }

    fn not_kept(&mut self, why: &str) {
        self.text(why);
        self.did(format_args!("not_kept {why}"));
    }

    fn refuses(&self) -> bool {
        self.refuses
    }

    fn note(&mut self, text: &str) {
        self.text(text);
    }
}
