//! Nobody reaches the spool without a login that the server accepted: not a byte, not a folder. What was said before a login or after it
//! counts for nobody, and what one login got is no other's.

mod support;

use std::fs;

use support::peer::{Answers, Peer, ends};
use support::proxy::section;
use support::*;

const MESSAGE: &[u8] = b"Subject: secret\r\n\r\ntext\r\n";

/// A proxy before a server that gives these answers.
struct Case {
    lab: Lab,
    proxy: Proxy,
    peer: Peer,
    at: Endpoint,
}

fn before(kind: Kind, more: &str, answers: Answers) -> Case {
    let lab = Lab::new();
    let peer = Peer::answering(&lab, kind, Tls::None, answers);
    let more = if kind == Kind::Imap { UNFOLLOWED } else { more };
    let proxy = Proxy::with(&lab, "sync = no\n", &section(&lab, "a", Tls::None, peer.endpoint(Tls::None), more));
    let at = proxy.endpoint(kind, "a", Tls::None);
    Case { lab, proxy, peer, at }
}

impl Case {
    fn connect(&self) -> Wire {
        Wire::connect(&self.lab, self.at)
    }

    /// A session of these words, said all at once; what it heard.
    fn says(&self, words: &str) -> String {
        let mut wire = self.connect();
        wire.send(words.as_bytes());
        wire.finish_sending();
        String::from_utf8_lossy(&wire.rest()).into_owned()
    }

    /// Fails unless there is nothing at all, folders included.
    #[track_caller]
    fn has_left_nothing(&self, sessions: usize) {
        let reasons = ends(&self.proxy, sessions);
        let spool = self.proxy.spool();
        let left: Vec<_> =
            fs::read_dir(spool.path()).map_or(Vec::new(), |all| all.flatten().map(|one| one.path()).collect());
        assert!(left.is_empty(), "{left:?}\n{reasons:?}");
    }
}

fn fetched() -> Vec<u8> {
    [format!("* 1 FETCH (BODY[] {{{}}}\r\n", MESSAGE.len()).as_bytes(), MESSAGE, b")\r\n{tag} OK done\r\n"].concat()
}

#[test]
fn an_imap_message_that_comes_without_a_login_is_nobodys() {
    let refused: Answers = vec![
        ("NOOP", fetched()),
        ("LOGIN", b"{tag} NO no\r\n".to_vec()),
        ("AUTHENTICATE", b"+ \r\n".to_vec()),
        ("*", b"a OK done\r\n".to_vec()),
        ("CAPABILITY", b"b OK logged in\r\n".to_vec()),
    ];
    let case = before(Kind::Imap, "", refused);
    let lost = "the server broke the protocol: it shows a message to nobody who is logged in";
    for (number, (words, reason)) in [
        ("a NOOP\r\n", lost),
        ("a LOGIN ann x\r\nb NOOP\r\n", lost),
        // An OK to what was never said, and to what was given up.
        ("a CAPABILITY\r\n", "the server broke the protocol: it answers a command that nobody sent"),
        ("a AUTHENTICATE PLAIN\r\n*\r\nc NOOP\r\n", "the server accepted a login that named no user"),
    ]
    .into_iter()
    .enumerate()
    {
        let heard = case.says(words);
        assert!(!heard.contains("secret"), "{words:?}: {heard}");
        let last = ends(&case.proxy, number + 1).pop().unwrap();
        assert!(last.starts_with(reason), "{words:?}: {last}");
    }
    case.has_left_nothing(4);
    assert!(!case.proxy.log().contains(" login user="));
}

#[test]
fn an_imap_message_behind_a_logout_is_nobodys() {
    let logout = [b"* BYE bye\r\n{tag} OK done\r\n", &fetched()[..]].concat();
    let case = before(Kind::Imap, "", vec![("LOGOUT", logout)]);
    let heard = case.says("a LOGIN ann x\r\nb SELECT INBOX\r\nc LOGOUT\r\n");
    assert!(heard.contains("c OK done") && !heard.contains("secret"), "{heard}");
    case.has_left_nothing(1);
}

#[test]
fn what_is_appended_before_a_login_or_refused_leaves_nothing() {
    let case =
        before(Kind::Imap, "", vec![("APPEND", b"{tag} NO no\r\n".to_vec()), ("LOGIN", b"{tag} NO no\r\n".to_vec())]);
    case.says("a APPEND Sent {6+}\r\nsecret\r\nb LOGIN ann x\r\nc APPEND Sent {6+}\r\nsecret\r\n");
    case.has_left_nothing(1);
}

#[test]
fn of_two_imap_logins_in_one_breath_the_one_that_was_accepted_counts() {
    for (refused, owner) in [("LOGIN ann", "eve"), ("LOGIN eve", "ann")] {
        let case = before(Kind::Imap, "", vec![(refused, b"{tag} NO no\r\n".to_vec()), ("FETCH", fetched())]);
        case.says("a LOGIN ann x\r\nb LOGIN eve y\r\nc SELECT INBOX\r\nd FETCH 1 BODY[]\r\n");
        case.proxy.spool().holds(&[spool::received(owner, "", MESSAGE)]);
    }
    // Their answers in the other order: the tags tell whose they are.
    let both = b"b NO no\r\na OK done\r\n".to_vec();
    let case = before(
        Kind::Imap,
        "",
        vec![("LOGIN ann", b"* OK wait\r\n".to_vec()), ("LOGIN eve", both), ("FETCH", fetched())],
    );
    case.says("a LOGIN ann x\r\nb LOGIN eve y\r\nc SELECT INBOX\r\nd FETCH 1 BODY[]\r\n");
    case.proxy.spool().holds(&[spool::received("ann", "", MESSAGE)]);
}

