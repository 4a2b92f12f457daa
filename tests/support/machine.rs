//! A machine like this one that may be changed: what is installed, removed and started in it is gone with it.
//!
//! Its root is an overlay over `/`, in a mount namespace of its own; nothing is ever mounted where others see it. It has its own
//! processes, `/run`, `/dev`, host name, and, if it is asked for, a systemd of its own. The network is the real one: ports are chosen as
//! everywhere in the tests. It takes root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::client::{Output, run_command};
use super::lab::{Lab, is_root, program};
use super::wait_until;

/// A running machine. When it is dropped all its processes are killed, and all that was mounted in it is gone.
pub struct Machine {
    /// `unshare`, which waits for the machine's first process and dies with the test.
    holder: Child,
    /// The first process, as it is known here.
    pid: u32,
    /// systemd's, where there is one.
    cgroup: Option<PathBuf>,
}

impl Machine {
    /// Without an init: processes are started by the test only. None where that cannot be had here; the reason is printed.
    pub fn start(lab: &Lab) -> Option<Machine> {
        Machine::told(Machine::launch(lab, None))
    }

    /// With systemd as its first process, up to its `multi-user.target`.
    pub fn boot(lab: &Lab) -> Option<Machine> {
        Machine::told(new_cgroup().and_then(|cgroup| Machine::launch(lab, Some(cgroup))))
    }

    fn told(machine: Result<Machine, String>) -> Option<Machine> {
        machine.map_err(|why| eprintln!("skipped: {why}")).ok()
    }

    fn launch(lab: &Lab, cgroup: Option<PathBuf>) -> Result<Machine, String> {
        if !is_root() {
            return Err("only root can have a machine of its own".to_owned());
        }
        let sources = env!("CARGO_MANIFEST_DIR");
        let script = format!("{sources}/tests/support/machine.sh");
        let dir = lab.folder("machine");
        // Into the cgroup first, so that it is the root of what systemd sees.
        let mut command = Command::new("sh");
        command.args(["-c", "[ -z \"$1\" ] || echo $$ >\"$1/cgroup.procs\"; shift; exec \"$@\"", "sh"]);
        command.arg(cgroup.as_deref().unwrap_or(Path::new("")));
        command.args(["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private"]);
        command.args(["--pid", "--fork", "--kill-child", "--uts", "--ipc"]);
        command.args(cgroup.as_ref().map(|_| "--cgroup"));
        command.args(["sh", &script]).arg(&dir).arg(lab.path()).arg(sources);
        command.args(cgroup.as_ref().map(|_| "systemd"));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(dir.with_extension("log")).unwrap());
        let mut holder = command.spawn().map_err(|e| format!("unshare cannot be started: {e}"))?;
        let mut first = String::new();
        if cgroup.is_none() {
            let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut first);
        }
        let mut machine = Machine { holder, pid: 0, cgroup };
        let log = || fs::read_to_string(dir.with_extension("log")).unwrap_or_default();
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if machine.holder.try_wait().unwrap().is_some() || Instant::now() > end {
                return Err(format!("a machine of its own cannot be had here: {}", log()));
            }
            let pid = machine.holder.id();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            machine.pid = children.trim().parse().unwrap_or_default();
            if machine.pid != 0 && machine.is_ready(&first) {
                return Ok(machine);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self, first: &str) -> bool {
        if self.cgroup.is_none() {
            return first == "ready\n";
        }
        // Whatever it is, it has booted: something may be missing that no test needs.
        let is_systemd = fs::read_link(format!("/proc/{}/exe", self.pid)).is_ok_and(|exe| exe.ends_with("systemd"));
        is_systemd
            && run_command(self.command(&["systemctl", "is-active", "--quiet", "multi-user.target"]), b"").code
                == Some(0)
    }

    /// A command in the machine, as root, not started yet.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("nsenter"));
        command.args(["--target", &self.pid.to_string(), "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"]);
        command.args(self.cgroup.as_ref().map(|_| "--cgroup"));
        command
            .arg("--")
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root").env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The same for a program that this one's signals have to reach: its process is no other's child.
    pub fn command_in_place(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("nsenter"));
        command.args(["--target", &self.pid.to_string(), "--mount", "--uts", "--ipc", "--root", "--wd", "--"]);
        command.args(words);
        command
    }

    /// Runs a command in the machine, as root.
    pub fn run(&self, words: &[&str]) -> Output {
        run_command(self.command(words), b"")
    }

    /// The same for a line of the shell; what it says on either way.
    pub fn sh(&self, line: &str) -> String {
        let output = self.run(&["sh", "-c", line]);
        let said = output.text() + &output.errors();
        assert_eq!(output.code, Some(0), "{line}\n{said}");
        said
    }

    /// Gives it a name server, and no other, that knows this host: as 127.0.0.1.
    pub fn name_server(&self, host: &str) {
        let own = std::process::id().wrapping_mul(8).wrapping_add(turn());
        // A place of its own on the loopback, for the port is always 53.
        let address = Ipv4Addr::new(127, 53, (own >> 8) as u8, (own as u8).clamp(1, 254));
        let socket = UdpSocket::bind((address, 53)).expect("a name server's port");
        let name: Vec<u8> =
            host.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((size, from)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(&answer(&question[..size], &name), from);
            }
        });
        fs::remove_file(self.path("/etc/resolv.conf")).unwrap();
        fs::write(self.path("/etc/resolv.conf"), format!("nameserver {address}\n")).unwrap();
        fs::write(self.path("/etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n").unwrap();
    }

    /// A path in the machine, as it is reached from here.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// Whether it has a systemd.
    pub fn is_booted(&self) -> bool {
        self.cgroup.is_some()
    }

    /// The log of a unit.
    pub fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--no-pager", "-o", "cat", "-u", unit]).text()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The first process dies with the holder, and with that all others.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        if self.pid != 0 {
            wait_until("the machine's first process is gone", Duration::from_secs(30), || {
                !Path::new(&format!("/proc/{}", self.pid)).exists()
            });
        }
        if let Some(cgroup) = &self.cgroup {
            wait_until("the machine's cgroups are gone", Duration::from_secs(30), || remove_cgroup(cgroup));
        }
    }
}

