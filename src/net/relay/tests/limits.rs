//! Limits, and the ends that they make.

use super::*;

#[test]
fn limits_end_a_session_with_a_farewell() {
    let short = Duration::from_millis(30);
    let cases = [
        (Options { login: short, identified: false, ..Options::default() }, "login_timeout"),
        (Options { idle: short, ..Options::default() }, "idle_timeout"),
    ];
    for (options, why) in cases {
        let mut rig = rig(Forward { outstanding: false }, options);
        assert_eq!(read_line(&mut rig.client), "BYE Timeout\r\n");
        assert_eq!(rig.client.read(&mut [0]).unwrap(), 0);
        drop(rig.client);
        let (report, ..) = rig.relay.join().unwrap();
        assert!(fault(&report).contains(why) && report.polls < 20, "{report:?}");
    }
}

#[test]
fn a_client_that_never_listens_is_left() {
    let rig = rig(
        Forward { outstanding: false },
        Options { small: true, idle: Duration::from_millis(100), ..Options::default() },
    );
    let mut server = rig.server;
    // Until the relay closes; how much it takes before is its own affair.
    while server.write(&[b'x'; 8192]).is_ok() {}
    let (report, ..) = rig.relay.join().unwrap();
    assert!(fault(&report).contains("idle_timeout"), "{report:?}");
    assert!(report.polls < 2000, "{} polls", report.polls);
    drop(rig.client);
}

#[test]
fn what_a_client_sends_that_never_listens_is_not_swallowed_for_ever() {
    let rig = rig(
        Forward { outstanding: false },
        Options { small: true, idle: Duration::from_millis(500), ..Options::default() },
    );
    let (mut client, mut server) = (rig.client, rig.server);
    let full = thread::spawn(move || while server.write(&[b'x'; 8192]).is_ok() {});
    let mut sent = 0;
    while let Ok(n) = client.write(&[b'y'; 64 << 10]) {
        sent += n;
    }
    let (report, ..) = rig.relay.join().unwrap();
    assert!(fault(&report).contains("idle_timeout"), "{report:?}");
    assert!(sent < 16 << 20, "{sent} octets");
    full.join().unwrap();
}

/// The client always has more to say, and is never waited for.
struct Endless {
    client: TcpStream,
    until: Instant,
    ran_out: Arc<AtomicBool>,
}

