//! The proxies before the mail host of `examples/mailhost`: what Dovecot and Postfix never do on demand. Each test says what the client
//! sees, what is kept, and what the log says.

#[path = "../examples/mailhost/mod.rs"]
mod mailhost;
mod support;

use std::fs;

use mailhost::{Act, Certificate, GREETING, Host, INBOX, MESSAGE, Mail};
use support::proxy::{nine, section};
use support::spool::{Expected, received, sent};
use support::*;

const ANN: &str = "ann@example.org";
const BOB: &str = "bob@example.org";

/// A host with Ann's and Bob's mailboxes, and the proxies before it.
struct Scene {
    lab: Lab,
    host: Host,
    proxy: Proxy,
}

impl Scene {
    fn new() -> Scene {
        let lab = Lab::new();
        let host = start(&lab);
        let sections = [Kind::Smtp, Kind::Pop3, Kind::Imap]
            .map(|kind| section(&lab, "x", Tls::None, endpoint(&host, kind, Tls::None), ""));
        let proxy = Proxy::start(&lab, &sections.concat());
        Scene { lab, host, proxy }
    }

    fn connect(&self, kind: Kind) -> Wire {
        Wire::connect(&self.lab, self.proxy.endpoint(kind, "x", Tls::None))
    }

    /// Ann's session.
    fn login(&self, kind: Kind) -> Wire {
        let mut wire = self.connect(kind);
        wire.login(kind, ANN);
        wire
    }

    /// Ann's IMAP session in her inbox.
    fn inbox(&self) -> Wire {
        let mut wire = self.login(Kind::Imap);
        wire.imap_ok("SELECT INBOX");
        wire
    }

    /// Ann's SMTP session up to the envelope.
    fn envelope(&self) -> Wire {
        let mut wire = self.login(Kind::Smtp);
        envelope(&mut wire);
        wire
    }

    fn once(&self, kind: Kind, event: &str, act: Act) {
        self.host.script.once(of(kind), event, act);
    }

    fn reply(&self, kind: Kind, event: &str, text: &str) {
        self.once(kind, event, Act::Reply(text.to_owned()));
    }

    fn deliver(&self, message: &[u8]) {
        self.host.mail.deliver(ANN, INBOX, message).expect("Ann's inbox");
    }

    #[track_caller]
    fn holds(&self, expected: &[Expected]) {
        self.proxy.spool().holds(expected);
    }

    /// The closing line of the only session, or of the last of so many.
    #[track_caller]
    fn closed(&self, sessions: usize) -> String {
        let lines = || -> Vec<String> {
            self.proxy.log().lines().filter(|line| line.contains(" closed client=")).map(str::to_owned).collect()
        };
        wait_until("the session is closed", CLIENT, || lines().len() >= sessions);
        lines().pop().unwrap()
    }

    /// Fails unless the closing line holds all of these.
    #[track_caller]
    fn closed_with(&self, sessions: usize, facts: &[&str]) {
        let line = self.closed(sessions);
        for fact in facts {
            assert!(line.contains(fact), "{fact:?} is missing in {line}");
        }
    }
}

fn start(lab: &Lab) -> Host {
    let read = |file| fs::read(file).expect("a PEM file");
    let files = lab.certificate();
    let certificate = Certificate { authority: read(lab.ca()), chain: read(files.chain), key: read(files.key) };
    let mail = Mail::default();
    for user in [ANN, BOB] {
        mail.add_user(user, PASSWORD, &["Sent", "Work"]);
    }
    Host::start(mail, &certificate, [[0; 2]; 3]).expect("the mail host")
}

fn of(kind: Kind) -> mailhost::Kind {
    match kind {
        Kind::Smtp => mailhost::Kind::Smtp,
        Kind::Pop3 => mailhost::Kind::Pop3,
        Kind::Imap => mailhost::Kind::Imap,
    }
}

fn endpoint(host: &Host, kind: Kind, tls: Tls) -> Endpoint {
    let door = match kind {
        Kind::Smtp => host.smtp,
        Kind::Pop3 => host.pop3,
        Kind::Imap => host.imap,
    };
    let address = if tls == Tls::Implicit { door.tls } else { door.plain };
    Endpoint { kind, port: address.port(), tls }
}

fn envelope(wire: &mut Wire) {
    assert!(wire.smtp(&format!("MAIL FROM:<{ANN}>")).starts_with("250"));
    assert!(wire.smtp(&format!("RCPT TO:<{BOB}>")).starts_with("250"));
}

