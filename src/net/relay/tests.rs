//! The pump between real sockets, with toy protocols.

mod limits;
mod turns;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::*;
use crate::archive::{Destination, Owner};
use crate::net::testing::{Pem, pair, pem};
use crate::net::wait::stop_pipe as stop;
use crate::protocol::{DraftId, Origin, Refused};

/// A host without an archive.
#[derive(Default)]
struct Toy {
    wire: Wire,
    identified: bool,
}

impl Wired for Toy {
    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
    fn identified(&self) -> bool {
        self.identified
    }
}

impl Host for Toy {
    fn send(&mut self, to: Side, bytes: &[u8]) {
        self.wire.send(to, bytes);
    }
    fn start_tls(&mut self, side: Side) {
        self.wire.start_tls(side);
    }
    fn end(&mut self, end: End) {
        self.wire.end(end);
    }
    fn logged_in(&mut self, _: &Owner) {}
    fn logged_out(&mut self) {}
    fn begin(&mut self, _: &[Destination], _: Option<u64>) -> Result<DraftId, Refused> {
        Err(Refused::Unavailable)
    }
    fn append(&mut self, _: DraftId, _: &[u8]) -> Result<(), Refused> {
        Err(Refused::Unavailable)
    }
    fn append_draft(&mut self, _: DraftId, _: DraftId) -> Result<(), Refused> {
        Err(Refused::Unavailable)
    }
    fn date(&mut self, _: DraftId, _: i64) {}
    fn prepare(&mut self, _: DraftId) -> Result<(), Refused> {
        Err(Refused::Unavailable)
    }
    fn commit(&mut self, _: DraftId) {}
    fn finish(&mut self, _: DraftId) {}
    fn settle(&mut self) -> Result<(), Refused> {
        Err(Refused::Unavailable)
    }
    fn abort(&mut self, _: DraftId) {}
    fn login_failed(&mut self, _: &str) {}
    fn not_kept(&mut self, _: &str) {}
    fn note(&mut self, _: &str) {}
    fn origin(&mut self, _: DraftId, _: Origin) {}
    fn has(&mut self, _: &Owner, _: &Origin) -> bool {
        false
    }
    fn fetched(&mut self, _: u64) {}
    fn refuses(&self) -> bool {
        true
    }
}

/// Passes everything on, and says goodbye.
struct Forward {
    outstanding: bool,
}

impl Protocol for Forward {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        host.send(from.other(), bytes);
        bytes.len()
    }
    fn eof(&mut self, _: Side, _: &mut dyn Host) {}
    fn tls_started(&mut self, _: Side, _: &mut dyn Host) {}
    fn outstanding(&self) -> bool {
        self.outstanding
    }
    fn farewell(&self, why: Farewell) -> Option<Vec<u8>> {
        Some(format!("BYE {why:?}\r\n").into_bytes())
    }
}

/// One line of the client at a time; the next only after the server's answer. `TLS` and `UPTLS` start TLS on either side, `ECHO n`
/// is answered with n octets of our own.
#[derive(Default)]
struct Lockstep {
    waiting: bool,
    server_line: Vec<u8>,
}

impl Protocol for Lockstep {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        if from == Side::Server {
            self.server_line.extend_from_slice(bytes);
            while let Some(end) = self.server_line.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.server_line.drain(..=end).collect();
                host.send(Side::Client, &line);
                self.waiting = false;
                if line == b"go ahead\n" {
                    host.start_tls(Side::Server);
                    break;
                }
            }
            return bytes.len();
        }
        let mut taken = 0;
        while !self.waiting {
            let Some(end) = bytes[taken..].iter().position(|&b| b == b'\n') else { break };
            let line = &bytes[taken..=taken + end];
            taken += line.len();
            if line == b"TLS\n" {
                host.send(Side::Client, b"go ahead\n");
                host.start_tls(Side::Client);
                break;
            } else if line == b"END\n" {
                host.send(Side::Client, b"bye\n");
                host.end(End::Orderly("END"));
                break;
            } else if line == b"ECHO\n" {
                host.send(Side::Client, &[b'e'; 100]);
            } else {
                host.send(Side::Server, line);
                self.waiting = true;
            }
        }
        taken
    }
    fn eof(&mut self, _: Side, _: &mut dyn Host) {}
    fn tls_started(&mut self, side: Side, host: &mut dyn Host) {
        if side == Side::Server {
            host.send(Side::Client, b"server is safe\n");
        }
    }
    fn outstanding(&self) -> bool {
        self.waiting
    }
    fn farewell(&self, why: Farewell) -> Option<Vec<u8>> {
        Some(format!("BYE {why:?}\r\n").into_bytes())
    }
}

