//! What is tried, and what comes of it.

use crate::player::Bad::{self, Deaf, Fin, Flood, Reset, Silent, Sip, Trickle};
use crate::player::Do::{self, Be, Hear};
use crate::support::Kind::{self, Imap, Pop3, Smtp};
use crate::support::Tls::{self, Implicit, StartTls};

pub(crate) const ANN: &str = "ann@example.org";

/// One session.
pub(crate) struct Case {
    /// TLS for the client, and of the server.
    pub(crate) way: (Kind, Tls, Tls),
    pub(crate) name: String,
    /// Nothing: the session does not get to a server.
    pub(crate) server: Vec<Do>,
    pub(crate) client: Vec<Do>,
    /// What the log says in the end.
    pub(crate) reason: String,
    pub(crate) hears: Hears,
    /// The server resets so early that the connection may not even seem to have been made.
    pub(crate) at_once: bool,
    /// A message that Ann may have sent: it is in the archive.
    pub(crate) kept: Option<String>,
}

/// The client's last words from the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Nobody spoke, and it was the client's turn.
    Timeout,
    /// It was the server's.
    NoAnswer,
    Lost,
    /// POP3: before the client has heard anything.
    Unusable,
    Unreachable,
    /// None: it is in the middle of a reply or of a handshake, or has closed itself.
    Nothing,
    /// It is not there to hear it, or does not listen.
    Whatever,
}

impl Hears {
    pub(crate) const WORDS: [Hears; 5] =
        [Hears::Timeout, Hears::NoAnswer, Hears::Lost, Hears::Unusable, Hears::Unreachable];

    pub(crate) fn words(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Hears::Timeout, Pop3) => "-ERR closing, nothing was said for too long\r\n",
            (Hears::Timeout, Imap) => "* BYE [UNAVAILABLE] nothing was said for too long\r\n",
            (Hears::Timeout, Smtp) => "421 4.4.2 Nothing was said for too long, closing\r\n",
            (Hears::NoAnswer, Pop3) => "-ERR [SYS/TEMP] the mail server does not answer, come back later\r\n",
            (Hears::NoAnswer, Imap) => "* BYE [UNAVAILABLE] the mail server does not answer\r\n",
            (Hears::NoAnswer, Smtp) => "421 4.4.1 The mail server does not answer, try again later\r\n",
            (Hears::Lost, Pop3) => "-ERR [SYS/TEMP] the mail server is not there any more, come back later\r\n",
            (Hears::Lost, Imap) => "* BYE [UNAVAILABLE] the connection to the mail server is lost\r\n",
            (Hears::Lost, Smtp) => "421 4.4.1 The mail server cannot be reached any more, try again later\r\n",
            (Hears::Unreachable, Pop3) => "-ERR [SYS/TEMP] The mail server cannot be reached, try again later\r\n",
            (Hears::Unreachable, Imap) => "* BYE [UNAVAILABLE] The mail server cannot be reached, try again later\r\n",
            (Hears::Unreachable, Smtp) => "421 4.3.2 The mail server cannot be reached, try again later\r\n",
            (Hears::Unusable, _) => "-ERR [SYS/TEMP] the mail server cannot be used now, come back later\r\n",
            (Hears::Nothing | Hears::Whatever, _) => "",
        }
    }
}