/// DATA with a message; the reply to its end.
fn data(wire: &mut Wire, message: &[u8]) -> String {
    assert!(wire.smtp("DATA").starts_with("354"));
    wire.send(&dotted(message));
    String::from_utf8(wire.smtp_reply()).unwrap()
}

/// A message as DATA carries it, with its end.
fn dotted(message: &[u8]) -> Vec<u8> {
    [replaced(message, "\r\n.", "\r\n.."), b".\r\n".to_vec()].concat()
}

/// RETR; the message.
fn retr(wire: &mut Wire, number: u32) -> Vec<u8> {
    assert!(wire.pop3(&format!("RETR {number}")).starts_with("+OK"));
    let mut text = wire.pop3_lines();
    text.truncate(text.len() - b".\r\n".len());
    replaced(&text, "\r\n..", "\r\n.")
}

fn append(wire: &mut Wire, folder: &str, message: &[u8]) -> String {
    let tag = wire.next_tag();
    wire.send(format!("{tag} APPEND {folder} {{{}+}}\r\n", message.len()).as_bytes());
    wire.send(&[message, b"\r\n"].concat());
    String::from_utf8(wire.imap_until(&tag)).unwrap()
}

/// All that comes until the proxy closes; then the client does, too.
fn rest(mut wire: Wire) -> Vec<u8> {
    wire.rest()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn all_combinations_of_tls() {
    let lab = Lab::new();
    let host = start(&lab);
    let (incoming, outgoing, filed) = (corpus::numbered(1), corpus::numbered(2), corpus::numbered(3));
    host.mail.deliver(ANN, INBOX, &incoming);
    for kind in [Kind::Smtp, Kind::Pop3, Kind::Imap] {
        let (sections, names) = nine(&lab, |tls| endpoint(&host, kind, tls));
        let proxy = Proxy::start(&lab, &sections);
        for (name, listen, _) in &names {
            let mut wire = Wire::connect(&lab, proxy.endpoint(kind, name, *listen));
            wire.login(kind, ANN);
            match kind {
                Kind::Smtp => {
                    envelope(&mut wire);
                    assert!(data(&mut wire, &outgoing).starts_with("250"), "{name}");
                    wire.smtp("QUIT");
                }
                Kind::Pop3 => {
                    assert_eq!(retr(&mut wire, 1), incoming, "{name}");
                    wire.pop3("QUIT");
                }
                Kind::Imap => {
                    wire.imap_ok("SELECT INBOX");
                    assert_eq!(wire::literals(&wire.imap_ok("FETCH 1 BODY.PEEK[]")), [&incoming[..]], "{name}");
                    assert!(append(&mut wire, "Work", &filed).contains(" OK "), "{name}");
                    wire.imap_ok("LOGOUT");
                }
            }
        }
        proxy.spool().holds(&match kind {
            Kind::Smtp => vec![sent(ANN, &outgoing)],
            Kind::Pop3 => vec![received(ANN, "", &incoming)],
            Kind::Imap => vec![received(ANN, "", &incoming), received(ANN, "Work", &filed)],
        });
    }
    assert_eq!(host.mail.texts(BOB, INBOX).unwrap(), vec![outgoing; 9]);
    assert_eq!(host.mail.texts(ANN, "Work").unwrap(), vec![filed; 9]);
}

#[test]
fn starttls_refused_by_the_server_is_never_fallen_back_from() {
    let lab = Lab::new();
    let host = start(&lab);
    for (kind, command, no) in [
        (Kind::Smtp, "STARTTLS", "454 4.7.0 not now\r\n"),
        (Kind::Pop3, "STLS", "-ERR not now\r\n"),
        (Kind::Imap, "STARTTLS", "{tag} NO not now\r\n"),
    ] {
        // Refused, and with words behind the consent that nobody but an attacker would put there.
        let yes = match kind {
            Kind::Smtp => "220 go\r\n250 injected\r\n",
            Kind::Pop3 => "+OK go\r\n+OK injected\r\n",
            Kind::Imap => "{tag} OK go\r\n* PREAUTH injected\r\n",
        };
        let proxy = Proxy::start(&lab, &section(&lab, "x", Tls::None, endpoint(&host, kind, Tls::StartTls), ""));
        for answer in [no, yes] {
            host.script.once(of(kind), command, Act::Reply(answer.to_owned()));
            let mut client =
                std::net::TcpStream::connect(("127.0.0.1", proxy.port(&format!("{}:x", kind.key())))).unwrap();
            let mut heard = Vec::new();
            // A client that waits for the other's greeting, as clients do.
            std::io::Read::read_to_end(&mut client, &mut heard).unwrap();
            let heard = text(heard);
            let refusal = ["421 ", "-ERR [SYS/TEMP]", "* BYE "].iter().any(|words| heard.starts_with(words));
            assert!(heard.is_empty() || refusal, "{heard}");
            assert!(!heard.contains("injected"), "{heard}");
        }
        let log = proxy.stop();
        assert!(log.contains("reason=the server sent plaintext before the TLS handshake"), "{log}");
        assert!(
            log.lines().any(|line| line.contains(" closed ") && line.contains("STLS") | line.contains("STARTTLS")),
            "{log}"
        );
    }
}

#[test]
fn pop3_server_closes_in_the_middle_of_a_message() {
    let scene = Scene::new();
    let message = corpus::sized("Cut", 50_000);
    scene.deliver(&message);
    scene.once(Kind::Pop3, "RETR", Act::Cut(20_000));
    let mut wire = scene.login(Kind::Pop3);
    wire.send(b"RETR 1\r\n");
    let heard = rest(wire);
    assert!(heard.len() <= 20_000 && !heard.ends_with(b"\r\n.\r\n"), "{}", heard.len());
    scene.holds(&[]);
    scene.closed_with(1, &["kept=0", "not_kept=1", "reason=server closed in the middle of a message"]);

    let mut wire = scene.login(Kind::Pop3);
    assert!(retr(&mut wire, 1) == message);
    assert!(wire.pop3("QUIT").starts_with("+OK"));
    drop(wire);
    scene.holds(&[received(ANN, "", &message)]);
    scene.closed_with(2, &["kept=1", "not_kept=0", "reason=QUIT"]);
}

#[test]
fn pop3_server_refuses_a_message() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    scene.deliver(&message);
    scene.reply(Kind::Pop3, "RETR", "-ERR [SYS/TEMP] locked\r\n");
    let mut wire = scene.login(Kind::Pop3);
    assert_eq!(wire.pop3("RETR 1"), "-ERR [SYS/TEMP] locked\r\n");
    assert!(wire.pop3("NOOP").starts_with("+OK"));
    scene.holds(&[]);
    assert_eq!(retr(&mut wire, 1), message);
    scene.holds(&[received(ANN, "", &message)]);
}

