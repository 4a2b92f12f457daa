//! An IMAP client: reads whole, in chunks, by header and text, in part; files, moves, deletes unread, waits in IDLE.

use std::time::Duration;

use crate::mailhost::{INBOX, Kind, Message, Wire, literal};
use crate::messages::{Hash, PASSWORD, hash};
use crate::proxies::Door;
use crate::world::{FOLDERS, Failure, KEPT_FOLDERS, Result, Run};

const CHUNK_LENS: [usize; 3] = [16 * 1024, 64 * 1024, 256 * 1024];

pub(crate) fn session(run: &mut Run<'_>) -> Result<()> {
    let folder = if run.random.chance(50) { INBOX } else { run.random.pick(&FOLDERS) };
    let count = run.random.between(1, 5);
    run.deliver(folder, count);
    let door = run.random.pick(&[Door::Plain, Door::StartTls, Door::Tls, Door::Other]);
    let mut imap = Imap::login(run, door)?;
    imap.ok("LIST \"\" \"*\"")?;
    imap.ok(&format!("SELECT \"{folder}\""))?;
    let at_host = run.world.host.mail.messages(&run.user(), folder).unwrap_or_default();
    imap.ok("UID FETCH 1:* (UID FLAGS RFC822.SIZE)")?;
    let keeps = KEPT_FOLDERS.contains(&folder);
    // What this session saw only in part: whole in the archive when the session is over.
    let mut in_part = Vec::new();
    if keeps && run.random.chance(10) {
        all(run, &mut imap)?;
    }
    for message in at_host.iter().take(6) {
        one(run, &mut imap, folder, message, keeps, &mut in_part)?;
    }
    if run.random.chance(40) {
        append(run, &mut imap)?;
    }
    if run.random.chance(25) || door == Door::Other {
        idle(run, &mut imap, folder)?;
    }
    let end = run.random.pick(&["EXPUNGE", "CLOSE", "NOOP"]);
    imap.may(end)?;
    if run.random.chance(90) {
        imap.ok("LOGOUT")?;
        for hash in in_part {
            run.world.ledger.claim_weakly(run.owner, hash, run.begun, "IMAP, seen in part");
        }
    }
    Ok(())
}

fn at_host_now(run: &Run<'_>, folder: &str) -> Vec<Message> {
    run.world.host.mail.messages(&run.user(), folder).unwrap_or_default()
}

/// Something with one message of the folder.
fn one(
    run: &mut Run<'_>,
    imap: &mut Imap,
    folder: &str,
    message: &Message,
    keeps: bool,
    in_part: &mut Vec<Hash>,
) -> Result<()> {
    let uid = message.uid;
    let whole = |run: &Run<'_>, text: Vec<u8>, what| {
        if keeps && !text.is_empty() {
            run.completed(hash(&text), what);
        }
    };
    match run.random.below(12) {
        0..3 => {
            let item = run.random.pick(&["BODY[]", "BODY.PEEK[]", "RFC822"]);
            if let Some(got) = imap.may(&format!("UID FETCH {uid} (UID {item})"))? {
                whole(run, got.concat(), "IMAP FETCH");
            }
        }
        3 => {
            let (len, mut text) = (run.random.pick(&CHUNK_LENS), Vec::new());
            loop {
                let from = text.len();
                let Some(got) = imap.may(&format!("UID FETCH {uid} (UID BODY.PEEK[]<{from}.{len}>)"))? else {
                    return Ok(());
                };
                text.extend(got.concat());
                if text.len() < from + len {
                    break;
                }
            }
            // It may have gone meanwhile, past this session.
            if text.len() == message.bytes.len() {
                whole(run, text, "IMAP chunks");
            }
        }
        4 => {
            let got = if run.random.chance(50) {
                imap.may(&format!("UID FETCH {uid} (BODY.PEEK[HEADER] BODY.PEEK[TEXT])"))?
            } else {
                let header = imap.may(&format!("UID FETCH {uid} (BODY.PEEK[HEADER])"))?;
                let text = imap.may(&format!("UID FETCH {uid} (BODY.PEEK[TEXT])"))?;
                header.and_then(|header| Some([header, text?].concat()))
            };
            if let Some(got) = got.filter(|got| got.len() == 2) {
                whole(run, got.concat(), "IMAP header and text");
            }
        }
        5 | 6 => {
            let part = run.random.pick(&["BODY[TEXT]<0.20000>", "BODY.PEEK[]<0.65536>", "BODY.PEEK[TEXT]<1000.30000>"]);
            let got = imap.may(&format!("UID FETCH {uid} (UID {part})"))?;
            if keeps && got.is_some_and(|got| got.concat().len() > 8_000) && !is_too_large(message) {
                in_part.push(hash(&message.bytes));
            }
        }
        7 | 8 => {
            let stored = imap.may(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"))?.is_some();
            // It may have gone before, past this session: then nothing was deleted here.
            let is_marked = |one: &Message| one.uid == uid && one.flags.iter().any(|flag| flag == "\\Deleted");
            if stored && at_host_now(run, folder).iter().any(is_marked) {
                whole(run, message.bytes.to_vec(), "IMAP STORE \\Deleted");
            }
        }
        9 => {
            let to = run.random.pick(&["Trash", "Archive", "Work/2026"]);
            let moved = imap.may(&format!("UID MOVE {uid} \"{to}\""))?.is_some();
            if moved && at_host_now(run, to).iter().any(|one| one.bytes == message.bytes) {
                whole(run, message.bytes.to_vec(), "IMAP MOVE");
            }
        }
        10 => drop(imap.may(&format!("UID COPY {uid} Work"))?),
        _ => drop(imap.may(&format!("UID FETCH {uid} (ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT DATE)])"))?),
    }
    Ok(())
}

