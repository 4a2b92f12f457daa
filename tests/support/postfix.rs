//! A private Postfix: submission with logins (STARTTLS or implicit TLS), and an MX without, both delivering.
//!
//! Recipients in `example.org` and `example.net` are local. What a test can provoke, by the addresses or the subject:
//! recipients `unknown…@` are rejected at RCPT, senders `nodata…@` at DATA, and a message whose subject holds `REJECT-ME` at its end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Group, User};

use super::daemon::Daemon;
use super::dovecot::{self, Dovecot};
use super::lab::{Lab, free_ports, is_root};
use super::{Endpoint, Kind, Tls};

/// Ports, in the order submission, submissions, MX.
pub struct Postfix {
    daemon: Daemon,
    dir: PathBuf,
    ports: [u16; 3],
}

/// A message that Postfix delivered.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The message as the recipient has it: Postfix's own header fields first, LF line ends.
    pub bytes: Vec<u8>,
}

impl Delivered {
    /// The message without the fields that Postfix put before it: what is there behind its own `Received:`.
    pub fn message(&self) -> &[u8] {
        let own = b"Received: from ";
        let mut rest = &self.bytes[..];
        let mut inside = false;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line = &rest[..end];
            if inside && !line.starts_with(b"\t") && !line.starts_with(b" ") {
                return rest;
            }
            inside |= line.starts_with(own);
            rest = &rest[end + 1..];
        }
        rest
    }

    /// For whom: Postfix quotes what needs it, which is undone.
    pub fn recipient(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().find_map(|line| line.strip_prefix("Delivered-To: "));
        line.expect("the field Delivered-To").replace('"', "")
    }

    /// Whether the message that was sent (CRLF line ends) is the end of what was delivered.
    pub fn ends_with(&self, sent: &[u8]) -> bool {
        self.bytes.ends_with(&to_lf(sent))
    }
}

/// CRLF line ends as LF, as Postfix stores them.
pub fn to_lf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (i, &byte) in bytes.iter().enumerate() {
        if byte != b'\r' || bytes.get(i + 1) != Some(&b'\n') {
            out.push(byte);
        }
    }
    out
}

impl Postfix {
    /// Logins are asked of this Dovecot. Needs root: Postfix's master and its delivery agents do.
    pub fn start(lab: &Lab, auth: &Dovecot) -> Postfix {
        Postfix::with(lab, auth, "")
    }

    /// The same with more lines for its `main.cf`.
    pub fn with(lab: &Lab, auth: &Dovecot, options: &str) -> Postfix {
        Postfix::with_services(lab, auth, options, |[submission, _, mx]| {
            format!(
                "127.0.0.1:{submission} inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes\n\
                 127.0.0.1:{mx} inet n - n - - smtpd\n"
            )
        })
    }