impl Protocol for Endless {
    fn input(&mut self, _: Side, bytes: &[u8], _: &mut dyn Host) -> usize {
        if Instant::now() < self.until {
            self.client.write_all(bytes).unwrap();
        } else {
            self.ran_out.store(true, Ordering::Relaxed);
        }
        bytes.len()
    }
    fn eof(&mut self, _: Side, _: &mut dyn Host) {}
    fn tls_started(&mut self, _: Side, _: &mut dyn Host) {}
    fn outstanding(&self) -> bool {
        false
    }
    fn farewell(&self, _: Farewell) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn limits_hold_for_a_session_that_never_rests() {
    let (mut client, relay_client) = pair(false);
    let (server, relay_server) = pair(false);
    let (stop_read, _stop_write) = stop().unwrap();
    client.write_all(&vec![b'x'; 2 * INPUT_MAX]).unwrap();
    let ran_out = Arc::<AtomicBool>::default();
    let mut endless =
        Endless { client, until: Instant::now() + Duration::from_secs(10), ran_out: Arc::clone(&ran_out) };
    let settings = Settings {
        login_deadline: Instant::now() + Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        client_closed_wait: LONG,
        client_gone_wait: LONG,
        finish_wait: FINISH_WAIT,
        acceptor: None,
        connector: None,
        stop: stop_read.as_fd(),
        rest_after: REST_AFTER,
    };
    let (relay_client, relay_server) = (Stream::new(relay_client).unwrap(), Stream::new(relay_server).unwrap());
    let report = relay(relay_client, relay_server, &mut endless, &mut Toy::default(), &settings);
    assert!(fault(&report).contains("login_timeout"), "{report:?}");
    assert!(!ran_out.load(Ordering::Relaxed), "it ended only when the client fell silent");
    drop(server);
}

#[test]
fn a_dead_client_that_is_held_is_noticed_without_spinning() {
    let rig = rig(Lockstep::default(), Options { gone: Duration::from_millis(200), ..Options::default() });
    let mut client = rig.client;
    // The first line is with the server, which never answers; the rest fills the input and the socket behind it.
    let mut server = rig.server;
    client.write_all(b"first\n").unwrap();
    assert_eq!(read_line(&mut server), "first\n");
    client.write_all(&b"more\n".repeat(2 * INPUT_MAX / 5)).unwrap();
    reset(client);
    let (report, ..) = rig.relay.join().unwrap();
    assert_eq!(fault(&report), "the client went away");
    assert!(report.polls < 50, "{} polls", report.polls);
}

#[test]
fn the_stop_pipe_ends_it_at_once() {
    let mut rig = rig(Forward { outstanding: true }, Options::default());
    rig.server.write_all(b"hello\n").unwrap();
    assert_eq!(read_line(&mut rig.client), "hello\n");
    drop(rig._stop.take());
    assert_eq!(read_line(&mut rig.client), "BYE Shutdown\r\n");
    drop(rig.client);
    let (report, ..) = rig.relay.join().unwrap();
    assert_eq!(fault(&report), "the program is ending");
    assert!(report.polls < 20, "{} polls", report.polls);
}

#[test]
fn a_server_that_breaks_off_is_a_fault_with_a_farewell() {
    let mut rig = rig(Lockstep::default(), Options::default());
    rig.client.write_all(b"ask\n").unwrap();
    assert_eq!(read_line(&mut rig.server), "ask\n");
    rig.server.write_all(b"half an ans").unwrap();
    drop(rig.server);
    assert_eq!(read_line(&mut rig.client), "BYE Lost\r\n");
    drop(rig.client);
    assert_eq!(fault(&rig.relay.join().unwrap().0), "the server closed the connection before it had answered");
}

/// Asks the server for `more` while nobody speaks, so often; goes on asking when the client has left, until the server says `that is all`.
struct Errand {
    left: u32,
    client_left: bool,
}

impl Protocol for Errand {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        if from == Side::Client {
            host.send(Side::Server, bytes);
        } else if bytes.ends_with(b"that is all\n") {
            host.end(End::Orderly("done"));
        }
        bytes.len()
    }
    fn eof(&mut self, from: Side, _: &mut dyn Host) {
        self.client_left |= from == Side::Client;
    }
    fn tls_started(&mut self, _: Side, _: &mut dyn Host) {}
    fn outstanding(&self) -> bool {
        true
    }
    fn finishing(&self) -> bool {
        self.client_left
    }
    fn rest(&self) -> Option<Duration> {
        (self.left > 0).then_some(Duration::from_millis(20))
    }
    fn rested(&mut self, host: &mut dyn Host) {
        self.left -= 1;
        host.send(Side::Server, b"more\n");
    }
    fn farewell(&self, _: Farewell) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn a_protocol_is_told_that_nobody_speaks_and_no_more_often_than_it_wants() {
    let mut rig = rig(Errand { left: 2, client_left: false }, Options::default());
    assert_eq!(read_line(&mut rig.server), "more\n");
    assert_eq!(read_line(&mut rig.server), "more\n");
    rig.client.write_all(b"hello\n").unwrap();
    assert_eq!(read_line(&mut rig.server), "hello\n");
    rig.server.write_all(b"that is all\n").unwrap();
    let (report, ..) = rig.relay.join().unwrap();
    assert!(matches!(report.end, End::Orderly("done")));
    assert!(report.polls < 30, "it spins: {}", report.polls);
}

#[test]
fn what_is_due_is_fetched_when_the_client_is_gone_within_a_limit_of_its_own() {
    for how in ["closed", "reset"] {
        // The other limits would end it at once.
        let options = Options { gone: Duration::from_secs(1), ..Options::default() };
        let mut rig = rig(Errand { left: 75, client_left: false }, options.clone());
        let Rig { client, server, .. } = &mut rig;
        if how == "reset" {
            reset(client.try_clone().unwrap());
        }
        drop(std::mem::replace(client, pair(false).0));
        // It is silent for no longer than `client_closed_wait`, and takes longer than that in all.
        for _ in 0..75 {
            assert_eq!(read_line(server), "more\n", "{how}");
            server.write_all(b"there\n").unwrap();
        }
        server.write_all(b"that is all\n").unwrap();
        let (report, ..) = rig.relay.join().unwrap();
        assert!(matches!(report.end, End::Orderly("done")), "{how}: {:?}", report.end);
    }
    let options = Options { finish: Duration::from_millis(100), ..Options::default() };
    let rig = self::rig(Errand { left: 0, client_left: false }, options);
    drop(rig.client);
    let (report, ..) = rig.relay.join().unwrap();
    assert_eq!(fault(&report), "the client left, and the server did not give in time what was due to the archive");
}

#[test]
fn who_takes_nothing_is_ended_while_he_talks_on() {
    let idle = Duration::from_secs(1);
    let rig = rig(Forward { outstanding: false }, Options { small: true, idle, ..Options::default() });
    let mut flooding = rig.server.try_clone().unwrap();
    let flood = thread::spawn(move || while flooding.write_all(&[b'x'; 10_000]).is_ok() {});
    let mut listening = rig.server.try_clone().unwrap();
    let listen = thread::spawn(move || while matches!(listening.read(&mut [0; 1000]), Ok(1..)) {});
    let over = Arc::new(AtomicBool::new(false));
    let talk = thread::spawn({
        let (over, mut client) = (Arc::clone(&over), rig.client.try_clone().unwrap());
        // Well above the pace.
        move || {
            while !over.load(Ordering::Relaxed) {
                let _ = client.write_all(&[b'y'; 100]);
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let (report, ..) = rig.relay.join().unwrap();
    over.store(true, Ordering::Relaxed);
    assert_eq!(fault(&report), "the client took nothing, or next to nothing, for 1 s (idle_timeout)");
    drop((rig.client, rig.server));
    [flood, listen, talk].into_iter().for_each(|thread| thread.join().unwrap());
}