const RESET: &str = "Connection reset by peer (os error 104)";
const CLIENT_BROKE: &str = "the connection to the client broke: Connection reset by peer (os error 104)";
const SERVER_BROKE: &str = "the connection to the server broke: Connection reset by peer (os error 104)";
const NO_LOGIN: &str = "no login in time (login_timeout)";
const NO_ANSWER_IN_TIME: &str = "the server did not answer in time (login_timeout)";
const UNANSWERED: &str = "the server closed the connection before it had answered";
const BEFORE_GREETING: &str = "the server closed the connection before its greeting was complete";
const WITHIN_EXCHANGE: &str = "the server closed the connection in the middle of an exchange";
const CLIENT_MIDWAY: &str = "client closed in the middle of a command";
const NOBODY: &str = "nobody said anything for 3 s (idle_timeout)";
const NO_ANSWER: &str = "the server did not answer for 3 s (idle_timeout)";
const CLIENT_DRIPS: &str = "the client said next to nothing for 3 s (idle_timeout)";
const SERVER_DRIPS: &str = "the server said next to nothing for 3 s (idle_timeout)";
const CLIENT_DEAF: &str = "the client took nothing, or next to nothing, for 3 s (idle_timeout)";
const SERVER_DEAF: &str = "the server took nothing, or next to nothing, for 3 s (idle_timeout)";

const DRIP: Bad = Trickle("x");
const TEXT: &str = "text text text text text text text text text text text text text text text text\r\n";
const ALL: [Kind; 3] = [Pop3, Imap, Smtp];

/// A place in a session: how the two get there.
#[derive(Clone)]
struct Place {
    way: (Kind, Tls, Tls),
    name: &'static str,
    server: Vec<Do>,
    client: Vec<Do>,
}

fn place(kind: Kind, name: &'static str) -> Place {
    Place { way: (kind, Tls::None, Tls::None), name, server: vec![], client: vec![] }
}

fn say(text: impl AsRef<[u8]>) -> Do {
    Do::Say(text.as_ref().to_vec())
}

/// The same, or by force.
fn or_reset(why: &str, bad: Bad) -> String {
    if bad == Reset { format!("{why}: {RESET}") } else { why.to_owned() }
}

impl Place {
    fn tls(mut self, listen: Tls, upstream: Tls) -> Place {
        (self.way.1, self.way.2) = (listen, upstream);
        self
    }

    fn named(mut self, name: &'static str) -> Place {
        self.name = name;
        self
    }

    /// The server goes on.
    fn s(mut self, step: Do) -> Place {
        self.server.push(step);
        self
    }

    /// The client goes on.
    fn c(mut self, step: Do) -> Place {
        self.client.push(step);
        self
    }

    /// The client says this, and the server has heard it.
    fn said(self, text: &'static str) -> Place {
        self.c(say(text)).s(Hear(text))
    }

    /// The same with an answer.
    fn ask(self, line: &'static str, answer: &'static str) -> Place {
        self.said(line).s(say(answer)).c(Hear(answer))
    }

    fn greeted(self) -> Place {
        let text = pick(self.way.0, ["+OK toy\r\n", "* OK toy\r\n", "220 toy\r\n"]);
        self.s(say(text)).c(Hear(text))
    }

    fn logged_in(self) -> Place {
        let place = self.greeted();
        match place.way.0 {
            Pop3 => place.ask("USER ann@example.org\r\n", "+OK who\r\n").ask("PASS s3kr3t-Pa55\r\n", "+OK in\r\n"),
            Imap => place.ask("a LOGIN ann@example.org s3kr3t-Pa55\r\n", "a OK in\r\n"),
            Smtp => place.ask("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBzM2tyM3QtUGE1NQ==\r\n", "235 in\r\n"),
        }
    }

    fn envelope(self) -> Place {
        self.logged_in()
            .ask("MAIL FROM:<ann@example.org>\r\n", "250 from\r\n")
            .ask("RCPT TO:<bob@example.org>\r\n", "250 to\r\n")
    }

    /// From here on the client fails.
    fn client(&self, bad: Bad, reason: impl Into<String>, hears: Hears) -> Case {
        let mut case = self.case(format!("{}, the client: {bad:?}", self.name), reason.into(), hears);
        case.client.push(Be(bad));
        case
    }

    /// From here on the server fails.
    fn server(&self, bad: Bad, reason: impl Into<String>, hears: Hears) -> Case {
        let mut case = self.case(format!("{}, the server: {bad:?}", self.name), reason.into(), hears);
        case.at_once = bad == Reset && !case.server.iter().any(|step| matches!(step, Hear(_)));
        case.server.push(Be(bad));
        case
    }