/// A relay in a thread, and the test's ends of its two connections.
struct Rig {
    client: TcpStream,
    server: TcpStream,
    relay: JoinHandle<(Report, u64, u64)>,
    _stop: Option<OwnedFd>,
}

#[derive(Clone)]
struct Options {
    small: bool,
    login: Duration,
    idle: Duration,
    gone: Duration,
    finish: Duration,
    identified: bool,
    acceptor: Option<Acceptor>,
    connector: Option<Connector>,
}

const LONG: Duration = Duration::from_secs(60);

impl Default for Options {
    fn default() -> Options {
        Options {
            small: false,
            login: LONG,
            idle: LONG,
            gone: LONG,
            finish: LONG,
            identified: true,
            acceptor: None,
            connector: None,
        }
    }
}

/// So short that sessions rest in the middle of nearly every test.
const REST_AFTER: Duration = Duration::from_millis(2);

/// Runs a session to its end, with all its rests.
fn relay(
    client: Stream,
    server: Stream,
    protocol: &mut dyn Protocol,
    host: &mut dyn Wired,
    settings: &Settings<'_>,
) -> Report {
    let mut connections = Connections::new(client, server, settings.idle_timeout);
    loop {
        if let Some(report) = run(&mut connections, protocol, host, settings) {
            return report;
        }
        rest(&mut connections, protocol, host, settings);
    }
}

fn rig(mut protocol: impl Protocol + 'static, options: Options) -> Rig {
    let (client, relay_client) = pair(options.small);
    let (server, relay_server) = pair(options.small);
    let (stop_read, stop_write) = stop().unwrap();
    let relay = thread::spawn(move || {
        let mut host = Toy { identified: options.identified, ..Toy::default() };
        let settings = Settings {
            login_deadline: Instant::now() + options.login,
            idle_timeout: options.idle,
            client_closed_wait: options.gone,
            client_gone_wait: options.gone,
            finish_wait: options.finish,
            acceptor: options.acceptor.as_ref(),
            connector: options.connector.as_ref(),
            stop: stop_read.as_fd(),
            rest_after: REST_AFTER,
        };
        let report = relay(
            Stream::new(relay_client).unwrap(),
            Stream::new(relay_server).unwrap(),
            &mut protocol,
            &mut host,
            &settings,
        );
        (report, host.wire.received, host.wire.sent)
    });
    Rig { client, server, relay, _stop: Some(stop_write) }
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// Writes all, then closes that direction.
fn writer(mut to: TcpStream, bytes: Vec<u8>) -> JoinHandle<()> {
    thread::spawn(move || {
        to.write_all(&bytes).unwrap();
        to.shutdown(Shutdown::Write).unwrap();
    })
}

/// Reads exactly so many octets in bites of `bite`.
fn reader(mut from: TcpStream, len: usize, bite: usize) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = vec![0; bite];
        while all.len() < len {
            match from.read(&mut buffer).unwrap() {
                0 => break,
                n => all.extend_from_slice(&buffer[..n]),
            }
        }
        all
    })
}

