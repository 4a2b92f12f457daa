//! More clients than there is room for: sessions, file descriptors, threads, memory. Open sessions go on and what passes is kept; who comes
//! too late is told so in his protocol's words; and when there is room again, all is as before, without a restart.

#[path = "../examples/mailhost/mod.rs"]
mod mailhost;
#[path = "peers/player.rs"]
#[allow(dead_code)] // It is made for more.
mod player;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use mailhost::{Certificate, Host, INBOX, Mail};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use player::Bad::{Deaf, Flood, Silent};
use player::Do::{self, Be, Hear, Say};
use player::Player;
use support::preload::shim;
use support::proxy::{program, section};
use support::spool::{Expected, received, sent};
use support::*;

const ANN: &str = "ann@example.org";
const KINDS: [Kind; 3] = [Kind::Pop3, Kind::Imap, Kind::Smtp];
const SOON: Duration = Duration::from_secs(60);

/// A mail host and the proxies before it: for each protocol one without TLS and one with.
struct Scene {
    lab: Lab,
    host: Host,
    proxy: Proxy,
}

impl Scene {
    fn new(shared: &str) -> Scene {
        Scene::by(shared, |_| program())
    }

    fn by(shared: &str, command: impl FnOnce(&Lab) -> Command) -> Scene {
        let lab = Lab::new();
        let read = |file| fs::read(file).expect("a PEM file");
        let files = lab.certificate();
        let certificate = Certificate { authority: read(lab.ca()), chain: read(files.chain), key: read(files.key) };
        let mail = Mail::default();
        mail.add_user(ANN, PASSWORD, &["Sent"]);
        let host = Host::start(mail, &certificate, [[0; 2]; 3]).expect("the mail host");
        let mut sections = String::new();
        for kind in KINDS {
            let door = match kind {
                Kind::Smtp => host.smtp,
                Kind::Pop3 => host.pop3,
                Kind::Imap => host.imap,
            };
            let upstream = Endpoint { kind, port: door.plain.port(), tls: Tls::None };
            for listen in [Tls::None, Tls::Implicit] {
                sections += &section(&lab, listen.key(), listen, upstream, "");
            }
        }
        let command = command(&lab);
        let proxy = Proxy::by(&lab, shared, &sections, command);
        Scene { lab, host, proxy }
    }

    fn at(&self, kind: Kind, listen: Tls) -> Endpoint {
        self.proxy.endpoint(kind, listen.key(), listen)
    }

    fn login(&self, kind: Kind, listen: Tls) -> Wire {
        let mut wire = Wire::connect(&self.lab, self.at(kind, listen));
        wire.login(kind, ANN);
        wire
    }

    /// Ann's session over all kinds of doors.
    fn sessions(&self) -> Vec<Session> {
        KINDS
            .iter()
            .flat_map(|&kind| [Tls::None, Tls::Implicit].map(|listen| Session { wire: self.login(kind, listen), kind }))
            .collect()
    }

    /// Once there is room again: a session of each kind, and a message by it.
    fn serves(&self, kept: &mut Vec<Expected>) {
        for kind in KINDS {
            let at = self.at(kind, Tls::None);
            wait_until("there is room again", SOON, || words(at).starts_with(welcome(kind)));
        }
        // Those that only looked are on their way out.
        wait_until("there is room for all", SOON, || self.open_sessions() == 0);
        for mut session in self.sessions() {
            session.move_message(kept);
        }
    }

    /// What Ann gets by POP3, and what is kept of it.
    fn inbox(&self) -> Vec<Expected> {
        let message = corpus::numbered(100_000);
        self.host.mail.deliver(ANN, INBOX, &message).expect("Ann's inbox");
        vec![received(ANN, "", &message)]
    }

    /// When these are gone.
    fn serves_when(&self, gone: Vec<Session>, kept: &mut Vec<Expected>) {
        drop(gone);
        self.serves(kept);
    }

    /// Sessions that began and have not told their end.
    fn open_sessions(&self) -> usize {
        let log = self.proxy.log();
        log.matches(" opened client=").count() - log.matches(" closed client=").count()
    }

    /// How many threads of the program have this name.
    fn threads(&self, name: &str) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.proxy.pid())).unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|comm| comm.trim_end() == name).count()
    }

    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.proxy.pid())).unwrap().count()
    }

    /// The lowest number that the next file gets.
    fn first_free_file(&self) -> usize {
        let is_open = |number: &usize| fs::symlink_metadata(format!("/proc/{}/fd/{number}", self.proxy.pid())).is_ok();
        (0..).find(|number| !is_open(number)).unwrap()
    }

    /// A line of /proc/PID/status: a number.
    fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.proxy.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// How a greeting begins.