    fn case(&self, name: String, reason: String, hears: Hears) -> Case {
        let Place { way, server, client, .. } = self.clone();
        Case { way, name, server, client, reason, hears, at_once: false, kept: None }
    }

    /// The server fails in all ways: how these sessions end.
    fn servers(&self, silent: &str, drip: &str, closed: &str, reset: &str, timed_out: Hears, lost: Hears) -> Vec<Case> {
        vec![
            self.server(Silent, silent, timed_out),
            self.server(DRIP, drip, timed_out),
            self.server(Fin, closed, lost),
            self.server(Reset, reset, lost),
        ]
    }

    /// The client fails in all ways.
    fn clients(&self, silent: &str, drip: &str, closed: &str, reset: &str, timed_out: Hears) -> Vec<Case> {
        vec![
            self.client(Silent, silent, timed_out),
            self.client(DRIP, drip, timed_out),
            self.client(Fin, closed, Hears::Nothing),
            self.client(Reset, reset, Hears::Whatever),
        ]
    }
}

fn pick<T: Clone>(kind: Kind, of: [T; 3]) -> T {
    of[ALL.iter().position(|one| *one == kind).unwrap()].clone()
}

pub(crate) fn before_login() -> Vec<Case> {
    let mut all = handshakes();
    for kind in ALL {
        let p = |name| place(kind, name);
        let client = |place: Place| place.clients(NO_LOGIN, NO_LOGIN, "client closed", CLIENT_BROKE, Hears::Timeout);
        all.extend(client(p("greeted").greeted()));
        all.extend(client(p("within a line").greeted().c(say("a NO"))));
        let sasl = p("in a SASL exchange").greeted();
        match kind {
            Pop3 => {
                all.extend(client(p("between USER and PASS").greeted().ask("USER ann\r\n", "+OK who\r\n")));
                all.extend(client(sasl.ask("AUTH PLAIN\r\n", "+ \r\n")));
            }
            Imap => {
                let sasl = sasl.ask("a AUTHENTICATE PLAIN\r\n", "+ \r\n");
                all.extend(sasl.clients(NO_LOGIN, NO_LOGIN, CLIENT_MIDWAY, CLIENT_MIDWAY, Hears::Timeout));
            }
            Smtp => all.extend(client(sasl.ask("AUTH PLAIN\r\n", "334 \r\n"))),
        }
        // It asks and asks, and does not listen.
        let flood = p("greeted").greeted().s(Be(Silent));
        let (reason, hears) = pick(
            kind,
            [(NO_ANSWER_IN_TIME, Hears::NoAnswer), (NO_LOGIN, Hears::Whatever), (NO_ANSWER_IN_TIME, Hears::NoAnswer)],
        );
        all.push(flood.client(Flood("NOOP\r\n"), reason, hears));

        let server = |place: Place, closed: &str, lost| {
            let reset = or_reset(closed, Reset);
            place.servers(NO_ANSWER_IN_TIME, NO_ANSWER_IN_TIME, closed, &reset, Hears::NoAnswer, lost)
        };
        // Where the protocol leaves it to the relay to say what happened.
        let broken = |place: Place, lost| {
            place.servers(NO_ANSWER_IN_TIME, NO_ANSWER_IN_TIME, UNANSWERED, SERVER_BROKE, Hears::NoAnswer, lost)
        };
        let silent = p("before its greeting");
        let half = p("within its greeting").s(say(pick(kind, ["+OK h", "* OK h", "220-h"])));
        let login = p("asked for a login").greeted();
        match kind {
            Pop3 => {
                const WHY: &str = "server closed before its greeting";
                all.extend(server(silent, WHY, Hears::Unusable));
                all.extend(server(half, WHY, Hears::Unusable));
                let login = login.ask("USER ann\r\n", "+OK who\r\n").said("PASS s3kr3t-Pa55\r\n");
                all.extend(server(login, "server closed with a reply outstanding", Hears::Lost));
            }
            Imap => {
                all.extend(server(silent, BEFORE_GREETING, Hears::Lost));
                all.extend(server(half, BEFORE_GREETING, Hears::Lost));
                let login = login.said("a LOGIN ann s3kr3t-Pa55\r\n");
                all.extend(server(login, "the server closed the connection", Hears::Lost));
            }
            Smtp => {
                all.extend(broken(silent, Hears::Lost));
                all.extend(broken(half, Hears::Lost));
                let endless = p("a greeting without end").s(say("220-one\r\n")).c(Hear("220-one\r\n"));
                all.push(endless.server(Trickle("220-more\r\n"), NO_ANSWER_IN_TIME, Hears::Nothing));
                let login = login.said("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBzM2tyM3QtUGE1NQ==\r\n");
                all.extend(server(login, WITHIN_EXCHANGE, Hears::Lost));
            }
        }
        let refused = p("greeted with a refusal").s(say(pick(kind, ["-ERR no\r\n", "* BYE no\r\n", "554 no\r\n"])));
        let (why, hears) = pick(
            kind,
            [
                ("server greeted with \"-ERR no\"", Hears::Nothing),
                ("the server refused the connection: \"* BYE no\"", Hears::Nothing),
                // RFC 5321, section 3.1: the client has to say QUIT.
                (NO_LOGIN, Hears::Timeout),
            ],
        );
        all.push(refused.server(Silent, why, hears));

        let dialogue = p("before it answers STARTTLS").tls(Tls::None, StartTls);
        match kind {
            Pop3 => {
                let place = dialogue.s(say("+OK toy\r\n")).s(Hear("STLS\r\n"));
                all.extend(server(place, "server closed at STLS", Hears::Unusable));
            }
            Imap => {
                let place = dialogue.s(say("* OK toy\r\n")).s(Hear("STARTTLS\r\n"));
                all.extend(server(place, BEFORE_GREETING, Hears::Lost));
            }
            Smtp => {
                let ehlo = dialogue.s(say("220 toy\r\n")).s(Hear("EHLO")).s(Hear("\r\n"));
                all.extend(broken(ehlo.clone().named("before it answers EHLO"), Hears::Lost));
                all.extend(broken(ehlo.s(say("250-toy\r\n250 STARTTLS\r\n")).s(Hear("STARTTLS\r\n")), Hears::Lost));
            }
        }
    }
    // A client of an SMTP proxy need not log in. The server says whether it has to.
    let mail = place(Smtp, "without a login").greeted();
    let refused = mail.clone().ask("MAIL FROM:<ann@example.org>\r\n", "530 log in first\r\n");
    all.push(refused.client(Silent, NO_LOGIN, Hears::Timeout));
    let taken = mail.ask("MAIL FROM:<ann@example.org>\r\n", "250 go on\r\n");
    all.push(taken.client(Silent, "nobody said anything for 5 s (idle_timeout)", Hears::Timeout));
    all
}

