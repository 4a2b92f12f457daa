//! The mail host's SMTP (RFC 5321): submission with a login (PLAIN or LOGIN), delivery into the host's own mailboxes.

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::host::{DOMAIN, MESSAGE_MAX, Peer, Store, verb_of};

pub(crate) fn session(peer: &mut Peer, store: &Store) -> io::Result<()> {
    peer.say(&format!("220 mail.{DOMAIN} ESMTP, the demonstration's mail host"))?;
    let mut login = None;
    let mut sender = None;
    let mut recipients: Vec<String> = Vec::new();
    while let Some(line) = peer.line()? {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (verb, rest) = verb_of(&line);
        match verb.as_str() {
            "EHLO" => {
                peer.say(&format!("250-mail.{DOMAIN}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN"))?
            }
            "HELO" => peer.say(&format!("250 mail.{DOMAIN}"))?,
            "AUTH" => {
                login = authenticate(peer, store, rest)?;
                let reply =
                    if login.is_some() { "235 2.7.0 Welcome" } else { "535 5.7.8 No such user, or not his password" };
                peer.say(reply)?;
            }
            "MAIL" | "RCPT" | "DATA" if login.is_none() => peer.say("530 5.7.0 Log in first")?,
            "MAIL" => {
                sender = address(rest);
                recipients.clear();
                peer.say(if sender.is_some() { "250 2.1.0 OK" } else { "501 5.5.4 MAIL FROM:<address>" })?;
            }
            "RCPT" if sender.is_some() => match address(rest) {
                Some(recipient) if Store::takes(&recipient) => {
                    recipients.push(recipient);
                    peer.say("250 2.1.5 OK")?;
                }
                _ => peer.say("550 5.1.1 No such mailbox here")?,
            },
            "DATA" if !recipients.is_empty() => {
                peer.say("354 Go on")?;
                let Some(message) = message(peer)? else { return Ok(()) };
                for recipient in recipients.drain(..) {
                    store.deliver(&recipient, &message);
                }
                sender = None;
                peer.say("250 2.0.0 Delivered")?;
            }
            "RCPT" | "DATA" => peer.say("503 5.5.1 Not now")?,
            "RSET" => {
                sender = None;
                recipients.clear();
                peer.say("250 2.0.0 OK")?;
            }
            "NOOP" => peer.say("250 2.0.0 OK")?,
            "QUIT" => return peer.say("221 2.0.0 Bye"),
            _ => peer.say("502 5.5.1 Not this")?,
        }
    }
    Ok(())
}

/// AUTH PLAIN and LOGIN, with and without an initial answer.
fn authenticate(peer: &mut Peer, store: &Store, arguments: &str) -> io::Result<Option<String>> {
    let (mechanism, initial) = verb_of(arguments);
    let mut answers = vec![initial.to_owned()];
    let prompts: &[&str] = if mechanism == "LOGIN" { &["VXNlcm5hbWU6", "UGFzc3dvcmQ6"] } else { &[""] };
    answers.retain(|answer| !answer.is_empty());
    while answers.len() < prompts.len() {
        peer.say(&format!("334 {}", prompts[answers.len()]))?;
        let Some(line) = peer.line()? else { return Ok(None) };
        answers.push(String::from_utf8_lossy(&line).into_owned());
    }
    let decoded: Vec<String> = answers
        .iter()
        .map(|answer| String::from_utf8_lossy(&BASE64_STANDARD.decode(answer).unwrap_or_default()).into_owned())
        .collect();
    let parts: Vec<&str> = match mechanism.as_str() {
        "LOGIN" => decoded.iter().map(String::as_str).collect(),
        "PLAIN" => decoded[0].split('\0').skip(1).collect(),
        _ => Vec::new(),
    };
    Ok(match parts[..] {
        [user, password] => store.login(user, password),
        _ => None,
    })
}

/// The text up to the lone dot, dot-stuffing undone.
fn message(peer: &mut Peer) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    while let Some(line) = peer.line()? {
        if line == b"." {
            return Ok(Some(message));
        }
        message.extend(line.strip_prefix(b".").unwrap_or(&line));
        message.extend(b"\r\n");
        if message.len() > MESSAGE_MAX {
            return Err(io::Error::other("a message too large"));
        }
    }
    Ok(None)
}

/// Of `FROM:<address>` or `TO:<address>`, with parameters behind it or not.
fn address(rest: &str) -> Option<String> {
    let (_, after) = rest.split_once('<')?;
    Some(after.split_once('>')?.0.to_owned())
}
