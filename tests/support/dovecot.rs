//! A private Dovecot (2.3) for IMAP and POP3, with mailboxes whose files the tests write and read themselves.
//!
//! Any user name is accepted with [`PASSWORD`](super::PASSWORD), by every mechanism that Dovecot has, OAuth included
//! ([`token`]). Mail lies in `<home>/mail`, as Maildir++ where the hierarchy separator is `.`, else as nested folders.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::daemon::Daemon;
use super::lab::{Lab, free_ports, is_root, program};
use super::{Endpoint, Kind, PASSWORD, Tls};

#[derive(Clone, Debug)]
pub struct DovecotOptions {
    /// `/` or `.`.
    pub separator: char,
    /// Of the only namespace: empty or `INBOX.`, say.
    pub prefix: &'static str,
    /// Sent, Drafts, Junk, Trash with their attributes; `Sent` gets this name.
    pub special_use: Option<&'static str>,
    /// Serve this spool (`%d/%n` below it) in the place of mailboxes of its own.
    pub spool: Option<PathBuf>,
    /// The certificate to show; the lab's good one if none.
    pub certificate: Option<super::Certificate>,
    /// Lines of configuration that are added at the end.
    pub extra: &'static str,
}

impl Default for DovecotOptions {
    fn default() -> Self {
        DovecotOptions {
            separator: '/',
            prefix: "",
            special_use: Some("Sent"),
            spool: None,
            certificate: None,
            extra: "",
        }
    }
}

/// Ports, in the order imap, imaps, pop3, pop3s. (No list index: several sessions that open a new mailbox at the same time
/// make Dovecot 2.3.19 panic over its lock.)
pub struct Dovecot {
    _daemon: Daemon,
    dir: PathBuf,
    options: DovecotOptions,
    ports: [u16; 4],
}

/// The versions that a configuration can be tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Installed on this machine.
    V23,
    /// In a folder for the tests, where `scripts/test` unpacked it; only root can run it.
    V24,
}

impl Version {
    /// As `scripts/dovecot-archive --dovecot` takes it.
    pub fn name(self) -> &'static str {
        if self == Version::V23 { "2.3" } else { "2.4" }
    }

    /// Whether it can be run here; says why not.
    pub fn is_here(self) -> bool {
        if self == Version::V23 {
            return true;
        }
        let there = unpacked("dovecot-2.4").join("unpacked").is_file();
        if !there {
            eprintln!("skipped: there is no Dovecot 2.4 here; scripts/test --install fetches it");
        } else if !is_root() {
            eprintln!("skipped: only root can run Dovecot 2.4 in a folder of its own");
        }
        there && is_root()
    }

    /// The words that run one of its programs.
    pub fn program(self, name: &str) -> Vec<String> {
        if self == Version::V23 {
            vec![program(name).to_str().unwrap().to_owned()]
        } else {
            [enter(&unpacked("dovecot-2.4")), vec![name.to_owned()]].concat()
        }
    }
}

/// A folder into which `scripts/test` unpacked programs.
pub fn unpacked(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The words before a program that is to run in such a folder, where it sees the tests' files and the sources as they are.
pub fn enter(root: &Path) -> Vec<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = [std::env::temp_dir(), sources.to_owned()];
    let words = [sources.join("tests/support/unpacked/enter"), root.to_owned()].into_iter().chain(shown);
    words.map(|path| path.to_str().unwrap().to_owned()).chain(["--".to_owned()]).collect()
}

/// A private Dovecot with a configuration from elsewhere, that serves IMAP.
pub struct Configured {
    _daemon: Daemon,
    dir: PathBuf,
    version: Version,
    /// The configuration's file, for `doveadm -c`.
    pub file: PathBuf,
    /// With TLS from the start.
    pub port: u16,
    pub starttls_port: u16,
}

impl Configured {
    /// Starts 2.3; `configuration` is asked for with the port to serve on. Only what a private instance needs is added.
    pub fn start(lab: &Lab, configuration: impl Fn(u16) -> String) -> Configured {
        Configured::start_as(Version::V23, lab, |[port, _]| configuration(port))
    }