    /// The same with these lines of `master.cf` for submission and the MX, for which the ports are given. (The second port is taken by
    /// submission with implicit TLS.)
    pub fn with_services(lab: &Lab, auth: &Dovecot, options: &str, services: impl Fn([u16; 3]) -> String) -> Postfix {
        assert!(is_root(), "these tests start a private Postfix, which only root can: run them as root");
        let mut log = String::new();
        for _ in 0..5 {
            let dir = lab.folder("postfix");
            let ports = free_ports();
            configure(lab, auth, &dir, ports, options, &services(ports));
            let daemon_dir = daemon_directory();
            let conf = dir.join("conf");
            let args = ["-s", "-c", conf.to_str().unwrap()];
            let envs = [("MAIL_CONFIG", conf.to_str().unwrap())];
            let mut daemon = Daemon::spawn("postfix", &daemon_dir.join("master"), &args, &envs, &dir.join("log"));
            if daemon.greets(&[(ports[0], "220 "), (ports[1], ""), (ports[2], "220 ")]) {
                return Postfix { daemon, dir, ports };
            }
            log = daemon.log();
        }
        panic!("postfix does not start:\n{log}");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The submission service for this kind of TLS.
    pub fn endpoint(&self, tls: Tls) -> Endpoint {
        Endpoint { kind: Kind::Smtp, port: self.ports[usize::from(tls == Tls::Implicit)], tls }
    }

    pub fn submission(&self) -> u16 {
        self.ports[0]
    }

    /// No login here.
    pub fn mx(&self) -> u16 {
        self.ports[2]
    }

    /// All that was delivered, oldest first. (All lies in one Maildir; Postfix notes for whom.)
    pub fn all(&self) -> impl Iterator<Item = Delivered> {
        let mut files = dovecot::entries(&self.dir.join("mail/all/new"));
        files.sort();
        files.into_iter().map(|file| Delivered { bytes: fs::read(file).unwrap() })
    }

    /// What was delivered to this recipient, oldest first.
    pub fn delivered(&self, recipient: &str) -> Vec<Delivered> {
        let all = self.all();
        let field = format!("\nDelivered-To: {recipient}\n");
        all.filter(|message| {
            let fields = &message.bytes[..message.bytes.len().min(1000)];
            fields.windows(field.len()).any(|window| window == field.as_bytes())
        })
        .collect()
    }

    /// Waits until nothing is under way any more.
    pub fn wait_until_idle(&self) {
        super::wait_until("Postfix has delivered all", Duration::from_secs(60), || {
            ["maildrop", "incoming", "active", "deferred"].iter().all(|name| {
                let queue = self.dir.join("queue").join(name);
                // Deferred mail lies in folders by the first digit of its name.
                dovecot::entries(&queue).iter().all(|entry| entry.is_dir() && dovecot::entries(entry).is_empty())
            })
        });
    }

    /// Waits until so many messages were delivered to the recipient, and gives them.
    pub fn wait_for(&self, recipient: &str, count: usize) -> Vec<Delivered> {
        let what = format!("{count} messages delivered to {recipient}");
        super::wait_until(&what, Duration::from_secs(30), || self.delivered(recipient).len() >= count);
        let all = self.delivered(recipient);
        assert_eq!(all.len(), count, "delivered to {recipient}");
        all
    }
}

fn daemon_directory() -> PathBuf {
    let found =
        ["/usr/lib/postfix/sbin", "/usr/libexec/postfix"].map(PathBuf::from).into_iter().find(|dir| dir.is_dir());
    found.expect("Postfix is missing: scripts/test installs what the tests need")
}

fn configure(lab: &Lab, auth: &Dovecot, dir: &Path, ports: [u16; 3], options: &str, services: &str) {
    let postfix = User::from_name("postfix").unwrap().expect("the user postfix").uid.as_raw();
    let postdrop = Group::from_name("postdrop").unwrap().expect("the group postdrop").gid.as_raw();
    let make = |path: PathBuf, mode: u32, uid: u32, gid: Option<u32>| {
        fs::create_dir(&path).unwrap();
        chown(&path, Some(uid), gid).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    make(dir.join("conf"), 0o755, 0, None);
    make(dir.join("data"), 0o700, postfix, None);
    make(dir.join("queue"), 0o755, 0, None);
    make(dir.join("mail"), 0o755, 65534, Some(65534));
    let queue = dir.join("queue");
    make(queue.join("pid"), 0o755, 0, None);
    make(queue.join("maildrop"), 0o1730, postfix, Some(postdrop));
    make(queue.join("public"), 0o2710, postfix, Some(postdrop));
    for name in "active bounce corrupt defer deferred flush hold incoming private saved trace".split(' ') {
        make(queue.join(name), 0o700, postfix, None);
    }

    let conf = dir.join("conf");
    fs::write(conf.join("recipients"), "/^unknown/ 550 5.1.1 No such mailbox\n").unwrap();
    fs::write(conf.join("senders"), "/^nodata/ 554 5.7.1 Not this sender\n").unwrap();
    fs::write(conf.join("headers"), "/^Subject:.*REJECT-ME/ REJECT not this subject\n").unwrap();
    let certificate = lab.certificate();
    let (d, c) = (dir.display(), conf.display());
    fs::write(
        conf.join("main.cf"),
        format!(
            "compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
daemon_directory = {daemon}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {d}/log
maillog_file_prefixes = {d}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.org
myorigin = example.org
mydestination =
alias_maps =
local_recipient_maps =
local_header_rewrite_clients =
mynetworks =
relayhost =
default_transport = error:no mail leaves the tests
virtual_mailbox_domains = example.org, example.net
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {d}/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
message_size_limit = 0
header_checks = regexp:{c}/headers
smtpd_tls_cert_file = {chain}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_sasl_type = dovecot
smtpd_sasl_path = {socket}
smtpd_sasl_security_options = noanonymous
smtpd_recipient_restrictions = check_recipient_access regexp:{c}/recipients, permit_sasl_authenticated, reject_unauth_destination
smtpd_relay_restrictions =
smtpd_data_restrictions = check_sender_access regexp:{c}/senders
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 10000
smtpd_soft_error_limit = 1000
smtpd_timeout = 60s
smtputf8_enable = yes
default_process_limit = 300
in_flow_delay = 0
line_length_limit = 2048
{options}
",
            daemon = daemon_directory().display(),
            chain = certificate.chain.display(),
            key = certificate.key.display(),
            socket = auth.auth_socket().display(),
        ),
    )
    .unwrap();
    let submissions = ports[1];
    fs::write(
        conf.join("master.cf"),
        format!(
            "{services}
127.0.0.1:{submissions} inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
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
postlog unix-dgram n - n - 1 postlogd
"
        ),
    )
    .unwrap();
}
