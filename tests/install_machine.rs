//! `scripts/install` for a whole machine, with systemd and without: installed, used, upgraded, taken away. And `docs/setup.md`, step by step.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use support::client::{curl, run_with_input};
use support::machine::low_port;
use support::page::{commands, with};
use support::sources::Sources;
use support::*;

const JOE: &str = "joe@example.com";
const SPOOL: &str = "/var/lib/mailstore/mailSpool";
const SETUP: &str = include_str!("../docs/setup.md");

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `mailstore.ini` of an installed machine before this provider, on this port; with other lines for `[mailstore]`.
fn configure(machine: &Machine, provider: &Dovecot, port: u16, spool: &str) {
    let path = machine.path("/etc/mailstore/mailstore.ini");
    let upstream =
        format!("upstream = localhost:{}\nupstream_tls = none\n", provider.endpoint(Kind::Pop3, Tls::None).port);
    let ini: Vec<String> = text(&path)
        .lines()
        .map(|line| match line {
            "#upstream = mail.example.com:995" => upstream.clone(),
            _ if line.starts_with("upstream = localhost:") || line.starts_with("upstream_tls = none") => String::new(),
            _ if line.starts_with("listen = 127.0.0.1:") => format!("listen = 127.0.0.1:{port}"),
            _ if line.starts_with("spool = ") => format!("spool = {spool}"),
            _ => line.to_owned(),
        })
        .collect();
    let ini = ini.join("\n");
    let named = if ini.contains(&upstream) { ini } else { ini + "\n" + &upstream };
    fs::write(path, named).unwrap();
}

/// The next message of joe's passes, and is kept in this spool.
#[track_caller]
fn mail_passes(lab: &Lab, machine: &Machine, provider: &Dovecot, port: u16, spool: &str, number: usize) {
    let message = corpus::numbered(number);
    provider.mailbox(JOE).put("INBOX", Place::New, &message);
    let at = Endpoint { kind: Kind::Pop3, port, tls: Tls::None };
    let mut got = Vec::new();
    wait_until("mail passes", Duration::from_secs(30), || {
        let output = curl(lab, at, JOE, &format!("/{number}"), &[]);
        got = output.stdout.clone();
        output.code == Some(0)
    });
    assert_eq!(got, message);
    let kept = Spool::at(&machine.path(spool)).list();
    assert!(kept.iter().any(|kept| kept.bytes == message), "message {number} is not in {spool}");
}

