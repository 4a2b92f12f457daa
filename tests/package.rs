//! The Debian package by `scripts/package`: built, installed, used as its unit would, upgraded, removed and purged, in a machine of its own.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::client::{curl, run_with_input};
use support::lab::is_root;
use support::machine::low_port;
use support::spool::{Expected, received};
use support::*;

/// A host that only the machine's name server knows: as a provider is found, through the resolver.
const PROVIDER: &str = "pop.provider.test";
const JOE: &str = "joe@example.com";
const INI: &str = "/etc/mailstore/mailstore.ini";
const SPOOL: &str = "/var/lib/mailstore/mailSpool";

/// The package of the program that is tested.
fn build(lab: &Lab, version: &str) -> PathBuf {
    let script = format!("{}/scripts/package", env!("CARGO_MANIFEST_DIR"));
    let (binary, output) = (env!("CARGO_BIN_EXE_start_proxies"), lab.path().join("debian"));
    let args = ["--binary", binary, "--version", version, "--output", output.to_str().unwrap()];
    let said = run_with_input(&script, &args, b"", lab.path()).ok().text();
    let file = PathBuf::from(said.trim_end());
    assert!(file.starts_with(&output) && file.is_file(), "{said}");
    file
}

#[test]
fn the_package_holds_what_it_promises() {
    let lab = Lab::new();
    let file = build(&lab, "0.1.0+test1");
    let list = run("dpkg-deb", &["-c", file.to_str().unwrap()]).ok().text();
    for line in list.lines() {
        assert!(line.contains(" root/root "), "{line}");
        let mode = &line[..10];
        assert!(["-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x", "lrwxrwxrwx"].contains(&mode), "{line}");
    }
    let has = |path: &str| list.lines().any(|line| line.split_whitespace().nth(5) == Some(path));
    for path in [
        "./usr/bin/start_proxies",
        "./usr/bin/mailstore-check",
        "./usr/lib/mailstore/check",
        "./usr/lib/mailstore/lib/mailstore/cli.py",
        "./usr/lib/mailstore/letsencrypt-hook",
        "./usr/lib/systemd/system/mailstore.service",
        "./etc/mailstore/mailstore.ini",
        "./usr/share/doc/mailstore/copyright",
        "./usr/share/doc/mailstore/changelog.gz",
        "./usr/share/doc/mailstore/README.md",
        "./usr/share/doc/mailstore/docs/setup.md",
    ] {
        assert!(has(path), "{path} is missing in\n{list}");
    }
    for path in ["./var/", "./usr/lib/mailstore/manifest", "./usr/bin/mailstore-install", "./usr/bin/mailstore-test"] {
        assert!(!has(path), "{path} is in\n{list}");
    }
    assert!(!list.contains("__pycache__"), "{list}");
    let control = run("dpkg-deb", &["-I", file.to_str().unwrap()]).ok().text();
    for line in [
        " Package: mailstore\n",
        " Version: 0.1.0+test1\n",
        ", python3:any (>= 3.9), adduser\n",
        " Recommends: dovecot-imapd",
    ] {
        assert!(control.contains(line), "{line:?} is missing in\n{control}");
    }
    let depends = control.lines().find(|line| line.starts_with(" Depends: ")).unwrap();
    assert!(depends.contains("libc6 (>= ") && depends.contains("libssl3"), "{depends}");
    assert_eq!(
        run("dpkg-deb", &["--info", file.to_str().unwrap(), "conffiles"]).ok().text(),
        "/etc/mailstore/mailstore.ini\n"
    );
    // Where dpkg-shlibdeps is missing the libraries are found all the same.
    let programs = lab.folder("bin");
    for program in fs::read_dir("/usr/bin").unwrap().flatten().filter(|program| program.file_name() != "dpkg-shlibdeps")
    {
        std::os::unix::fs::symlink(program.path(), programs.join(program.file_name())).unwrap();
    }
    let without = lab.path().join("without");
    let script = format!(
        "PATH={} {}/scripts/package --binary {} --output {}",
        programs.display(),
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_start_proxies"),
        without.display()
    );
    let other = run("sh", &["-c", &script]).ok().text();
    let depends = run("dpkg-deb", &["-f", other.trim_end(), "Depends"]).ok().text();
    let first = depends.split(", python3").next().unwrap();
    assert!(
        first.split(", ").any(|name| name == "libc6") && first.split(", ").any(|name| name.starts_with("libssl3")),
        "{depends}"
    );
    // Made again it is the same, byte by byte.
    let first = fs::read(&file).unwrap();
    assert!(first == fs::read(build(&lab, "0.1.0+test1")).unwrap(), "two packages of the same sources differ");
    let changes = run(
        "sh",
        &[
            "-c",
            &format!(
                "dpkg-deb --fsys-tarfile '{}' | tar -xO ./usr/share/doc/mailstore/changelog.gz | gunzip",
                file.display()
            ),
        ],
    );
    let changes = changes.ok().text();
    assert!(
        changes.starts_with("mailstore (0.1.0+test1) unstable; urgency=medium\n\n  * `start_proxies` relays"),
        "{changes}"
    );
    assert!(changes.lines().last().unwrap().starts_with(" -- MailStore <root@localhost>  "), "{changes}");
    let refused = run(&format!("{}/scripts/package", env!("CARGO_MANIFEST_DIR")), &["--version", "a b"]);
    assert!(refused.code == Some(1) && refused.errors().contains("no version"), "{}", refused.errors());
    if !is_root() {
        eprintln!("skipped: as an ordinary user the package was looked at, and not installed");
    }
}

