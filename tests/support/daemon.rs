//! A server program in the foreground, ended with all its children when it is dropped.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

pub struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the program in a process group of its own; what it writes goes to `log`. Postfix's master makes its group itself
    /// (a session, which the leader of a group cannot have).
    pub fn spawn(name: &'static str, program: &Path, args: &[&str], envs: &[(&str, &str)], log: &Path) -> Daemon {
        let out = File::options().create(true).append(true).open(log).unwrap();
        // The program dies with the test that started it, also where that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program).args(args).envs(envs.iter().copied());
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        if name != "postfix" {
            command.process_group(0);
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Daemon { name, child, log: log.to_owned() }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until each of these ports greets with something that starts with `greeting`. False: the program ended before (a
    /// port was taken, for instance).
    pub fn greets(&mut self, ports: &[(u16, &str)]) -> bool {
        let end = Instant::now() + super::START;
        for &(port, greeting) in ports {
            while !greets(port, greeting) {
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                assert!(Instant::now() < end, "{} does not greet on port {port}:\n{}", self.name, self.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        true
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.pid();
        // Dovecot takes a second to end in good order, and has nothing to tidy up that a test would look at.
        let _ = if self.name == "dovecot" { killpg(pid, Signal::SIGKILL) } else { kill(pid, Signal::SIGTERM) };
        let end = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Children that outlived it are in its process group still.
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.name, tail(&self.log(), 200));
        }
    }
}

/// The last lines of a log.
pub fn tail(log: &str, lines: usize) -> String {
    let skip = log.lines().count().saturating_sub(lines);
    log.lines().skip(skip).map(|line| format!("{line}\n")).collect()
}

fn greets(port: u16, greeting: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    if greeting.is_empty() {
        return true; // It speaks TLS from the first byte.
    }
    let mut start = vec![0; greeting.len()];
    stream.read_exact(&mut start).is_ok() && start == greeting.as_bytes()
}