/// A cgroup (version 2) for systemd.
fn new_cgroup() -> Result<PathBuf, String> {
    if !is_root() {
        return Err("only root can have a machine of its own".to_owned());
    }
    let found = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let root =
        found.into_iter().find(|root| root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists());
    let root = root.ok_or("there are no cgroups of version 2 here, which systemd needs")?;
    const NAME: &str = "mailstore-test-";
    // Left by tests that were killed.
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let left =
            entry.file_name().to_str().and_then(|name| name.strip_prefix(NAME)?.split('-').next()?.parse::<u32>().ok());
        if left.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove_cgroup(&entry.path());
        }
    }
    let cgroup = root.join(format!("{NAME}{}-{}", std::process::id(), turn()));
    fs::create_dir(&cgroup).map_err(|e| format!("no cgroup can be made: {e}"))?;
    Ok(cgroup)
}

/// Whether it is gone, with all that systemd made below.
fn remove_cgroup(dir: &Path) -> bool {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    fs::remove_dir(dir).is_ok() || !dir.exists()
}

/// RFC 1035 section 4: this name has the address 127.0.0.1, and nothing else is known.
fn answer(question: &[u8], name: &[u8]) -> Vec<u8> {
    let asked = &question[12..];
    let end = asked.iter().position(|&byte| byte == 0).unwrap_or_default();
    let (known, kind) = (asked[..end].eq_ignore_ascii_case(name), asked[end + 2]);
    let found = known && kind == 1;
    // The identifier; a response, recursion available, no such name where it is another; one question.
    let mut out =
        [&question[..2], &[0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(found), 0, 0, 0, 0]].concat();
    out.extend(&asked[..end + 5]);
    if found {
        // The name that stands at octet 12; an address of the internet, for a minute.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    out
}

/// Another number each time: several tests may run in one process.
fn turn() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// A port below 1024 on 127.0.0.1 that nobody had a moment ago. Different tests look in different places.
pub fn low_port() -> u16 {
    let start = 600 + ((std::process::id() + 50 * turn()) % 400) as u16;
    let free = |&port: &u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (start..1024).chain(600..start).find(free).expect("a free port below 1024")
}
