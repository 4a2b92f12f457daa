//! Properties: any chunking does the same, messages pass and are kept byte for byte, nothing breaks the drafts' order.
//!
//! The recording host fails the test by itself where a draft is used after it is gone, or anything is sent after the end.

use super::*;
use crate::protocol::testing::Session;
use crate::protocol::{Farewell, Side};
use proptest::prelude::*;

const ENVELOPE: &[u8] = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

#[derive(Clone, Debug)]
enum Event {
    Input(Side, Vec<u8>),
    Fail(&'static str),
    Eof(Side),
}

fn client() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"EHLO me\r\n",
        b"HELO me\n",
        b"MAIL FROM:<a@b.example> SIZE=5\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<c@d.example>\r\n",
        b"DATA\r\n",
        b"DATA\r\n",
        b"RSET\r\n",
        b"BDAT 3\r\nabc",
        b"BDAT 3\r\nab",
        b"BDAT 2 LAST\r\n.\n",
        b"BDAT 2 LAST\r\nx",
        b"BDAT 0 LAST\r\n",
        b"BDAT 2000\r\n",
        b"BDAT x\r\n",
        b"AUTH PLAIN AG1lAHB3\r\n",
        b"AUTH LOGIN\r\n",
        b"TWU=\r\n",
        b"*\r\n",
        b"STARTTLS\r\n",
        b"QUIT\r\n",
        b"NOOP\r\n",
        b"XCLIENT x\r\n",
        b"\r\n",
        b".\r\n",
        b".\r\n",
        b"text\r\n..\r\n.\r\n",
        b"text\n.\r\n",
        b".",
        b"\r",
        b"\n",
        b"\0",
    ];
    prop::collection::vec(prop::sample::select(words), 1..5).prop_map(|words| words.concat())
}

/// One line: a second reply in the same piece would come before the client could have been heard again.
fn server() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => Just(&b"250 ok\r\n"[..]),
        5 => Just(&b"354 go\r\n"[..]),
        2 => Just(&b"235 yes\r\n"[..]),
        2 => Just(&b"334 VXNlcm5hbWU6\r\n"[..]),
        2 => Just(&b"550 no\r\n"[..]),
        1 => Just(&b"250-more\r\n"[..]),
        1 => Just(&b"250-STARTTLS\n"[..]),
        1 => Just(&b"421 bye\r\n"[..]),
        1 => Just(&b"junk\r\n"[..]),
    ]
    .prop_map(<[u8]>::to_vec)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => client().prop_map(|bytes| Event::Input(Side::Client, bytes)),
        20 => server().prop_map(|bytes| Event::Input(Side::Server, bytes)),
        1 => prop::sample::select(vec!["begin", "append", "prepare"]).prop_map(Event::Fail),
        1 => prop::sample::select(vec![Side::Client, Side::Server]).prop_map(Event::Eof),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let tls = prop::sample::select(vec![TlsMode::None, TlsMode::StartTls]);
    let keep = prop::sample::select(vec![Keep::Sender, Keep::Recipients, Keep::Both]);
    (tls, keep).prop_map(|(listen_tls, keep)| Settings { listen_tls, keep, max_message_size: 20, ..settings() })
}

/// Plays the events, each input in pieces of this many bytes.
fn run(settings: &Settings, events: &[Event], piece: usize) -> Session {
    let mut session = Session::new(make(settings.clone()));
    let mut left = false;
    session.feed(Side::Server, b"220 hi\r\n");
    for event in events {
        match event {
            // Behind its end a side says nothing.
            Event::Input(Side::Client, _) if left => {}
            Event::Input(side, bytes) => bytes.chunks(piece).for_each(|piece| session.feed(*side, piece)),
            Event::Fail(call) => session.host.refuse(call),
            Event::Eof(Side::Client) if left => {}
            Event::Eof(side) => {
                left |= *side == Side::Client;
                session.eof(*side);
            }
        }
        session.protocol().outstanding();
        session.protocol().farewell(Farewell::Lost);
    }
    session
}

