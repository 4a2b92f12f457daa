//! Dovecot as a proxy: imap-login, pop3-login and submission-login, who ask auth where a user's server is. The listener's port tells that here, as
//! a name in a passwd-file. Towards the server `ssl=yes`: its certificate is checked, by OpenSSL's own variable: Dovecot 2.3.19 does not hand
//! `ssl_client_ca_file` to its login processes.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{Daemon, SESSIONS_MAX, Stage, Started, free, program};
use crate::{Kind, Outcome};

pub(super) fn start(stage: &Stage<'_>, dir: &Path) -> Outcome<Started> {
    let there = ["imap-login", "pop3-login", "submission-login"].map(|name| Path::new("/usr/lib/dovecot").join(name));
    let dovecot = program(&["dovecot"]).filter(|_| there.iter().all(|file| file.is_file()));
    let Some(dovecot) = dovecot else { return Ok(None) };
    for sub in ["", "run", "state"] {
        fs::create_dir_all(dir.join(sub))?;
        fs::set_permissions(dir.join(sub), Permissions::from_mode(0o755))?;
    }
    let place = dir.display();
    let mut at = HashMap::new();
    let (mut services, mut users) = (String::new(), String::new());
    for kind in Kind::ALL {
        let name = if kind == Kind::Smtp { "submission" } else { kind.name() };
        let (plain, tls) = (free()?, free()?);
        // Few processes for many clients each, as Dovecot's own pages advise for a proxy.
        services += &format!(
            "service {name}-login {{\n chroot =\n service_count = 0\n process_min_avail = 2\n client_limit = {SESSIONS_MAX}\n vsz_limit = 2G\n"
        );
        for (at, name, ssl) in [(plain, name.to_owned(), "no"), (tls, format!("{name}s"), "yes")] {
            services += &format!(" inet_listener {name} {{\n  port = {}\n  ssl = {ssl}\n }}\n", at.port());
        }
        services += "}\n";
        for (front, secure) in [(plain, false), (tls, true)] {
            let (back, ssl) = (stage.origin.at(kind, secure).port(), if secure { "ssl=yes" } else { "" });
            users += &format!(
                "{}:::::::proxy=y nopassword=y host=localhost hostip=127.0.0.1 port={back} {ssl}\n",
                front.port()
            );
            at.insert((kind, secure), front);
        }
    }
    fs::write(dir.join("users"), users)?;
    let (chain, key, authority) =
        (stage.files.chain.display(), stage.files.key.display(), stage.files.authority.display());
    let config = format!(
        "base_dir = {place}/run\nstate_dir = {place}/state\nlog_path = {place}/log\nprotocols = imap pop3 submission\nlisten = 127.0.0.1\n\
         ssl = yes\nssl_cert = <{chain}\nssl_key = <{key}\nssl_client_ca_file = {authority}\nimport_environment = SSL_CERT_FILE={authority}\nssl_dh =\nsubmission_relay_host = 127.0.0.1\n\
         disable_plaintext_auth = no\nauth_mechanisms = plain login\nauth_failure_delay = 0\nlogin_log_format_elements =\n\
         passdb {{\n driver = passwd-file\n args = username_format=%a {place}/users\n}}\nuserdb {{\n driver = static\n args = uid=65534 gid=65534 home={place}\n}}\n\
         service anvil {{\n chroot =\n client_limit = {SESSIONS_MAX}\n}}\n\
         service auth {{\n client_limit = {SESSIONS_MAX}\n}}\n\
         service stats {{\n client_limit = {SESSIONS_MAX}\n unix_listener stats-writer {{\n  mode = 0666\n }}\n}}\n{services}",
    );
    let file = dir.join("dovecot.conf");
    fs::write(&file, config)?;
    let daemon = Daemon::spawn(Command::new(dovecot).arg("-F").arg("-c").arg(&file), &dir.join("log"))?;
    Ok(Some((daemon, at)))
}
