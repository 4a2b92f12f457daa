//! SMTP submission (RFC 5321, RFC 6409): a login, then mail for the users of this host.

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{INBOX, Mail, verb};
use crate::wire::Wire;

/// What MAIL and RCPT said.
#[derive(Default)]
struct Envelope {
    sender: Option<String>,
    recipients: Vec<String>,
}

pub(super) fn serve(wire: &mut Wire, mail: &Mail) -> io::Result<()> {
    wire.say("220 host.example.com ESMTP, the demo's mail host")?;
    let mut logged_in = false;
    let mut envelope = Envelope::default();
    loop {
        let line = wire.line()?;
        let (verb, rest) = verb(&line);
        match verb.as_str() {
            "EHLO" | "HELO" => {
                envelope = Envelope::default();
                wire.send(
                    "250-host.example.com\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250 AUTH PLAIN\r\n",
                )?;
            }
            "AUTH" => {
                logged_in = plain(wire, mail, rest)?;
                wire.say(if logged_in { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" })?;
            }
            "MAIL" if !logged_in => wire.say("530 5.7.0 log in first")?,
            "MAIL" => {
                envelope = Envelope { sender: path(rest, "FROM:"), recipients: Vec::new() };
                wire.say(if envelope.sender.is_some() { "250 2.1.0 go on" } else { "501 5.1.7 which sender?" })?;
            }
            "RCPT" => match path(rest, "TO:").filter(|user| mail.has_user(user)) {
                _ if envelope.sender.is_none() => wire.say("503 5.5.1 MAIL first")?,
                Some(user) => {
                    envelope.recipients.push(user);
                    wire.say("250 2.1.5 known")?;
                }
                None => wire.say("550 5.1.1 no such user here")?,
            },
            "DATA" if envelope.recipients.is_empty() => wire.say("503 5.5.1 RCPT first")?,
            "DATA" => {
                wire.say("354 go on, a lone dot ends it")?;
                let message = wire.read_dotted()?;
                for user in &envelope.recipients {
                    mail.deliver(user, INBOX, false, &message);
                }
                envelope = Envelope::default();
                wire.say("250 2.0.0 delivered")?;
            }
            "RSET" => {
                envelope = Envelope::default();
                wire.say("250 2.0.0 forgotten")?;
            }
            "NOOP" => wire.say("250 2.0.0 fine")?,
            "QUIT" => return wire.say("221 2.0.0 bye"),
            _ => wire.say("500 5.5.2 unknown command")?,
        }
    }
}

/// `AUTH PLAIN` with the answer in the line or asked for (RFC 4616): whether user and password are right.
fn plain(wire: &mut Wire, mail: &Mail, rest: &str) -> io::Result<bool> {
    let (mechanism, mut answer) = match rest.split_once(' ') {
        Some((mechanism, answer)) => (mechanism, answer.to_owned()),
        None => (rest, String::new()),
    };
    if !mechanism.eq_ignore_ascii_case("PLAIN") {
        return Ok(false);
    }
    if answer.is_empty() {
        wire.say("334 ")?;
        answer = wire.line()?;
    }
    let decoded = BASE64_STANDARD.decode(answer).unwrap_or_default();
    let text = String::from_utf8(decoded).unwrap_or_default();
    let parts: Vec<&str> = text.split('\0').collect();
    Ok(matches!(parts[..], [_, user, password] if mail.accepts(user, password)))
}

/// The address in `FROM:<address> …`.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let (start, path) = rest.split_at_checked(keyword.len())?;
    let (address, _) = path.trim_start().strip_prefix('<')?.split_once('>')?;
    start.eq_ignore_ascii_case(keyword).then(|| address.to_ascii_lowercase())
}