    /// The same for any version and two ports, the second for STARTTLS.
    pub fn start_as(version: Version, lab: &Lab, configuration: impl Fn([u16; 2]) -> String) -> Configured {
        let mut log = String::new();
        for _ in 0..5 {
            let dir = lab.folder("dovecot");
            let ports = free_ports();
            let file = dir.join("dovecot.conf");
            fs::write(&file, configuration(ports) + &private_instance(&dir)).unwrap();
            let words =
                [&version.program("dovecot")[..], &["-F", "-c", file.to_str().unwrap()].map(str::to_owned)].concat();
            let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            let mut daemon = Daemon::spawn("dovecot", Path::new(&words[0]), &args, &[], &dir.join("log"));
            if daemon.greets(&[(ports[0], "")]) {
                let [port, starttls_port] = ports;
                return Configured { _daemon: daemon, dir, version, file, port, starttls_port };
            }
            log = daemon.log();
        }
        panic!("dovecot does not start:\n{log}");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap_or_default()).into_owned()
    }

    /// Waits until a line of the log has all of these in it; gives the line.
    #[track_caller]
    pub fn tells_of(&self, words: &[&str]) -> String {
        let mut found = None;
        super::wait_until(&format!("Dovecot's log says {words:?}"), super::START, || {
            found = self.log().lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// Runs its doveadm with these arguments.
    pub fn doveadm(&self, args: &[&str]) -> super::Output {
        let mut words = self.version.program("doveadm");
        words.extend(["-c", self.file.to_str().unwrap()].map(str::to_owned));
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        super::client::run_with_input(&words[0], &words[1..], b"", &self.dir)
    }

    /// Its process with this name in it (`dovecot/auth`).
    pub fn process(&self, name: &str) -> u32 {
        let group = self._daemon.pid();
        let ours = |pid: u32| {
            let pid = nix::unistd::Pid::from_raw(pid as i32);
            nix::unistd::getpgid(Some(pid)).is_ok_and(|of| of == group)
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let found = pids.find(|&pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(name)) && ours(pid)
        });
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }
}

/// Settings for an instance of its own folder that listens on the loopback only, also where it is not root's.
fn private_instance(dir: &Path) -> String {
    for sub in ["run", "state"] {
        fs::create_dir(dir.join(sub)).unwrap();
        fs::set_permissions(dir.join(sub), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (d, users) = (dir.display(), internal_users());
    format!(
        "
base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log
{users}listen = 127.0.0.1
auth_failure_delay = 0s
service anvil {{
  chroot =
  # Otherwise each wrong password makes the next login wait longer.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"
    )
}

/// Settings that make Dovecot run wholly as this user, where it is not started as root.
fn internal_users() -> String {
    if is_root() {
        return String::new();
    }
    let (user, group) = mail_names();
    format!("default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n")
}

/// The names of the user and the group that mail belongs to.
pub fn mail_names() -> (String, String) {
    let (uid, gid) = mail_user();
    let user = nix::unistd::User::from_uid(uid.into()).unwrap().expect("a user with a name").name;
    let group = nix::unistd::Group::from_gid(gid.into()).unwrap().expect("a group with a name").name;
    (user, group)
}

/// Where a message lies in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    New,
    /// Seen.
    Cur,
}

impl Dovecot {
    pub fn start(lab: &Lab) -> Dovecot {
        Dovecot::with(lab, DovecotOptions::default())
    }

    pub fn with(lab: &Lab, options: DovecotOptions) -> Dovecot {
        let mut log = String::new();
        for _ in 0..5 {
            let dir = lab.folder("dovecot");
            let ports = free_ports();
            let conf = dir.join("dovecot.conf");
            fs::write(&conf, configuration(lab, &dir, &options, ports)).unwrap();
            write_oauth(&dir);
            let args = ["-F", "-c", conf.to_str().unwrap()];
            let mut daemon = Daemon::spawn("dovecot", &program("dovecot"), &args, &[], &dir.join("log"));
            if daemon.greets(&[(ports[0], "* OK"), (ports[1], ""), (ports[2], "+OK"), (ports[3], "")]) {
                return Dovecot { _daemon: daemon, dir, options, ports };
            }
            log = daemon.log();
        }
        panic!("dovecot does not start:\n{log}");
    }

    /// The listener for this protocol and this kind of TLS.
    pub fn endpoint(&self, kind: Kind, tls: Tls) -> Endpoint {
        let first = if kind == Kind::Imap { 0 } else { 2 };
        let port = self.ports[first + usize::from(tls == Tls::Implicit)];
        Endpoint { kind, port, tls }
    }

    pub fn imap(&self) -> u16 {
        self.ports[0]
    }

    pub fn pop3(&self) -> u16 {
        self.ports[2]
    }

    /// The Unix socket at which Postfix asks about logins.
    pub fn auth_socket(&self) -> PathBuf {
        self.dir.join("run/auth-for-postfix")
    }

    /// The mailbox of a user, empty at first.
    pub fn mailbox(&self, user: &str) -> Mailbox {
        let mailbox =
            Mailbox { root: self.dir.join("home").join(user).join("mail"), separator: self.options.separator };
        mailbox.folder("INBOX");
        mailbox
    }

    /// A mailbox with this in its inbox, in this order.
    pub fn filled(&self, user: &str, messages: &[super::Sample]) -> Mailbox {
        let mailbox = self.mailbox(user);
        for sample in messages {
            mailbox.put("INBOX", Place::New, &sample.bytes);
        }
        mailbox
    }
}

/// A user's mail on the server, by its files.
pub struct Mailbox {
    root: PathBuf,
    separator: char,
}

impl Mailbox {
    /// The Maildir of a folder (its name as on the wire, without a namespace's prefix), made where it is not there. Its
    /// UIDVALIDITY is always the same, so that sessions can be compared.
    pub fn folder(&self, name: &str) -> PathBuf {
        let dir = self.path(name);
        if !dir.join("cur").is_dir() {
            for sub in ["cur", "new", "tmp"] {
                fs::create_dir_all(dir.join(sub)).unwrap();
            }
            let validity = 1_700_000_000 + name.len();
            fs::write(dir.join("dovecot-uidlist"), format!("3 V{validity} N1 G{:032x}\n", validity)).unwrap();
            give_away(self.root.parent().unwrap());
        }
        dir
    }

    /// The UID of the next message in a folder where there are none yet.
    pub fn next_uid(&self, folder: &str, uid: usize) {
        let list = self.folder(folder).join("dovecot-uidlist");
        let text = fs::read_to_string(&list).unwrap().replace(" N1 ", &format!(" N{uid} "));
        fs::write(&list, text).unwrap();
    }

    /// Adds a message as a file of these very bytes; messages get their UIDs in the order in which they were put.
    pub fn put(&self, folder: &str, place: Place, bytes: &[u8]) {
        let dir = self.folder(folder);
        let count = fs::read_dir(dir.join("new")).unwrap().count() + fs::read_dir(dir.join("cur")).unwrap().count();
        let (sub, flags) = if place == Place::New { ("new", "") } else { ("cur", ":2,S") };
        let file = dir.join(sub).join(format!("{}.M1P1.test,S={}{flags}", 1_600_000_000 + count, bytes.len()));
        fs::write(&file, bytes).unwrap();
        // The date received, as an IMAP server shows it.
        let date = UNIX_EPOCH + Duration::from_secs(1_600_000_000 + count as u64);
        fs::File::options().write(true).open(&file).unwrap().set_modified(date).unwrap();
        owned(&file);
    }

    /// The messages in a folder as the server has them on disk, by file name.
    pub fn stored(&self, folder: &str) -> Vec<Vec<u8>> {
        let dir = self.path(folder);
        let mut files: Vec<PathBuf> = ["new", "cur"].iter().flat_map(|sub| entries(&dir.join(sub))).collect();
        files.sort_by_key(|file| file.file_name().unwrap().to_owned());
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.eq_ignore_ascii_case("INBOX") {
            return if self.separator == '.' { self.root.clone() } else { self.root.join("INBOX") };
        }
        if self.separator == '.' { self.root.join(format!(".{name}")) } else { self.root.join(name) }
    }
}

/// A bearer token for this user, as its provider would have signed it.
pub fn token(user: &str) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine};
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let claims = format!(r#"{{"sub":"{user}","email":"{user}","iat":{},"exp":{}}}"#, now - 5, now + 3600);
    let signed = format!("{}.{}", B64.encode(header), B64.encode(claims));
    format!("{signed}.{}", B64.encode(hmac_sha256(OAUTH_KEY, signed.as_bytes())))
}

const OAUTH_KEY: &[u8] = b"a key of 32 octets for the tests";

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn write_oauth(dir: &Path) {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let keys = dir.join("keys/default/HS256");
    fs::create_dir_all(&keys).unwrap();
    fs::write(keys.join("default"), BASE64_STANDARD.encode(OAUTH_KEY)).unwrap();
    let conf = format!(
        "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/keys/\nusername_attribute = email\n",
        dir.display()
    );
    fs::write(dir.join("oauth2.conf"), conf).unwrap();
}

/// The user that mail belongs to: Dovecot serves none that belongs to root.
fn mail_user() -> (u32, u32) {
    if is_root() { (65534, 65534) } else { (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) }
}

/// Gives a file to the mail user.
pub fn owned(path: &Path) {
    if is_root() {
        let (uid, gid) = mail_user();
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// Gives a folder and all in it to the mail user.
pub fn give_away(path: &Path) {
    owned(path);
    if path.is_dir() {
        entries(path).iter().for_each(|entry| give_away(entry));
    }
}

/// What lies in a folder; nothing where there is none.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn configuration(lab: &Lab, dir: &Path, options: &DovecotOptions, ports: [u16; 4]) -> String {
    let [imap, imaps, pop3, pop3s] = ports;
    let (uid, gid) = mail_user();
    for sub in ["run", "state", "home"] {
        fs::create_dir(dir.join(sub)).unwrap();
        fs::set_permissions(dir.join(sub), fs::Permissions::from_mode(0o755)).unwrap();
    }
    owned(&dir.join("home"));
    let certificate = options.certificate.clone().unwrap_or_else(|| lab.certificate());
    let users = internal_users();
    let location = match (&options.spool, options.separator) {
        (Some(spool), _) => format!("maildir:{}/%d/%n", spool.display()),
        (None, '.') => "maildir:~/mail".to_owned(),
        (None, _) => "maildir:~/mail:LAYOUT=fs:INBOX=~/mail/INBOX".to_owned(),
    };
    let special = options.special_use.map_or(String::new(), |sent| {
        [(sent, "Sent"), ("Drafts", "Drafts"), ("Junk", "Junk"), ("Trash", "Trash")]
            .map(|(name, attribute)| {
                format!("  mailbox \"{name}\" {{\n    auto = create\n    special_use = \\{attribute}\n  }}\n")
            })
            .concat()
    });
    let DovecotOptions { separator, prefix, extra, .. } = options;
    let (d, chain, key) = (dir.display(), certificate.chain.display(), certificate.key.display());
    format!(
        "base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log
{users}protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{chain}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 apop scram-sha-1 scram-sha-256 xoauth2 oauthbearer
auth_username_chars =
auth_failure_delay = 0
auth_cache_size = 0
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 0
mail_location = {location}
mailbox_list_index = no
pop3_uidl_format = %08Xu%08Xv
imap_capability = +SPECIAL-USE
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {d}/oauth2.conf
}}
passdb {{
  driver = static
  mechanisms = plain login cram-md5 apop scram-sha-1 scram-sha-256
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={d}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
{special}}}
default_process_limit = 1000
default_client_limit = 4000
service anvil {{
  chroot =
}}
service stats {{
  client_limit = 4000
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  service_count = 0
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service imap {{
  service_count = 20
}}
service pop3 {{
  service_count = 20
}}
service auth {{
  client_limit = 8000
  unix_listener auth-for-postfix {{
    mode = 0666
  }}
}}
{extra}
"
    )
}