#[test]
fn for_a_machine_with_systemd_wherever_the_spool_lies() {
    let lab = Lab::new();
    let sources = Sources::new(&lab);
    let Some(machine) = Machine::boot(&lab) else { return };
    let provider = Dovecot::start(&lab);
    let (script, binary, port) =
        (sources.script().display().to_string(), sources.binary().display().to_string(), low_port());
    let install = format!("{script} --user keeper --binary {binary}");
    let all = || -> BTreeSet<String> {
        machine.sh("find /etc /usr /var /srv /opt /home -xdev").lines().map(str::to_owned).collect()
    };
    let before = all();
    let said = machine.sh(&install);
    for line in [
        "installed /usr/local/lib/systemd/system/mailstore.service\n",
        "made the user and group keeper\n",
        "made /var/lib/mailstore\n",
        "  name your servers in /etc/mailstore/mailstore.ini\n",
        "  /usr/local/bin/mailstore-check\n",
        "  systemctl enable --now mailstore\n",
    ] {
        assert!(said.contains(line), "{line:?} is missing in\n{said}");
    }
    assert_eq!(machine.sh(&format!("stat -c '%A %U %G' {SPOOL}")), "drwx------ keeper keeper\n");
    configure(&machine, &provider, port, SPOOL);
    machine.sh("mailstore-check && systemctl enable --now mailstore");
    mail_passes(&lab, &machine, &provider, port, SPOOL, 1);
    let pid = machine.sh("systemctl show --value -p MainPID mailstore");
    assert_eq!(machine.sh(&format!("stat -c %U /proc/{}", pid.trim())), "keeper\n");

    // Another `user` in the file than in the unit: the unit's it is, and the log says so.
    machine.sh("sed -i 's/^user = .*/user = nobody/' /etc/mailstore/mailstore.ini && systemctl restart mailstore");
    wait_until("it is told", START, || {
        machine
            .journal("mailstore")
            .contains("WARN not started as root: user and group of the configuration are not applied")
    });
    assert!(machine.sh("stat -c %U /proc/$(systemctl show --value -p MainPID mailstore)").starts_with("keeper"));
    machine.sh("sed -i 's/^user = .*/user = keeper/' /etc/mailstore/mailstore.ini && systemctl restart mailstore");
    let pid = machine.sh("systemctl show --value -p MainPID mailstore");

    // The newer version: nothing is restarted, and it says so.
    let mut program = fs::read(sources.binary()).unwrap();
    program.extend(b"newer");
    fs::write(sources.binary(), program).unwrap();
    let said = machine.sh(&install);
    assert!(said.contains("Then: systemctl restart mailstore\n"), "{said}");
    assert_eq!(machine.sh("systemctl show --value -p MainPID mailstore"), pid);
    machine.sh("systemctl restart mailstore");
    mail_passes(&lab, &machine, &provider, port, SPOOL, 2);

    // A spool elsewhere, also with blanks and a percent sign, and below a home folder: the unit does not let the service write there until it is told.
    for (number, spool) in ["/srv/mail/spool", "/srv/a 100% spool", "/home/mail/spool"].into_iter().enumerate() {
        configure(&machine, &provider, port, spool);
        let check = machine.run(&["mailstore-check"]);
        assert!(
            check.code == Some(1) && check.errors().contains("is not there, and the service cannot make it"),
            "{}",
            check.errors()
        );
        machine.sh(&format!("mkdir -p -m 711 /srv/mail /home/mail; install -d -m 700 -o keeper -g keeper '{spool}'"));
        let check = machine.run(&["mailstore-check"]);
        assert!(check.code == Some(1) && check.errors().contains("mailstore-check --drop-in"), "{}", check.errors());
        machine.sh("systemctl stop mailstore");
        let said = machine.sh("mailstore-check --drop-in");
        assert!(said.contains(&format!("the service may write in {spool}\n")), "{said}");
        machine.sh("mailstore-check && systemctl start mailstore");
        mail_passes(&lab, &machine, &provider, port, spool, 3 + number);
        assert!(machine.sh("systemd-analyze verify /usr/local/lib/systemd/system/mailstore.service").is_empty());
    }
    // Installing again sees to it as well; back where it was, the drop-in goes.
    let drop_in = "/etc/systemd/system/mailstore.service.d/spool.conf";
    configure(&machine, &provider, port, "/srv/mail/spool");
    assert!(machine.sh(&install).contains(&format!("made {drop_in}: the service may write in /srv/mail/spool\n")));
    fs::write(machine.path(drop_in), text(&machine.path(drop_in)) + "# mine\n").unwrap();
    configure(&machine, &provider, port, "/home/mail/spool");
    let check = machine.run(&["mailstore-check", "--drop-in"]);
    assert!(check.code == Some(1) && check.errors().contains("was written by hand"), "{}", check.errors());
    machine.sh(&format!("rm {drop_in}"));
    configure(&machine, &provider, port, "/srv/mail/spool");
    machine.sh("mailstore-check --drop-in || true");
    assert!(machine.path(drop_in).exists());

    // Taken away: it has ended; all else is as before, but for configuration, mail and user.
    let said = machine.sh(&format!("{script} --user keeper --uninstall"));
    assert!(
        said.contains("stopped and disabled mailstore.service") && said.contains(&format!("removed {drop_in}\n")),
        "{said}"
    );
    assert!(
        said.contains("  rm -r /etc/mailstore /var/lib/mailstore") && said.contains("  userdel keeper\n"),
        "{said}"
    );
    assert_ne!(machine.run(&["systemctl", "is-active", "--quiet", "mailstore"]).code, Some(0));
    let after = all();
    for name in after.difference(&before) {
        let kept = ["/etc/mailstore", "/var/lib/mailstore", "/srv/", "/home/mail"];
        // Of useradd, and of systemd.
        let by_others = [
            "/etc/group-",
            "/etc/gshadow-",
            "/etc/passwd-",
            "/etc/shadow-",
            "/etc/subuid-",
            "/etc/subgid-",
            "/etc/.pwd.lock",
            "/var/lib/systemd/",
            "/var/tmp/systemd-private-",
        ];
        assert!(kept.iter().chain(&by_others).any(|start| name.starts_with(start)), "{name} was left");
    }
    assert_eq!(before.difference(&after).collect::<Vec<_>>(), Vec::<&String>::new(), "what was there before");
    assert!(machine.path("/etc/mailstore/mailstore.ini").exists());
    assert_eq!(Spool::at(&machine.path(SPOOL)).list().len(), 2);
}

