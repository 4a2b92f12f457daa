//! A private Dovecot 2.3 over the spool, as README.md pairs the two: it serves what was kept to any mail program.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Group, Pid, Uid, User, getegid, geteuid};

use crate::PASSWORD;
use crate::mailhost::Wire;
use crate::stage::{Context, Result, Stage, wait_until};

/// Free ports may be taken by somebody else before Dovecot has them.
const TRIES: u32 = 5;

/// The user that owns the spool where the demo runs as root: Dovecot serves none that belongs to root.
pub(crate) const MAIL_USER: &str = "nobody";

/// A Dovecot that the demo can use.
pub(crate) struct Dovecot {
    program: PathBuf,
    /// Who owns the spool.
    uid: Uid,
    gid: Gid,
    /// Settings that make Dovecot run wholly as this user, where it is not started as root.
    internal: String,
}

/// What is installed, or in words why nothing can be used.
pub(crate) fn find() -> Result<Dovecot> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Only root has these in PATH.
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let runs =
        |file: &PathBuf| fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    let mut found = std::env::split_paths(&path).chain(more).map(|folder| folder.join("dovecot"));
    let program = found.find(runs).ok_or("Dovecot is not installed here (apt install dovecot-imapd)")?;
    let version = ask(&program, &["--version"]);
    if !version.starts_with("2.3.") {
        return Err(format!("the Dovecot here is no 2.3, which this demo knows how to configure, but {version:?}"));
    }
    let libexec = ask(&program.with_file_name("../bin/doveconf"), &["-d", "-h", "libexec_dir"]);
    if !libexec.is_empty() && !Path::new(&libexec).join("imap").exists() {
        return Err("Dovecot is installed here without its IMAP part (apt install dovecot-imapd)".to_owned());
    }
    let (uid, gid, internal) = identity()?;
    Ok(Dovecot { program, uid, gid, internal })
}

/// What a program says; nothing where it cannot be run.
fn ask(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Dovecot {
    /// Starts it on a free port; gives that, once it greets.
    pub(crate) fn start(&self, stage: &Stage, spool: &Path) -> Result<(Pid, SocketAddr)> {
        let dir = stage.dir().join("dovecot");
        fs::create_dir(&dir).when("making Dovecot's folder")?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).when("opening Dovecot's folder")?;
        let log = dir.join("log");
        for _ in 0..TRIES {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).when("finding a free port")?;
            let at = listener.local_addr().when("finding a free port")?;
            drop(listener);
            let file = dir.join("dovecot.conf");
            fs::write(&file, self.configuration(&dir, spool, at.port())).when("writing Dovecot's configuration")?;
            let out = fs::File::options().create(true).append(true).open(&log).when("opening Dovecot's log")?;
            let mut command = Command::new(&self.program);
            command.arg("-F").arg("-c").arg(file).stdin(Stdio::null());
            command.stdout(out.try_clone().when("opening Dovecot's log")?).stderr(out);
            let pid = stage.spawn(&mut command)?;
            let (mut greets, mut ended) = (false, None);
            wait_until(|| {
                greets = Wire::connect(at).and_then(|mut wire| wire.line()).is_ok_and(|line| line.starts_with("* OK"));
                ended = stage.ended(pid);
                greets || ended.is_some()
            });
            match ended {
                None if greets => return Ok((pid, at)),
                None => drop(stage.stop(pid)),
                Some(_) => {}
            }
        }
        Err(format!("Dovecot does not start; its log says:\n{}", fs::read_to_string(&log).unwrap_or_default()))
    }

    fn configuration(&self, dir: &Path, spool: &Path, port: u16) -> String {
        let Dovecot { uid, gid, internal, .. } = self;
        let (dir, spool) = (dir.display(), spool.display());
        format!(
            "base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
{internal}protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{spool}/%Ld/%Ln
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}/home/%Ld/%Ln
}}
namespace inbox {{
  inbox = yes
  separator = .
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
service anvil {{
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
}

/// The last three fields of [`Dovecot`].
fn identity() -> Result<(Uid, Gid, String)> {
    if geteuid().is_root() {
        let user = User::from_name(MAIL_USER).ok().flatten().ok_or("there is no user nobody")?;
        return Ok((user.uid, user.gid, String::new()));
    }
    let (uid, gid) = (geteuid(), getegid());
    let user = User::from_uid(uid).ok().flatten().ok_or("Dovecot needs a user with a name, and yours has none")?.name;
    let group =
        Group::from_gid(gid).ok().flatten().ok_or("Dovecot needs a group with a name, and yours has none")?.name;
    let internal =
        format!("default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n");
    Ok((uid, gid, internal))
}
