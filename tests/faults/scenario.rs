//! Sessions of all three protocols in which a message comes or goes, and what the archive owes from which octet on.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::client::{Client, expect, stuffed};
use crate::mailhost::{Certificate, Host, INBOX, Mail};
use crate::shim::{Step, What};
use crate::support::proxy::section;
use crate::support::spool::{Expected, received, sent};
use crate::support::{Endpoint, Kind, Lab, PASSWORD, Tls};

pub(crate) const ANN: &str = "ann@example.org";
pub(crate) const BOB: &str = "bob@example.org";

/// One session.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) kind: Kind,
    /// More lines for the proxy's section.
    pub(crate) more: &'static str,
    pub(crate) run: fn(&mut Client) -> io::Result<()>,
    pub(crate) marks: fn() -> Vec<Mark>,
}

/// Once these octets have been sent to that side, this is owed.
pub(crate) struct Mark {
    to: Peer,
    octets: Vec<u8>,
    expected: Vec<Expected>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Client,
    Server,
}

/// Three messages: small; with dots, odd octets and no blank line; longer than any buffer.
pub(crate) fn messages() -> [Vec<u8>; 3] {
    let long: Vec<u8> =
        (0..900).flat_map(|n| format!("{n:04} of a longer message, one line of many\r\n").into_bytes()).collect();
    [
        b"From: bob@example.org\r\nSubject: small\r\n\r\nHello.\r\n".to_vec(),
        b"Subject: odd\r\n\r\n.one dot\r\n..two\r\n\xff\xfe\r\n.\x00\r\nend\r\n".to_vec(),
        [&b"From: bob@example.org\r\nSubject: long\r\n\r\n"[..], &long].concat(),
    ]
}

pub(crate) const POP3_RETR: Scenario = Scenario {
    kind: Kind::Pop3,
    more: "",
    run: |client| {
        client.pop3_login(ANN)?;
        for number in 1..=3 {
            let (status, message) = client.retr(number)?;
            expect(&status, "+OK")?;
            assert!(message == messages()[number - 1], "message {number} came otherwise");
        }
        expect(&client.pop3("DELE 1")?, "+OK")?;
        expect(&client.pop3("QUIT")?, "+OK")
    },
    marks: || {
        messages()
            .iter()
            .map(|message| Mark::new(Peer::Client, &stuffed(message), vec![received(ANN, "", message)]))
            .collect()
    },
};

pub(crate) const POP3_DELETED_UNREAD: Scenario = Scenario {
    kind: Kind::Pop3,
    more: "",
    run: |client| {
        client.pop3_login(ANN)?;
        expect(&client.pop3("DELE 1")?, "+OK")?;
        expect(&client.pop3("DELE 3")?, "+OK")?;
        expect(&client.pop3("QUIT")?, "+OK")
    },
    marks: || {
        let [one, _, three] = messages();
        vec![
            Mark::new(Peer::Server, b"DELE 1\r\n", vec![received(ANN, "", &one)]),
            Mark::new(Peer::Server, b"DELE 3\r\n", vec![received(ANN, "", &three)]),
        ]
    },
};

pub(crate) const IMAP_FETCH: Scenario = Scenario {
    kind: Kind::Imap,
    more: "",
    run: |client| {
        client.imap_login(ANN)?;
        client.imap_ok("SELECT INBOX")?;
        let (reply, literals) = client.imap("UID FETCH 1:* (UID BODY.PEEK[])")?;
        expect(&reply, "OK")?;
        assert!(literals == messages(), "the messages came otherwise");
        client.imap_ok("STORE 1 +FLAGS (\\Deleted)")?;
        client.imap_ok("EXPUNGE")?;
        client.imap_ok("LOGOUT")
    },
    marks: || {
        vec![Mark::new(Peer::Client, b"\r\nt3 OK", messages().iter().map(|one| received(ANN, "", one)).collect())]
    },
};

pub(crate) const IMAP_PARTS_AND_UNREAD: Scenario = Scenario {
    kind: Kind::Imap,
    more: "",
    run: |client| {
        client.imap_login(ANN)?;
        client.imap_ok("SELECT INBOX")?;
        client.imap_ok("UID FETCH 3 (BODY.PEEK[TEXT]<0.8000>)")?;
        client.imap_ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)")?;
        client.imap_ok("EXPUNGE")?;
        client.imap_ok("LOGOUT")
    },
    marks: || {
        let [one, _, three] = messages();
        vec![
            Mark::new(Peer::Client, b"\r\nt3 OK", vec![received(ANN, "", &three)]),
            Mark::new(Peer::Server, b"t4 UID STORE 1 ", vec![received(ANN, "", &one)]),
        ]
    },
};

pub(crate) const IMAP_APPEND: Scenario = Scenario {
    kind: Kind::Imap,
    more: "",
    run: |client| {
        client.imap_login(ANN)?;
        for message in messages() {
            expect(&client.append("Sent", &message)?, "OK")?;
        }
        client.imap_ok("LOGOUT")
    },
    marks: || messages().iter().map(|one| Mark::new(Peer::Server, one, vec![sent(ANN, one)])).collect(),
};

pub(crate) const SMTP_DATA: Scenario = Scenario {
    kind: Kind::Smtp,
    more: "",
    run: |client| {
        client.smtp_login(ANN)?;
        for message in messages() {
            client.envelope(ANN, &[BOB])?;
            expect(&client.data(&message)?, "250")?;
        }
        expect(&client.smtp("QUIT")?, "221")
    },
    marks: || messages().iter().map(|one| Mark::new(Peer::Server, &stuffed(one), vec![sent(ANN, one)])).collect(),
};

