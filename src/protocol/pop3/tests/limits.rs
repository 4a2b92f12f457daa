//! Limits, and that pieces make no difference.

use super::*;

#[test]
fn a_client_that_does_not_listen_has_to_wait() {
    let mut session = session();
    session.feed(Side::Client, &b"NOOP\r\n".repeat(1500));
    assert_eq!(session.host.sent(Side::Server).len(), 6 * 1000);
    session.feed(Side::Server, &b"+OK\r\n".repeat(600));
    assert_eq!(session.host.sent(Side::Server).len(), 6 * 1500);
    session.feed(Side::Server, &b"+OK\r\n".repeat(900));
    assert_eq!(session.host.sent(Side::Client).len(), 5 * 1501);
    assert!(!session.protocol().outstanding());
}

#[test]
fn lines_have_a_limit_where_they_are_lines() {
    let mut long = session();
    long.feed(Side::Client, &vec![b'x'; COMMAND_LEN_MAX + 1]);
    assert!(long.host.ended());
    assert!(long.host.sent(Side::Client).ends_with(b"-ERR [SYS/TEMP] the line is too long\r\n"));

    let mut long = session();
    long.feed(Side::Client, b"NOOP\r\n");
    long.feed(Side::Server, &[b"+OK ", &vec![b'x'; STATUS_LEN_MAX][..]].concat());
    assert!(long.host.ended());

    // Not in what a list or a message holds.
    let mut list = session();
    list.feed(Side::Client, b"UIDL\r\n");
    let reply = [b"+OK\r\n", &vec![b'x'; 100_000][..], b"\r\n.\r\n"].concat();
    list.feed(Side::Server, &reply);
    assert_eq!(list.host.sent(Side::Client), [b"+OK\r\n", &reply[..]].concat());
    assert!(!list.host.ended());

    let mut mechanisms = session();
    mechanisms.feed(Side::Client, b"AUTH\r\n");
    mechanisms.feed(Side::Server, b"+OK\r\n");
    mechanisms.feed(Side::Server, &b"PLAIN\r\n".repeat(20_000));
    assert!(mechanisms.host.ended());
}

/// A command, its reply, and the message in it.
type Said = (&'static str, String, Option<String>);

fn said() -> impl Strategy<Value = Said> {
    let text = || "([.a]{0,3}(\r\n|\r|\n|\\.\r)){0,4}".prop_map(|text| text + "\r\n");
    let stuff = |text: &str| {
        let stuffed =
            text.split("\r\n").map(|line| if line.starts_with('.') { format!(".{line}") } else { line.into() });
        stuffed.collect::<Vec<String>>().join("\r\n")
    };
    prop_oneof![
        Just(("NOOP\r\n", "+OK\r\n".to_owned(), None)),
        Just(("RSET 1\r\n", "-ERR\r\n".to_owned(), None)),
        Just(("RETR 2\r\n", "-ERR none\r\n".to_owned(), None)),
        Just(("LIST 1\r\n", "+OK 1 2\r\n".to_owned(), None)),
        text().prop_map(move |text| ("LIST\r\n", format!("+OK\r\n{}.\r\n", stuff(&text)), None)),
        text().prop_map(move |text| ("RETR 1\r\n", format!("+OK 5 octets\r\n{}.\r\n", stuff(&text)), Some(text))),
        text().prop_map(move |text| ("TOP 1 9999999\r\n", format!("+OK\r\n{}.\r\n", stuff(&text)), Some(text))),
    ]
}

/// Feeds `bytes` in pieces of the lengths given, over and over.
fn feed(session: &mut Session, from: Side, mut bytes: &[u8], lens: &[usize]) {
    let mut lens = lens.iter().copied().cycle();
    while !bytes.is_empty() {
        let len = lens.next().unwrap_or(usize::MAX).min(bytes.len());
        session.feed(from, &bytes[..len]);
        bytes = &bytes[len..];
    }
}

proptest! {
    #[test]
    fn what_passes_is_what_was_said(
        rounds in prop::collection::vec(prop::collection::vec(said(), 1..6), 1..5),
        lens in prop::collection::vec(1usize..40, 1..10),
    ) {
        let mut pieces = logged_in();
        let mut whole = logged_in();
        let (mut commands, mut replies) = (b"USER me\r\nPASS x\r\n".to_vec(), b"+OK\r\n+OK\r\n+OK\r\n".to_vec());
        let mut messages = Vec::new();
        for round in rounds {
            let asked: String = round.iter().map(|said| said.0).collect();
            let answered: String = round.iter().map(|said| &said.1[..]).collect();
            messages.extend(round.into_iter().filter_map(|said| said.2));
            feed(&mut pieces, Side::Client, asked.as_bytes(), &lens);
            feed(&mut pieces, Side::Server, answered.as_bytes(), &lens);
            whole.feed(Side::Client, asked.as_bytes());
            whole.feed(Side::Server, answered.as_bytes());
            commands.extend(asked.into_bytes());
            replies.extend(answered.into_bytes());
        }
        prop_assert_eq!(pieces.host.sent(Side::Server), commands);
        prop_assert_eq!(pieces.host.sent(Side::Client), replies);
        for (message, draft) in messages.iter().zip(1..) {
            prop_assert_eq!(pieces.host.appended(draft), message.as_bytes());
        }
        prop_assert_eq!(pieces.host.lines(), whole.host.lines());
        prop_assert_eq!(pieces.host.drafts_left(), 0);
        prop_assert!(!pieces.host.ended() && !pieces.protocol().outstanding());
    }

    #[test]
    fn nothing_that_is_said_hurts(
        said in prop::collection::vec(
            (any::<bool>(), "((\\+OK|-ERR|\\+ |CAPA|AUTH ?|AUTH PLAIN|USER a|PASS|RETR 1|TOP 1 9999999|TOP 2 1|TOP 3 1000|DELE [12]|UIDL( 2)?|LIST|STLS|QUIT|\\.|\\*|[\\x00-\\x7f])(\r\n)?){0,6}"),
            0..30,
        ),
        starttls: bool,
    ) {
        let tls = if starttls { TlsMode::StartTls } else { TlsMode::None };
        let mut session = Session::new(Box::new(Pop3::new(settings(tls, TlsMode::None))));
        for (client, bytes) in said {
            session.feed(if client { Side::Client } else { Side::Server }, bytes.as_bytes());
            prop_assert!(session.host.drafts_left() <= 1);
        }
        session.eof(Side::Client);
        session.eof(Side::Server);
        prop_assert_eq!(session.host.drafts_left(), 0);
        prop_assert!(session.host.ended());
    }
}