#[test]
fn pop3_server_answers_more_than_was_asked() {
    let scene = Scene::new();
    scene.reply(Kind::Pop3, "NOOP", "+OK\r\n+OK and again\r\n");
    let mut wire = scene.login(Kind::Pop3);
    wire.send(b"NOOP\r\n");
    assert_eq!(text(rest(wire)), "+OK\r\n");
    scene.closed_with(1, &["kept=0", "reason=server spoke unasked"]);
}

#[test]
fn smtp_server_refuses_data() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    let mut wire = scene.envelope();
    scene.reply(Kind::Smtp, "DATA", "451 4.3.0 not now\r\n");
    assert_eq!(wire.smtp("DATA"), "451 4.3.0 not now\r\n");
    scene.holds(&[]);
    // The session is as good as before.
    assert!(wire.smtp("RSET").starts_with("250"));
    envelope(&mut wire);
    assert!(data(&mut wire, &message).starts_with("250"));
    wire.smtp("QUIT");
    drop(wire);
    scene.holds(&[sent(ANN, &message)]);
    scene.closed_with(1, &["kept=1", "not_kept=0", "reason=QUIT"]);
}

#[test]
fn smtp_server_refuses_the_message_at_its_end() {
    let scene = Scene::new();
    let (refused, taken) = (corpus::numbered(1), corpus::numbered(2));
    for refusal in ["554 5.7.1 spam\r\n", "451 4.3.0 later\r\n", "552-5.3.4 too\r\n552 5.3.4 large\r\n"] {
        let mut wire = scene.envelope();
        scene.reply(Kind::Smtp, MESSAGE, refusal);
        assert_eq!(data(&mut wire, &refused), refusal);
        envelope(&mut wire);
        scene.reply(Kind::Smtp, MESSAGE, refusal);
        wire.send(&[format!("BDAT {} LAST\r\n", refused.len()).as_bytes(), &refused].concat());
        assert_eq!(text(wire.smtp_reply()), refusal);
        wire.smtp("QUIT");
    }
    scene.holds(&[]);
    let mut wire = scene.envelope();
    assert!(data(&mut wire, &taken).starts_with("250"));
    scene.holds(&[sent(ANN, &taken)]);
    assert_eq!(scene.host.mail.texts(BOB, INBOX).unwrap(), [taken]);
}