/// Sessions as they should be. The message is kept.
pub(crate) fn good() -> Vec<Case> {
    let pop3 = place(Pop3, "all well").logged_in().ask("QUIT\r\n", "+OK bye\r\n");
    let imap = place(Imap, "all well").logged_in().ask("b LOGOUT\r\n", "* BYE bye\r\nb OK bye\r\n");
    let text = "Subject: all well\r\n\r\ntext\r\n";
    let smtp = place(Smtp, "all well").envelope().ask("DATA\r\n", "354 go\r\n");
    let smtp = smtp.c(say(format!("{text}.\r\n"))).s(Hear("\r\n.\r\n")).s(say("250 taken\r\n")).c(Hear("taken"));
    let smtp = smtp.ask("QUIT\r\n", "221 bye\r\n");
    [(pop3, "QUIT", None), (imap, "logout", None), (smtp, "QUIT", Some(text.to_owned()))]
        .map(|(place, reason, kept)| Case { kept, ..place.s(Be(Fin)).client(Fin, reason, Hears::Nothing) })
        .into()
}

/// TLS on either side, from the first octet and by STARTTLS.
fn handshakes() -> Vec<Case> {
    const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x10\x7a\x02\x00\x10\x76\x03\x03";
    let client = |place: Place, listen| {
        let failed = |why: &str| format!("TLS handshake with the client failed: {why}");
        let hello = place.tls(listen, Tls::None);
        let started = hello.clone().c(say(CLIENT_HELLO)).named("within a ClientHello");
        vec![
            hello.client(Silent, failed("timed out"), Hears::Nothing),
            hello.client(Fin, failed("unexpected EOF"), Hears::Nothing),
            hello.client(Reset, failed(RESET), Hears::Whatever),
            started.client(Silent, failed("timed out"), Hears::Nothing),
            started.client(DRIP, failed("timed out"), Hears::Nothing),
            started.client(Fin, failed("unexpected EOF"), Hears::Nothing),
            started.client(Reset, failed(RESET), Hears::Whatever),
        ]
    };
    let server = |place: Place, failed: &dyn Fn(&str) -> String, hears| {
        let started = place.clone().s(Hear("")).s(say(SERVER_HELLO)).named("within its part of the handshake");
        vec![
            place.server(Silent, failed("timed out"), hears),
            place.server(Fin, failed("unexpected EOF"), hears),
            started.server(Silent, failed("timed out"), hears),
            started.server(DRIP, failed("timed out"), hears),
            started.server(Fin, failed("unexpected EOF"), hears),
            started.server(Reset, failed(RESET), hears),
        ]
    };
    let mut all = client(place(Pop3, "before the TLS handshake"), Implicit);
    let reached = |why: &str| format!("the server cannot be reached: TLS handshake failed: {why}");
    all.extend(server(place(Smtp, "before the TLS handshake").tls(Tls::None, Implicit), &reached, Hears::Unreachable));
    for kind in ALL {
        let p = place(kind, "asked for STARTTLS").greeted().s(Be(Silent));
        let line = pick(kind, ["STLS\r\n", "a STARTTLS\r\n", "STARTTLS\r\n"]);
        let go = pick(kind, ["+OK begin TLS\r\n", "a OK begin TLS now\r\n", "220 2.0.0 Ready to start TLS\r\n"]);
        all.extend(client(p.c(say(line)).c(Hear(go)), StartTls));

        let p = place(kind, "told to start TLS").tls(Tls::None, StartTls);
        let p = match kind {
            Pop3 => p.s(say("+OK toy\r\n")).s(Hear("STLS\r\n")).s(say("+OK go\r\n")),
            Imap => p.s(say("* OK toy\r\n")).s(Hear("STARTTLS\r\n")).s(Do::Tagged(" OK go\r\n")),
            Smtp => p
                .s(say("220 toy\r\n"))
                .s(Hear("EHLO"))
                .s(Hear("\r\n"))
                .s(say("250-toy\r\n250 STARTTLS\r\n"))
                .s(Hear("STARTTLS\r\n"))
                .s(say("220 go\r\n")),
        };
        let failed = |why: &str| format!("TLS handshake with the server failed: {why}");
        all.extend(server(p, &failed, Hears::Lost));
    }
    all
}