fn all(run: &Run<'_>, imap: &mut Imap) -> Result<()> {
    if let Some(messages) = imap.may("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")? {
        for message in messages {
            run.completed(hash(&message), "IMAP FETCH of all");
        }
    }
    Ok(())
}

fn append(run: &mut Run<'_>, imap: &mut Imap) -> Result<()> {
    let folder = run.random.pick(&["Sent", "Sent", "Work", "Drafts"]);
    let (message, plus) = (run.outgoing(), if run.random.chance(50) { "+" } else { "" });
    let tag = imap.next_tag();
    imap.wire.say(format!("{tag} APPEND \"{folder}\" (\\Seen) {{{}{plus}}}", message.bytes.len()))?;
    if plus.is_empty() {
        let line = imap.wire.line()?;
        if !line.starts_with('+') {
            run.world.notebook.count("IMAP: APPEND refused");
            // A response that is not for us may stand before the answer.
            return if line.starts_with(&tag) { Ok(()) } else { imap.responses(&tag).map(drop) };
        }
    }
    imap.wire.send([&message.bytes[..], b"\r\n"].concat())?;
    match imap.responses(&tag)? {
        Some(_) if KEPT_FOLDERS.contains(&folder) => run.completed(message.hash, "IMAP APPEND"),
        Some(_) => {}
        None => run.world.notebook.count("IMAP: APPEND refused"),
    }
    Ok(())
}

/// Mail comes while the client waits; nobody waits for long.
fn idle(run: &mut Run<'_>, imap: &mut Imap, folder: &str) -> Result<()> {
    let tag = imap.next_tag();
    imap.wire.say(format!("{tag} IDLE"))?;
    loop {
        let line = imap.wire.line()?;
        if line.starts_with('+') {
            break;
        }
        if line.starts_with(&tag) {
            return Err(Failure::Answer(format!("IDLE: {}", &line[tag.len()..])));
        }
    }
    run.deliver(folder, 1);
    let time = Duration::from_millis(run.random.between(200, 3_000) as u64);
    run.world.gate.rest(time);
    imap.wire.say("DONE")?;
    imap.responses(&tag).map(drop)
}

fn is_too_large(message: &Message) -> bool {
    message.bytes.len() > crate::messages::SIZE_MAX
}

pub(crate) struct Imap {
    pub(crate) wire: Wire,
    /// Of the last command.
    tag: u32,
}

impl Imap {
    pub(crate) fn open(run: &Run<'_>, door: Door) -> Result<Imap> {
        let mut imap = Imap { wire: run.connect(Kind::Imap, door)?, tag: 0 };
        run.greeting(&mut imap.wire)?;
        if door == Door::StartTls {
            imap.ok("STARTTLS")?;
            run.secure(&mut imap.wire)?;
        }
        Ok(imap)
    }

    pub(crate) fn login(run: &Run<'_>, door: Door) -> Result<Imap> {
        let mut imap = Imap::open(run, door)?;
        imap.ok(&format!("LOGIN \"{}\" \"{PASSWORD}\"", run.user()))?;
        Ok(imap)
    }

    /// Does a command that has to be done.
    pub(crate) fn ok(&mut self, command: &str) -> Result<Vec<Vec<u8>>> {
        let verb = command.split(' ').next().unwrap_or_default();
        self.may(command)?.ok_or_else(|| Failure::Answer(format!("{verb}: NO")))
    }

    /// Does a command; gives the literals of what the server said, none where the answer is NO.
    pub(crate) fn may(&mut self, command: &str) -> Result<Option<Vec<Vec<u8>>>> {
        let tag = self.next_tag();
        self.wire.say(format!("{tag} {command}"))?;
        self.responses(&tag)
    }

    pub(crate) fn responses(&mut self, tag: &str) -> Result<Option<Vec<Vec<u8>>>> {
        let mut literals = Vec::new();
        loop {
            let line = self.wire.line()?;
            if let Some((size, _)) = literal(&line) {
                literals.push(self.wire.octets(size)?);
            } else if let Some(result) = line.strip_prefix(tag) {
                return match result {
                    result if result.starts_with(" OK") => Ok(Some(literals)),
                    result if result.starts_with(" NO") => Ok(None),
                    _ => Err(Failure::Answer(format!("IMAP:{result}"))),
                };
            }
        }
    }

    fn next_tag(&mut self) -> String {
        self.tag += 1;
        format!("c{}", self.tag)
    }
}