/// What the machine that the tests run on is known by.
fn traces() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let files = [
        "/var/lib/dpkg/status",
        "/etc/passwd",
        "/etc/group",
        "/etc/mailstore",
        "/var/lib/mailstore",
        "/usr/bin/start_proxies",
    ];
    let of = |file| if Path::new(file).is_dir() { Some(Vec::new()) } else { fs::read(file).ok() };
    files.map(|file| (file, of(file))).into()
}

/// The package's life on one machine.
struct Life<'a> {
    lab: &'a Lab,
    machine: &'a Machine,
    provider: Dovecot,
    /// What joe's spool has to hold.
    kept: Vec<Expected>,
    port: u16,
    /// Of a machine without systemd.
    proxy: Option<Proxy>,
}

impl Life<'_> {
    fn install(&self, package: &Path) -> String {
        let output = self.machine.run(&["dpkg", "--install", package.to_str().unwrap()]);
        let said = output.text() + &output.errors();
        assert_eq!(output.code, Some(0), "{said}");
        said
    }

    /// As an administrator edits what was installed: a provider, a certificate, the port of POP3 over TLS.
    fn configure(&self) {
        let path = self.machine.path(INI);
        let ini = fs::read_to_string(&path).unwrap();
        let ini = ini
            .replace("\nlisten = 127.0.0.1:1110\n", &format!("\nlisten = 127.0.0.1:{}\n", self.port))
            .replace("\n#listen_tls = none\n", "\nlisten_tls = implicit\n")
            .replace("\n#certificate =\n", "\ncertificate = cert.pem\n")
            .replace("\n#private_key =\n", "\nprivate_key = key.pem\n")
            .replace("\n#upstream_ca =\n", "\nupstream_ca = authority.pem\n")
            .replace(
                "\n#upstream = mail.example.com:995\n",
                &format!("\nupstream = {PROVIDER}:{}\n", self.provider.endpoint(Kind::Pop3, Tls::Implicit).port),
            );
        fs::write(path, ini).unwrap();
        let certificate = self.lab.certificate();
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        self.machine.sh(&format!(
            "cd /etc/mailstore && cp {} authority.pem && install -m 644 {chain} cert.pem && install -m 640 -g mailstore {key} key.pem",
            self.lab.ca().display()
        ));
    }

    /// A message that nobody has seen passes, and is kept.
    #[track_caller]
    fn mail_passes(&mut self) {
        let number = self.kept.len() + 1;
        let message = corpus::numbered(number);
        self.provider.mailbox(JOE).put("INBOX", Place::New, &message);
        let at = Endpoint { kind: Kind::Pop3, port: self.port, tls: Tls::Implicit };
        let mut got = Vec::new();
        // Started a moment ago, it may not listen yet.
        wait_until("mail passes", Duration::from_secs(30), || {
            let output = curl(self.lab, at, JOE, &format!("/{number}"), &[]);
            got = output.stdout.clone();
            output.code == Some(0)
        });
        assert_eq!(got, message);
        self.kept.push(received(JOE, "", &message));
        self.holds();
    }

    #[track_caller]
    fn holds(&self) {
        Spool::at(&self.machine.path(SPOOL)).holds(&self.kept);
    }

    fn is_active(&self) -> bool {
        self.machine.run(&["systemctl", "is-active", "--quiet", "mailstore"]).code == Some(0)
    }

    fn main_pid(&self) -> String {
        self.machine.sh("systemctl show --value -p MainPID mailstore").trim().to_owned()
    }

    /// Starts the program with the user, the rights and the command line that are in the installed unit.
    fn start_by_hand(&mut self) {
        let unit = fs::read_to_string(self.machine.path("/usr/lib/systemd/system/mailstore.service")).unwrap();
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect(key);
        let right = value("AmbientCapabilities").strip_prefix("CAP_").expect("one right").to_lowercase();
        let (user, group) = (value("User"), value("Group"));
        let sets = ["inh-caps", "ambient-caps", "bounding-set"].map(|set| format!("--{set}=-all,+{right}"));
        let command: Vec<&str> = value("ExecStart").split(' ').collect();
        assert_eq!(command[1..], ["-c", INI]);
        let mut words = vec!["setpriv", "--reuid", user, "--regid", group, "--init-groups", "--no-new-privs"];
        words.extend(sets.iter().map(String::as_str));
        words.extend(["--", command[0]]);
        self.proxy = Some(Proxy::start_by(self.machine.command_in_place(&words), Path::new(INI).parent().unwrap()));
    }
}