/// The server may have it: better kept for nothing than lost.
#[test]
fn smtp_server_closes_instead_of_an_answer_to_the_message() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    let mut wire = scene.envelope();
    scene.once(Kind::Smtp, MESSAGE, Act::Close);
    assert!(wire.smtp("DATA").starts_with("354"));
    wire.send(&dotted(&message));
    let heard = text(rest(wire));
    assert!(heard.is_empty() || heard.starts_with("421 "), "{heard}");
    scene.closed_with(1, &["kept=1", "reason=the server closed the connection before it had answered"]);
    scene.holds(&[sent(ANN, &message)]);
}

#[test]
fn smtp_server_refuses_a_recipient() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    let mut wire = scene.login(Kind::Smtp);
    // Pipelined, as clients do (RFC 2920): every reply in its place.
    scene.reply(Kind::Smtp, "RCPT TO:<carol", "452 4.2.2 full\r\n");
    wire.send(format!("MAIL FROM:<{ANN}>\r\nRCPT TO:<carol@example.org>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n").as_bytes());
    let replies = [(); 4].map(|()| text(wire.smtp_reply()));
    assert_eq!(replies.map(|reply| reply[..3].to_owned()), ["250", "452", "250", "354"]);
    wire.send(&dotted(&message));
    assert!(wire.smtp_reply().starts_with(b"250"));
    scene.holds(&[sent(ANN, &message)]);
    // All are refused, and so is DATA.
    scene.reply(Kind::Smtp, "RCPT", "550 5.1.1 who?\r\n");
    wire.send(format!("MAIL FROM:<{ANN}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n").as_bytes());
    let replies = [(); 3].map(|()| text(wire.smtp_reply()));
    assert_eq!(replies.map(|reply| reply[..3].to_owned()), ["250", "550", "503"]);
    assert!(wire.smtp("QUIT").starts_with("221"));
    scene.holds(&[sent(ANN, &message)]);
}

#[test]
fn smtp_server_answers_more_than_was_asked() {
    let scene = Scene::new();
    let mut wire = scene.login(Kind::Smtp);
    scene.reply(Kind::Smtp, "MAIL", "250 2.1.0 go on\r\n250 2.1.5 and on\r\n");
    wire.send(format!("MAIL FROM:<{ANN}>\r\n").as_bytes());
    assert!(text(rest(wire)).starts_with("250 2.1.0 go on\r\n"));
    scene.closed_with(1, &["kept=0", "reason=the server answered what was not asked: "]);
}

#[test]
fn a_server_that_greets_with_a_refusal() {
    let scene = Scene::new();
    for (kind, greeting) in [
        (Kind::Smtp, "554 no service\r\n"),
        (Kind::Pop3, "-ERR [SYS/TEMP] no service\r\n"),
        (Kind::Imap, "* BYE no service\r\n"),
    ] {
        scene.reply(kind, GREETING, greeting);
        let wire = scene.connect(kind);
        let code = greeting.split_once(' ').unwrap().0;
        assert!(wire.text().starts_with(code), "{}", wire.text());
    }
    scene.closed_with(3, &["user=-"]);
}

#[test]
fn a_login_that_the_server_refuses_is_none() {
    let scene = Scene::new();
    scene.deliver(&corpus::numbered(1));
    scene.reply(Kind::Pop3, "PASS", "-ERR [AUTH] no\r\n");
    // Such a server answers all the same: nobody knows whose message that is.
    scene.reply(Kind::Pop3, "RETR", "+OK\r\nSubject: x\r\n\r\nx\r\n.\r\n");
    let mut wire = scene.connect(Kind::Pop3);
    assert!(wire.pop3(&format!("USER {ANN}")).starts_with("+OK"));
    assert_eq!(wire.pop3(&format!("PASS {PASSWORD}")), "-ERR [AUTH] no\r\n");
    assert!(wire.pop3("RETR 1").starts_with("-ERR"));
    drop(wire);
    scene.holds(&[]);
    scene.closed_with(1, &["user=-", "kept=0"]);
}