/// As a client stuffs it, the end included.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (at, &byte) in message.iter().enumerate() {
        if byte == b'.' && (at == 0 || message[..at].ends_with(b"\r\n")) {
            wire.push(b'.');
        }
        wire.push(byte);
    }
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        wire.extend(b"\r\n");
    }
    wire.extend(b".\r\n");
    wire
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    // Without NUL, which makes a lone dot beside it dubious.
    let bytes = prop::sample::select(b".x.y \t\x80\xff".to_vec());
    prop::collection::vec(bytes, 0..6).prop_map(|mut line| {
        line.extend(b"\r\n");
        line
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_chunking_does_the_same(settings in any_settings(), events in prop::collection::vec(event(), 1..40)) {
        let whole = run(&settings, &events, usize::MAX);
        for piece in [1, 2, 3, 7] {
            let pieces = run(&settings, &events, piece);
            prop_assert_eq!(whole.host.lines(), pieces.host.lines(), "pieces of {}", piece);
        }
        if whole.host.ended() {
            let prepared = whole.host.lines().iter().filter(|line| line.starts_with("prepare ")).count();
            prop_assert!(whole.host.drafts_left() <= prepared);
        }
    }

    #[test]
    fn data_passes_and_is_kept_byte_for_byte(lines in prop::collection::vec(line(), 0..12), piece in 1usize..9) {
        let message = lines.concat();
        let wire = stuffed(&message);
        let mut session = Session::new(make(settings()));
        session.feed(Side::Server, b"220 hi\r\n");
        session.feed(Side::Client, ENVELOPE);
        session.feed(Side::Server, b"250 ok\r\n250 ok\r\n");
        session.feed(Side::Client, b"DATA\r\n");
        session.feed(Side::Server, b"354 go\r\n");
        wire.chunks(piece).for_each(|piece| session.feed(Side::Client, piece));
        session.feed(Side::Server, b"250 queued\r\n");
        prop_assert_eq!(session.host.sent(Side::Server), [ENVELOPE, b"DATA\r\n", &wire[..]].concat());
        prop_assert_eq!(session.host.appended(1), message);
        prop_assert_eq!(session.host.drafts_left(), 0);
    }

    #[test]
    fn chunks_pass_and_are_kept_byte_for_byte(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5),
        piece in 1usize..9,
    ) {
        let mut wire = Vec::new();
        for (number, chunk) in chunks.iter().enumerate() {
            let last = if number + 1 == chunks.len() { " LAST" } else { "" };
            wire.extend(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
            wire.extend(chunk);
        }
        let mut session = Session::new(make(settings()));
        session.feed(Side::Server, b"220 hi\r\n");
        session.feed(Side::Client, ENVELOPE);
        session.feed(Side::Server, b"250 ok\r\n250 ok\r\n");
        wire.chunks(piece).for_each(|piece| session.feed(Side::Client, piece));
        chunks.iter().for_each(|_| session.feed(Side::Server, b"250 ok\r\n"));
        prop_assert_eq!(session.host.sent(Side::Server), [ENVELOPE, &wire[..]].concat());
        prop_assert_eq!(session.host.appended(1), chunks.concat());
        prop_assert_eq!(session.host.drafts_left(), 0);
        prop_assert_eq!(session.host.sent(Side::Client), [&b"220 hi\r\n"[..], &b"250 ok\r\n".repeat(2 + chunks.len())].concat());
    }

    #[test]
    fn commands_and_replies_pass_as_they_are(
        exchange in prop::collection::vec(("(NOOP|VRFY|HELP|EXPN|XYZ)[ -~]{0,20}", "(250|252|421|500)( [ -~]{0,20})?"), 0..10),
        piece in 1usize..30,
    ) {
        let mut session = Session::new(make(settings()));
        let (mut to_server, mut to_client) = (Vec::new(), b"220 hi\r\n".to_vec());
        session.feed(Side::Server, b"220 hi\r\n");
        for (command, reply) in exchange {
            let (command, reply) = (command + "\r\n", reply + "\r\n");
            command.as_bytes().chunks(piece).for_each(|piece| session.feed(Side::Client, piece));
            reply.as_bytes().chunks(piece).for_each(|piece| session.feed(Side::Server, piece));
            to_server.extend(command.bytes());
            to_client.extend(reply.bytes());
        }
        prop_assert_eq!(session.host.sent(Side::Server), to_server);
        prop_assert_eq!(session.host.sent(Side::Client), to_client);
    }
}