pub(crate) fn after_login() -> Vec<Case> {
    let mut all = Vec::new();
    for kind in ALL {
        let p = |name| place(kind, name);
        let client = |place: Place| place.clients(NOBODY, CLIENT_DRIPS, "client closed", CLIENT_BROKE, Hears::Timeout);
        all.extend(client(p("logged in").logged_in()));
        all.extend(client(p("within a line").logged_in().c(say("b NO"))));
        let (closed, broke, bye) = pick(
            kind,
            [
                ("server closed", "server closed", Hears::Nothing),
                (
                    "the server closed the connection",
                    "the server closed the connection: Connection reset by peer (os error 104)",
                    Hears::Lost,
                ),
                ("server closed", SERVER_BROKE, Hears::Nothing),
            ],
        );
        let idle = p("logged in").logged_in();
        all.extend(idle.servers(NOBODY, SERVER_DRIPS, closed, broke, Hears::Timeout, bye));

        // It is asked for something, or in the middle of its answer.
        let (closed, broke) = pick(
            kind,
            [
                (
                    "server closed with a reply outstanding".to_owned(),
                    or_reset("server closed with a reply outstanding", Reset),
                ),
                (closed.to_owned(), broke.to_owned()),
                (UNANSWERED.to_owned(), SERVER_BROKE.to_owned()),
            ],
        );
        let asked = p("asked for something").logged_in().said("b NOOP\r\n");
        all.extend(asked.servers(NO_ANSWER, SERVER_DRIPS, &closed, &broke, Hears::NoAnswer, Hears::Lost));
        let reply = p("within a reply").logged_in();
        let (reply, timed_out, lost) = match kind {
            Pop3 => {
                (reply.said("LIST\r\n").s(say("+OK\r\n1 1\r\n2 ")).c(Hear("1 1\r\n2 ")), Hears::Nothing, Hears::Nothing)
            }
            // Whole responses pass: the client is between two of them.
            Imap => (reply.said("b LIST \"\" *\r\n").s(say("* LIST () \"/\" a\r\n* LI")), Hears::NoAnswer, Hears::Lost),
            Smtp => (
                reply.said("HELP\r\n").s(say("214-help\r\n214-mo")).c(Hear("214-help\r\n")),
                Hears::Nothing,
                Hears::Nothing,
            ),
        };
        all.extend(reply.servers(NO_ANSWER, SERVER_DRIPS, &closed, &broke, timed_out, lost));
    }
    all.extend(messages_down());
    all.extend(messages_up());
    all
}