#[test]
fn for_a_machine_without_systemd_it_says_how_to_start() {
    let lab = Lab::new();
    let sources = Sources::new(&lab);
    let Some(machine) = Machine::start(&lab) else { return };
    let provider = Dovecot::start(&lab);
    let (script, binary, port) =
        (sources.script().display().to_string(), sources.binary().display().to_string(), low_port());
    // What was installed by hand before.
    machine.sh("echo mine >/usr/local/bin/start_proxies");
    let said = machine.sh(&format!("{script} --binary {binary}"));
    assert!(
        said.contains("kept what was there and is not ours (any more) as /usr/local/bin/start_proxies.old\n"),
        "{said}"
    );
    assert!(
        said.contains("there is no systemd: it becomes mailstore, stays in the foreground and logs to standard error"),
        "{said}"
    );
    configure(&machine, &provider, port, SPOOL);
    let proxy =
        Proxy::start_by(machine.command_in_place(&["/usr/local/bin/start_proxies"]), Path::new("/etc/mailstore"));
    mail_passes(&lab, &machine, &provider, port, SPOOL, 1);
    let uid = machine.sh("id -u mailstore");
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    assert!(status.contains(&format!("\nUid:\t{0}\t{0}\t{0}\t{0}\n", uid.trim())), "{status}");
    proxy.stop();
    let said = machine.sh(&format!("{script} --uninstall"));
    assert!(said.contains("removed /usr/local/bin/start_proxies\n"), "{said}");
    assert_eq!(machine.sh("cat /usr/local/bin/start_proxies.old"), "mine\n");
    assert!(machine.path("/etc/mailstore/mailstore.ini").exists() && machine.path(SPOOL).exists());
    machine.sh("id mailstore");
}

#[test]
fn from_nothing_to_mail_that_is_kept_as_the_page_says() {
    let lab = Lab::new();
    let sources = Sources::new(&lab);
    let Some(machine) = Machine::boot(&lab) else { return };
    let provider = Dovecot::start(&lab);
    let install = |first: &str, more: &str| {
        let line = commands(SETUP, first);
        let line = line.lines().next().unwrap();
        machine.sh(&format!("{}{more}", with(line, &[("scripts/install", sources.script().to_str().unwrap())])))
    };
    let said = install("scripts/install", &format!(" --binary {}", sources.binary().display()));
    assert!(said.contains("  systemctl enable --now mailstore\n"), "{said}");
    for row in SETUP.lines().filter(|line| line.starts_with("| ") && line.contains("`/")) {
        let path = row.rsplit("| `").next().unwrap().split('`').next().unwrap();
        assert!(machine.path(path).exists(), "{path} is not there, and the page says so");
    }
    machine.sh(&format!("set -e\n{}", commands(SETUP, "cd /etc/mailstore")));

    let port = |kind| provider.endpoint(kind, Tls::Implicit).port.to_string();
    let [pop3, imap, smtp] = [low_port(); 3].map(|port| port.to_string());
    let (imap, smtp) = (format!("127.0.0.2:{imap}"), format!("127.0.0.3:{smtp}"));
    let ca = "\nupstream_ca = /etc/mailstore/authority.pem";
    let upstream = |kind| format!("upstream = localhost:{}{ca}", port(kind));
    let ini = SETUP.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the example");
    let ini = with(
        ini,
        &[
            ("0.0.0.0:995", &format!("127.0.0.1:{pop3}")),
            ("0.0.0.0:993", &imap),
            ("0.0.0.0:465", &smtp),
            ("upstream = pop.example.com:995", &upstream(Kind::Pop3)),
            ("upstream = imap.example.com:993", &upstream(Kind::Imap)),
            ("upstream = smtp.example.com:465", &format!("upstream = localhost:9{ca}")),
        ],
    );
    fs::write(machine.path("/etc/mailstore/mailstore.ini"), ini).unwrap();
    fs::copy(lab.ca(), machine.path("/etc/mailstore/authority.pem")).unwrap();
    let said = machine.sh(&commands(SETUP, "mailstore-check"));
    assert_eq!(said.lines().filter(|line| line.contains(" -> ")).count(), 3, "{said}");
    machine.sh(commands(SETUP, "systemctl enable --now mailstore").lines().next().unwrap());
    wait_until("it is ready", START, || machine.journal("mailstore").ends_with(" ready\n"));

    let message = corpus::numbered(1);
    provider.mailbox(JOE).put("INBOX", Place::New, &message);
    let cert = lab.path().join("cert.pem");
    fs::copy(machine.path("/etc/mailstore/cert.pem"), &cert).unwrap();
    let to = format!("mail.office.example:995:127.0.0.1:{pop3}");
    let login = format!("joe:{PASSWORD}");
    let args =
        ["-sS", "--cacert", cert.to_str().unwrap(), "--connect-to", &to, "-u", &login, "pop3s://mail.office.example/1"];
    // Users log in with and without the domain; the provider knows both names here.
    provider.mailbox("joe").put("INBOX", Place::New, &message);
    assert_eq!(run_with_input("curl", &args, b"", lab.path()).ok().stdout, message);
    wait_until("the log tells of it", START, || {
        machine.journal("mailstore").contains(" pop3 kept owner=joe@example.com folder=INBOX size=")
    });
    let kept = Spool::at(&machine.path(SPOOL)).list();
    assert!(kept.len() == 1 && kept[0].bytes == message && kept[0].owner == "example.com/joe");
    machine.sh("ls /var/lib/mailstore/mailSpool/example.com/joe/new | grep -q .");
    assert!(SETUP.contains("`/var/lib/mailstore/mailSpool/example.com/joe/new`"));
    machine.sh("systemctl reload mailstore");

    // The spool is moved, with Dovecot's lists. What came before is there, and what comes goes there; a message that was kept is known.
    machine
        .sh("mailstore-dovecot-archive --into /etc/dovecot --force && systemctl restart dovecot && mkdir -p /srv/mail");
    machine.sh("touch /var/lib/mailstore/dovecot/before");
    let said = machine.sh(&format!("set -e\n{}", commands(SETUP, "systemctl stop mailstore dovecot")));
    assert!(said.contains("the service may write in /srv/mail/mailSpool\n"), "{said}");
    wait_until("it is ready", START, || machine.journal("mailstore").ends_with(" ready\n"));
    let next = corpus::numbered(2);
    provider.mailbox("joe").put("INBOX", Place::New, &next);
    for (number, message) in [(1, &message), (2, &next)] {
        let from = format!("pop3s://mail.office.example/{number}");
        let args = [&args[..args.len() - 1], &[&from]].concat();
        assert_eq!(&run_with_input("curl", &args, b"", lab.path()).ok().stdout, message);
    }
    let kept = Spool::at(&machine.path("/srv/mail/mailSpool")).list();
    let mut bytes: Vec<_> = kept.iter().map(|kept| &kept.bytes).collect();
    bytes.sort();
    assert_eq!(bytes, [&message, &next]);
    assert!(!machine.path(SPOOL).exists(), "a new spool was begun");
    let served = "doveadm mailbox status -u joe@example.com messages INBOX; test -e /srv/mail/dovecot/before";
    assert_eq!(machine.sh(served), "INBOX messages=2\n");
    let said = install("scripts/install --uninstall", "");
    assert!(said.contains("The mail and the configuration stay."), "{said}");
}

