//! The mail host's POP3 (RFC 1939).

use std::io;

use crate::host::{Message, Peer, Store, stuffed, verb_of};

pub(crate) fn session(peer: &mut Peer, store: &Store) -> io::Result<()> {
    peer.say("+OK The demonstration's mail host")?;
    let mut user = String::new();
    let mut owner = None;
    // As it was at the login; what is deleted is marked until QUIT.
    let mut messages: Vec<Message> = Vec::new();
    let mut deleted: Vec<bool> = Vec::new();
    while let Some(line) = peer.line()? {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (verb, rest) = verb_of(&line);
        let number = rest.split(' ').next().and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
        let chosen = number.filter(|&n| deleted.get(n) == Some(&false));
        match (verb.as_str(), &owner) {
            ("CAPA", _) => peer.say("+OK\r\nUSER\r\nTOP\r\nUIDL\r\nPIPELINING\r\n.")?,
            ("USER", None) => {
                rest.clone_into(&mut user);
                peer.say("+OK")?;
            }
            ("PASS", None) => {
                owner = store.login(&user, rest);
                if let Some(owner) = &owner {
                    messages = store.change(owner, |mailbox| mailbox["INBOX"].messages.clone());
                    deleted = vec![false; messages.len()];
                    peer.say("+OK Welcome")?;
                } else {
                    peer.say("-ERR [AUTH] No such user, or not his password")?;
                }
            }
            ("QUIT", _) => {
                let gone: Vec<u32> = messages.iter().zip(&deleted).filter(|(_, d)| **d).map(|(m, _)| m.uid).collect();
                if let Some(owner) = &owner {
                    store.change(owner, |mailbox| {
                        mailbox.entry("INBOX".to_owned()).or_default().messages.retain(|m| !gone.contains(&m.uid));
                    });
                }
                return peer.say("+OK Bye");
            }
            ("NOOP", Some(_)) => peer.say("+OK")?,
            ("RSET", Some(_)) => {
                deleted.fill(false);
                peer.say("+OK")?;
            }
            ("STAT", Some(_)) => {
                let left = || messages.iter().zip(&deleted).filter(|(_, d)| !**d).map(|(m, _)| m.bytes.len());
                peer.say(&format!("+OK {} {}", left().count(), left().sum::<usize>()))?;
            }
            ("LIST" | "UIDL", Some(_)) => {
                let show = |n: usize| match verb.as_str() {
                    "LIST" => format!("{} {}", n + 1, messages[n].bytes.len()),
                    _ => format!("{} {}", n + 1, messages[n].uid),
                };
                match (rest.is_empty(), chosen) {
                    (true, _) => {
                        let lines = (0..messages.len()).filter(|&n| !deleted[n]).map(|n| show(n) + "\r\n");
                        peer.say(&format!("+OK\r\n{}.", lines.collect::<String>()))?;
                    }
                    (false, Some(n)) => peer.say(&format!("+OK {}", show(n)))?,
                    (false, None) => peer.say("-ERR No such message")?,
                }
            }
            ("RETR", Some(_)) => match chosen {
                Some(n) => {
                    peer.say(&format!("+OK {} octets", messages[n].bytes.len()))?;
                    peer.send(&stuffed(&messages[n].bytes))?;
                }
                None => peer.say("-ERR No such message")?,
            },
            ("TOP", Some(_)) => match chosen {
                Some(n) => {
                    let lines = rest.split(' ').nth(1).and_then(|lines| lines.parse().ok()).unwrap_or(0);
                    peer.say("+OK")?;
                    peer.send(&stuffed(top(&messages[n].bytes, lines)))?;
                }
                None => peer.say("-ERR No such message")?,
            },
            ("DELE", Some(_)) => match chosen {
                Some(n) => {
                    deleted[n] = true;
                    peer.say("+OK")?;
                }
                None => peer.say("-ERR No such message")?,
            },
            _ => peer.say("-ERR Not this, or not now")?,
        }
    }
    Ok(())
}

/// The header, the blank line, and so many lines of the body.
fn top(message: &[u8], lines: usize) -> &[u8] {
    let mut left = None;
    let mut end = 0;
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        match &mut left {
            Some(0) => break,
            Some(left) => *left -= 1,
            None if line == b"\r\n" => left = Some(lines),
            None => {}
        }
        end += line.len();
    }
    &message[..end]
}