/// Without systemd (`boot`: with it), from the first installation to the purge.
fn from_installation_to_purge(boot: bool) {
    let before = traces();
    let lab = Lab::new();
    let Some(machine) = (if boot { Machine::boot(&lab) } else { Machine::start(&lab) }) else { return };
    let certificate = Some(lab.named_for("provider", &format!("DNS:{PROVIDER}")));
    let provider = Dovecot::with(&lab, DovecotOptions { certificate, ..DovecotOptions::default() });
    machine.name_server(PROVIDER);
    let mut life = Life { lab: &lab, machine: &machine, provider, kept: Vec::new(), port: low_port(), proxy: None };
    let exists = |path: &str| machine.path(path).exists();
    let owner = |path: &str| machine.sh(&format!("stat -c '%A %U %G' {path}"));

    // A fresh package starts nothing, for it has nowhere to relay to; it says what to do.
    let said = life.install(&build(&lab, "0.1.0+test1"));
    assert!(
        said.contains("mailstore: neither enabled nor started yet. Name your servers in /etc/mailstore/mailstore.ini"),
        "{said}"
    );
    assert_eq!(owner("/var/lib/mailstore"), "drwxr-x--- mailstore mailstore\n");
    assert_eq!(owner(SPOOL), "drwx------ mailstore mailstore\n");
    assert_eq!(owner(INI), "-rw-r--r-- root root\n");
    let account = machine.sh("getent passwd mailstore");
    assert!(account.contains(":/var/lib/mailstore:/usr/sbin/nologin\n"), "{account}");
    assert_ne!(machine.run(&["systemctl", "is-enabled", "--quiet", "mailstore"]).code, Some(0));
    let check = machine.run(&["mailstore-check"]);
    assert!(check.code == Some(1) && check.errors().contains("[pop3] upstream: is missing"), "{}", check.errors());
    if boot {
        assert!(!life.is_active());
    }

    // From the sources it would be a second one beside this.
    let script =
        format!("{}/scripts/install --binary {}", env!("CARGO_MANIFEST_DIR"), env!("CARGO_BIN_EXE_start_proxies"));
    let refused = machine.run(&["sh", "-c", &script]);
    assert!(
        refused.code == Some(1) && refused.errors().contains("the Debian package mailstore is installed"),
        "{}",
        refused.errors()
    );

    // What root could read and the service cannot is found before it starts.
    life.configure();
    machine.sh("chgrp root /etc/mailstore/key.pem");
    assert_eq!(machine.run(&["start_proxies", "-t", "-c", INI]).code, Some(0));
    let check = machine.run(&["mailstore-check"]);
    assert!(check.code == Some(1) && check.errors().contains("[pop3] private_key: "), "{}", check.errors());
    machine.sh("chgrp mailstore /etc/mailstore/key.pem");
    assert!(machine.sh("mailstore-check").starts_with("pop3: "));

    if boot {
        machine.sh("systemctl enable --now mailstore");
        life.mail_passes();
        confined(&life);
    } else {
        life.start_by_hand();
        life.mail_passes();
    }

    // A newer one: what was changed by hand stays as it is, the service goes on as the new program.
    let (ini, pid) = (fs::read(machine.path(INI)).unwrap(), if boot { life.main_pid() } else { String::new() });
    let newer = build(&lab, "0.1.0+test2");
    let said = life.install(&newer);
    assert_eq!(fs::read(machine.path(INI)).unwrap(), ini);
    if boot {
        assert!(said.contains("mailstore: restarting the service"), "{said}");
        wait_until("the service runs", START, || life.is_active());
        assert_ne!(life.main_pid(), pid);
    } else {
        drop(life.proxy.take());
        life.start_by_hand();
    }
    life.mail_passes();

    // Removed: it has ended; configuration and mail are there.
    drop(life.proxy.take());
    machine.sh("dpkg --remove mailstore");
    assert!(!exists("/usr/bin/start_proxies") && !exists("/usr/lib/mailstore") && exists(INI));
    if boot {
        assert!(!life.is_active());
        // Once more: it goes on where it was.
        life.install(&newer);
        wait_until("the service runs", START, || life.is_active());
        life.mail_passes();
    }
    life.holds();

    // Purged: the configuration is gone, but for what is not the package's; the mail is there, and its owner.
    machine.sh("echo '# mine' >/etc/mailstore/archive-users");
    let said = machine.sh("dpkg --purge mailstore");
    assert!(said.contains("mailstore: the mail in /var/lib/mailstore stays"), "{said}");
    assert!(said.contains("mailstore: /etc/mailstore stays, for what you put there"), "{said}");
    assert!(!exists(INI) && exists("/etc/mailstore/archive-users") && exists("/etc/mailstore/key.pem"));
    life.holds();
    assert_eq!(owner(SPOOL), "drwx------ mailstore mailstore\n");
    if boot {
        assert!(!life.is_active());
        let links = machine.sh("find /etc/systemd/system /var/lib/systemd -name 'mailstore*'");
        assert_eq!(links, "");
    }
    if !boot {
        // The other way round: the package does not come beside what was installed from the sources.
        machine.sh(&script);
        let refused = machine.run(&["dpkg", "--install", newer.to_str().unwrap()]);
        assert!(
            refused.code == Some(1)
                && refused.errors().contains("take it away first, with scripts/install --uninstall"),
            "{}",
            refused.errors()
        );
        life.holds();
    }
    drop(life);
    drop(machine);
    assert!(traces() == before, "the machine that the tests run on was changed");
}

