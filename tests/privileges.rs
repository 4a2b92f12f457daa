//! What the running program may do, and what a signal does to it: root is gone for good before anybody is heard, nothing of its memory gets into a file, and
//! what lies in the spool is the owner's alone.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use support::lab::is_root;
use support::logins::{Client, Temper, connect, toy};
use support::proxy::section;
use support::{CLIENT, Endpoint, Kind, Lab, Proxy, Tls, wait_until};

/// Whom the program is to become.
const USER: &str = "nobody";

/// An SMTP proxy before a server that takes everything, with a folder that its user may write.
fn folder(lab: &Lab, shared: &str) -> PathBuf {
    let dir = lab.folder("proxy");
    let upstream = Endpoint { kind: Kind::Smtp, port: toy(Kind::Smtp, Temper::Accepts, "", None), tls: Tls::None };
    let ini = format!("[mailstore]\nspool = mailSpool\n{shared}\n{}", section(lab, "a", Tls::None, upstream, ""));
    fs::write(dir.join("mailstore.ini"), ini).unwrap();
    dir
}

/// The program, started by way of others.
fn by(words: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_start_proxies");
    let mut command = Command::new(words.first().unwrap_or(&program));
    if !words.is_empty() {
        command.args(&words[1..]).arg(program);
    }
    command
}

/// By a shell that does this first.
fn after(what: &str) -> Command {
    by(&["sh", "-c", &format!("{what}; exec \"$0\" \"$@\"")])
}

/// Sends a message of so many octets; the answer to it.
fn send(port: u16, size: usize) -> String {
    let mut client = Client::new(Kind::Smtp, connect(port));
    for line in ["EHLO x", "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>"] {
        assert!(client.say(line.as_bytes()).starts_with("250"));
    }
    assert!(client.say(b"DATA").starts_with("354"));
    client.say(format!("Subject: x\r\n\r\n{}\r\n.", "text text\r\n".repeat(size / 11)).as_bytes())
}

/// A field of the status of a process, or of one of its threads.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The status of each thread.
fn threads(pid: Pid) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap()).collect()
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let below = entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] });
    [dir.to_owned()].into_iter().chain(below).collect()
}

#[test]
fn root_is_gone_wholly_from_every_thread_before_anybody_is_heard() {
    if !is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let lab = Lab::new();
    let nobody = User::from_name(USER).unwrap().unwrap();
    // A folder of the user's group, which `group` names; and one that is somebody else's.
    for (group, gid) in
        [("", nobody.gid), ("group = mail\n", nix::unistd::Group::from_name("mail").unwrap().unwrap().gid)]
    {
        let dir = folder(&lab, &format!("user = {USER}\n{group}"));
        // As a careless administrator might: with root's other groups, and any file for everybody.
        let proxy = Proxy::start_by(
            by(&[
                "setpriv",
                "--groups",
                "0,4,24,27",
                "--bounding-set=+all",
                "sh",
                "-c",
                "umask 000; exec \"$0\" \"$@\"",
            ]),
            &dir,
        );
        let (uid, gid) = (nobody.uid.to_string(), gid.to_string());
        let four = |id: &str| [id; 4].join(" ");
        let threads = threads(proxy.pid());
        assert!(threads.len() >= 2, "the program's own and its listener's: {threads:?}");
        for status in &threads {
            assert_eq!(
                (field(status, "Uid"), field(status, "Gid")),
                (four(&uid), four(&gid)),
                "real, effective, saved, of files"
            );
            assert_eq!(field(status, "Groups"), gid);
            for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
                assert_eq!(u64::from_str_radix(&field(status, set), 16), Ok(0), "{set}");
            }
            assert_eq!((field(status, "NoNewPrivs"), field(status, "Umask")), ("1".to_owned(), "0077".to_owned()));
        }
        assert!(send(proxy.port("smtp:a"), 100).starts_with("250"));
        for path in walk(&dir.join("mailSpool")) {
            let at = fs::metadata(&path).unwrap();
            assert_eq!((at.uid().to_string(), at.gid().to_string()), (uid.clone(), gid.clone()), "{}", path.display());
        }
        assert!(!proxy.log().contains("runs as root"), "{}", proxy.log());
    }
}

#[test]
fn who_stays_root_is_told() {
    if !is_root() {
        return eprintln!("skipped: only root can stay root");
    }
    let lab = Lab::new();
    for shared in ["", "user = root\n"] {
        let log = Proxy::start_by(by(&[]), &folder(&lab, shared)).stop();
        assert!(log.contains(" WARN runs as root, "), "{log}");
    }
    // A group alone would stay root silently, and no user that is not there is passed over.
    for (shared, told) in
        [("group = mail\n", "[mailstore] group: "), ("user = no-such-user\n", "[mailstore] user: there is no user")]
    {
        let output = by(&[]).arg("-c").arg(folder(&lab, shared).join("mailstore.ini")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(told), "{said}");
    }
}