fn welcome(kind: Kind) -> &'static str {
    match kind {
        Kind::Pop3 => "+OK",
        Kind::Imap => "* OK",
        Kind::Smtp => "220",
    }
}

fn refusal(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Pop3 => format!("-ERR [SYS/TEMP] {text}\r\n"),
        Kind::Imap => format!("* BYE [UNAVAILABLE] {text}\r\n"),
        Kind::Smtp => format!("421 4.3.2 {text}\r\n"),
    }
}

/// The first line that a client hears, if any. (It may be reset where a flood leaves no time for words.)
fn words(at: Endpoint) -> String {
    let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, at.port)).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    let (mut line, mut octet) = (Vec::new(), [0]);
    while line.last() != Some(&b'\n') && matches!(tcp.read(&mut octet), Ok(1)) {
        line.push(octet[0]);
    }
    String::from_utf8(line).unwrap()
}

/// One of Ann's that is open.
struct Session {
    wire: Wire,
    kind: Kind,
}

impl Session {
    /// Moves a message that was never there before, and remembers that it is kept.
    fn move_message(&mut self, kept: &mut Vec<Expected>) {
        let message = corpus::numbered(kept.len());
        let wire = &mut self.wire;
        match self.kind {
            Kind::Pop3 => {
                // The same ones for each session: kept once.
                assert!(wire.pop3("RETR 1").starts_with("+OK"));
                wire.pop3_lines();
                return;
            }
            Kind::Imap => {
                let tag = wire.next_tag();
                wire.send(format!("{tag} APPEND Sent {{{}+}}\r\n", message.len()).as_bytes());
                wire.send(&[&message[..], b"\r\n"].concat());
                let reply = String::from_utf8(wire.imap_until(&tag)).unwrap();
                assert!(reply.contains(" OK "), "{reply}");
            }
            Kind::Smtp => {
                let reply = send(wire, &message);
                assert!(reply.starts_with("250"), "{reply}");
            }
        }
        kept.push(sent(ANN, &message));
    }
}

/// A message by SMTP: the reply to its end, or to what came before.
fn send(wire: &mut Wire, message: &[u8]) -> String {
    for line in [format!("MAIL FROM:<{ANN}>"), format!("RCPT TO:<{ANN}>"), "DATA".to_owned()] {
        let reply = wire.smtp(&line);
        if reply.starts_with(['4', '5']) {
            return reply;
        }
    }
    wire.send(&[replaced(message, "\r\n.", "\r\n.."), b".\r\n".to_vec()].concat());
    String::from_utf8(wire.smtp_reply()).unwrap()
}

const TOO_MANY: &str = "Too many sessions, try again later";

#[test]
fn who_comes_when_all_places_are_taken_is_told_so_and_open_sessions_go_on() {
    for key in ["max_sessions", "max_sessions_per_client"] {
        let scene = Scene::new(&format!("{key} = 6\n"));
        let mut kept = scene.inbox();
        let mut open = scene.sessions();
        for round in 0..2 {
            for kind in KINDS {
                assert_eq!(words(scene.at(kind, Tls::None)), refusal(kind, TOO_MANY));
                // With TLS: behind the handshake.
                let heard = Wire::connect(&scene.lab, scene.at(kind, Tls::Implicit)).heard;
                assert_eq!(String::from_utf8(heard).unwrap(), refusal(kind, TOO_MANY), "round {round}");
            }
            open.iter_mut().for_each(|session| session.move_message(&mut kept));
        }
        scene.proxy.tells(&format!(" reason={key} is reached"), 12);
        // A place that is given back is there for the next one.
        drop(open.pop());
        scene.serves_when(open, &mut kept);
        scene.proxy.spool().holds(&kept);
    }
}

#[test]
fn thousands_of_connections_that_reset_or_say_nothing_leave_nothing_behind() {
    const CONNECTIONS: usize = 3_000;
    let scene = Scene::new("max_sessions_per_client = 40\n");
    let mut kept = scene.inbox();
    let mut open = scene.sessions();
    let (files, threads) = (scene.open_files(), scene.status("Threads:"));
    let doors = KINDS.map(|kind| [Tls::None, Tls::Implicit].map(|listen| scene.at(kind, listen).port)).concat();
    let mut silent = Vec::new();
    for n in 0..CONNECTIONS {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, doors[n % doors.len()])).unwrap();
        match n % 3 {
            0 => setsockopt(&tcp, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap(),
            1 => drop((&tcp).write(b"\x16\x03\x01 neither TLS nor mail\r\n")),
            _ if silent.len() < 600 => silent.push(tcp),
            _ => {}
        }
        if n % (CONNECTIONS / 5) == 0 {
            open.iter_mut().for_each(|session| session.move_message(&mut kept));
        }
    }
    open.iter_mut().for_each(|session| session.move_message(&mut kept));
    drop(silent);
    wait_until("files and threads are given back", SOON, || {
        scene.open_files() <= files && scene.status("Threads:") <= threads
    });
    scene.serves_when(open, &mut kept);
    scene.proxy.spool().holds(&kept);
}

