//! The demonstration: a mail host of our own, `start_proxies` before it, and mail through all three protocols.
//!
//! Everything runs on loopback in a temporary folder, without root. It shows what was kept, proves every file by its hash
//! and byte by byte, and, where Dovecot is installed, reads it all back through that. `--stay` leaves everything running.
//! Exit status: 0 all was kept and proven; 1 something was not (it says what).

mod client;
mod dovecot;
mod host;
mod imap;
mod pop3;
mod smtp;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use native_tls::Identity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Group, Pid, Uid, User, getegid, geteuid};
use sha2::{Digest, Sha256};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use client::Client;
use dovecot::Dovecot;
use host::{DOMAIN, Host, PASSWORD};

/// Proves every file of a spool, for whoever has a shell.
const BY_HAND: &str = r"find . -type f -name '*,H=*' | sed 's/.*,H=\([0-9a-f]*\).*/\1  &/' | sha256sum -c";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let stay = match env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => false,
        [ref only] if only == "--stay" => true,
        _ => {
            eprintln!("usage: scripts/demo [--stay]");
            return ExitCode::from(2);
        }
    };
    match demonstrate(stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("demo: {e}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(stay: bool) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("mailstore-demo-").tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let keeper = Keeper::of_this_process()?;

    headline("A mail host of our own, as yours is somewhere: IMAP, POP3 and SMTP over TLS");
    let host = Host::start(certificate(&dir.path().join("ca.pem"))?)?;
    println!(
        "  imaps {}   pop3s {}   smtps {}   (users: anyone@{DOMAIN}, password: {PASSWORD})",
        host.imap, host.pop3, host.smtp
    );

    headline("MailStore before it: this mailstore.ini, and start_proxies");
    let mut proxies = Proxies::start(dir.path(), &host, &keeper)?;
    println!("{}", indented(&fs::read_to_string(&proxies.ini)?));
    println!("  {} is ready.", proxies.program.display());

    headline("Mail passes, by all three protocols");
    let expected = exchange(&host, &proxies)?;

    headline("What was kept: a Maildir for each owner, plain files");
    let kept = kept(&proxies.spool)?;
    show(&kept);

    headline("Proven: every file's SHA-256 is in its name, every byte is what was sent");
    prove(&proxies.spool, &kept, expected)?;

    let served = match dovecot::program() {
        None => {
            headline("Dovecot is not installed here: with it, any mail program reads the spool over IMAP");
            None
        }
        Some(program) => {
            headline("Read back with Dovecot over the spool, as any mail program would");
            let dovecot = Dovecot::start(&program, dir.path(), &proxies.spool, &keeper.user, &keeper.group)?;
            read_back(&dovecot, &kept)?;
            Some(dovecot)
        }
    };

    if stay {
        headline("It stays: try it with your mail program, then press Enter here (or Ctrl-C)");
        println!("  user ann@{DOMAIN} or bob@{DOMAIN}, password {PASSWORD}, server 127.0.0.1, no TLS:");
        println!(
            "  through MailStore: imap {}   pop3 {}   smtp {}",
            proxies.imap.port(),
            proxies.pop3.port(),
            proxies.smtp.port()
        );
        if let Some(dovecot) = &served {
            println!("  what was kept:     imap {}   ({})", dovecot.imap.port(), dovecot.conf.display());
        }
        println!("  the spool:         {}", proxies.spool.display());
        wait_for_the_end()?;
    }

    proxies.stop()?;
    drop(served);
    headline("All stopped, all cleaned up. Your own set-up is as short");
    println!(
        "  1. Write mailstore.ini (the one in this folder explains every key). Three lines for a mailbox at a host:
         [imap]
         listen = 127.0.0.1:1143
         upstream = imap.your-host.example:993
  2. Check it and start:   target/debug/start_proxies -t && target/debug/start_proxies
  3. Let your mail program talk to 127.0.0.1 port 1143 in the place of the host: nothing else changes.
     Every message that passes is in mailSpool/<domain>/<user> from then on. README.md has the rest."
    );
    Ok(())
}

/// Enter, SIGINT or SIGTERM; a standard input that is closed is not Enter.
fn wait_for_the_end() -> Result<()> {
    let (end, ended) = mpsc::channel();
    let entered = end.clone();
    thread::spawn(move || match io::stdin().read_line(&mut String::new()) {
        Ok(count) if count > 0 => entered.send(()).is_ok(),
        _ => false,
    });
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || signals.forever().next().is_some_and(|_| end.send(()).is_ok()));
    ended.recv()?;
    Ok(())
}

