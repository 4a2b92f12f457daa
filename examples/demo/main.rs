//! `scripts/demo`: MailStore between a small mail host and its clients, shown step by step to a newcomer.
//!
//! Each step says what it does and what came of it; the first thing that is not as promised ends the demo with exit status 1. Nothing
//! of it stays (see [`stage`]), unless `--keep` asks for the folder. With `--stay` all goes on until somebody ends it, for mail programs.

/// Prints a line. That nobody reads (`| head`) is no reason to end in disorder.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod client;
mod dovecot;
#[path = "../mailhost/mod.rs"]
mod mailhost;
mod messages;
mod proxies;
mod spool;
mod stage;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use client::{Imap, Login, Server};
use mailhost::{Certificate, Host, INBOX, Mail, connector};
use nix::unistd::Pid;
use proxies::Proxies;
use spool::Kept;
use stage::{Context, Result, Stage};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
/// Of both.
pub(crate) const PASSWORD: &str = "a-password-for-the-demo";
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
docs/quickstart.md and docs/setup.md have the rest: IMAP and SMTP, TLS, a service, Dovecot, backup.";

fn main() -> ExitCode {
    let asked_for = |option: &str| std::env::args().any(|argument| argument == option);
    let (keep, stay) = (asked_for("--keep"), asked_for("--stay"));
    let stage = match Stage::open(keep, nix::unistd::geteuid().is_root()) {
        Ok(stage) => stage,
        Err(why) => return fail(&why),
    };
    let closes = Closes(&stage);
    let result = show(&stage, stay);
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

fn show(stage: &Stage, stay: bool) -> Result<()> {
    let spool = stage.dir().join("mailSpool");
    say!("All of this runs on 127.0.0.1 and in {}.", stage.dir().display());

    say!("\n1. A small mail host with the mailboxes of alice and bob, and MailStore's three proxies before it");
    let mail = Mail::default();
    for user in [ALICE, BOB] {
        mail.add_user(user, PASSWORD, &["Drafts", PROJECT, SENT, "Trash"]);
    }
    let certificate = Certificate::throw_away().when("making a certificate")?;
    let host = Host::start(mail, &certificate, [[0; 2]; 3]).when("starting the mail host")?;
    let proxies = Proxies::start(stage, &host, &certificate)?;
    for (name, proxy, upstream) in
        [("SMTP", proxies.smtp, host.smtp), ("POP3", proxies.pop3, host.pop3), ("IMAP", proxies.imap, host.imap)]
    {
        ok(&format!("{name}: clients -> {} -> the host's {}, TLS by STARTTLS", proxy.plain, upstream.plain));
        ok(&format!("{name}: clients, TLS -> {} -> the host's {}, TLS", proxy.tls, upstream.tls));
    }

    let expected = exchange(&host, &proxies, &certificate)?;

    say!("\n6. What MailStore kept");
    let kept = spool::read(&spool)?;
    say!("{}", spool::tree(&kept).trim_end());

    say!("\n7. The proof");
    prove(&kept, expected)?;
    let command = spool::prove_by_readme(stage.dir())?;
    ok("anybody can check that, also in a copy; README.md's command says the same:");
    say!("         {}", command.replace('\n', "\n         "));

    say!("\n8. Read back with Dovecot, straight from the spool");
    let dovecot = read_back(stage, &spool, &kept)?;

    if stay {
        stay_on(stage, &proxies, dovecot)?;
    }

    say!("\n9. The end");
    if let Some((pid, _)) = dovecot {
        stage.stop(pid)?;
    }
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

/// The mail that goes through the proxies: steps 2 to 5.
fn exchange(host: &Host, proxies: &Proxies, certificate: &Certificate) -> Result<Vec<Expected>> {
    let trust = connector(&certificate.authority).when("trusting the certificate")?;
    let [smtp, imap] = [proxies.smtp, proxies.imap].map(|door| Server { at: door.tls, trust: Some(&trust) });
    let pop3 = Server { at: proxies.pop3.plain, trust: None };
    let (alice, bob) = (Login { user: ALICE, password: PASSWORD }, Login { user: BOB, password: PASSWORD });
    let letter = messages::letter();
    let (note, project) = (messages::note(), messages::project());

    say!("\n2. Alice sends Bob a message by SMTP, over TLS");
    client::send(smtp, alice, BOB, &letter)?;
    same("the host's mailbox of Bob", &at_host(host, BOB, INBOX)?, std::slice::from_ref(&letter))?;
    ok(&format!("the host has it: {} bytes, unchanged (8-bit text, lines that begin with dots)", letter.len()));

    say!("\n3. Bob fetches it by POP3 and deletes it at the host");
    same("what Bob got", &client::fetch_and_delete(pop3, bob)?, std::slice::from_ref(&letter))?;
    ok("what he got is what Alice sent, byte for byte");
    same("the host's mailbox of Bob", &at_host(host, BOB, INBOX)?, &[])?;
    ok("the host has it no longer: his mailbox there is empty");

    say!("\n4. Alice files two messages by IMAP, over TLS, in {SENT}, and reads the folder {PROJECT}");
    for message in &project {
        host.mail.deliver(ALICE, PROJECT, message).ok_or(format!("the host has no folder {PROJECT}"))?;
    }
    let server = imap;
    let mut imap = Imap::login(server, alice)?;
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

    say!("\n5. Alice reads only the beginning of one message in her inbox, and deletes another that she never opened");
    let (glanced, unread) = (messages::report(), messages::offer());
    for message in [&glanced, &unread] {
        host.mail.deliver(ALICE, INBOX, message).ok_or("the host has no inbox of Alice")?;
    }
    let mut imap = Imap::login(server, alice)?;
    let beginning = imap.glance_and_delete(INBOX, 1, 2)?;
    imap.logout()?;
    let got = beginning.first().map_or(0, Vec::len);
    same("the host's inbox of Alice", &at_host(host, ALICE, INBOX)?, std::slice::from_ref(&glanced))?;
    ok(&format!("she got {got} bytes of {}, and the host has the other message no longer", glanced.len()));

    let keep = |owner, folder| move |bytes| Expected { owner, folder, bytes };
    let mut expected = vec![keep(ALICE, SENT)(letter.clone()), keep(ALICE, SENT)(note), keep(BOB, INBOX)(letter)];
    expected.extend([glanced, unread].map(keep(ALICE, INBOX)));
    expected.extend(project.into_iter().map(keep(ALICE, PROJECT_KEPT)));
    Ok(expected)
}

fn at_host(host: &Host, user: &str, folder: &str) -> Result<Vec<Vec<u8>>> {
    host.mail.texts(user, folder).ok_or(format!("the host has no folder {folder}"))
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
    ok("so is what Alice deleted without having opened it, and what she read only in part is here whole");
    Ok(())
}

/// Where there is a Dovecot: each folder as it serves it holds exactly the kept files' bytes. Gives the Dovecot, which goes on.
fn read_back(stage: &Stage, spool: &Path, kept: &[Kept]) -> Result<Option<(Pid, SocketAddr)>> {
    let installed = match dovecot::find() {
        Ok(installed) => installed,
        Err(why) => {
            say!("   left out: {why}");
            return Ok(None);
        }
    };
    let (pid, at) = installed.start(stage, spool)?;
    let mut folders: Vec<(&str, &str)> = kept.iter().map(|one| (one.owner.as_str(), one.folder_name())).collect();
    folders.dedup();
    for (user, folder) in folders {
        let mut imap = Imap::login(Server { at, trust: None }, Login { user, password: PASSWORD })?;
        let mut served = imap.fetch_all(folder)?;
        imap.logout()?;
        let of_folder = kept.iter().filter(|one| (one.owner.as_str(), one.folder_name()) == (user, folder));
        let mut files: Vec<Vec<u8>> = of_folder.map(|one| one.bytes.clone()).collect();
        served.sort();
        files.sort();
        same(&format!("what Dovecot serves from {folder} of {user}"), &served, &files)?;
        ok(&format!("{user}, {folder}: Dovecot serves the same bytes ({})", count(served.len())));
    }
    Ok(Some((pid, at)))
}

/// Says what a mail program needs to know, and waits until somebody ends it.
fn stay_on(stage: &Stage, proxies: &Proxies, dovecot: Option<(Pid, SocketAddr)>) -> Result<()> {
    let end = stage.asked_to_end()?;
    let dir = stage.dir().display();
    say!("\nAll of it goes on. The settings for a mail program on this machine:");
    say!("   user       {ALICE} or {BOB}");
    say!("   password   {PASSWORD}");
    say!("   server     localhost");
    for (name, door) in [("IMAP", proxies.imap), ("POP3", proxies.pop3), ("SMTP", proxies.smtp)] {
        let login = if name == "SMTP" { "; with user and password; mail for these two users only" } else { "" };
        say!(
            "   {name}       port {} with SSL/TLS, or {} without encryption{login}",
            door.tls.port(),
            door.plain.port()
        );
    }
    say!("   What passes there is kept in {dir}/mailSpool");
    say!("   (to be trusted for SSL/TLS: {}; the log: {dir}/log).", proxies.authority.display());
    if let Some((_, at)) = dovecot {
        say!("   What was kept is served by Dovecot to the same users and passwords:");
        say!("   IMAP       port {} without encryption", at.port());
    }
    say!("Enter or Ctrl-C ends it.");
    end.recv().when("waiting for the end")
}