fn messages_down() -> Vec<Case> {
    let mut all = Vec::new();
    let down =
        place(Pop3, "while a message comes down").logged_in().said("RETR 1\r\n").s(say("+OK\r\nSubject: x\r\n\r\n"));
    const WHY: &str = "server closed in the middle of a message";
    let pop3 = down.clone().c(Hear("Subject"));
    all.extend(pop3.servers(NO_ANSWER, SERVER_DRIPS, WHY, &or_reset(WHY, Reset), Hears::Nothing, Hears::Nothing));
    all.push(down.clone().s(Be(Flood(TEXT))).client(Deaf, CLIENT_DEAF, Hears::Whatever));
    all.push(down.s(Be(Flood(TEXT))).client(Sip, CLIENT_DEAF, Hears::Whatever));

    let down = place(Imap, "while a message comes down").logged_in().ask("b SELECT INBOX\r\n", "b OK in\r\n");
    let down = down.said("c FETCH 1 BODY[]\r\n").s(say("* 1 FETCH (BODY[] {90000000}\r\nSubject: x\r\n\r\n"));
    const CLOSED: &str = "the server closed the connection in the middle of a response";
    let imap = down.clone().s(say(TEXT.repeat(1000))).c(Hear("text"));
    all.extend(imap.servers(NO_ANSWER, SERVER_DRIPS, CLOSED, &or_reset(CLOSED, Reset), Hears::Nothing, Hears::Nothing));
    all.push(down.clone().s(Be(Flood(TEXT))).client(Deaf, CLIENT_DEAF, Hears::Whatever));
    all.push(down.s(Be(Flood(TEXT))).client(Sip, CLIENT_DEAF, Hears::Whatever));

    let idle = place(Imap, "in IDLE").logged_in().ask("b IDLE\r\n", "+ idling\r\n");
    all.extend(idle.clients(NOBODY, CLIENT_DRIPS, "client closed", CLIENT_BROKE, Hears::Timeout));
    let closed = "the server closed the connection";
    all.extend(idle.servers(NOBODY, SERVER_DRIPS, closed, &or_reset(closed, Reset), Hears::Timeout, Hears::Lost));
    all
}