/// What has to be kept: owner, folder, and the bytes.
type Expected = Vec<(String, &'static str, Vec<u8>)>;

/// Sends, fetches and files; checks that the clients got the very bytes.
fn exchange(host: &Host, proxies: &Proxies) -> Result<Expected> {
    let (ann, bob) = (format!("ann@{DOMAIN}"), format!("bob@{DOMAIN}"));
    let hello = message(
        &ann,
        &bob,
        "Hello",
        "Lines with dots, which the protocols have to hide:\r\n.\r\n..\r\n.dot\r\nBye!\r\n",
    );
    let report =
        message("boss@elsewhere.example.com", &ann, "The report", "Gr\u{fc}\u{df}e, and 8-bit \u{1f4e7} too.\r\n");
    let tricky = message(&bob, &ann, "Looks like IMAP", "* 1 FETCH (BODY[] {5}\r\nhello)\r\na OK done\r\n");
    let old = message(&ann, &bob, "From last year", "An old message without a line end");
    host.store.deliver(&ann, &report);
    host.store.deliver(&ann, &tricky);
    host.store.change(&ann, |mailbox| mailbox.entry("Work/Reports".to_owned()).or_default().add(&old, Vec::new()));

    Client::connect(proxies.smtp)?.submit(&ann, &[&bob], &hello)?;
    println!("  SMTP: ann sent a message to bob.");
    let got = Client::connect(proxies.pop3)?.pop3_inbox(&bob)?;
    same("POP3", &got, &[&hello])?;
    println!("  POP3: bob fetched it, the very same {} bytes.", hello.len());
    let mut client = Client::connect(proxies.imap)?;
    client.imap_login(&ann, PASSWORD)?;
    client.imap("LIST \"\" *")?;
    same("IMAP", &client.imap_folder("INBOX")?, &[&report, &tricky])?;
    same("IMAP", &client.imap_folder("Work/Reports")?, &[&old])?;
    println!("  IMAP: ann read her inbox (2 messages) and her folder Work/Reports (1).");
    client.imap_append("Sent", &hello)?;
    client.imap("LOGOUT")?;
    println!("  IMAP: ann's mail program put its copy of what she sent into Sent: the same bytes, kept once.");
    Ok(vec![
        (ann.clone(), "Sent", hello.clone()),
        (bob, "", hello),
        (ann.clone(), "", report),
        (ann.clone(), "", tricky),
        (ann, "Work.Reports", old),
    ])
}

/// One file of the spool.
struct Kept {
    owner: String,
    folder: String,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Every message in the spool, by its path.
fn kept(spool: &Path) -> Result<Vec<Kept>> {
    let mut found = Vec::new();
    let mut todo = vec![spool.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let parent = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                todo.push(path);
            } else if ["new", "cur", "tmp"].contains(&parent) {
                let below: Vec<String> =
                    path.strip_prefix(spool)?.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                let [domain, user, rest @ ..] = &below[..] else {
                    return Err("a message outside of any Maildir".into());
                };
                let folder = if rest.len() == 3 { rest[0].trim_start_matches('.').to_owned() } else { String::new() };
                found.push(Kept { owner: format!("{user}@{domain}"), folder, bytes: fs::read(&path)?, path });
            }
        }
    }
    found.sort_by(|a, b| (&a.owner, &a.folder, &a.path).cmp(&(&b.owner, &b.folder, &b.path)));
    Ok(found)
}

