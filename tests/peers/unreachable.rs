//! Servers that a session never gets to.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use native_tls::{Identity, TlsAcceptor};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, listen, socket,
};

use crate::SOON;
use crate::cases::Hears;
use crate::support::preload::shim;
use crate::support::proxy::{program, section};
use crate::support::*;

const KINDS: [Kind; 3] = [Kind::Pop3, Kind::Imap, Kind::Smtp];

/// What a client hears that says nothing.
fn heard(port: u16) -> String {
    let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    let mut all = String::new();
    tcp.read_to_string(&mut all).unwrap();
    all
}

/// What clients hear that say nothing, one of each kind, all at the same time.
fn turned_away(proxy: &Proxy, name: &str) {
    let clients = KINDS
        .map(|kind| TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.endpoint(kind, name, Tls::None).port)).unwrap());
    for (kind, mut tcp) in KINDS.into_iter().zip(clients) {
        tcp.set_read_timeout(Some(SOON)).unwrap();
        let mut all = String::new();
        tcp.read_to_string(&mut all).unwrap();
        assert_eq!(all, Hears::Unreachable.words(kind), "{name}");
    }
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A section with another name for the server.
fn section_to(lab: &Lab, kind: Kind, name: &str, host: &str, port: u16) -> String {
    let text = section(lab, name, Tls::None, Endpoint { kind, port, tls: Tls::None }, "");
    text.replace("upstream = localhost:", &format!("upstream = {host}:"))
}

#[test]
fn a_server_whose_port_is_closed() {
    let lab = Lab::new();
    let port = closed_port();
    let sections: String = KINDS.map(|kind| section_to(&lab, kind, "a", "127.0.0.1", port)).concat();
    let proxy = Proxy::with(&lab, "", &sections);
    turned_away(&proxy, "a");
    let why = format!(
        "server 127.0.0.1:{port} cannot be reached: 127.0.0.1:{port}: Connection refused (os error 111) (address 1 of 1)"
    );
    proxy.tells(&why, 3);
}

#[test]
fn a_server_that_does_not_answer_at_all_ends_by_the_login_timeout() {
    // A queue of clients that is full: whoever comes now is not answered, as by a firewall.
    let full = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(full.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&full, Backlog::new(0).unwrap()).unwrap();
    let at: SockaddrIn = getsockname(full.as_raw_fd()).unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let client = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
            let _ = connect(client.as_raw_fd(), &at);
            client
        })
        .collect();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, at.port()));
    wait_until("the queue is full", SOON, || TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_err());

    let lab = Lab::new();
    let sections: String = KINDS.map(|kind| section_to(&lab, kind, "a", "127.0.0.1", at.port())).concat();
    let proxy = Proxy::with(&lab, "login_timeout = 1s\n", &sections);
    turned_away(&proxy, "a");
    let why = format!("cannot be reached: {address}: no answer (address 1 of 1)");
    proxy.tells(&why, 3);
    drop(waiting);
}

#[test]
fn a_name_that_does_not_resolve_and_one_that_takes_too_long() {
    let lab = Lab::new();
    let mut command = program();
    command.env("LD_PRELOAD", shim(&lab, "names"));
    // Whoever asks the port that the slow name leads to is answered: the name alone takes too long.
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut sections = section_to(&lab, Kind::Pop3, "never", "never.invalid", port);
    for kind in KINDS {
        for (name, host) in [("missing", "missing.invalid"), ("slow", "slow.invalid")] {
            sections += &section_to(&lab, kind, name, host, port);
        }
    }
    let proxy = Proxy::by(&lab, "login_timeout = 1s\nshutdown_grace = 0s\n", &sections, command);
    for (name, why) in [
        ("missing", "missing.invalid cannot be resolved: "),
        ("slow", "slow.invalid was not resolved in time: timed out (look at the name servers in /etc/resolv.conf)"),
    ] {
        turned_away(&proxy, name);
        proxy.tells(&format!("cannot be reached: {why}"), 3);
    }
    // Nothing can interrupt the question; it does not keep the program from ending either.
    let _client =
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.endpoint(Kind::Pop3, "never", Tls::None).port)).unwrap();
    wait_until("the client is taken in", SOON, || proxy.log().matches(" opened ").count() == 7);
    let log = proxy.stop();
    assert!(log.contains("1 session did not end in time"), "{log}");
}

/// Greets where TLS is still to come, shakes hands, and listens.
fn secured(listener: TcpListener, starts: bool, acceptor: &TlsAcceptor) {
    for tcp in listener.incoming().take(1).map_while(Result::ok) {
        if starts {
            let mut lines = BufReader::new(tcp.try_clone().unwrap());
            for says in ["220 toy\r\n", "250-toy\r\n250 STARTTLS\r\n"] {
                (&tcp).write_all(says.as_bytes()).unwrap();
                lines.read_line(&mut String::new()).unwrap();
            }
            (&tcp).write_all(b"220 go\r\n").unwrap();
        }
        if let Ok(mut tls) = acceptor.accept(tcp) {
            let _ = tls.read_to_end(&mut Vec::new());
        }
    }
}

/// What tests/refusals.rs tries with POP3 and IMAP.
#[test]
fn smtp_servers_with_a_certificate_that_does_not_hold() {
    let lab = Lab::new();
    const UNKNOWN: &str = "unable to get local issuer certificate (where the server is the right one, name a file with its authority in upstream_ca)";
    for (certificate, trusted, why) in [
        (lab.wrong_name(), true, "hostname mismatch (the certificate is for another name than upstream's)"),
        (lab.expired(), true, "certificate has expired"),
        (lab.certificate(), false, UNKNOWN),
    ] {
        let read = |file| fs::read(file).unwrap();
        let identity = Identity::from_pkcs8(&read(certificate.chain), &read(certificate.key)).unwrap();
        let acceptor = TlsAcceptor::new(identity).unwrap();
        for (tls, hears, place) in [
            (Tls::Implicit, Hears::Unreachable, "cannot be reached: TLS handshake failed"),
            (Tls::StartTls, Hears::Lost, "reason=TLS handshake with the server failed"),
        ] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let upstream = Endpoint { kind: Kind::Smtp, port: listener.local_addr().unwrap().port(), tls };
            let trust = |line: &&str| trusted || !line.starts_with("upstream_ca");
            let text = section(&lab, "a", Tls::None, upstream, "");
            let text: String = text.lines().filter(trust).flat_map(|line| [line, "\n"]).collect();
            let proxy = Proxy::start(&lab, &text);
            thread::scope(|scope| {
                scope.spawn(|| secured(listener, tls == Tls::StartTls, &acceptor));
                let at = proxy.endpoint(Kind::Smtp, "a", Tls::None);
                assert_eq!(heard(at.port), hears.words(Kind::Smtp));
            });
            proxy.tells(&format!("{place}: certificate verify failed: {why}"), 1);
        }
    }
}
