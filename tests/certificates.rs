//! `docs/certificates.md` and `docs/letsencrypt-hook`: the commands as they stand there, and the hook as certbot runs it.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::client::{run_command, run_with_input};
use support::page::commands;
use support::*;

const PAGE: &str = include_str!("../docs/certificates.md");
const SETUP: &str = include_str!("../docs/setup.md");
const NAME: &str = "mail.office.example";

fn group() -> String {
    nix::unistd::Group::from_gid(nix::unistd::getegid()).unwrap().expect("a group with a name").name
}

/// A POP3 proxy with `cert.pem` and `key.pem` of a folder, before this server.
fn ini(dir: &Path, provider: &Dovecot) {
    let ini = format!(
        "[pop3]\nlisten = 127.0.0.1:0\nlisten_tls = implicit\ncertificate = cert.pem\nprivate_key = key.pem\nupstream = 127.0.0.1:{}\nupstream_tls = none\n",
        provider.pop3()
    );
    fs::write(dir.join("mailstore.ini"), ini).unwrap();
}

/// curl, which trusts this authority only, logs in as a mail program does that was told this name.
fn client(dir: &Path, authority: &str, name: &str, port: u16) -> Output {
    let (url, to) = (format!("pop3s://{name}/"), format!("{name}:995:127.0.0.1:{port}"));
    run_with_input(
        "curl",
        &["-sS", "--cacert", authority, "--connect-to", &to, "-u", &format!("joe:{PASSWORD}"), &url],
        b"",
        dir,
    )
}

#[test]
fn the_commands_make_certificates_that_mail_programs_take() {
    let lab = Lab::new();
    let provider = Dovecot::start(&lab);
    for (page, first, authority) in [
        (PAGE, "openssl req -x509 -newkey rsa:3072 -nodes -days 3650", "authority.pem"),
        (SETUP, "cd /etc/mailstore", "cert.pem"),
    ] {
        let dir = lab.folder("etc");
        let commands = commands(page, first)
            .replace("/etc/mailstore", dir.to_str().unwrap())
            .replace("chgrp mailstore", &format!("chgrp {}", group()));
        let made = run_with_input("sh", &["-e", "-c", &commands], b"", &dir);
        assert_eq!(made.code, Some(0), "{commands}{}", made.errors());
        ini(&dir, &provider);
        let proxy = Proxy::start_in(&dir);
        client(&dir, authority, NAME, proxy.port("pop3")).ok();
        let other = client(&dir, authority, "pop.example.com", proxy.port("pop3"));
        assert!(other.errors().contains("no alternative certificate subject name matches"), "{}", other.errors());
        let mode = fs::metadata(dir.join("key.pem")).unwrap().mode() & 0o777;
        assert_eq!(mode, if authority == "cert.pem" { 0o640 } else { 0o600 });
    }
}

/// What certbot leaves after a renewal.
fn lineage(lab: &Lab, name: &str, certificate: &Certificate, key: &Path) -> PathBuf {
    let dir = lab.path().join(name);
    fs::create_dir_all(&dir).unwrap();
    let chain = [fs::read(&certificate.chain).unwrap(), fs::read(lab.ca()).unwrap()].concat();
    fs::write(dir.join("fullchain.pem"), chain).unwrap();
    fs::copy(key, dir.join("privkey.pem")).unwrap();
    dir
}

fn hook(etc: &Path, pid: &Path, lineage: Option<&Path>) -> Output {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/letsencrypt-hook"));
    command
        .env("MAILSTORE_ETC", etc)
        .env("MAILSTORE_GROUP", group())
        .env("MAILSTORE_PIDFILE", pid)
        .env_remove("RENEWED_LINEAGE");
    command.envs(lineage.map(|lineage| ("RENEWED_LINEAGE", lineage)));
    run_command(command, b"")
}