/// The service has what its unit gives it, and nothing more; and a renewed certificate gets in by a reload.
fn confined(life: &Life) {
    let machine = life.machine;
    let pid = life.main_pid();
    let status = machine.sh(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).expect("a field");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let uid = machine.sh("id -u mailstore").trim().to_owned();
    assert_eq!(field("Uid"), [&*uid; 4].join(" "));
    assert_eq!((&*field("NoNewPrivs"), &*field("Seccomp")), ("1", "2"));
    for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(1 << 10), "{set}");
    }
    // In its own view of the files, as its user.
    let inside = |line: &str| {
        let shell =
            ["nsenter", "--target", &pid, "--mount", "--", "setpriv", "--reuid", "mailstore", "--regid", "mailstore"];
        let output = machine.run(&[&shell[..], &["--clear-groups", "--", "sh", "-c", line]].concat());
        (output.code, output.errors())
    };
    assert_eq!(inside("touch /var/lib/mailstore/x && rm /var/lib/mailstore/x").0, Some(0));
    for place in ["/etc/mailstore/x", "/usr/x", "/var/x", "/srv/x", "/home/x", "/boot/x"] {
        let (code, said) = inside(&format!("touch {place}"));
        assert_ne!(code, Some(0), "{place}: {said}");
    }
    assert_ne!(inside("ls /home/* /root").0, Some(0));
    let log = machine.journal("mailstore");
    assert!(log.contains(" ready") && !log.contains("WARN") && !log.contains("ERROR"), "{log}");

    let renewed = life.lab.named_for("renewed", "DNS:localhost,DNS:renewed.example.com,IP:127.0.0.1");
    machine.sh(&format!(
        "cat {} >/etc/mailstore/cert.pem; cat {} >/etc/mailstore/key.pem",
        renewed.chain.display(),
        renewed.key.display()
    ));
    machine.sh("systemctl reload mailstore");
    wait_until("the new certificate is shown", Duration::from_secs(30), || {
        let shown = run_with_input(
            "openssl",
            &["s_client", "-connect", &format!("127.0.0.1:{}", life.port)],
            b"",
            life.lab.path(),
        );
        let names =
            run_with_input("openssl", &["x509", "-noout", "-ext", "subjectAltName"], &shown.stdout, life.lab.path());
        names.text().contains("renewed.example.com")
    });
    assert_eq!(life.main_pid(), pid);
}

#[test]
fn without_systemd_the_package_is_installed_used_upgraded_removed_and_purged() {
    from_installation_to_purge(false);
}

#[test]
fn with_systemd_the_package_is_installed_used_upgraded_removed_and_purged() {
    from_installation_to_purge(true);
}
