//! `scripts/demo`: MailStore between a small mail host and its clients, shown step by step to a newcomer.
//!
//! Each step says what it does and what came of it; the first thing that is not as promised ends the demo with exit status 1. Nothing
//! of it stays (see [`stage`]), unless `--keep` asks for the folder.

/// Prints a line. That nobody reads (`| head`) is no reason to end in disorder.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod client;
mod dovecot;
mod host;
mod messages;
mod proxies;
mod spool;
mod stage;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use client::{Imap, Login};
use host::{Host, INBOX, PASSWORD};
use proxies::Proxies;
use spool::Kept;
use stage::{Context, Result, Stage};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const SENT: &str = "Sent";
/// A folder below another, at the host; MailStore's Maildir++ name of it.
const PROJECT: &str = "Work/2026";
const PROJECT_KEPT: &str = "Work.2026";

const NEXT: &str = "
How to go on with your own mail server:
   1. cargo build --release
   2. Put its name into mailstore.ini, which explains itself:
         [pop3]
         listen = 127.0.0.1:1110
         upstream = pop.example.com:995
      and check it: target/release/start_proxies -t
   3. target/release/start_proxies
      and let a mail program fetch from 127.0.0.1, port 1110, without encryption.
README.md, \"Set it up\", has the rest: IMAP and SMTP, TLS, a service, Dovecot, backup.";