#[test]
fn after_a_renewal_the_hook_brings_the_certificate_and_sessions_go_on() {
    let lab = Lab::new();
    let etc = lab.folder("etc");
    let (first, second) = (
        lab.named_for("first", "DNS:localhost,DNS:first.example.com"),
        lab.named_for("second", "DNS:localhost,DNS:second.example.com"),
    );
    let pid = lab.path().join("pid");

    // Before the first start, with nothing to tell.
    let said = hook(&etc, &pid, Some(&lineage(&lab, NAME, &first, &first.key))).ok().text();
    assert!(Path::new("/run/systemd/system").exists() || said.contains("send start_proxies SIGHUP"), "{said}");
    let meta = |name: &str| fs::metadata(etc.join(name)).unwrap();
    assert_eq!((meta("cert.pem").mode() & 0o777, meta("key.pem").mode() & 0o777), (0o644, 0o640));
    assert_eq!(meta("key.pem").gid(), nix::unistd::getegid().as_raw());
    let provider = Dovecot::start(&lab);
    ini(&etc, &provider);
    let proxy = Proxy::start_in(&etc);
    fs::write(&pid, proxy.pid().to_string()).unwrap();
    let at = Endpoint { kind: Kind::Pop3, port: proxy.port("pop3"), tls: Tls::Implicit };
    let mut open = Wire::connect(&lab, at);
    let shown = || {
        let place = format!("127.0.0.1:{}", at.port);
        let shown = run_with_input("openssl", &["s_client", "-connect", &place], b"", lab.path());
        run_with_input("openssl", &["x509", "-noout", "-ext", "subjectAltName"], &shown.stdout, lab.path()).text()
    };
    assert!(shown().contains("first.example.com"));

    // Another certificate of the machine, where one was named.
    fs::write(etc.join("letsencrypt-name"), format!("{NAME}\n")).unwrap();
    hook(&etc, &pid, Some(&lineage(&lab, "www.office.example", &second, &second.key))).ok();
    assert_eq!(fs::read(etc.join("key.pem")).unwrap(), fs::read(&first.key).unwrap());
    // A key of another one, a missing file, no renewal: nothing is changed.
    let unchanged = |output: Output, told: &str| {
        assert!(output.code == Some(1) && output.errors().contains(told), "{}", output.errors());
        let names = |dir: &Path| {
            fs::read_dir(dir).unwrap().flatten().filter(|e| e.file_name().to_str().unwrap().ends_with(".new")).count()
        };
        assert_eq!((fs::read(etc.join("key.pem")).unwrap(), names(&etc)), (fs::read(&first.key).unwrap(), 0));
    };
    unchanged(hook(&etc, &pid, Some(&lineage(&lab, NAME, &second, &first.key))), "is not that of the certificate");
    let junk = lab.folder("junk");
    fs::write(junk.join("fullchain.pem"), "neither").unwrap();
    fs::write(junk.join("privkey.pem"), "neither").unwrap();
    fs::remove_file(etc.join("letsencrypt-name")).unwrap();
    unchanged(hook(&etc, &pid, Some(&junk)), "there is no certificate in ");
    fs::write(etc.join("letsencrypt-name"), format!("{NAME}\n")).unwrap();
    fs::remove_file(lab.path().join(NAME).join("privkey.pem")).unwrap();
    unchanged(hook(&etc, &pid, Some(&lab.path().join(NAME))), "/privkey.pem");
    unchanged(hook(&etc, &pid, None), "RENEWED_LINEAGE is not set");

    // The renewal itself.
    let renewed = lineage(&lab, NAME, &second, &second.key);
    hook(&etc, &pid, Some(&renewed)).ok();
    if Path::new("/run/systemd/system").exists() {
        // There the service is told, and this one is none.
        proxy.signal(nix::sys::signal::Signal::SIGHUP);
    }
    wait_until("the new certificate is shown", Duration::from_secs(30), || shown().contains("second.example.com"));
    open.send(b"CAPA\r\n");
    assert!(open.reply(Kind::Pop3).starts_with(b"+OK"));
    assert_eq!(fs::read(etc.join("cert.pem")).unwrap(), fs::read(renewed.join("fullchain.pem")).unwrap());
}
