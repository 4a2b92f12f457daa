//! The program under test, started as its users start it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Endpoint, Kind, Lab, PASSWORD, START, Spool, Tls};

/// A running `start_proxies`. When it is dropped it gets SIGTERM, has to exit 0, and its log is searched for what may
/// not be there: a panic, the password.
pub struct Proxy {
    child: Child,
    log: Arc<Mutex<String>>,
    /// The section's name and one address that it listens on.
    listeners: Vec<(String, SocketAddr)>,
    spool: PathBuf,
    ended: bool,
}

impl Proxy {
    /// Starts it with these proxy sections (see [`section`]) and a spool of its own.
    pub fn start(lab: &Lab, sections: &str) -> Proxy {
        Proxy::with(lab, "", sections)
    }

    /// The same with lines for `[mailstore]`.
    pub fn with(lab: &Lab, shared: &str, sections: &str) -> Proxy {
        Proxy::by(lab, shared, sections, program())
    }

    /// The same, started by this command (see [`program`]), to which the configuration is added.
    pub fn by(lab: &Lab, shared: &str, sections: &str, command: Command) -> Proxy {
        let dir = lab.folder("proxy");
        let ini = format!("[mailstore]\nspool = mailSpool\nlog = debug\n{shared}\n{sections}");
        fs::write(dir.join("mailstore.ini"), ini).unwrap();
        Proxy::launch(&dir, command).expect("start_proxies, ready")
    }

    /// Starts it (again) with the `mailstore.ini` in this folder, whose spool is `mailSpool` beside it.
    pub fn start_in(dir: &Path) -> Proxy {
        Proxy::start_by(program(), dir)
    }

    /// The same with more in its environment; none where a signal ended it before it was ready.
    pub fn try_start_in(dir: &Path, environment: &[(&str, OsString)]) -> Option<Proxy> {
        let mut command = program();
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Proxy::launch(dir, command)
    }

    /// The same by this command, which `-c` and the file are added to, and which becomes the program.
    pub fn start_by(command: Command, dir: &Path) -> Proxy {
        Proxy::launch(dir, command).expect("start_proxies, ready")
    }