#[test]
fn imap_server_closes_in_the_middle_of_a_message() {
    let scene = Scene::new();
    let message = corpus::sized("Cut", 50_000);
    scene.deliver(&message);
    let mut wire = scene.inbox();
    scene.once(Kind::Imap, "FETCH", Act::Cut(20_000));
    wire.send(b"x FETCH 1 BODY.PEEK[]\r\n");
    let heard = rest(wire);
    assert!(heard.len() <= 20_000, "{}", heard.len());
    scene.holds(&[]);
    scene.closed_with(1, &["kept=0", "reason=the server closed the connection in the middle of a response"]);
    // All of the message came, but not the end of the response.
    let mut wire = scene.inbox();
    let start = format!("* 1 FETCH (BODY[] {{{}}}\r\n", message.len());
    scene.once(Kind::Imap, "FETCH", Act::Cut(start.len() + message.len()));
    wire.send(b"x FETCH 1 BODY.PEEK[]\r\n");
    let heard = rest(wire);
    assert!(!heard.windows(4).any(|four| four == b"x OK"));
    scene.holds(&[]);
    scene.closed_with(2, &["kept=0", "reason=the server closed the connection in the middle of a response"]);
}

#[test]
fn imap_server_refuses_what_is_filed() {
    let scene = Scene::new();
    let (refused, taken) = (corpus::numbered(1), corpus::numbered(2));
    let mut wire = scene.login(Kind::Imap);
    // Before the message goes up, and after.
    scene.reply(Kind::Imap, "APPEND", "{tag} NO [OVERQUOTA] full\r\n");
    assert_eq!(text(wire.imap(&format!("APPEND Sent {{{}}}", refused.len()))), "t2 NO [OVERQUOTA] full\r\n");
    for (event, answer) in [("APPEND", "NO [OVERQUOTA] full"), (MESSAGE, "NO [TRYCREATE] gone"), (MESSAGE, "BAD what?")]
    {
        scene.reply(Kind::Imap, event, &format!("{{tag}} {answer}\r\n"));
        assert!(append(&mut wire, "Sent", &refused).ends_with(&format!(" {answer}\r\n")));
    }
    scene.holds(&[]);
    assert!(append(&mut wire, "Sent", &taken).contains(" OK "));
    scene.holds(&[sent(ANN, &taken)]);
    assert_eq!(scene.host.mail.texts(ANN, "Sent").unwrap(), [taken]);
}

#[test]
fn imap_server_closes_instead_of_an_answer_to_what_is_filed() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    let mut wire = scene.login(Kind::Imap);
    scene.once(Kind::Imap, MESSAGE, Act::Close);
    wire.send(&[format!("x APPEND Sent {{{}+}}\r\n", message.len()).as_bytes(), &message, b"\r\n"].concat());
    let heard = text(rest(wire));
    assert!(!heard.contains("x OK"), "{heard}");
    scene.closed_with(1, &["kept=1", "reason=the server closed the connection"]);
    scene.holds(&[sent(ANN, &message)]);
}

#[test]
fn imap_server_says_no_to_a_fetch_or_sends_less() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    scene.deliver(&message);
    let mut wire = scene.inbox();
    for answer in
        ["{tag} NO [UNAVAILABLE] later\r\n", "{tag} OK but nothing\r\n", "* 1 FETCH (BODY[] NIL)\r\n{tag} OK\r\n"]
    {
        scene.reply(Kind::Imap, "FETCH", answer);
        let heard = text(wire.imap("FETCH 1 BODY.PEEK[]"));
        assert_eq!(heard.split_once("NIL").is_some(), answer.contains("NIL"), "{heard}");
        scene.holds(&[]);
    }
    assert_eq!(wire::literals(&wire.imap_ok("FETCH 1 BODY.PEEK[]")), [&message[..]]);
    scene.holds(&[received(ANN, "", &message)]);
}

#[test]
fn imap_server_sends_a_message_unasked() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    scene.deliver(&message);
    let mut wire = scene.inbox();
    let response =
        format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n{})\r\n{{tag}} OK done\r\n", message.len(), text(message.clone()));
    scene.reply(Kind::Imap, "NOOP", &response);
    assert_eq!(wire::literals(&wire.imap_ok("NOOP")), [&message[..]]);
    scene.holds(&[received(ANN, "", &message)]);
}