pub(crate) const SMTP_BDAT: Scenario = Scenario {
    kind: Kind::Smtp,
    more: "",
    run: |client| {
        client.smtp_login(ANN)?;
        for message in messages() {
            client.envelope(ANN, &[BOB])?;
            let (first, last) = message.split_at(message.len() / 2);
            expect(&client.bdat(&[first, last])?, "250")?;
        }
        expect(&client.smtp("QUIT")?, "221")
    },
    marks: || {
        let last = |one: &[u8]| one[one.len() / 2..].to_vec();
        messages().iter().map(|one| Mark::new(Peer::Server, &last(one), vec![sent(ANN, one)])).collect()
    },
};

/// Two owners share one file.
pub(crate) const SMTP_RECIPIENTS: Scenario = Scenario {
    kind: Kind::Smtp,
    more: "keep = recipients\nlocal_domains = example.org\n",
    run: |client| {
        client.smtp_login(ANN)?;
        for message in messages() {
            client.envelope(ANN, &[ANN, BOB])?;
            expect(&client.data(&message)?, "250")?;
        }
        expect(&client.smtp("QUIT")?, "221")
    },
    marks: || {
        let both = |one: &[u8]| vec![received(ANN, "", one), received(BOB, "", one)];
        messages().iter().map(|one| Mark::new(Peer::Server, &stuffed(one), both(one))).collect()
    },
};

impl Mark {
    fn new(to: Peer, octets: &[u8], expected: Vec<Expected>) -> Mark {
        Mark { to, octets: octets.to_vec(), expected }
    }
}

impl Scenario {
    /// Runs it once from the greeting to the end, or to where it breaks.
    pub(crate) fn play(&self, port: u16) -> io::Result<()> {
        (self.run)(&mut Client::connect(port)?)
    }

    /// All that is owed once it has been played to its end.
    pub(crate) fn whole(&self) -> Vec<Expected> {
        (self.marks)().into_iter().flat_map(|mark| mark.expected).collect()
    }

    /// What is owed after these steps, by what the program has sent to its client and to the server behind this port.
    pub(crate) fn owed(&self, steps: &[Step], server: u16) -> Vec<Expected> {
        let mut streams: BTreeMap<(u16, u16), Vec<u8>> = BTreeMap::new();
        for step in steps {
            if let What::Send { port, local, bytes } = &step.what {
                streams.entry((*port, *local)).or_default().extend_from_slice(bytes);
            }
        }
        let said = |mark: &Mark| {
            let mut streams = streams.iter().filter(|((port, _), _)| (*port == server) == (mark.to == Peer::Server));
            streams.any(|(_, stream)| stream.windows(mark.octets.len()).any(|window| window == mark.octets))
        };
        (self.marks)().into_iter().filter(said).flat_map(|mark| mark.expected).collect()
    }
}

/// The mail host, and folders with a `mailstore.ini` for a proxy before it.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    host: Host,
    section: String,
    pub(crate) server: u16,
}

impl Stage {
    pub(crate) fn new(kind: Kind, more: &str) -> Stage {
        let lab = Lab::new();
        let read = |file| std::fs::read(file).expect("a PEM file");
        let files = lab.certificate();
        let certificate = Certificate { authority: read(lab.ca()), chain: read(files.chain), key: read(files.key) };
        let host = Host::start(Mail::default(), &certificate, [[0; 2]; 3]).expect("the mail host");
        let door = match kind {
            Kind::Pop3 => host.pop3,
            Kind::Imap => host.imap,
            Kind::Smtp => host.smtp,
        };
        let server = door.plain.port();
        let section = section(&lab, "x", Tls::None, Endpoint { kind, port: server, tls: Tls::None }, more);
        let stage = Stage { lab, host, section, server };
        stage.refill();
        stage
    }

    /// The mailboxes as they were at first: Ann's inbox holds the three messages, all else is empty.
    pub(crate) fn refill(&self) {
        for user in [ANN, BOB] {
            self.host.mail.add_user(user, PASSWORD, &["Sent"]);
        }
        for message in messages() {
            self.host.mail.deliver(ANN, INBOX, &message).expect("Ann's inbox");
        }
    }

    /// A new folder with a configuration; its spool is `mailSpool` in it.
    pub(crate) fn folder(&self, shared: &str) -> PathBuf {
        let dir = self.lab.folder("p");
        let ini = format!("[mailstore]\nspool = mailSpool\nlog = debug\n{shared}\n{}", self.section);
        std::fs::write(dir.join("mailstore.ini"), ini).unwrap();
        dir
    }

    /// What the host has got, and what it had and does not have any more: it all must be in the archive.
    pub(crate) fn owed_by_host(&self, scenario: &Scenario) -> Vec<Expected> {
        let texts = |user, folder| self.host.mail.texts(user, folder).unwrap_or_default();
        let (left, filed, delivered) = (texts(ANN, INBOX), texts(ANN, "Sent"), texts(BOB, INBOX));
        if scenario.kind == Kind::Smtp {
            return scenario.whole().into_iter().filter(|one| delivered.contains(&one.bytes)).collect();
        }
        let gone = messages().into_iter().filter(|one| !left.contains(one)).map(|one| received(ANN, "", &one));
        gone.chain(filed.iter().map(|one| sent(ANN, one))).collect()
    }
}

/// Fails unless all of these are among what is kept in this spool.
#[track_caller]
pub(crate) fn holds_at_least(spool: &Path, owed: &[Expected], when: &str) {
    let kept = crate::support::Spool::at(spool).list();
    for Expected { owner, folder, place, bytes } in owed {
        let found = kept
            .iter()
            .filter(|one| (&one.owner, &one.folder, one.place, &one.bytes) == (owner, folder, *place, bytes));
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert_eq!(found.count(), 1, "{when}: how often a message of {owner} [{folder}] is kept: {start:?}");
    }
}