#[test]
fn sessions_have_the_files_for_their_messages_and_others_are_turned_away() {
    let limited = |_: &Lab| {
        let mut command = Command::new("prlimit");
        command.arg("--nofile=112:112").arg("--").arg(program().get_program());
        command
    };
    let scene = Scene::by("", limited);
    scene.proxy.tells("112 files may be open at once: enough for 18 sessions", 1);
    let mut kept = scene.inbox();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.extend(scene.sessions());
    }
    let more = || words(scene.at(Kind::Smtp, Tls::None));
    assert_eq!(more(), refusal(Kind::Smtp, TOO_MANY));
    scene.proxy.tells("reason=the open files would not suffice; raise ulimit -n", 1);
    // A crowd at the door takes nothing from those inside: all of them are within a message at the same time.
    let crowd: Vec<TcpStream> = (0..300)
        .map(|n| TcpStream::connect((Ipv4Addr::LOCALHOST, scene.at(KINDS[n % 3], Tls::Implicit).port)).unwrap())
        .collect();
    let mut halves = Vec::new();
    for session in open.iter_mut().filter(|session| session.kind == Kind::Smtp) {
        let message = corpus::numbered(1_000 + halves.len());
        for line in [format!("MAIL FROM:<{ANN}>"), format!("RCPT TO:<{ANN}>"), "DATA".to_owned()] {
            let reply = session.wire.smtp(&line);
            assert!(reply.starts_with(['2', '3']), "{reply}");
        }
        halves.push(message);
    }
    for session in open.iter_mut().filter(|session| session.kind != Kind::Smtp) {
        session.move_message(&mut kept);
    }
    for (session, message) in open.iter_mut().filter(|session| session.kind == Kind::Smtp).zip(halves) {
        session.wire.send(&[replaced(&message, "\r\n.", "\r\n.."), b".\r\n".to_vec()].concat());
        assert!(session.wire.smtp_reply().starts_with(b"250"));
        kept.push(sent(ANN, &message));
    }
    drop(crowd);
    scene.serves_when(open, &mut kept);
    scene.proxy.spool().holds(&kept);
    assert!(!scene.proxy.log().contains("not kept"), "{}", scene.proxy.log());
}

#[test]
fn without_a_file_descriptor_clients_wait_and_messages_can_be_tried_again() {
    let scene = Scene::new("");
    let mut kept = scene.inbox();
    let mut open = scene.sessions();
    let limit = |files: usize| {
        // The soft limit alone: whoever may lower it may raise it again.
        let pid = scene.proxy.pid().to_string();
        let args = [format!("--nofile={files}:"), "--pid".to_owned(), pid];
        assert!(Command::new("prlimit").args(args).status().unwrap().success());
    };
    limit(scene.first_free_file());
    let waiting = thread::spawn({
        let at = scene.at(Kind::Pop3, Tls::None);
        move || words(at)
    });
    scene.proxy.tells("clients have to wait: Too many open files", 1);
    let message = corpus::numbered(500);
    let smtp = open.iter_mut().find(|session| session.kind == Kind::Smtp).unwrap();
    assert!(send(&mut smtp.wire, &message).starts_with("451 "));
    scene.proxy.tells(" not kept owner=ann@example.org folder=Sent reason=", 1);
    limit(1024);
    assert!(waiting.join().unwrap().starts_with("+OK"));
    assert!(smtp.wire.smtp("RSET").starts_with("250"));
    assert!(send(&mut smtp.wire, &message).starts_with("250"));
    kept.push(sent(ANN, &message));
    open.iter_mut().for_each(|session| session.move_message(&mut kept));
    scene.serves_when(open, &mut kept);
    scene.proxy.spool().holds(&kept);
}