    /// The same; none where a signal ended it before it was ready.
    pub fn launch(dir: &Path, mut command: Command) -> Option<Proxy> {
        command.arg("-c").arg(dir.join("mailstore.ini"));
        if !command.get_envs().any(|(name, _)| name == "RUST_LOG") {
            command.env_remove("RUST_LOG");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start_proxies");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let copy = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        });
        let mut proxy = Proxy { child, log, listeners: Vec::new(), spool: dir.join("mailSpool"), ended: false };
        proxy.wait_for_ready().then_some(proxy)
    }

    /// False: a signal ended it.
    fn wait_for_ready(&mut self) -> bool {
        let end = Instant::now() + START;
        while !self.log().lines().any(|line| line.ends_with("ready")) {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some_and(|status| status.signal().is_some()) {
                self.ended = true;
                return false;
            }
            assert!(ended.is_none(), "start_proxies ended ({ended:?}) before it was ready:\n{}", self.log());
            assert!(Instant::now() < end, "start_proxies is not ready:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        self.listeners = self.log().lines().filter_map(listener).collect();
        true
    }

    /// Whether it has ended by itself.
    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it, or waits until whoever does has done so. Whether SIGKILL was what ended it.
    pub fn end_somehow(mut self) -> bool {
        self.ended = true;
        let _ = kill(self.pid(), Signal::SIGTERM);
        self.wait().signal() == Some(Signal::SIGKILL as i32)
    }

    /// The port of this section.
    pub fn port(&self, section: &str) -> u16 {
        let found = self.listeners.iter().find(|(name, _)| name == section);
        found.unwrap_or_else(|| panic!("no listener {section} in {:?}", self.listeners)).1.port()
    }

    /// All addresses of this section.
    pub fn addresses(&self, section: &str) -> Vec<SocketAddr> {
        self.listeners.iter().filter(|(name, _)| name == section).map(|(_, address)| *address).collect()
    }

    /// Where a client connects to, for a section made by [`section`].
    pub fn endpoint(&self, kind: Kind, name: &str, tls: Tls) -> Endpoint {
        Endpoint { kind, port: self.port(&format!("{}:{name}", kind.key())), tls }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log says this so often, and no more often.
    #[track_caller]
    pub fn tells(&self, text: &str, count: usize) {
        let found = || self.log().matches(text).count();
        super::wait_until(&format!("the log says {count} times: {text}"), Duration::from_secs(30), || found() >= count);
        assert_eq!(found(), count, "how often the log says: {text}");
    }

    /// Waits until the log says this: its lines come through a pipe, later than what a client hears.
    #[track_caller]
    pub fn tells_of(&self, text: &str) {
        super::wait_until(&format!("the log says: {text}"), Duration::from_secs(30), || self.log().contains(text));
    }

    pub fn spool(&self) -> Spool {
        Spool::at(&self.spool)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it by this signal. How it ended.
    pub fn end_by(mut self, signal: Signal) -> ExitStatus {
        self.ended = true;
        self.signal(signal);
        let mut status = None;
        super::wait_until("the signal ends it", START, || {
            status = self.child.try_wait().unwrap();
            if signal == Signal::SIGSEGV && status.is_none() {
                // The first one goes to Rust's own handler, which looks for a stack that has run over.
                self.signal(signal);
            }
            status.is_some()
        });
        status.unwrap()
    }

    /// Stops it as an administrator does, and checks that it ends as promised.
    pub fn stop(mut self) -> String {
        self.end();
        self.log()
    }

    fn end(&mut self) {
        self.ended = true;
        let _ = kill(self.pid(), Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "the exit status after SIGTERM\n{}", self.log());
        let log = self.log();
        assert!(!log.contains("panicked"), "a panic:\n{log}");
        assert!(!log.contains(PASSWORD), "the password is in the log:\n{log}");
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("start_proxies did not end after SIGTERM:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            eprintln!("---- log of start_proxies ----\n{}", super::daemon::tail(&self.log(), 200));
        } else if !self.ended {
            self.end();
        }
    }
}

/// `start_proxies`, not started yet.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_start_proxies"))
}

/// A section `[kind:name]` that listens on a free port and relays to this server, with more lines for it.
pub fn section(lab: &Lab, name: &str, listen: Tls, upstream: Endpoint, more: &str) -> String {
    let certificate = lab.certificate();
    let mut text = format!(
        "[{}:{name}]\nlisten = 127.0.0.1:0\nlisten_tls = {}\nupstream = localhost:{}\nupstream_tls = {}\n",
        upstream.kind.key(),
        listen.key(),
        upstream.port,
        upstream.tls.key(),
    );
    if listen != Tls::None {
        text +=
            &format!("certificate = {}\nprivate_key = {}\n", certificate.chain.display(), certificate.key.display());
    }
    if upstream.tls != Tls::None {
        text += &format!("upstream_ca = {}\n", lab.ca().display());
    }
    text + more + "\n\n"
}

/// All nine combinations of TLS, each with its name: `starttls-implicit` is STARTTLS for clients, implicit TLS upstream.
pub fn nine(lab: &Lab, server: impl Fn(Tls) -> Endpoint) -> (String, Vec<(String, Tls, Tls)>) {
    let mut sections = String::new();
    let mut names = Vec::new();
    for listen in Tls::ALL {
        for upstream in Tls::ALL {
            let name = format!("{}-{}", listen.key(), upstream.key());
            sections += &section(lab, &name, listen, server(upstream), "");
            names.push((name, listen, upstream));
        }
    }
    (sections, names)
}

fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let (before, after) = line.split_once(" listening on ")?;
    let name = before.rsplit(' ').next()?.to_owned();
    Some((name, after.split_once(" -> ")?.0.parse().ok()?))
}
