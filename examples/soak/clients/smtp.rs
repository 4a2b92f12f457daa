//! An SMTP client: DATA and BDAT, with and without pipelining, to several recipients.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::mailhost::{Kind, Wire};
use crate::messages::{Message, PASSWORD, RECIPIENTS, recipients, user};
use crate::proxies::Door;
use crate::random::Random;
use crate::world::{Failure, Result, Run};

pub(crate) fn session(run: &mut Run<'_>) -> Result<()> {
    let door = run.random.pick(&[Door::Plain, Door::StartTls, Door::Tls, Door::Other]);
    let mut smtp = Smtp::login(run, door)?;
    for _ in 0..run.random.between(1, 3) {
        if !send(run, &mut smtp, door)? {
            // The server is left within a message: MailStore ends the session behind its answer.
            return Ok(());
        }
        if run.random.chance(20) {
            smtp.wire.say("RSET")?;
            smtp.expect("RSET", "250")?;
        }
    }
    smtp.wire.say("QUIT")?;
    smtp.expect("QUIT", "221")?;
    Ok(())
}

/// Sends the thread's message for this owner; true if the server took it.
pub(crate) fn send(run: &mut Run<'_>, smtp: &mut Smtp, door: Door) -> Result<bool> {
    let message = run.outgoing();
    let (to, keeps_for_all) = (recipients(run.owner, run.number()), door == Door::Other);
    let to = &to[..run.random.between(1, RECIPIENTS)];
    // What they get they may have, whichever way it comes to them.
    to.iter().for_each(|owner| run.world.ledger.offer(*owner, message.hash));
    let mut lines = vec![(format!("MAIL FROM:<{}>", run.user()), "250")];
    lines.extend(to.iter().map(|owner| (format!("RCPT TO:<{}>", user(*owner)), "250")));
    if run.random.chance(20) {
        lines.push(("RCPT TO:<nobody@elsewhere.example.org>".to_owned(), "550"));
    }
    let taken = if run.random.chance(50) {
        data(&mut run.random, smtp, lines, &message)?
    } else {
        bdat(&mut run.random, smtp, lines, &message)?
    };
    if taken {
        run.completed(message.hash, "SMTP");
        for owner in to.iter().filter(|_| keeps_for_all) {
            run.world.ledger.claim(*owner, message.hash, run.begun, "SMTP for a recipient");
        }
    } else {
        run.world.notebook.count("SMTP: message refused");
    }
    to.iter().for_each(|owner| run.tidy_up(*owner));
    Ok(taken)
}

fn data(random: &mut Random, smtp: &mut Smtp, mut lines: Vec<(String, &str)>, message: &Message) -> Result<bool> {
    lines.push(("DATA".to_owned(), "354"));
    if !smtp.say(&lines, random.chance(50))? {
        return Ok(false);
    }
    smtp.wire.send_dotted(&message.bytes)?;
    smtp.taken()
}

fn bdat(random: &mut Random, smtp: &mut Smtp, lines: Vec<(String, &str)>, message: &Message) -> Result<bool> {
    if !smtp.say(&lines, random.chance(50))? {
        return Ok(false);
    }
    let chunk = random.between(message.bytes.len() / 4 + 1, message.bytes.len());
    let chunks = message.bytes.chunks(chunk);
    let last = chunks.len() - 1;
    for (number, chunk) in chunks.enumerate() {
        let end = if number == last { " LAST" } else { "" };
        smtp.wire.send([format!("BDAT {}{end}\r\n", chunk.len()).as_bytes(), chunk].concat())?;
        if !smtp.taken()? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) struct Smtp {
    pub(crate) wire: Wire,
}

impl Smtp {
    pub(crate) fn open(run: &Run<'_>, door: Door) -> Result<Smtp> {
        let mut smtp = Smtp { wire: run.connect(Kind::Smtp, door)? };
        run.greeting(&mut smtp.wire)?;
        smtp.wire.say("EHLO soak.example.org")?;
        smtp.expect("EHLO", "250")?;
        if door == Door::StartTls {
            smtp.wire.say("STARTTLS")?;
            smtp.expect("STARTTLS", "220")?;
            run.secure(&mut smtp.wire)?;
            smtp.wire.say("EHLO soak.example.org")?;
            smtp.expect("EHLO", "250")?;
        }
        Ok(smtp)
    }

    pub(crate) fn login(run: &Run<'_>, door: Door) -> Result<Smtp> {
        let mut smtp = Smtp::open(run, door)?;
        let answer = BASE64_STANDARD.encode(format!("\0{}\0{PASSWORD}", run.user()));
        smtp.wire.say(format!("AUTH PLAIN {answer}"))?;
        smtp.expect("AUTH", "235")?;
        Ok(smtp)
    }

    /// The last line of a reply.
    pub(crate) fn reply(&mut self) -> Result<String> {
        loop {
            let line = self.wire.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    pub(crate) fn expect(&mut self, what: &str, code: &str) -> Result<()> {
        let reply = self.reply()?;
        if reply.starts_with(code) { Ok(()) } else { Err(Failure::Answer(format!("{what}: {reply}"))) }
    }

    /// Says lines, one by one or all at once. False, and nothing is begun, if the message cannot be kept now (451) or ever (552).
    fn say(&mut self, lines: &[(String, &str)], at_once: bool) -> Result<bool> {
        if at_once {
            self.wire.send(lines.iter().map(|(line, _)| format!("{line}\r\n")).collect::<String>())?;
        }
        let mut refused = false;
        for (line, code) in lines {
            if !at_once {
                self.wire.say(line)?;
            }
            let reply = self.reply()?;
            refused |= reply.starts_with("451") || reply.starts_with("452") || reply.starts_with("552");
            if !reply.starts_with(code) && !refused {
                return Err(Failure::Answer(format!("{}: {reply}", line.split(' ').next().unwrap_or_default())));
            }
        }
        Ok(!refused)
    }

    /// Whether the message, or its part, was taken.
    fn taken(&mut self) -> Result<bool> {
        let reply = self.reply()?;
        match &reply[..reply.len().min(3)] {
            "250" => Ok(true),
            "451" | "452" | "552" | "554" => Ok(false),
            _ => Err(Failure::Answer(format!("message: {reply}"))),
        }
    }
}
