//! Postfix as it keeps a copy of all mail: `always_bcc` into a Maildir, `relayhost` the server. It flushes always. Only root can run it.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Group, User, geteuid};

use super::{Daemon, Stage, Started, free};
use crate::{Kind, Outcome};

/// Where messages are on their way.
const QUEUES: [&str; 4] = ["maildrop", "incoming", "active", "deferred"];

pub(super) fn start(stage: &Stage<'_>, dir: &Path) -> Outcome<Started> {
    let found =
        ["/usr/lib/postfix/sbin", "/usr/libexec/postfix"].map(PathBuf::from).into_iter().find(|dir| dir.is_dir());
    let (Some(programs), true) = (found, geteuid().is_root()) else { return Ok(None) };
    let spool = stage.spool.join(dir.file_name().unwrap_or_default());
    let postfix = User::from_name("postfix")?.ok_or("there is no user postfix")?.uid.as_raw();
    let postdrop = Group::from_name("postdrop")?.ok_or("there is no group postdrop")?.gid.as_raw();
    let make = |path: PathBuf, mode: u32, uid: u32, gid: Option<u32>| -> Outcome<()> {
        fs::create_dir_all(&path)?;
        chown(&path, Some(uid), gid)?;
        Ok(fs::set_permissions(&path, Permissions::from_mode(mode))?)
    };
    let (conf, queue) = (dir.join("conf"), spool.join("queue"));
    for path in [dir, &conf, &spool, &queue] {
        make(path.to_owned(), 0o755, 0, None)?;
    }
    make(dir.join("data"), 0o700, postfix, None)?;
    make(spool.join("mail"), 0o755, 65534, Some(65534))?;
    make(queue.join("pid"), 0o755, 0, None)?;
    make(queue.join("maildrop"), 0o1730, postfix, Some(postdrop))?;
    make(queue.join("public"), 0o2710, postfix, Some(postdrop))?;
    for name in "active bounce corrupt defer deferred flush hold incoming private saved trace".split(' ') {
        make(queue.join(name), 0o700, postfix, None)?;
    }
    let back = stage.origin.at(Kind::Smtp, false);
    let front = free()?;
    fs::write(
        conf.join("main.cf"),
        format!(
            "compatibility_level = 3.6
queue_directory = {queue}
data_directory = {dir}/data
daemon_directory = {programs}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/maillog
maillog_file_prefixes = {dir}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.org
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
always_bcc = archive@archive.example.org
relayhost = [{ip}]:{port}
smtp_tls_security_level = none
virtual_mailbox_domains = archive.example.org
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {spool}/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
message_size_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
in_flow_delay = 0
",
            queue = queue.display(),
            dir = dir.display(),
            spool = spool.display(),
            programs = programs.display(),
            ip = back.ip(),
            port = back.port(),
        ),
    )?;
    let services = "cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";
    fs::write(conf.join("master.cf"), format!("{front} inet n - n - - smtpd\n{services}"))?;
    let mut command = Command::new(programs.join("master"));
    command.arg("-s").arg("-c").arg(&conf).env("MAIL_CONFIG", &conf);
    let daemon = Daemon::spawn(&command, &dir.join("log"))?;
    Ok(Some((daemon, HashMap::from([((Kind::Smtp, false), front)]))))
}

/// Whether nothing is on its way any more.
pub(super) fn is_idle(spool: &Path) -> bool {
    let empty = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    QUEUES.iter().all(|name| {
        let queue = spool.join("queue").join(name);
        // Deferred mail lies in folders by the first digit of its name.
        fs::read_dir(&queue).is_ok_and(|mut entries| {
            entries.all(|entry| entry.is_ok_and(|entry| entry.path().is_dir() && empty(&entry.path())))
        })
    })
}