#[test]
fn a_pop3_message_that_comes_without_a_login_is_nobodys_and_passes_to_nobody() {
    let message = [b"+OK\r\n", MESSAGE, b".\r\n"].concat();
    let case = before(
        Kind::Pop3,
        "",
        vec![
            ("RETR", message.clone()),
            ("TOP", message),
            ("PASS wrong", b"-ERR no\r\n".to_vec()),
            ("APOP eve", b"-ERR no\r\n".to_vec()),
            ("AUTH", b"+ \r\n".to_vec()),
            ("*", b"+OK\r\n".to_vec()),
        ],
    );
    let sessions = [
        "RETR 1\r\nTOP 1 99999999\r\nQUIT\r\n",
        "USER ann\r\nRETR 1\r\nQUIT\r\n",
        "USER ann\r\nPASS wrong\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n",
        "APOP eve 0123\r\nRETR 1\r\nQUIT\r\n",
        // A login without a name, and one that was given up and accepted.
        "PASS right\r\nRETR 1\r\nQUIT\r\n",
        "AUTH PLAIN\r\n*\r\nRETR 1\r\nQUIT\r\n",
        // QUIT is not undone by what comes behind it.
        "QUIT\r\nUSER ann\r\nPASS right\r\nRETR 1\r\n",
    ];
    for words in sessions {
        let heard = case.says(words);
        assert!(!heard.contains("secret"), "{words:?}: {heard}");
    }
    case.has_left_nothing(sessions.len());
    assert!(!case.proxy.log().contains(" login user="));
}

#[test]
fn of_two_pop3_logins_in_one_breath_the_one_that_was_accepted_counts() {
    let message = [b"+OK\r\n", MESSAGE, b".\r\n"].concat();
    for (refused, owner) in [("PASS of-ann", "eve"), ("PASS of-eve", "ann")] {
        let case = before(Kind::Pop3, "", vec![("RETR", message.clone()), (refused, b"-ERR no\r\n".to_vec())]);
        case.says("USER ann\r\nPASS of-ann\r\nUSER eve\r\nPASS of-eve\r\nRETR 1\r\nQUIT\r\n");
        case.proxy.spool().holds(&[spool::received(owner, "", MESSAGE)]);
    }
    // A USER that the server refuses names nobody: what was named before it does not count either.
    let case = before(Kind::Pop3, "", vec![("RETR", message), ("USER eve", b"-ERR no\r\n".to_vec())]);
    let heard = case.says("USER ann\r\nUSER eve\r\nPASS of-ann\r\nRETR 1\r\nQUIT\r\n");
    assert!(!heard.contains("secret"));
    case.has_left_nothing(1);
}

#[test]
fn a_stranger_whom_an_smtp_server_grants_nothing_leaves_not_even_a_folder() {
    let submission: Answers = vec![
        ("AUTH", b"535 no\r\n".to_vec()),
        ("RCPT", b"530 log in first\r\n".to_vec()),
        ("DATA", b"503 no recipients\r\n".to_vec()),
        ("BDAT 6 LAST", b"503 no recipients\r\n".to_vec()),
    ];
    for keep in ["", "keep = both\n", "keep = recipients\n"] {
        let case = before(Kind::Smtp, keep, submission.clone());
        let sessions = [
            "EHLO me\r\nMAIL FROM:<ann@example.org>\r\nDATA\r\n",
            "EHLO me\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n",
            "EHLO me\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<eve@example.org>\r\nBDAT 6 LAST\r\nsecret",
            "EHLO me\r\nAUTH PLAIN AGFubgBw\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n",
            "DATA\r\n",
            "BDAT 6 LAST\r\nsecret",
        ];
        for words in sessions {
            case.says(words);
        }
        case.has_left_nothing(sessions.len());
    }
}

#[test]
fn a_login_that_was_cancelled_is_none_whatever_an_smtp_server_says() {
    let case = before(
        Kind::Smtp,
        "",
        vec![("AUTH", b"334 \r\n".to_vec()), ("*", b"235 welcome\r\n".to_vec()), ("RCPT", b"550 no\r\n".to_vec())],
    );
    // Cancelled by the client, and by us for what it says.
    case.says("EHLO me\r\nAUTH PLAIN\r\n*\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n");
    let mut wire = case.connect();
    wire.smtp("EHLO me");
    assert!(wire.smtp("AUTH PLAIN").starts_with("334"));
    wire.send(b"AGFu\r\n");
    assert!(!String::from_utf8_lossy(&wire.rest()).contains("235"));
    drop(wire);
    case.has_left_nothing(2);
    assert!(ends(&case.proxy, 2)[1].starts_with("the server went on with a login that was cancelled"));
    assert!(!case.proxy.log().contains(" login user="));
}

#[test]
fn what_is_sent_belongs_to_the_login_and_not_to_whom_the_envelope_names() {
    let case = before(Kind::Smtp, "keep = both\n", vec![("AUTH PLAIN AGV2", b"535 no\r\n".to_vec())]);
    // A transaction from before the login; a login; one that is refused.
    let message = "Subject: x\r\n\r\n";
    let heard = case.says(&format!(
        "EHLO me\r\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<bob@example.org>\r\nRSET\r\nAUTH PLAIN AGFubkBleGFtcGxlLm9yZwBw\r\n\
         AUTH PLAIN AGV2ZUBleGFtcGxlLm9yZwBw\r\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<carl@example.org>\r\nDATA\r\n{message}.\r\nQUIT\r\n"
    ));
    assert!(heard.contains("250 taken"), "{heard}");
    case.proxy.spool().holds(&[
        spool::sent("ann@example.org", message.as_bytes()),
        spool::received("carl@example.org", "", message.as_bytes()),
    ]);
    assert!(case.peer.heard().contains("AUTH PLAIN AGV2"));
}