fn show(kept: &[Kept]) {
    let mut last = (String::new(), String::new());
    for message in kept {
        if last.0 != message.owner {
            println!("  {}", message.owner);
        }
        if last != (message.owner.clone(), message.folder.clone()) {
            println!("    {}", if message.folder.is_empty() { "(inbox)" } else { &message.folder });
        }
        let mut parts = message.path.iter().rev();
        let (name, sub) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        println!("      {}/{}", sub.display(), name.display());
        last = (message.owner.clone(), message.folder.clone());
    }
}

/// Each file's name tells its hash, and together they are what is expected, no more and no less.
fn prove(spool: &Path, kept: &[Kept], mut expected: Expected) -> Result<()> {
    for message in kept {
        let hash: String = Sha256::digest(&message.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = message.path.file_name().unwrap_or_default().to_string_lossy();
        if !name.contains(&format!(",S={},H={hash}", message.bytes.len())) {
            return Err(format!("{} is not what its name says", message.path.display()).into());
        }
        let is_it = |(owner, folder, bytes): &(String, &str, Vec<u8>)| {
            *owner == message.owner && *folder == message.folder && *bytes == message.bytes
        };
        let Some(at) = expected.iter().position(is_it) else {
            return Err(format!("{} was not expected there", message.path.display()).into());
        };
        expected.swap_remove(at);
        println!("  {}  {}", &hash[..16], subject(&message.bytes));
    }
    if let Some((owner, folder, bytes)) = expected.first() {
        return Err(format!("missing in the Maildir of {owner}, folder `{folder}`: {}", subject(bytes)).into());
    }
    // The same without us.
    println!("\n  $ cd mailSpool; {BY_HAND}");
    let output = Command::new("sh").args(["-c", BY_HAND]).current_dir(spool).output()?;
    print!("{}", indented(&String::from_utf8_lossy(&output.stdout)));
    if output.status.success() { Ok(()) } else { Err("sha256sum found a file that is not what its name says".into()) }
}

fn read_back(dovecot: &Dovecot, kept: &[Kept]) -> Result<()> {
    let mut folders: BTreeMap<(&str, &str), Vec<&[u8]>> = BTreeMap::new();
    for message in kept {
        folders.entry((&message.owner, &message.folder)).or_default().push(&message.bytes);
    }
    for ((owner, folder), messages) in folders {
        let mut client = Client::connect(dovecot.imap)?;
        client.imap_login(owner, PASSWORD)?;
        let name = if folder.is_empty() { "INBOX" } else { folder };
        same(&format!("Dovecot, {owner}, {name}"), &client.imap_folder(name)?, &messages)?;
        client.imap("LOGOUT")?;
        println!("  {owner} {name}: {} of {} the very same bytes", messages.len(), messages.len());
    }
    Ok(())
}

/// Fails unless these are the same messages, in whatever order.
fn same(what: &str, got: &[Vec<u8>], expected: &[&[u8]]) -> Result<()> {
    let mut got: Vec<&[u8]> = got.iter().map(Vec::as_slice).collect();
    let mut expected = expected.to_vec();
    got.sort_unstable();
    expected.sort_unstable();
    if got == expected { Ok(()) } else { Err(format!("{what}: other bytes than were sent").into()) }
}

/// A running `start_proxies`.
struct Proxies {
    child: Child,
    program: PathBuf,
    ini: PathBuf,
    spool: PathBuf,
    pop3: SocketAddr,
    imap: SocketAddr,
    smtp: SocketAddr,
}

impl Proxies {
    fn start(dir: &Path, host: &Host, keeper: &Keeper) -> Result<Proxies> {
        let (ini, spool) = (dir.join("mailstore.ini"), dir.join("mailSpool"));
        let mut text = String::from("[mailstore]\nspool = mailSpool\n");
        if geteuid().is_root() {
            text += &format!("user = {}\ngroup = {}\n", keeper.user, keeper.group);
            fs::create_dir(&spool)?;
            fs::set_permissions(&spool, fs::Permissions::from_mode(0o700))?;
            chown(&spool, Some(keeper.uid.as_raw()), Some(keeper.gid.as_raw()))?;
        }
        for (kind, upstream) in [("pop3", host.pop3), ("imap", host.imap), ("smtp", host.smtp)] {
            text += &format!(
                "\n[{kind}]\nlisten = 127.0.0.1:0\nupstream = localhost:{}\nupstream_ca = ca.pem\n",
                upstream.port()
            );
        }
        fs::write(&ini, text)?;
        let program = env::current_exe()?.parent().and_then(Path::parent).map(|dir| dir.join("start_proxies"));
        let program = program.filter(|file| file.is_file()).ok_or("start_proxies is not built: run scripts/demo")?;
        let mut child =
            Command::new(&program).arg("-c").arg(&ini).stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("no standard error")?;
        match wait_for_ready(stderr) {
            Ok([pop3, imap, smtp]) => Ok(Proxies { child, program, ini, spool, pop3, imap, smtp }),
            Err(e) => {
                stop(&mut child);
                Err(e)
            }
        }
    }

    /// As an administrator does; it has to end in order.
    fn stop(&mut self) -> Result<()> {
        match stop(&mut self.child) {
            Some(0) => Ok(()),
            other => Err(format!("start_proxies ended with {other:?}").into()),
        }
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Reads the log up to `ready`; gives the ports of pop3, imap and smtp. What follows is read and dropped.
fn wait_for_ready(stderr: impl io::Read + Send + 'static) -> Result<[SocketAddr; 3]> {
    let mut lines = BufReader::new(stderr).lines();
    let mut ports = BTreeMap::new();
    let mut said = String::new();
    for line in lines.by_ref() {
        let line = line?;
        if let Some((before, after)) = line.split_once(" listening on ") {
            let name = before.rsplit(' ').next().unwrap_or_default().to_owned();
            ports.insert(name, after.split(" -> ").next().unwrap_or_default().parse()?);
        }
        said += &format!("\n{line}");
        if line.ends_with("ready") {
            thread::spawn(move || lines.for_each(drop));
            let port = |name: &str| ports.get(name).copied().ok_or(format!("start_proxies does not listen for {name}"));
            return Ok([port("pop3")?, port("imap")?, port("smtp")?]);
        }
    }
    Err(format!("start_proxies did not start:{said}").into())
}

/// SIGTERM, and wait; SIGKILL where that does not help. Gives the exit status.
fn stop(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(20);
    if let (Ok(None), Ok(pid)) = (child.try_wait(), i32::try_from(child.id())) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    while Instant::now() < end {
        if let Ok(Some(status)) = child.try_wait() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Who owns the spool: the user who runs this; for root, who should not own mail, `nobody`.
struct Keeper {
    user: String,
    group: String,
    uid: Uid,
    gid: Gid,
}

impl Keeper {
    fn of_this_process() -> Result<Keeper> {
        let user = if geteuid().is_root() { User::from_name("nobody")? } else { User::from_uid(geteuid())? };
        let user = user.ok_or("the user who runs this has no name")?;
        let gid = if geteuid().is_root() { user.gid } else { getegid() };
        let group = Group::from_gid(gid)?.ok_or("the group of who runs this has no name")?.name;
        Ok(Keeper { user: user.name, group, uid: user.uid, gid })
    }
}

/// A certificate for `localhost` that lives as long as this, and which the proxies trust through the file `ca`.
fn certificate(ca: &Path) -> Result<Identity> {
    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509Builder, X509NameBuilder};

    let key = PKey::from_ec_key(EcKey::generate(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref())?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "MailStore demonstration")?;
    let name = name.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(BigNum::from_u32(1)?.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(2)?.as_ref())?;
    let localhost = SubjectAlternativeName::new().dns("localhost").build(&builder.x509v3_context(None, None))?;
    builder.append_extension(localhost)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    let certificate = builder.build().to_pem()?;
    fs::write(ca, &certificate)?;
    Ok(Identity::from_pkcs8(&certificate, &key.private_key_to_pem_pkcs8()?)?)
}

fn message(from: &str, to: &str, subject: &str, body: &str) -> Vec<u8> {
    format!("From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{body}").into_bytes()
}

fn subject(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or("(no subject)").to_owned()
}

fn headline(text: &str) {
    println!("\n== {text}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