fn main() -> ExitCode {
    let keep = std::env::args().any(|argument| argument == "--keep");
    let stage = match Stage::open(keep, nix::unistd::geteuid().is_root()) {
        Ok(stage) => stage,
        Err(why) => return fail(&why),
    };
    let closes = Closes(&stage);
    let result = show(&stage);
    if stage.interrupted() {
        // The exit is that thread's now.
        loop {
            std::thread::park();
        }
    }
    drop(closes);
    match result {
        Ok(()) => {
            say!("{NEXT}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

/// Closes the stage on every way out, a panic included.
struct Closes<'a>(&'a Stage);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("\nFAILED: {why}");
    ExitCode::FAILURE
}

fn ok(text: &str) {
    say!("   ok  {text}");
}

fn show(stage: &Stage) -> Result<()> {
    let spool = stage.dir().join("mailSpool");
    say!("All of this runs on 127.0.0.1 and in {}.", stage.dir().display());

    say!("\n1. A small mail host with the mailboxes of alice and bob, and MailStore's three proxies before it");
    let host = Host::start(&[ALICE, BOB], &[SENT, PROJECT]).when("starting the mail host")?;
    let proxies = Proxies::start(stage, &host)?;
    for (name, proxy, upstream) in
        [("SMTP", proxies.smtp, host.smtp), ("POP3", proxies.pop3, host.pop3), ("IMAP", proxies.imap, host.imap)]
    {
        ok(&format!("{name}: clients -> {proxy} -> the host's {upstream}"));
    }

    let expected = exchange(&host, &proxies)?;

    say!("\n5. What MailStore kept");
    let kept = spool::read(&spool)?;
    say!("{}", spool::tree(&kept).trim_end());

    say!("\n6. The proof");
    prove(&kept, expected)?;
    let command = spool::prove_by_readme(stage.dir())?;
    ok("anybody can check that, also in a copy; README.md's command says the same:");
    say!("         {}", command.replace('\n', "\n         "));

    say!("\n7. Read back with Dovecot, straight from the spool");
    read_back(stage, &spool, &kept)?;

    say!("\n8. The end");
    let status = stage.stop(proxies.pid)?;
    if status.code() != Some(0) {
        return Err(format!("start_proxies ended with {status} after SIGTERM\n{}", proxies.log()?));
    }
    ok("start_proxies ended in order after SIGTERM");
    let log = proxies.log()?;
    if log.contains(PASSWORD) || log.contains("panicked") {
        return Err(format!("the log holds what it may not:\n{log}"));
    }
    ok("its log holds no password");
    Ok(())
}

/// What has to be kept, for whom, and in which folder.
struct Expected {
    owner: &'static str,
    folder: &'static str,
    bytes: Vec<u8>,
}

/// The mail that goes through the proxies: steps 2 to 4.
fn exchange(host: &Host, proxies: &Proxies) -> Result<Vec<Expected>> {
    let (alice, bob) = (Login { user: ALICE, password: PASSWORD }, Login { user: BOB, password: PASSWORD });
    let letter = messages::letter();
    let (note, project) = (messages::note(), messages::project());

    say!("\n2. Alice sends Bob a message by SMTP");
    client::send(proxies.smtp, alice, BOB, &letter)?;
    same("the host's mailbox of Bob", &at_host(host, BOB, INBOX)?, std::slice::from_ref(&letter))?;
    ok(&format!("the host has it: {} bytes, unchanged (8-bit text, lines that begin with dots)", letter.len()));

    say!("\n3. Bob fetches it by POP3 and deletes it at the host");
    same("what Bob got", &client::fetch_and_delete(proxies.pop3, bob)?, std::slice::from_ref(&letter))?;
    ok("what he got is what Alice sent, byte for byte");
    same("the host's mailbox of Bob", &at_host(host, BOB, INBOX)?, &[])?;
    ok("the host has it no longer: his mailbox there is empty");

    say!("\n4. Alice files two messages by IMAP in {SENT}, and reads the folder {PROJECT}");
    for message in &project {
        host.mail.deliver(ALICE, PROJECT, false, message).ok_or(format!("the host has no folder {PROJECT}"))?;
    }
    let mut imap = Imap::login(proxies.imap, alice)?;
    imap.append(SENT, &letter, true)?;
    imap.append(SENT, &note, false)?;
    same("the host's Sent of Alice", &at_host(host, ALICE, SENT)?, &[letter.clone(), note.clone()])?;
    ok("the host has both, unchanged: what she sent to Bob, and a note without an end of its last line");
    same("what Alice read", &imap.fetch_all(PROJECT)?, &project)?;
    imap.logout()?;
    let largest = project.iter().map(Vec::len).max().unwrap_or_default();
    ok(&format!(
        "the {} messages that she read are the host's, byte for byte; the largest has {largest} bytes",
        project.len()
    ));

    let keep = |owner, folder| move |bytes| Expected { owner, folder, bytes };
    let mut expected = vec![keep(ALICE, SENT)(letter.clone()), keep(ALICE, SENT)(note), keep(BOB, INBOX)(letter)];
    expected.extend(project.into_iter().map(keep(ALICE, PROJECT_KEPT)));
    Ok(expected)
}

fn at_host(host: &Host, user: &str, folder: &str) -> Result<Vec<Vec<u8>>> {
    let messages = host.mail.messages(user, folder).ok_or(format!("the host has no folder {folder}"))?;
    Ok(messages.iter().map(|message| message.bytes.to_vec()).collect())
}

fn same(what: &str, found: &[Vec<u8>], expected: &[Vec<u8>]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let sizes = |all: &[Vec<u8>]| all.iter().map(|one| one.len().to_string()).collect::<Vec<_>>().join(", ");
    Err(format!(
        "{what} is not as it should be: {} (bytes: {}) instead of {} (bytes: {})",
        count(found.len()),
        sizes(found),
        expected.len(),
        sizes(expected)
    ))
}

fn count(messages: usize) -> String {
    if messages == 1 { "1 message".to_owned() } else { format!("{messages} messages") }
}

/// Every file is what its name says, and the files are exactly what was to be kept.
fn prove(kept: &[Kept], mut expected: Vec<Expected>) -> Result<()> {
    for one in kept {
        let hash = one.prove()?;
        let (owner, folder, size) = (&one.owner, one.folder_name(), one.bytes.len());
        say!("   proven  {owner:<17}  {folder:<9}  {size:>6} bytes  SHA-256 {}...", &hash[..16]);
        let wanted = |e: &Expected| (e.owner, e.folder) == (owner, folder) && e.bytes == one.bytes;
        let found = expected.iter().position(wanted);
        expected
            .remove(found.ok_or(format!("a message in {folder} of {owner} that should not be there ({size} bytes)"))?);
    }
    if let Some(missing) = expected.first() {
        return Err(format!("a message of {} in {} was not kept", missing.owner, missing.folder));
    }
    ok("each file is as long as its name says (S=) and has the SHA-256 that its name says (H=)");
    ok("these are the messages that passed, byte for byte, each once in its owner's Maildir");
    ok("what Alice sent and then filed is one file; what Bob deleted at the host is still here");
    Ok(())
}

/// Where there is a Dovecot: each folder as it serves it holds exactly the kept files' bytes.
fn read_back(stage: &Stage, spool: &Path, kept: &[Kept]) -> Result<()> {
    let installed = match dovecot::find() {
        Ok(installed) => installed,
        Err(why) => {
            say!("   left out: {why}");
            return Ok(());
        }
    };
    let (pid, at) = installed.start(stage, spool)?;
    let mut folders: Vec<(&str, &str)> = kept.iter().map(|one| (one.owner.as_str(), one.folder_name())).collect();
    folders.dedup();
    for (user, folder) in folders {
        let mut imap = Imap::login(at, Login { user, password: PASSWORD })?;
        let mut served = imap.fetch_all(folder)?;
        imap.logout()?;
        let of_folder = kept.iter().filter(|one| (one.owner.as_str(), one.folder_name()) == (user, folder));
        let mut files: Vec<Vec<u8>> = of_folder.map(|one| one.bytes.clone()).collect();
        served.sort();
        files.sort();
        same(&format!("what Dovecot serves from {folder} of {user}"), &served, &files)?;
        ok(&format!("{user}, {folder}: Dovecot serves the same bytes ({})", count(served.len())));
    }
    stage.stop(pid).map(drop)
}