/// What the service was given to bind low ports with stays, and nothing else comes to it: SIGHUP may name another low port.
#[test]
fn a_start_without_root_keeps_the_right_to_low_ports_and_gets_no_other() {
    if !is_root() {
        return eprintln!("skipped: only root can give that right away");
    }
    let lab = Lab::new();
    let dir = folder(&lab, "");
    let nobody = User::from_name(USER).unwrap().unwrap();
    nix::unistd::chown(&dir, Some(nobody.uid), Some(nobody.gid)).unwrap();
    let low = (600..1024).rev().find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap();
    let ini =
        fs::read_to_string(dir.join("mailstore.ini")).unwrap().replace("127.0.0.1:0", &format!("127.0.0.1:{low}"));
    fs::write(dir.join("mailstore.ini"), ini).unwrap();
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    let right = "+net_bind_service";
    let proxy = Proxy::start_by(
        by(&[
            "setpriv",
            "--reuid",
            &uid,
            "--regid",
            &gid,
            "--clear-groups",
            "--inh-caps",
            right,
            "--ambient-caps",
            right,
        ]),
        &dir,
    );
    assert_eq!(proxy.port("smtp:a"), low);
    for status in threads(proxy.pid()) {
        assert_eq!(u64::from_str_radix(&field(&status, "CapEff"), 16), Ok(1 << 10));
        assert_eq!((field(&status, "Uid"), field(&status, "NoNewPrivs")), ([&*uid; 4].join(" "), "1".to_owned()));
    }
    assert!(send(low, 100).starts_with("250"));
}

#[test]
fn a_crash_leaves_no_memory_behind_however_large_core_files_may_be() {
    let lab = Lab::new();
    let mut ways = vec![""];
    if is_root() {
        ways.push("user = nobody\n");
    } else {
        eprintln!("skipped: without root, the same with another user");
    }
    let piped = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with('|');
    for shared in ways {
        for signal in [Signal::SIGSEGV, Signal::SIGABRT] {
            let dir = folder(&lab, shared);
            let here = lab.folder("cwd");
            // Whoever it is may write here.
            fs::set_permissions(&here, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
            let mut command = after("ulimit -c unlimited 2>/dev/null || ulimit -S -c hard");
            command.current_dir(&here);
            let proxy = Proxy::start_by(command, &dir);
            let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).unwrap();
            let core: Vec<&str> = limits
                .lines()
                .find(|line| line.starts_with("Max core file size"))
                .unwrap()
                .split_whitespace()
                .collect();
            assert_eq!(core[4..6], ["0", "0"]);
            // Of a process that is not to be dumped its files in /proc are root's, whoever it is.
            let owner = fs::metadata(format!("/proc/{}/environ", proxy.pid())).unwrap().uid();
            assert_eq!(owner, 0, "no core dump, also none for a core_pattern that is a program");
            let status = proxy.end_by(signal);
            assert_eq!((status.signal(), status.core_dumped()), (Some(signal as i32), false));
            if piped {
                eprintln!("skipped: core_pattern is a program, no file would appear");
            } else {
                assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
            }
        }
    }
}

#[test]
fn whatever_the_umask_the_spool_is_its_owners_alone() {
    let lab = Lab::new();
    for umask in ["000", "077", "777"] {
        let dir = folder(&lab, "");
        let proxy = Proxy::start_by(after(&format!("umask {umask}")), &dir);
        assert!(send(proxy.port("smtp:a"), 100).starts_with("250"));
        let all = walk(&dir.join("mailSpool"));
        assert!(all.iter().any(|path| path.is_file()), "{all:?}");
        for path in all {
            let mode = fs::metadata(&path).unwrap().mode() & 0o7777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{} with umask {umask}", path.display());
        }
    }
}

#[test]
fn a_limit_to_the_size_of_files_refuses_the_message_and_kills_nothing() {
    let lab = Lab::new();
    let proxy = Proxy::start_by(by(&["prlimit", "--fsize=4096"]), &folder(&lab, ""));
    let port = proxy.port("smtp:a");
    assert!(send(port, 100_000).starts_with("451"));
    assert!(send(port, 100).starts_with("250"), "{}", proxy.log());
    let log = proxy.stop();
    let told = log.lines().find(|line| line.contains(" not kept owner=ann@example.org")).unwrap();
    assert!(told.contains("File too large"), "{told}");
}

#[test]
fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let lab = Lab::new();
    let dir = folder(&lab, "log = debug\n");
    let mut command = by(&[]);
    command.arg("-c").arg(dir.join("mailstore.ini")).env_remove("RUST_LOG");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.by_ref().find(|line| line.contains(" listening on ")).unwrap();
    assert!(lines.by_ref().any(|line| line.ends_with(" ready")));
    drop(lines);
    let port = told.split(" listening on 127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(send(port, 100).starts_with("250"));
    assert_eq!(walk(&dir.join("mailSpool")).iter().filter(|path| path.to_string_lossy().contains(",S=")).count(), 1);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn sigquit_ends_it_in_order_and_sigusr2_does_not_end_it() {
    let lab = Lab::new();
    let proxy = Proxy::start_by(by(&[]), &folder(&lab, ""));
    proxy.signal(Signal::SIGUSR2);
    wait_until("it is told", CLIENT, || proxy.log().contains("SIGUSR2 asks for nothing"));
    assert!(send(proxy.port("smtp:a"), 100).starts_with("250"));
    assert_eq!(proxy.end_by(Signal::SIGQUIT).code(), Some(0));
}
