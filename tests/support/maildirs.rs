//! Maildirs that a test writes itself, message by message; the scripts run over them; and what an IMAP account holds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use super::client::{Output, run_with_input};
use super::dovecot::entries;
use super::spool::hash;
use super::{Endpoint, Kind, Lab, PASSWORD, Tls, Wire};

/// The date of the first message of a test, Unix time in seconds: 13 September 2020.
pub const DATE: u64 = 1_600_000_000;

/// A script of `scripts/`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// Runs it in the lab's folder.
pub fn run_script(lab: &Lab, name: &str, args: &[&str]) -> Output {
    // Dates are typed, and shown, in local time.
    let script = script(name).display().to_string();
    run_with_input("env", &[&["TZ=UTC", &script], args].concat(), b"", lab.path())
}

/// The same, not started yet, for a test that ends it.
pub fn script_command(lab: &Lab, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(script(name));
    command.args(args).current_dir(lab.path());
    command
}

/// A spool at `dir`, in a folder with a `mailstore.ini`.
pub struct Archive {
    pub dir: PathBuf,
    count: std::cell::Cell<usize>,
}

impl Archive {
    pub fn new(lab: &Lab) -> Archive {
        let dir = lab.folder("archive");
        fs::write(dir.join("mailstore.ini"), "[mailstore]\nspool = mailSpool\n").unwrap();
        fs::create_dir(dir.join("mailSpool")).unwrap();
        fs::set_permissions(dir.join("mailSpool"), fs::Permissions::from_mode(0o700)).unwrap();
        Archive { dir, count: Default::default() }
    }

    pub fn ini(&self) -> String {
        self.dir.join("mailstore.ini").display().to_string()
    }

    pub fn spool(&self) -> PathBuf {
        self.dir.join("mailSpool")
    }

    /// Keeps a message as MailStore does, in this Maildir (`example.com/joe`) and folder (`.Work`); the first one of `DATE`, each other an hour later. With
    /// flags it lies in `cur`.
    pub fn keep(&self, maildir: &str, folder: &str, flags: &str, bytes: &[u8]) -> PathBuf {
        let count = self.count.replace(self.count.get() + 1);
        let (sub, tail) = if flags.is_empty() { ("new", String::new()) } else { ("cur", format!(":2,{flags}")) };
        let name = format!("1700000000.M{count:06}P1Q{count}.host,S={},H={}{tail}", bytes.len(), hash(bytes));
        // The inbox is always there.
        ["tmp", "new", "cur"].iter().for_each(|sub| fs::create_dir_all(self.spool().join(maildir).join(sub)).unwrap());
        put(&self.spool().join(maildir).join(folder), sub, &name, DATE + 3600 * count as u64, bytes)
    }
}

/// Writes a message into a Maildir, which is made where it is missing.
pub fn put(maildir: &Path, sub: &str, name: &str, date: u64, bytes: &[u8]) -> PathBuf {
    for sub in ["tmp", "new", "cur"] {
        fs::create_dir_all(maildir.join(sub)).unwrap();
    }
    let file = maildir.join(sub).join(name);
    fs::write(&file, bytes).unwrap();
    dated(&file, date);
    file
}

pub fn dated(file: &Path, date: u64) {
    let date = UNIX_EPOCH + Duration::from_secs(date);
    fs::File::options().write(true).open(file).unwrap().set_modified(date).unwrap();
}

/// Every file and folder below this one, with size, mode and time: equal where nothing was touched.
pub fn snapshot(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let (at, path_name) = ((meta.mtime(), meta.mtime_nsec()), path.display());
        found.push(format!("{path_name} {:o} {} {at:?}", meta.mode(), if meta.is_dir() { 0 } else { meta.len() }));
        todo.extend(entries(&path));
    }
    found.sort();
    found
}

/// A message in an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// INTERNALDATE, Unix time in seconds.
    pub date: u64,
    /// Sorted, without `\Recent`.
    pub flags: Vec<String>,
    pub bytes: Vec<u8>,
}

/// What an account holds, by folder (the name as on the wire), sorted; folders without messages are left out.
pub fn account(lab: &Lab, at: Endpoint, user: &str) -> BTreeMap<String, Vec<Stored>> {
    let mut wire = Wire::connect(lab, at);
    wire.imap_ok(&format!("LOGIN \"{user}\" \"{PASSWORD}\""));
    let list = String::from_utf8(wire.imap_ok("LIST \"\" *")).unwrap();
    let mut found = BTreeMap::new();
    for line in list.lines().filter(|line| line.starts_with("* LIST") && !line.contains("\\Noselect")) {
        let name = line.split_once(") ").unwrap().1.split_once(' ').unwrap().1.trim_matches('"').to_owned();
        wire.imap_ok(&format!("EXAMINE \"{name}\""));
        let answer = wire.imap_ok("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
        let mut stored: Vec<Stored> = responses(&answer);
        stored.sort();
        if !stored.is_empty() {
            found.insert(name, stored);
        }
    }
    wire.imap_ok("LOGOUT");
    found
}

/// The answers to that FETCH.
fn responses(answer: &[u8]) -> Vec<Stored> {
    let mut found = Vec::new();
    let mut rest = answer;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = String::from_utf8(rest[..end].to_vec()).unwrap();
        rest = &rest[end + 2..];
        let Some(size) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')).map(|(_, size)| size) else {
            continue;
        };
        let size: usize = size.parse().unwrap();
        let between = |from: &str, to: &str| line.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
        let mut flags: Vec<String> =
            between("FLAGS (", ")").split_whitespace().filter(|flag| *flag != "\\Recent").map(str::to_owned).collect();
        flags.sort();
        let date = chrono::DateTime::parse_from_str(between("INTERNALDATE \"", "\"").trim(), "%d-%b-%Y %H:%M:%S %z");
        found.push(Stored { date: date.unwrap().timestamp().try_into().unwrap(), flags, bytes: rest[..size].to_vec() });
        rest = &rest[size..];
    }
    found
}

/// The bytes alone, over all folders, sorted.
pub fn contents(account: &BTreeMap<String, Vec<Stored>>) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = account.values().flatten().map(|stored| stored.bytes.clone()).collect();
    all.sort();
    all
}

/// How scripts/restore names this server, and what else it needs to trust it.
pub fn to_server(lab: &Lab, at: Endpoint) -> Vec<String> {
    assert_eq!(at.kind, Kind::Imap);
    let scheme = if at.tls == Tls::Implicit { "imaps" } else { "imap" };
    let url = format!("{scheme}://localhost:{}", at.port);
    let mut args = vec!["--to".to_owned(), url];
    match at.tls {
        Tls::None => args.push("--no-tls".to_owned()),
        _ => args.extend(["--ca".to_owned(), lab.ca().display().to_string()]),
    }
    args
}
