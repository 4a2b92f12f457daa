//! Where Dovecot is installed: one of our own over the spool, as the user who runs the demonstration.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::host::PASSWORD;

pub(crate) struct Dovecot {
    child: Child,
    pub(crate) imap: SocketAddr,
    /// For the README's reader: what it takes.
    pub(crate) conf: PathBuf,
}

/// The program, where it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.iter().map(|folder| folder.join("dovecot")).find(|file| file.is_file())
}

impl Dovecot {
    /// Serves the spool by IMAP. `user`: who owns its files.
    pub(crate) fn start(program: &Path, dir: &Path, spool: &Path, user: &str, group: &str) -> io::Result<Dovecot> {
        let imap = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let conf = dir.join("dovecot.conf");
        fs::write(&conf, configuration(dir, spool, user, group, imap.port()))?;
        let log = fs::File::create(dir.join("dovecot.out"))?;
        let child = Command::new(program)
            .arg("-F")
            .arg("-c")
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut dovecot = Dovecot { child, imap, conf };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(imap).is_err() {
            if Instant::now() > end || dovecot.child.try_wait()?.is_some() {
                let said = fs::read_to_string(dir.join("dovecot.log")).unwrap_or_default();
                let out = fs::read_to_string(dir.join("dovecot.out")).unwrap_or_default();
                return Err(io::Error::other(format!("Dovecot does not start: {said}{out}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(dovecot)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        crate::stop(&mut self.child);
    }
}

fn configuration(dir: &Path, spool: &Path, user: &str, group: &str, port: u16) -> String {
    let root = nix::unistd::geteuid().is_root();
    let service = if root {
        String::new()
    } else {
        format!("default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n")
    };
    let (dir, spool) = (dir.display(), spool.display());
    format!(
        "base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
{service}protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{spool}/%d/%n
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={spool}/%d/%n
}}
namespace inbox {{
  inbox = yes
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"
    )
}