fn messages_up() -> Vec<Case> {
    let mut all = Vec::new();
    let exchange = |place: &Place, silent| {
        place.servers(
            silent,
            SERVER_DRIPS,
            WITHIN_EXCHANGE,
            &or_reset(WITHIN_EXCHANGE, Reset),
            if silent == NOBODY { Hears::Timeout } else { Hears::NoAnswer },
            Hears::Lost,
        )
    };
    let asked = place(Smtp, "asked for DATA").envelope().said("DATA\r\n");
    all.extend(exchange(&asked, NO_ANSWER));
    const WHY: &str = "the client closed in the middle of a message";
    let data = place(Smtp, "within a message under DATA").envelope().ask("DATA\r\n", "354 go\r\n");
    let bdat = place(Smtp, "within a message under BDAT").envelope().said("BDAT 90000000 LAST\r\n");
    for up in [data, bdat] {
        all.push(up.clone().c(Be(Flood(TEXT))).server(Deaf, SERVER_DEAF, Hears::NoAnswer));
        let up = up.said("Subject: half\r\n\r\n");
        all.extend(up.clients(NOBODY, CLIENT_DRIPS, WHY, &or_reset(WHY, Reset), Hears::Timeout));
        all.extend(exchange(&up, NOBODY));
    }
    // The server has the message and says nothing of it: it may have taken it.
    for (n, bad) in [Silent, DRIP, Fin, Reset].into_iter().enumerate() {
        let (reason, hears) = [
            (NO_ANSWER, Hears::NoAnswer),
            (SERVER_DRIPS, Hears::NoAnswer),
            (UNANSWERED, Hears::Lost),
            (SERVER_BROKE, Hears::Lost),
        ][n];
        for (m, answer) in ["", "250-ta"].into_iter().enumerate() {
            let text = format!("Subject: whole {n} {m}\r\n\r\ntext\r\n");
            let sent = place(Smtp, "after the final dot").envelope().ask("DATA\r\n", "354 go\r\n");
            let sent = sent.c(say(format!("{text}.\r\n"))).s(Hear("\r\n.\r\n")).s(say(answer));
            all.push(Case { kept: Some(text), ..sent.server(bad, reason, hears) });
        }
        let closed = "the server closed the connection";
        let reason =
            [NO_ANSWER.to_owned(), SERVER_DRIPS.to_owned(), closed.to_owned(), or_reset(closed, Reset)][n].clone();
        let text = format!("Subject: a {n}\r\n\r\n");
        let sent = place(Imap, "after a literal").logged_in().ask("b APPEND Sent {16}\r\n", "+ go\r\n");
        let sent = sent.c(say(format!("{text}\r\n"))).s(Hear("Subject: a ")).s(Hear("\r\n\r\n\r\n"));
        all.push(Case { kept: Some(text), ..sent.server(bad, reason, hears) });
    }
    let asked = place(Imap, "asked for a literal").logged_in().said("b APPEND Sent {90000000}\r\n");
    let closed = "the server closed the connection";
    let broke = or_reset(closed, Reset);
    all.extend(asked.servers(NO_ANSWER, SERVER_DRIPS, closed, &broke, Hears::NoAnswer, Hears::Lost));
    let up = asked.named("within a literal").s(say("+ go\r\n")).c(Hear("+ go\r\n"));
    all.push(up.clone().c(Be(Flood(TEXT))).server(Deaf, SERVER_DEAF, Hears::NoAnswer));
    let up = up.said("Subject: half\r\n\r\n");
    all.extend(up.clients(NOBODY, CLIENT_DRIPS, CLIENT_MIDWAY, CLIENT_MIDWAY, Hears::Timeout));
    all.extend(up.servers(NOBODY, SERVER_DRIPS, closed, &broke, Hears::Timeout, Hears::Lost));
    all
}
