//! A small mail host on 127.0.0.1, to try mail programs and MailStore with: POP3, IMAP and SMTP, with and without TLS, mailboxes in memory.
//! `cargo run --example mailhost -- --help`. Ends with Enter, SIGINT or SIGTERM; nothing of it stays but the file of `--authority`.

#[path = "mailhost/mod.rs"]
mod host;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use getopts::{Matches, Options};
use host::{Certificate, Host, Mail, Ports};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const FOLDERS: [&str; 3] = ["Drafts", "Sent", "Trash"];
const USERS: [&str; 2] = ["alice@example.com:secret", "bob@example.com:secret"];

fn main() -> ExitCode {
    let mut options = Options::new();
    options.optflag("h", "help", "print this and exit");
    for (name, what) in [("smtp", "STARTTLS"), ("pop3", "STLS"), ("imap", "STARTTLS")] {
        let text =
            format!("{name}'s ports: without TLS at first ({what} is offered), and with TLS; 0 and default: free ones");
        options.optopt("", name, &text, "PORT,PORT");
    }
    options.optmulti(
        "u",
        "user",
        "a mailbox; default: alice and bob, both @example.com, with the password secret",
        "NAME:PASSWORD",
    );
    options.optmulti("f", "folder", "a folder of every mailbox; default: Drafts, Sent, Trash", "NAME");
    options.optopt("a", "authority", "where to write the certificate to trust; default: printed", "FILE");
    let given = match options.parse(std::env::args_os().skip(1)) {
        Ok(given) if given.free.is_empty() => given,
        Ok(given) => return fail(2, &format!("unknown: {}", given.free[0])),
        Err(e) => return fail(2, &e.to_string()),
    };
    if given.opt_present("h") {
        print!(
            "{}",
            options.usage("A small mail host on 127.0.0.1, with mailboxes in memory. Usage: mailhost [OPTIONS]")
        );
        return ExitCode::SUCCESS;
    }
    match run(&given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(if e.kind() == io::ErrorKind::InvalidInput { 2 } else { 1 }, &e.to_string()),
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    eprintln!("mailhost: {why}");
    ExitCode::from(code)
}

fn run(given: &Matches) -> io::Result<()> {
    // Before the first word: whoever reads that may end it at once.
    let end = watch()?;
    let or = |name: &str, default: &[&str]| {
        let values = given.opt_strs(name);
        if values.is_empty() { default.iter().map(|one| (*one).to_owned()).collect() } else { values }
    };
    let (mail, users) = (Mail::default(), or("user", &USERS));
    let folders: Vec<String> = or("folder", &FOLDERS);
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    for user in &users {
        let (name, password) = user.split_once(':').ok_or_else(|| wrong("--user", "NAME:PASSWORD"))?;
        mail.add_user(&name.to_lowercase(), password, &folders);
    }
    let certificate = Certificate::throw_away()?;
    let ports = [ports(given, "smtp")?, ports(given, "pop3")?, ports(given, "imap")?];
    let host = Host::start(mail, &certificate, ports)?;

    let mut out = io::stdout();
    for (name, door) in [("SMTP", host.smtp), ("POP3", host.pop3), ("IMAP", host.imap)] {
        writeln!(out, "{name}  {} (STARTTLS offered)  {} (TLS)", door.plain, door.tls)?;
    }
    for user in &users {
        writeln!(out, "user  {}", user.replacen(':', "  password  ", 1))?;
    }
    match given.opt_str("authority") {
        Some(file) => std::fs::write(&file, &certificate.authority)
            .and_then(|()| writeln!(out, "certificate to trust  {file}"))
            .map_err(|e| io::Error::new(e.kind(), format!("{file}: {e}")))?,
        None => writeln!(out, "certificate to trust\n{}", String::from_utf8_lossy(&certificate.authority).trim_end())?,
    }
    writeln!(out, "ready; Enter, SIGINT or SIGTERM ends it")?;
    let _ = end.recv();
    Ok(())
}

fn ports(given: &Matches, name: &str) -> io::Result<Ports> {
    let Some(text) = given.opt_str(name) else { return Ok([0; 2]) };
    let parsed = text.split_once(',').and_then(|(plain, tls)| Some([plain.parse().ok()?, tls.parse().ok()?]));
    parsed.ok_or_else(|| wrong(&format!("--{name}"), "PORT,PORT"))
}

fn wrong(option: &str, right: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{option} has to be {right}"))
}

/// Hears of the end: a signal, or a line on standard input. That nothing stands there is no end.
fn watch() -> io::Result<mpsc::Receiver<()>> {
    let (say, end) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let also = say.clone();
    thread::Builder::new().spawn(move || signals.forever().next().map(|_| also.send(())))?;
    thread::Builder::new().spawn(move || {
        if io::stdin().read_line(&mut String::new()).is_ok_and(|octets| octets > 0) {
            let _ = say.send(());
        }
    })?;
    Ok(end)
}
