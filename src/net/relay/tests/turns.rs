//! Whose turn it is in a dialogue, and who speaks all the same.

use super::*;

/// The relay takes it to be the server's turn, and waits for the server alone: never for longer than a moment.
#[test]
fn who_speaks_out_of_turn_is_heard() {
    let mut rig = rig(Forward { outstanding: true }, Options::default());
    let octet = &mut [0];
    for n in 0..300_u16 {
        rig.client.write_all(b"c").unwrap();
        rig.server.read_exact(octet).unwrap();
        if n % 100 == 99 {
            rig.server.write_all(b"s").unwrap();
            rig.client.read_exact(octet).unwrap();
        }
    }
    drop(rig.server);
    let (report, ..) = rig.relay.join().unwrap();
    assert!(report.polls < 1500, "it spins: {}", report.polls);
}

/// The read that waits does so once: not for the rest of a record, of which the octets come one by one and the last never.
#[test]
fn half_a_record_keeps_nobody_from_anything() {
    let Pem { certificate, private_key, dir: _dir, .. } = pem();
    let acceptor = Acceptor::load(&certificate, &private_key).unwrap();
    let trust = Connector::load("localhost", Some(&certificate)).unwrap();
    let mut rig = rig(Lockstep::default(), Options { acceptor: Some(acceptor), ..Options::default() });
    rig.client.write_all(b"TLS\n").unwrap();
    assert_eq!(read_line(&mut rig.client), "go ahead\n");
    let (ours, theirs) = pair(false);
    let line = ours.try_clone().unwrap();
    let (mut down, mut up) = (rig.client.try_clone().unwrap(), rig.client);
    // Each write is a segment.
    up.set_nodelay(true).unwrap();
    let mut back = theirs.try_clone().unwrap();
    let downwards = thread::spawn(move || std::io::copy(&mut down, &mut back).unwrap());
    let upwards = thread::spawn(move || {
        let (mut from, mut octets) = (theirs, [0; 2000]);
        loop {
            let count = from.read(&mut octets).unwrap();
            if count == 0 {
                return up;
            }
            // The header of a record says more than there is.
            let (first, rest) = octets[..count].split_at(count / 2);
            up.write_all(first).unwrap();
            thread::yield_now();
            up.write_all(rest).unwrap();
        }
    });
    let mut client = blocking(|stream, until| trust.connect(stream, until), ours);
    for _ in 0..100 {
        client.write_all(b"line\n").unwrap();
        assert_eq!(read_line(&mut rig.server), "line\n");
        rig.server.write_all(b"answer\n").unwrap();
        assert_eq!(read_line(&mut client), "answer\n");
    }
    line.shutdown(Shutdown::Write).unwrap();
    let mut up = upwards.join().unwrap();
    up.write_all(&[23, 3, 3, 64, 0]).unwrap();
    for _ in 0..50 {
        up.write_all(b"x").unwrap();
        rig.server.write_all(b"out of turn\n").unwrap();
        assert_eq!(read_line(&mut client), "out of turn\n");
    }
    drop(rig._stop);
    let begun = Instant::now();
    // As many as leave the record unfinished, if they are wanted so long.
    for _ in 0..16_000 {
        if rig.relay.is_finished() || up.write_all(b"x").is_err() {
            break;
        }
    }
    let (report, ..) = rig.relay.join().unwrap();
    assert_eq!(fault(&report), "the program is ending");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(up);
    downwards.join().unwrap();
}