#[test]
fn the_nightly_backup_is_off_until_it_is_told_where_to_and_stays_on() {
    let lab = Lab::new();
    let sources = Sources::new(&lab);
    if !sources.dir.join("docs/mailstore-backup.timer").exists() {
        return eprintln!("skipped: these sources have no backup");
    }
    let Some(machine) = Machine::boot(&lab) else { return };
    let provider = Dovecot::start(&lab);
    let (script, binary, port) =
        (sources.script().display().to_string(), sources.binary().display().to_string(), low_port());
    let is_on = || machine.run(&["systemctl", "is-active", "--quiet", "mailstore-backup.timer"]).code == Some(0);
    machine.sh(&format!("{script} --binary {binary}"));
    assert!(!is_on());
    configure(&machine, &provider, port, SPOOL);
    machine.sh("systemctl enable --now mailstore");
    mail_passes(&lab, &machine, &provider, port, SPOOL, 1);
    let said = machine.sh(&format!("{script} --binary {binary} --backup /srv/copies"));
    let init = said.lines().find_map(|line| line.strip_prefix("Once, with its disk mounted: ")).expect("what to do");
    assert!(is_on());
    machine.sh(init);
    // What the timer will start.
    machine.sh("systemctl start mailstore-backup.service");
    assert_eq!(machine.sh("find /srv/copies/*T*/mailSpool -type f -name '*,S=*' | wc -l"), "1\n");
    // Said once it holds.
    machine.sh(&format!("{script} --binary {binary}"));
    assert!(
        is_on()
            && machine
                .sh("systemctl cat mailstore-backup.service")
                .contains("-c /etc/mailstore/mailstore.ini --no-init /srv/copies\n")
    );
    let said = machine.sh(&format!("{script} --uninstall"));
    assert!(said.contains("stopped and disabled mailstore-backup.timer"), "{said}");
    assert_eq!(machine.sh("find /etc/systemd /usr/local/lib -name '*mailstore-backup*'"), "");
    assert_eq!(machine.sh("find /srv/copies/*T*/mailSpool -type f -name '*,S=*' | wc -l"), "1\n");
}
