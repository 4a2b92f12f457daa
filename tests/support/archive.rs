//! A spool with messages in it as MailStore writes them, its `mailstore.ini`, and a Dovecot over it that `scripts/dovecot-archive` set up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::client::{run, run_with_input};
use super::dovecot::{Configured, Version, mail_names, owned};
use super::lab::is_root;
use super::spool::hash;
use super::{Endpoint, Kind, Lab, Output, Tls, Wire};

/// The password of everybody whom [`Archive::add`] lets in.
pub const ARCHIVE_PASSWORD: &str = "change me, please";

/// A script of the project.
pub fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name).to_str().unwrap().to_owned()
}

/// A folder with a `mailstore.ini` and its spool.
pub struct Archive {
    pub dir: PathBuf,
}

impl Archive {
    /// With these lines for `[mailstore]`. Its only proxy has the lab's certificate.
    pub fn new(lab: &Lab, shared: &str) -> Archive {
        let archive = Archive { dir: lab.folder("archive") };
        // As /var/lib/mailstore: nobody else's.
        owned(&archive.dir);
        fs::set_permissions(&archive.dir, fs::Permissions::from_mode(0o750)).unwrap();
        archive.configure(lab, shared, "upstream = localhost:993\n");
        archive.folder(&archive.spool());
        archive
    }

    /// Writes `mailstore.ini` anew; `proxy` are lines for its `[imap]`.
    pub fn configure(&self, lab: &Lab, shared: &str, proxy: &str) {
        let certificate = lab.certificate();
        let user = if is_root() { format!("user = {}\n", mail_names().0) } else { String::new() };
        let ini = format!(
            "[mailstore]\n{user}{shared}[imap]\nlisten = 127.0.0.1:0\nlisten_tls = implicit\ncertificate = {}\n\
             private_key = {}\n{proxy}",
            certificate.chain.display(),
            certificate.key.display()
        );
        fs::write(self.ini(), ini).unwrap();
    }

    pub fn ini(&self) -> PathBuf {
        self.dir.join("mailstore.ini")
    }

    pub fn spool(&self) -> PathBuf {
        self.dir.join("mailSpool")
    }

    /// A message of these bytes in the Maildir at this path below the spool, in this folder (`.Sent`; empty for the inbox), as MailStore
    /// files it; `flags` as they end its name (`:2,S`), for `cur`. Gives its file.
    pub fn put(&self, maildir: &str, folder: &str, bytes: &[u8], flags: &str) -> PathBuf {
        let dir = self.spool().join(maildir);
        for place in [dir.clone(), dir.join(folder)] {
            ["tmp", "new", "cur"].iter().for_each(|sub| self.folder(&place.join(sub)));
        }
        let count = fs::read_dir(dir.join(folder).join("new")).unwrap().count();
        let name =
            format!("{}.M000001P7Q{count}.host,S={},H={}{flags}", 1_700_000_000 + count, bytes.len(), hash(bytes));
        let file = dir.join(folder).join(if flags.is_empty() { "new" } else { "cur" }).join(name);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        owned(&file);
        let date = UNIX_EPOCH + Duration::from_secs(1_500_000_000 + count as u64);
        fs::File::options().write(true).open(&file).unwrap().set_modified(date).unwrap();
        file
    }

    /// A folder as MailStore makes them, with those above it up to the spool.
    fn folder(&self, path: &Path) {
        if path.is_dir() {
            return;
        }
        if path != self.spool() {
            self.folder(path.parent().unwrap());
        }
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        owned(path);
    }

    /// Runs `scripts/dovecot-archive` with more arguments.
    pub fn script(&self, version: Version, args: &[&str]) -> Output {
        let ini = self.ini();
        let all = [&["-c", ini.to_str().unwrap(), "--dovecot", version.name()], args].concat();
        run(&script("dovecot-archive"), &all)
    }

    /// Lets somebody in, by `scripts/archive-user`.
    pub fn add(&self, owner: &str) {
        let input = format!("{ARCHIVE_PASSWORD}\n");
        let ini = self.ini();
        let args = ["add", "-c", ini.to_str().unwrap(), "--password-fd", "0", "--", owner];
        run_with_input(&script("archive-user"), &args, input.as_bytes(), &self.dir).ok();
    }

    /// A line of a password file, made without the project's own script.
    pub fn line(&self, owner: &str, password: &str) -> String {
        let made =
            run_with_input("openssl", &["passwd", "-6", "-stdin"], format!("{password}\n").as_bytes(), &self.dir);
        format!("{owner}:{{SHA512-CRYPT}}{}\n", made.ok().text().trim())
    }

    /// Lets somebody in whom `scripts/archive-user` would refuse.
    pub fn add_line(&self, owner: &str) {
        let file = self.dir.join("archive-users");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, before + &self.line(owner, ARCHIVE_PASSWORD)).unwrap();
    }

    /// The Dovecot over the spool, set up with more arguments for the script; its configuration is checked by Dovecot itself first.
    pub fn start(&self, version: Version, lab: &Lab, args: &[&str]) -> Configured {
        Configured::start_as(version, lab, |[port, starttls]| {
            let (port, starttls) = (port.to_string(), starttls.to_string());
            let ports = ["--port", &port, "--starttls-port", &starttls, "--listen", "127.0.0.1"];
            let configuration = self.script(version, &[&ports, args].concat()).ok().text();
            let file = self.dir.join("checked.conf");
            fs::write(&file, &configuration).unwrap();
            let words = version.program("doveconf");
            let check = [&words[1..], &["-n", "-c", file.to_str().unwrap()].map(str::to_owned)].concat();
            let said = run(&words[0], &check).ok();
            assert_eq!(said.errors(), "", "what doveconf says besides");
            configuration
        })
    }
}

/// A session of this user with the archive, TLS checked.
pub fn read(lab: &Lab, dovecot: &Configured, user: &str) -> Wire {
    let mut wire = Wire::connect(lab, at(dovecot));
    log_in(&mut wire, user, ARCHIVE_PASSWORD);
    wire
}

pub fn at(dovecot: &Configured) -> Endpoint {
    Endpoint { kind: Kind::Imap, port: dovecot.port, tls: Tls::Implicit }
}

/// Logs in; what came of it.
pub fn try_log_in(wire: &mut Wire, user: &str, password: &str) -> String {
    let tag = wire.next_tag();
    // A literal takes any octet.
    wire.send(format!("{tag} LOGIN {{{}+}}\r\n{user} \"{password}\"\r\n", user.len()).as_bytes());
    loop {
        let line = String::from_utf8_lossy(&wire.imap_response()).into_owned();
        if line.starts_with(&tag) || line.starts_with("* BYE") {
            return line;
        }
    }
}

#[track_caller]
pub fn log_in(wire: &mut Wire, user: &str, password: &str) {
    let said = try_log_in(wire, user, password);
    assert!(said.contains(" OK "), "{user}: {said}");
}
