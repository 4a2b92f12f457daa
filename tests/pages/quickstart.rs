//! docs/quickstart.md, command by command as they stand there: from nothing to a message that is back. Only what would change this machine is
//! done beside it: the system's packages and services, and its folders.

use std::fs;
use std::path::{Path, PathBuf};

use super::page::{all_blocks, at_home, text};
use crate::support::client::run_with_input;
use crate::support::dovecot::{Configured, mail_names, owned};
use crate::support::lab::is_root;
use crate::support::page::with;
use crate::support::*;

const PAGE: &str = include_str!("../../docs/quickstart.md");
const JOE: &str = "joe@example.com";
const ARCHIVE_PASSWORD: &str = "the archive's own";

/// Takes the page's commands, one after the other.
struct Commands {
    left: Vec<&'static str>,
    home: PathBuf,
    path: String,
}

impl Commands {
    /// Runs the next one, which begins so, with these texts in the place of others, and this as its input.
    #[track_caller]
    fn next(&mut self, start: &str, replaced: &[(&str, &str)], input: &str) -> String {
        let command = self.skip(start);
        let command = format!("PATH={}:$PATH; {}", self.path, with(command, replaced));
        let output = run_with_input("/bin/sh", &["-c", &command], input.as_bytes(), &self.home);
        assert_eq!(output.code, Some(0), "{command}\n{}{}", output.text(), output.errors());
        output.text()
    }

    #[track_caller]
    fn skip(&mut self, start: &str) -> &'static str {
        assert!(!self.left.is_empty(), "the page ends before {start}");
        let command = self.left.remove(0);
        assert!(command.starts_with(start), "{command} comes before {start}");
        command
    }
}

#[test]
fn from_nothing_to_a_message_that_is_back() {
    assert!(is_root(), "these tests set up what only root can: run them as root");
    let lab = Lab::new();
    let host = Dovecot::start(&lab);
    let mailbox = host.mailbox(JOE);
    let message = corpus::sized("The contract", 4000);
    mailbox.put("INBOX", Place::New, &message);
    let imaps = host.endpoint(Kind::Imap, Tls::Implicit).port;

    let left: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(left.len() <= 15, "{} commands", left.len());
    let root = lab.folder("root");
    let home = lab.folder("home");
    let path = format!(
        "{}:{}",
        root.join("usr/local/bin").display(),
        Path::new(env!("CARGO_BIN_EXE_start_proxies")).parent().unwrap().display()
    );
    let mut commands = Commands { left, home, path };

    // Installed beside the machine, with the program that is tested.
    commands.skip("apt install");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install");
    let binary = env!("CARGO_BIN_EXE_start_proxies");
    let here = format!("{} --destdir {} --binary {binary}", scripts.display(), root.display());
    commands.next("scripts/install", &[("scripts/install", &here)], "");
    // Away from the sources, whose mailstore.ini the tools would take; the commands run at home here.
    assert_eq!(commands.skip("cd"), "cd");

    // The name of the lab is localhost; a certificate that is made for it by the page's own line is what all see.
    let etc = at_home(
        &lab,
        &with(
            all_blocks(PAGE, "ini")[0],
            &[(
                "upstream = imap.example.com:993",
                &format!("upstream = localhost:{imaps}\nupstream_ca = {}", lab.ca().display()),
            )],
        ),
    );
    let (cert, key) = (etc.join("cert.pem"), etc.join("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let pem =
        [("/etc/mailstore/cert.pem", cert), ("/etc/mailstore/key.pem", key), ("mail.office.example", "localhost")];
    commands.next("openssl req", &pem, "");
    commands.next("chgrp mailstore", &[("chgrp mailstore", &format!("chgrp {}", mail_names().1)), pem[1]], "");
    commands.next("chmod 640", &pem[1..2], "");
    let ini = etc.join("mailstore.ini");
    let given = lab.certificate();
    let text_of_ini = with(
        &fs::read_to_string(&ini).unwrap(),
        &[(given.chain.to_str().unwrap(), cert), (given.key.to_str().unwrap(), key)],
    );
    fs::write(&ini, text_of_ini).unwrap();
    let understood = commands.next("start_proxies -t", &[("/etc/mailstore/mailstore.ini", ini.to_str().unwrap())], "");
    assert!(understood.contains("imap"), "{understood}");

    commands.skip("systemctl enable --now mailstore");
    let proxy = Proxy::start_in(&etc);
    let login = |password: &str| format!("-u '{JOE}:{password}'");
    let got = commands.next(
        "curl",
        &[
            ("/etc/mailstore/cert.pem", cert),
            ("-u joe@example.com", &login(PASSWORD)),
            ("mail.office.example:993", &format!("localhost:{}", proxy.port("imap"))),
        ],
        "",
    );
    assert_eq!(got.as_bytes(), message);
    proxy.spool().holds(&[crate::support::spool::received(JOE, "", &message)]);

    // The archive.
    let dovecot = lab.folder("dovecot");
    fs::write(dovecot.join("dovecot.conf"), "# Debian's\n").unwrap();
    commands.next("mv", &[("/etc/dovecot", dovecot.to_str().unwrap())], "");
    let state = lab.folder("state");
    owned(&state);
    let command = commands.skip("mailstore-dovecot-archive");
    let into = format!("--into {}", dovecot.display());
    let command = with(command, &[("--into /etc/dovecot", &into)]);
    let options = format!("-c {} --indexes {}", ini.display(), state.display());
    let users = etc.join("archive-users");
    let archive = Configured::start(&lab, |port| {
        let line = format!("PATH={}:$PATH; {command} {options} --port {port} --starttls-port 0 --force", commands.path);
        run_with_input("/bin/sh", &["-c", &line], b"", &commands.home).ok();
        fs::read_to_string(dovecot.join("dovecot.conf")).unwrap()
    });
    let added = format!("-c {} --password-fd 0", ini.display());
    let command = commands.left[0].to_owned();
    commands.next(
        "mailstore-archive-user add joe@example.com",
        &[(&command, &format!("{command} {added}"))],
        ARCHIVE_PASSWORD,
    );
    assert!(users.exists(), "{}", text(&fs::read(&ini).unwrap()));
    commands.skip("systemctl restart dovecot");
    let got = commands.next(
        "curl",
        &[
            ("/etc/mailstore/cert.pem", cert),
            ("-u joe@example.com", &format!("-u \"{JOE}:{ARCHIVE_PASSWORD}\"")),
            ("mail.office.example:1993", &format!("localhost:{}", archive.port)),
        ],
        "",
    );
    assert_eq!(got.as_bytes(), message);

    // Lost, and back.
    let mut direct = Wire::connect(&lab, host.endpoint(Kind::Imap, Tls::None));
    direct.login(Kind::Imap, JOE);
    direct.imap_ok("SELECT INBOX");
    direct.imap_ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    direct.imap_ok("EXPUNGE");
    let restored =
        format!("imaps://localhost:{imaps} --ca {} --password-fd 0 -c {}", lab.ca().display(), ini.display());
    commands.next("mailstore-restore", &[("imaps://imap.example.com", &restored)], PASSWORD);
    direct.imap_ok("NOOP");
    assert_eq!(wire::literals(&direct.imap_ok("FETCH 1 BODY.PEEK[]")), [&message[..]]);
    assert!(commands.left.is_empty(), "{:?}", commands.left);
}