#[test]
fn without_a_thread_open_sessions_go_on_and_others_are_turned_away() {
    let mut none = None;
    let scene = Scene::by("", |lab| {
        let file = lab.path().join("no-threads");
        let mut command = program();
        command.env("LD_PRELOAD", shim(lab, "nothreads")).env("NO_THREADS", &file);
        none = Some(file);
        command
    });
    let none = none.unwrap();
    let mut kept = scene.inbox();
    let mut open = scene.sessions();
    let files = scene.open_files();
    // A thread that is free waits a little for the next session, and the quiet ones sleep in threads of another name.
    wait_until("no thread waits for work", SOON, || scene.threads("session") == 0);
    fs::write(&none, "").unwrap();
    for n in 0..60 {
        let kind = KINDS[n % 3];
        assert_eq!(words(scene.at(kind, Tls::None)), refusal(kind, "Too busy, try again later"));
        // There is nobody to shake hands.
        assert_eq!(words(scene.at(kind, Tls::Implicit)), "");
    }
    open.iter_mut().for_each(|session| session.move_message(&mut kept));
    scene.proxy.tells(" reason=no thread: ", 120);
    wait_until("all is given back", SOON, || scene.open_files() <= files);
    fs::remove_file(&none).unwrap();
    scene.serves_when(open, &mut kept);
    scene.proxy.spool().holds(&kept);
}

#[test]
fn endless_lines_and_replies_cost_little_memory() {
    /// Sessions of each kind at the same time.
    const SESSIONS: usize = 6;
    /// Of all of them together, each of which is offered 24 MB. (Measured: 20,000.)
    const GROWTH_MAX_KB: u64 = 60_000;
    let say = |text: &str| Say(text.as_bytes().to_vec());
    let logged_in = |kind| match kind {
        Kind::Pop3 => (
            vec![say("+OK toy\r\n"), Hear("USER"), say("+OK\r\n"), Hear("PASS"), Hear("\r\n"), say("+OK in\r\n")],
            vec![Hear("toy\r\n"), say("USER ann\r\n"), Hear("\r\n"), say("PASS x\r\n"), Hear("in\r\n")],
        ),
        Kind::Imap => (
            vec![say("* OK toy\r\n"), Hear("LOGIN"), Hear("\r\n"), say("a OK in\r\n")],
            vec![Hear("toy\r\n"), say("a LOGIN ann x\r\n"), Hear("in\r\n")],
        ),
        Kind::Smtp => (
            vec![say("220 toy\r\n"), Hear("MAIL"), Hear("\r\n"), say("250 in\r\n")],
            vec![Hear("toy\r\n"), say("MAIL FROM:<>\r\n"), Hear("in\r\n")],
        ),
    };
    let mut scripts: Vec<(Kind, Vec<Do>, Vec<Do>)> = Vec::new();
    for kind in KINDS {
        let with = |server: &[Do], client: &[Do]| {
            let (mut all_server, mut all_client) = logged_in(kind);
            all_server.extend_from_slice(server);
            all_client.extend_from_slice(client);
            (kind, all_server, all_client)
        };
        // A line without end, from either side.
        scripts.push(with(&[Be(Silent)], &[Be(Flood("xxxxxxxxxxxxxxxx"))]));
        scripts.push(with(&[Hear("NOOP"), Be(Flood("xxxxxxxxxxxxxxxx"))], &[say("b NOOP\r\n")]));
        // Commands without end, to a server that answers none.
        scripts.push(with(&[Be(Deaf)], &[Be(Flood("b NOOP\r\n"))]));
        // A reply without end, to a client that does not read it.
        let (ask, line) = match kind {
            Kind::Pop3 => ("LIST\r\n", "+OK 1\r\n"),
            Kind::Imap => ("b LIST \"\" *\r\n", "* LIST () \"/\" x\r\n"),
            Kind::Smtp => ("HELP\r\n", "214-help\r\n"),
        };
        scripts.push(with(&[Hear(ask), Be(Flood(line))], &[say(ask), Be(Deaf)]));
    }
    let lab = Lab::new();
    let servers: Vec<TcpListener> =
        scripts.iter().map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let mut sections = String::new();
    for (n, ((kind, ..), server)) in scripts.iter().zip(&servers).enumerate() {
        let port = server.local_addr().unwrap().port();
        let upstream = Endpoint { kind: *kind, port, tls: Tls::None };
        sections += &section(&lab, &format!("s{n}"), Tls::None, upstream, "");
    }
    let proxy = Proxy::with(&lab, "idle_timeout = 3s\n", &sections);
    let memory = |key: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = memory("VmRSS:");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (n, ((kind, as_server, as_client), server)) in scripts.iter().zip(&servers).enumerate() {
            for _ in 0..SESSIONS {
                let over = &over;
                let port = proxy.endpoint(*kind, &format!("s{n}"), Tls::None).port;
                scope.spawn(move || Player::new(server.accept().unwrap().0).play(as_server, over));
                scope.spawn(move || {
                    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                    Player::new(tcp).play(as_client, over)
                });
            }
        }
        let all = scripts.len() * SESSIONS;
        wait_until("all sessions are over", SOON, || proxy.log().matches(" closed client=").count() == all);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let growth = memory("VmHWM:") - before;
    assert!(growth < GROWTH_MAX_KB, "{growth} kB more");
    proxy.spool().holds(&[]);
}
