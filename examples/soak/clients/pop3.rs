//! A POP3 client: lists, reads, deletes, read and unread.

use std::collections::HashMap;

use crate::mailhost::{INBOX, Kind, Message, Wire};
use crate::messages::{PASSWORD, SIZE_MAX, hash};
use crate::proxies::Door;
use crate::world::{Failure, Result, Run};

pub(crate) fn session(run: &mut Run<'_>) -> Result<()> {
    let count = run.random.between(1, 5);
    run.deliver(INBOX, count);
    let door = run.random.pick(&[Door::Plain, Door::StartTls, Door::Tls, Door::Other]);
    let mut pop3 = Pop3::login(run, door)?;
    // What the host has now is what this session is about.
    let at_host: HashMap<u32, Message> = run
        .world
        .host
        .mail
        .messages(&run.user(), INBOX)
        .unwrap_or_default()
        .into_iter()
        .map(|one| (one.uid, one))
        .collect();
    pop3.ok("STAT")?;
    pop3.lines("LIST")?;
    for line in pop3.lines("UIDL")? {
        let (number, uid) = line.split_once(" uid-").ok_or_else(|| Failure::Answer(format!("UIDL: {line}")))?;
        let (message, mut deletes) = (at_host.get(&uid.parse().unwrap_or_default()), true);
        match run.random.below(10) {
            0..5 => read(run, &mut pop3, &format!("RETR {number}"), "POP3 RETR")?,
            5 => {
                let read = read(run, &mut pop3, &format!("TOP {number} 1000000"), "POP3 TOP of all");
                if message.is_some_and(|message| message.bytes.len() > SIZE_MAX) {
                    // The answer tells no size, so some of it had passed before it was too much: the session is over.
                    return read.or_else(|failure| if failure.is_late() { Err(failure) } else { Ok(()) });
                }
                read?;
            }
            6 => {
                pop3.wire.say(format!("TOP {number} 2"))?;
                if pop3.answer()?.starts_with("+OK") {
                    pop3.wire.read_dotted()?;
                }
                deletes = run.random.chance(50);
            }
            _ => deletes = run.random.chance(70),
        }
        if deletes {
            pop3.wire.say(format!("DELE {number}"))?;
            let deleted = pop3.answer()?.starts_with("+OK");
            match message {
                Some(message) if deleted => run.completed(hash(&message.bytes), "POP3 DELE"),
                _ => run.world.notebook.count(if deleted { "POP3: deleted" } else { "POP3: DELE refused" }),
            }
        }
    }
    if run.random.chance(90) {
        pop3.ok("QUIT")?;
    }
    Ok(())
}

fn read(run: &Run<'_>, pop3: &mut Pop3, command: &str, what: &'static str) -> Result<()> {
    pop3.wire.say(command)?;
    if pop3.answer()?.starts_with("+OK") {
        let message = pop3.wire.read_dotted()?;
        run.completed(hash(&message), what);
    } else {
        run.world.notebook.count("POP3: message refused");
    }
    Ok(())
}

pub(crate) struct Pop3 {
    pub(crate) wire: Wire,
}

impl Pop3 {
    pub(crate) fn open(run: &Run<'_>, door: Door) -> Result<Pop3> {
        let mut pop3 = Pop3 { wire: run.connect(Kind::Pop3, door)? };
        run.greeting(&mut pop3.wire)?;
        if door == Door::StartTls {
            pop3.ok("STLS")?;
            run.secure(&mut pop3.wire)?;
        }
        Ok(pop3)
    }

    pub(crate) fn login(run: &Run<'_>, door: Door) -> Result<Pop3> {
        let mut pop3 = Pop3::open(run, door)?;
        pop3.ok(&format!("USER {}", run.user()))?;
        pop3.ok(&format!("PASS {PASSWORD}"))?;
        Ok(pop3)
    }

    pub(crate) fn answer(&mut self) -> Result<String> {
        Ok(self.wire.line()?)
    }

    pub(crate) fn ok(&mut self, command: &str) -> Result<String> {
        self.wire.say(command)?;
        let answer = self.answer()?;
        let verb = command.split(' ').next().unwrap_or_default();
        if answer.starts_with("+OK") { Ok(answer) } else { Err(Failure::Answer(format!("{verb}: {answer}"))) }
    }

    fn lines(&mut self, command: &str) -> Result<Vec<String>> {
        self.ok(command)?;
        let text = self.wire.read_dotted()?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }
}
