//! Peers that fail: silent, too slow, deaf, resetting, half closed, at every place of a session, on both sides, in all three protocols. Each
//! session ends within its limit, with a reason in the log; the client is told in its protocol's words where it can be; nothing is kept
//! by half; and afterwards the proxy is as it was.

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod player;
mod unreachable;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cases::{Case, Hears};
use player::Player;
use support::proxy::section;
use support::spool::{Expected, sent};
use support::*;

/// How long a session may take to end: on a busy machine, with limits of some seconds.
const SOON: Duration = Duration::from_secs(60);
/// How often a session of some seconds may wake up, with ten octets a second coming in.
const POLLS_MAX: u64 = 400;

/// The limit that is not tested is out of reach.
const NO_LOGIN: &str = "login_timeout = 2s\nidle_timeout = 5s\n";
const LOGGED_IN: &str = "login_timeout = 1h\nidle_timeout = 3s\n";

#[test]
fn peers_that_fail_before_the_login_end_by_the_login_timeout() {
    play_all(NO_LOGIN, cases::before_login());
}

#[test]
fn peers_that_fail_after_the_login_end_by_the_idle_timeout() {
    play_all(LOGGED_IN, cases::after_login());
}

/// All at the same time, against one `start_proxies`.
fn play_all(limits: &str, cases: Vec<Case>) {
    let lab = Lab::new();
    let stage = Stage::new(&lab, limits, &cases);
    let files = stage.open_files();
    let (bad, good) = (cases, cases::good());
    let mut failed: Vec<String> = thread::scope(|scope| {
        let all: Vec<_> = bad.iter().map(|case| scope.spawn(|| stage.play(case))).collect();
        all.into_iter().filter_map(|one| one.join().unwrap().err()).collect()
    });
    // After all of these it serves as before.
    failed.extend(good.iter().filter_map(|case| stage.play(case).err()));
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), bad.len(), failed.join("\n"));
    let kept: Vec<Expected> =
        bad.iter().chain(&good).flat_map(|case| &case.kept).map(|text| sent(cases::ANN, text.as_bytes())).collect();
    stage.proxy.spool().holds(&kept);
    wait_until("all file descriptors are given back", SOON, || stage.open_files() <= files);
}

/// The proxies, and the server behind each of them.
struct Stage {
    proxy: Proxy,
    doors: Vec<Door>,
}

struct Door {
    name: String,
    way: (Kind, Tls, Tls),
    /// Held by a client until its session has got to the server: so it is known who is whose.
    server: Mutex<TcpListener>,
}

impl Stage {
    fn new(lab: &Lab, limits: &str, cases: &[Case]) -> Stage {
        let mut doors: Vec<Door> = Vec::new();
        let mut sections = String::new();
        for case in cases {
            let way @ (kind, listen, tls) = case.way;
            if doors.iter().any(|door| door.way == way) {
                continue;
            }
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            server.set_nonblocking(true).unwrap();
            let upstream = Endpoint { kind, port: server.local_addr().unwrap().port(), tls };
            let name = format!("{}-{}", listen.key(), tls.key());
            sections += &section(lab, &name, listen, upstream, if kind == Kind::Imap { UNFOLLOWED } else { "" });
            doors.push(Door { name, way, server: Mutex::new(server) });
        }
        Stage { proxy: Proxy::with(lab, limits, &sections), doors }
    }

    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.proxy.pid())).unwrap().count()
    }

    /// One session. What is not as it should be.
    fn play(&self, case: &Case) -> Result<(), String> {
        let proxy = &self.proxy;
        let over = AtomicBool::new(false);
        let (kind, listen, _) = case.way;
        let door = self.doors.iter().find(|door| door.way == case.way).unwrap();
        let (heard, closed) = thread::scope(|scope| {
            let at = proxy.endpoint(kind, &door.name, listen);
            let server = (!case.server.is_empty()).then(|| door.server.lock().unwrap());
            let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, at.port)).unwrap();
            let me = format!(" {}:{} closed client={} ", kind.key(), door.name, tcp.local_addr().unwrap());
            let client = scope.spawn(|| Player::new(tcp).play(&case.client, &over));
            if let Some(server) = server {
                let mut accepted = None;
                wait_until("the proxy connects to the server", SOON, || {
                    accepted = server.accept().ok();
                    accepted.is_some()
                });
                let tcp = accepted.unwrap().0;
                tcp.set_nonblocking(false).unwrap();
                scope.spawn(|| Player::new(tcp).play(&case.server, &over));
            }
            let mut closed = String::new();
            wait_until(&format!("the session is over: {:?} {}", case.way, case.name), SOON, || {
                closed = proxy.log().lines().find(|line| line.contains(&me)).unwrap_or_default().to_owned();
                !closed.is_empty()
            });
            over.store(true, Ordering::Relaxed);
            (client.join().unwrap(), closed)
        });
        let heard = String::from_utf8_lossy(&heard);
        let mut faults = Vec::new();
        let reason = self.reason(&closed);
        if case.at_once && reason.starts_with("the server cannot be reached: 127.0.0.1:") && reason.contains("reset") {
            return Ok(());
        }
        if reason != case.reason {
            faults.push(format!("the log says {reason:?}, not {:?}", case.reason));
        }
        let last = Hears::WORDS.into_iter().find(|one| heard.ends_with(one.words(kind))).unwrap_or(Hears::Nothing);
        if case.hears != Hears::Whatever && last != case.hears {
            let tail: String = heard.chars().skip(heard.chars().count().saturating_sub(100)).collect();
            faults.push(format!("the client hears {last:?}, not {:?}: {tail:?}", case.hears));
        }
        match self.polls(&closed) {
            Some(polls) if polls > POLLS_MAX => faults.push(format!("it woke up {polls} times")),
            _ => {}
        }
        let fault = format!("{:?} {}: {}", case.way, case.name, faults.join("; "));
        if faults.is_empty() { Ok(()) } else { Err(fault) }
    }

    /// The closing line's reason; where the server was never reached, with the line before that says why.
    fn reason(&self, closed: &str) -> String {
        let (_, reason) = closed.split_once(" reason=").unwrap();
        let why = self.of_session(closed, " cannot be reached: ");
        why.map_or_else(|| reason.to_owned(), |why| format!("{reason}: {why}"))
    }

    /// How often the session went to sleep between its two sockets.
    fn polls(&self, closed: &str) -> Option<u64> {
        self.of_session(closed, " slept ").map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
    }

    /// What stands behind this in the log of the session with this closing line.
    fn of_session(&self, closed: &str, what: &str) -> Option<String> {
        let label = closed.split_once(" closed ").unwrap().0.splitn(3, ' ').last().unwrap();
        let log = self.proxy.log();
        let line = log.lines().find(|line| line.contains(&format!(" {label} ")) && line.contains(what))?;
        line.split_once(what).map(|(_, rest)| rest.to_owned())
    }
}
