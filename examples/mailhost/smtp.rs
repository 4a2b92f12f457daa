//! SMTP submission (RFC 5321, RFC 6409): a login, then mail for the users of this host.

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::wire::MESSAGE_SIZE_MAX;
use super::{Client, INBOX, MESSAGE, verb};

/// What MAIL and RCPT said, and the text of BDAT so far.
#[derive(Default)]
struct Envelope {
    sender: Option<String>,
    recipients: Vec<String>,
    text: Vec<u8>,
}

pub(super) fn serve(mut client: Client<'_>) -> io::Result<()> {
    client.greet("220 host.example.com ESMTP, a small mail host")?;
    let mut logged_in = false;
    let mut envelope = Envelope::default();
    loop {
        let line = client.command()?;
        let (verb, rest) = verb(&line);
        let reply = match verb.as_str() {
            "EHLO" | "HELO" => {
                envelope = Envelope::default();
                let tls = if client.tls { "" } else { "250-STARTTLS\r\n" };
                client.wire.send(format!(
                    "250-host.example.com\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-SIZE {MESSAGE_SIZE_MAX}\r\n{tls}"
                ))?;
                "250 AUTH PLAIN LOGIN"
            }
            "STARTTLS" if !client.tls => {
                client.start_tls("220 2.0.0 go on")?;
                (logged_in, envelope) = (false, Envelope::default());
                continue;
            }
            "AUTH" => {
                logged_in = login(&mut client, rest)?;
                if logged_in { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" }
            }
            "MAIL" if !logged_in => "530 5.7.0 log in first",
            "MAIL" => {
                envelope = Envelope { sender: path(rest, "FROM:"), ..Envelope::default() };
                if envelope.sender.is_some() { "250 2.1.0 go on" } else { "501 5.1.7 which sender?" }
            }
            "RCPT" if envelope.sender.is_none() => "503 5.5.1 MAIL first",
            "RCPT" => match path(rest, "TO:").filter(|user| client.mail.has_user(user)) {
                Some(user) => {
                    envelope.recipients.push(user);
                    "250 2.1.5 known"
                }
                None => "550 5.1.1 no such user here",
            },
            "DATA" if envelope.recipients.is_empty() => "503 5.5.1 RCPT first",
            "DATA" => {
                client.wire.say("354 go on, a lone dot ends it")?;
                envelope.text = client.wire.read_dotted()?;
                deliver(&mut client, &mut envelope)?;
                continue;
            }
            "BDAT" => {
                let (size, last) = rest.split_once(' ').map_or((rest, false), |(size, _)| (size, true));
                let Ok(size) = size.parse() else { return client.wire.say("501 5.5.4 how many octets?") };
                envelope.text.extend(client.wire.octets(size)?);
                if envelope.recipients.is_empty() {
                    "503 5.5.1 RCPT first"
                } else if last {
                    deliver(&mut client, &mut envelope)?;
                    continue;
                } else {
                    "250 2.0.0 more"
                }
            }
            "RSET" => {
                envelope = Envelope::default();
                "250 2.0.0 forgotten"
            }
            "NOOP" => "250 2.0.0 fine",
            "QUIT" => return client.wire.say("221 2.0.0 bye"),
            _ => "500 5.5.2 unknown command",
        };
        client.wire.say(reply)?;
    }
}

/// What was sent to a user goes to his inbox, octet by octet as it came.
fn deliver(client: &mut Client<'_>, envelope: &mut Envelope) -> io::Result<()> {
    let envelope = std::mem::take(envelope);
    if client.acted(MESSAGE, "")? {
        return Ok(());
    }
    for user in &envelope.recipients {
        client.mail.deliver(user, INBOX, &envelope.text);
    }
    client.wire.say("250 2.0.0 delivered")
}

/// `AUTH PLAIN` or `AUTH LOGIN`, the first answer in the line or asked for: whether user and password are right.
fn login(client: &mut Client<'_>, rest: &str) -> io::Result<bool> {
    let (mechanism, first) = verb(rest);
    let mut answers = Some(first.to_owned()).filter(|first| !first.is_empty()).into_iter();
    let mut ask = |prompt: &str| match answers.next() {
        Some(answer) => Ok(answer),
        None => client.wire.say(format!("334 {}", BASE64_STANDARD.encode(prompt))).and_then(|()| client.wire.line()),
    };
    match mechanism.as_str() {
        "PLAIN" => {
            let answer = ask("")?;
            Ok(client.plain(&answer).is_some())
        }
        "LOGIN" => {
            let (user, password) = (ask("Username:")?, ask("Password:")?);
            let text =
                |answer| String::from_utf8(BASE64_STANDARD.decode(answer).unwrap_or_default()).unwrap_or_default();
            Ok(client.mail.accepts(&text(user), &text(password)))
        }
        _ => Ok(false),
    }
}

/// The address in `FROM:<address> …`.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let (start, path) = rest.split_at_checked(keyword.len())?;
    let (address, _) = path.trim_start().strip_prefix('<')?.split_once('>')?;
    start.eq_ignore_ascii_case(keyword).then(|| address.to_ascii_lowercase())
}