#[test]
fn imap_server_greets_as_if_somebody_had_logged_in() {
    let scene = Scene::new();
    scene.reply(Kind::Imap, GREETING, "* PREAUTH welcome, whoever you are\r\n");
    let wire = scene.connect(Kind::Imap);
    assert!(wire.text().starts_with("* BYE "), "{}", wire.text());
    drop(wire);
    scene.closed_with(1, &["user=-", "PREAUTH"]);
}

#[test]
fn smtp_server_closes_between_chunks() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    let (one, other) = message.split_at(50);
    let mut wire = scene.envelope();
    wire.send(&[format!("BDAT {}\r\n", one.len()).as_bytes(), one].concat());
    assert!(wire.smtp_reply().starts_with(b"250"));
    scene.once(Kind::Smtp, "BDAT", Act::Close);
    wire.send(&[format!("BDAT {} LAST\r\n", other.len()).as_bytes(), other].concat());
    let heard = text(rest(wire));
    assert!(heard.is_empty() || heard.starts_with("421 "), "{heard}");
    scene.closed_with(1, &["reason=the server closed the connection"]);
    // The last chunk went out: the server may have it.
    scene.holds(&[sent(ANN, &message)]);
}

#[test]
fn pop3_server_closes_at_the_end_or_in_a_top_of_everything() {
    let scene = Scene::new();
    let message = corpus::numbered(1);
    scene.deliver(&message);
    scene.once(Kind::Pop3, "TOP", Act::Cut(100));
    let mut wire = scene.login(Kind::Pop3);
    wire.send(b"TOP 1 99999999\r\n");
    assert!(rest(wire).len() <= 100);
    scene.holds(&[]);
    scene.closed_with(1, &["kept=0", "reason=server closed in the middle of a message"]);
    // What was kept stays kept, whatever becomes of QUIT.
    scene.once(Kind::Pop3, "QUIT", Act::Close);
    let mut wire = scene.login(Kind::Pop3);
    assert_eq!(retr(&mut wire, 1), message);
    wire.send(b"QUIT\r\n");
    rest(wire);
    scene.holds(&[received(ANN, "", &message)]);
    scene.closed_with(2, &["kept=1", "not_kept=0"]);
}

/// All octets there are, ends of lines and of messages in every broken form among them.
#[test]
fn binary_messages_pass_by_bdat_and_by_literal8() {
    let all: Vec<u8> = (0..=255).collect();
    let ends = b"\r\n.\r\n\n.\n\r.\r\r\n.\r\r\n * 1 FETCH (BODY[] {5}\r\n)";
    let binary = |name: &str| [format!("Subject: {name}\r\n\r\n").as_bytes(), &all, ends, &all].concat();
    let (chunked, filed) = (binary("chunked"), binary("filed"));
    let scene = Scene::new();

    let mut smtp = scene.login(Kind::Smtp);
    assert!(smtp.smtp("EHLO test.example.org").contains("BINARYMIME"));
    assert!(smtp.smtp(&format!("MAIL FROM:<{ANN}> BODY=BINARYMIME")).starts_with("250"));
    assert!(smtp.smtp(&format!("RCPT TO:<{BOB}>")).starts_with("250"));
    // Cut within CRLF.CRLF, and an empty last chunk.
    let cut = chunked.windows(5).position(|window| window == b"\r\n.\r\n").unwrap() + 3;
    for (chunk, last) in [(&chunked[..cut], ""), (&chunked[cut..], ""), (&chunked[..0], " LAST")] {
        smtp.send(&[format!("BDAT {}{last}\r\n", chunk.len()).as_bytes(), chunk].concat());
        assert!(smtp.smtp_reply().starts_with(b"250"));
    }
    smtp.smtp("QUIT");

    let mut imap = scene.login(Kind::Imap);
    let tag = imap.next_tag();
    imap.send(&[format!("{tag} APPEND Work ~{{{}+}}\r\n", filed.len()).as_bytes(), &filed, b"\r\n"].concat());
    assert!(text(imap.imap_until(&tag)).contains(" OK "));
    imap.imap_ok("SELECT Work");
    assert_eq!(wire::literals(&imap.imap_ok("FETCH 1 BODY.PEEK[]")), [&filed[..]]);
    imap.imap_ok("LOGOUT");

    assert_eq!(scene.host.mail.texts(BOB, INBOX).unwrap(), [&chunked[..]]);
    assert_eq!(scene.host.mail.texts(ANN, "Work").unwrap(), [&filed[..]]);
    scene.holds(&[sent(ANN, &chunked), received(ANN, "Work", &filed)]);
}