fn read_line(from: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') && from.read(&mut byte).unwrap() == 1 {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn reset(socket: TcpStream) {
    setsockopt(&socket, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

fn fault(report: &Report) -> &str {
    match &report.end {
        End::Fault(why) => why,
        End::Orderly(why) => panic!("ended orderly: {why}"),
    }
}

#[test]
fn both_directions_at_once_through_tiny_buffers() {
    const LEN: usize = 3 << 20;
    let rig = rig(Forward { outstanding: true }, Options { small: true, ..Options::default() });
    let (up, down) = (noise(1, LEN), noise(2, LEN - 7));
    // The server closes last: its end is the session's.
    let (mut server, server_writes) = (rig.server.try_clone().unwrap(), down.clone());
    let writers = [
        writer(rig.client.try_clone().unwrap(), up.clone()),
        thread::spawn(move || server.write_all(&server_writes).unwrap()),
    ];
    let (at_server, at_client) =
        (reader(rig.server.try_clone().unwrap(), up.len(), 700), reader(rig.client, down.len(), 5000));
    assert!(at_server.join().unwrap() == up && at_client.join().unwrap() == down);
    writers.into_iter().for_each(|w| w.join().unwrap());
    drop(rig.server);
    let (_, received, sent) = rig.relay.join().unwrap();
    assert_eq!((received, sent), (LEN as u64, LEN as u64 - 7 + "BYE Lost\r\n".len() as u64));
}

/// Two relays in a row with TLS between them: every octet goes through OpenSSL in both roles, in both directions at once.
#[test]
fn both_directions_at_once_over_tls() {
    const LEN: usize = 2 << 20;
    let Pem { certificate, private_key, dir: _dir, .. } = pem();
    let acceptor = Acceptor::load(&certificate, &private_key).unwrap();
    let connector = Connector::load("localhost", Some(&certificate)).unwrap();
    let (client, first_in) = pair(true);
    let (first_out, second_in) = pair(true);
    let (second_out, server) = pair(true);
    let (stop_read, _stop) = stop().unwrap();
    let relay = |plain: TcpStream, tls: TcpStream, over: Result<Acceptor, Connector>| {
        let stop = stop_read.try_clone().unwrap();
        thread::spawn(move || {
            let until = Until { deadline: Instant::now() + LONG, stop: stop.as_fd() };
            let (plain, tls) = (Stream::new(plain).unwrap(), Stream::new(tls).unwrap());
            let (client, server) = match over {
                Ok(acceptor) => (acceptor.accept(tls, until).unwrap(), plain),
                Err(connector) => (plain, connector.connect(tls, until).unwrap()),
            };
            let settings = Settings {
                login_deadline: Instant::now(),
                idle_timeout: LONG,
                client_closed_wait: LONG,
                client_gone_wait: LONG,
                finish_wait: FINISH_WAIT,
                acceptor: None,
                connector: None,
                stop: stop.as_fd(),
                rest_after: REST_AFTER,
            };
            let mut host = Toy { identified: true, ..Toy::default() };
            relay(client, server, &mut Forward { outstanding: true }, &mut host, &settings)
        })
    };
    let relays = [relay(first_in, first_out, Err(connector)), relay(second_out, second_in, Ok(acceptor))];
    let (up, down) = (noise(3, LEN), noise(4, LEN + 3));
    // Nobody closes before all is there: under TLS 1.2 the end of one direction is the end of both.
    let write = |mut to: TcpStream, bytes: Vec<u8>| thread::spawn(move || to.write_all(&bytes).map(|()| to).unwrap());
    let writers = [write(client.try_clone().unwrap(), up.clone()), write(server.try_clone().unwrap(), down.clone())];
    let (at_server, at_client) =
        (reader(server.try_clone().unwrap(), up.len(), 3000), reader(client.try_clone().unwrap(), down.len(), 900));
    assert!(at_server.join().unwrap() == up && at_client.join().unwrap() == down);
    writers.into_iter().for_each(|w| drop(w.join().unwrap()));
    drop(server);
    assert!((&client).read(&mut [0; 100]).unwrap() > 0, "the farewell");
    relays.into_iter().for_each(|relay| drop(relay.join().unwrap()));
}

#[test]
fn a_side_that_is_held_is_heard_in_time() {
    let rig = rig(Lockstep::default(), Options { small: true, ..Options::default() });
    let lines = (0..3000).map(|n| format!("line {n}\n")).collect::<String>().into_bytes();
    let writer = writer(rig.client.try_clone().unwrap(), lines.clone());
    let mut server = rig.server.try_clone().unwrap();
    let echo = thread::spawn(move || {
        for n in 0..3000 {
            assert_eq!(read_line(&mut server), format!("line {n}\n"));
            server.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        // Nothing came before its turn, and nothing comes after.
        assert_eq!(server.read(&mut [0; 10]).unwrap(), 0);
    });
    assert!(reader(rig.client, lines.len() + 1, 10).join().unwrap() == lines);
    writer.join().unwrap();
    echo.join().unwrap();
    assert_eq!(rig.relay.join().unwrap().0.end, End::Orderly("client closed"));
}

#[test]
fn answers_reach_a_client_that_closed_its_direction() {
    let mut rig = rig(Lockstep::default(), Options::default());
    rig.client.write_all(b"QUIT\n").unwrap();
    rig.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_line(&mut rig.server), "QUIT\n");
    rig.server.write_all(b"ok\n").unwrap();
    assert_eq!(read_line(&mut rig.client), "ok\n");
    assert_eq!(rig.server.read(&mut [0]).unwrap(), 0);
    let (report, ..) = rig.relay.join().unwrap();
    assert_eq!(report.end, End::Orderly("client closed"));
    assert!(report.polls < 20, "{} polls", report.polls);
}

#[test]
fn what_the_server_said_last_is_delivered() {
    let rig = rig(Forward { outstanding: false }, Options { small: true, ..Options::default() });
    let words = noise(5, 300_000);
    // The client talks on: closing on its unread bytes must not destroy what it has not read yet.
    let mut client = rig.client.try_clone().unwrap();
    let writer = writer(rig.server.try_clone().unwrap(), words.clone());
    client.write_all(&[b'x'; 20_000]).unwrap_or_default();
    assert!(reader(rig.client, words.len() + 1, 333).join().unwrap() == words);
    writer.join().unwrap();
    drop(client);
    assert_eq!(rig.relay.join().unwrap().0.end, End::Orderly("server closed"));
}

#[test]
fn own_answers_are_bounded() {
    let rig = rig(Lockstep::default(), Options { small: true, ..Options::default() });
    // 4 MB of answers asked for by a client that does not listen yet.
    let asks = b"ECHO\n".repeat(40_000);
    let asked = thread::spawn({
        let mut client = rig.client.try_clone().unwrap();
        move || client.write_all(&asks).unwrap()
    });
    let heard = reader(rig.client.try_clone().unwrap(), 4_000_000, 100_000).join().unwrap();
    assert!(heard.len() == 4_000_000 && heard.iter().all(|&b| b == b'e'));
    asked.join().unwrap();
    drop(rig.client);
    rig.relay.join().unwrap();
}

#[test]
fn tls_starts_in_the_middle_on_both_sides() {
    let Pem { certificate, private_key, dir: _dir, .. } = pem();
    let acceptor = Acceptor::load(&certificate, &private_key).unwrap();
    let connector = Connector::load("localhost", Some(&certificate)).unwrap();
    let trust = Connector::load("localhost", Some(&certificate)).unwrap();
    let mut rig = rig(
        Lockstep::default(),
        Options { acceptor: Some(acceptor.clone()), connector: Some(connector), ..Options::default() },
    );
    rig.client.write_all(b"UP\n").unwrap();
    assert_eq!(read_line(&mut rig.server), "UP\n");
    rig.server.write_all(b"go ahead\n").unwrap();
    let mut server = blocking(|stream, until| acceptor.accept(stream, until), rig.server);
    assert_eq!(read_line(&mut rig.client), "go ahead\n");
    assert_eq!(read_line(&mut rig.client), "server is safe\n");
    rig.client.write_all(b"TLS\n").unwrap();
    assert_eq!(read_line(&mut rig.client), "go ahead\n");
    let mut client = blocking(|stream, until| trust.connect(stream, until), rig.client);
    client.write_all(b"hidden\n").unwrap();
    assert_eq!(read_line(&mut server), "hidden\n");
    server.write_all(b"answer\n").unwrap();
    assert_eq!(read_line(&mut client), "answer\n");
    client.write_all(b"END\n").unwrap();
    assert_eq!(read_line(&mut client), "bye\n");
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "close_notify");
    drop(client);
    assert_eq!(rig.relay.join().unwrap().0.end, End::Orderly("END"));
}

/// A stream that waits in its reads and writes, for the test's side.
struct Blocking(Stream, OwnedFd);

fn blocking(handshake: impl Fn(Stream, Until<'_>) -> Result<Stream, String>, tcp: TcpStream) -> Blocking {
    let (stop_read, stop_write) = stop().unwrap();
    std::mem::forget(stop_write);
    let until = Until { deadline: Instant::now() + LONG, stop: stop_read.as_fd() };
    let stream = handshake(Stream::new(tcp).unwrap(), until).unwrap();
    Blocking(stream, stop_read)
}

impl Blocking {
    fn repeat(&mut self, mut operation: impl FnMut(&mut Stream) -> Outcome) -> std::io::Result<usize> {
        loop {
            match operation(&mut self.0) {
                Outcome::Ready(n) => return Ok(n),
                Outcome::Eof { clean } => {
                    assert!(clean, "closed without close_notify");
                    return Ok(0);
                }
                Outcome::Error(e) => return Err(e),
                Outcome::WouldBlock(need) => {
                    crate::net::wait::wait(
                        &self.0,
                        need,
                        Until { deadline: Instant::now() + LONG, stop: self.1.as_fd() },
                    )
                    .unwrap();
                }
            }
        }
    }
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.repeat(|stream| stream.read(buffer))
    }
}

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.repeat(|stream| stream.write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn plaintext_before_the_handshake_ends_the_session() {
    let Pem { certificate, private_key, dir: _dir, .. } = pem();
    let acceptor = Acceptor::load(&certificate, &private_key).unwrap();
    let mut rig = rig(Lockstep::default(), Options { acceptor: Some(acceptor), ..Options::default() });
    rig.client.write_all(b"TLS\nDELE 1\n").unwrap();
    assert_eq!(read_line(&mut rig.client), "go ahead\n");
    assert_eq!(rig.client.read(&mut [0]).unwrap(), 0);
    assert_eq!(rig.server.read(&mut [0]).unwrap(), 0, "nothing of it reached the server");
    assert_eq!(fault(&rig.relay.join().unwrap().0), "the client sent plaintext before the TLS handshake");
}

#[test]
fn an_unverified_server_is_not_talked_to() {
    let (ours, theirs) = (pem(), pem());
    let connector = Connector::load("localhost", Some(&ours.certificate)).unwrap();
    let acceptor = Acceptor::load(&theirs.certificate, &theirs.private_key).unwrap();
    let mut rig = rig(Lockstep::default(), Options { connector: Some(connector), ..Options::default() });
    rig.client.write_all(b"UP\n").unwrap();
    assert_eq!(read_line(&mut rig.server), "UP\n");
    rig.server.write_all(b"go ahead\n").unwrap();
    let (stop_read, _stop) = stop().unwrap();
    let until = Until { deadline: Instant::now() + LONG, stop: stop_read.as_fd() };
    assert!(acceptor.accept(Stream::new(rig.server).unwrap(), until).is_err());
    assert_eq!(read_line(&mut rig.client), "go ahead\n");
    assert_eq!(read_line(&mut rig.client), "BYE Lost\r\n");
    let (report, ..) = rig.relay.join().unwrap();
    assert!(fault(&report).contains("certificate verify failed"), "{report:?}");
}
