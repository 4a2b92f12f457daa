//! What stays of a login in the memory of the running program: nothing, as soon as the session is idle.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use native_tls::{Certificate, TlsConnector};
use support::logins::{Client, Login, Temper, connect, logins, secret, toy};
use support::proxy::section;
use support::{Endpoint, Kind, Lab, Proxy, Tls, memory, wait_until};

/// Within which what was said has to be gone; longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

const KINDS: [Kind; 3] = [Kind::Pop3, Kind::Imap, Kind::Smtp];
const USER: &str = "ann@example.org";

/// The proxies, before toys of each temper.
fn start(lab: &Lab, listen: Tls, upstream: Tls) -> Proxy {
    start_with(lab, "", listen, upstream)
}

/// The same with lines for `[mailstore]`.
fn start_with(lab: &Lab, shared: &str, listen: Tls, upstream: Tls) -> Proxy {
    let mut sections = String::new();
    for temper in [Temper::Accepts, Temper::Echoes] {
        for kind in KINDS {
            let certificate = lab.certificate();
            let tls = (upstream == Tls::Implicit).then_some(&certificate);
            let upstream = Endpoint { kind, port: toy(kind, temper, "", tls), tls: upstream };
            sections += &section(lab, name(temper), listen, upstream, "");
        }
    }
    Proxy::with(lab, shared, &sections)
}

fn name(temper: Temper) -> &'static str {
    if temper == Temper::Accepts { "accepts" } else { "echoes" }
}

/// Whether we may look, and see something where there is something: whose session it is.
fn can_look(proxy: &Proxy, mut client: Client<impl Read + Write>) -> bool {
    if let Err(e) = memory::find(proxy.pid(), USER) {
        eprintln!("skipped: another process's memory cannot be read ({e}): only root may");
        return false;
    }
    for line in &logins(Kind::Pop3, USER, "x")[0].lines {
        client.say(line);
    }
    let seen = || !memory::find(proxy.pid(), USER).unwrap().is_empty();
    wait_until("the search finds what is there", PATIENCE, seen);
    true
}

/// Logs in, and looks for the secret as long as the session is open.
fn log_in_and_look(proxy: &Proxy, mut client: Client<impl Read + Write>, temper: Temper, login: &Login, secret: &str) {
    let reply = login.lines.iter().fold(String::new(), |_, line| client.say(line));
    let verdict: &[&str] = match temper {
        Temper::Accepts => &["+OK", "a OK", "235"],
        _ => &["-ERR", "a NO", "535"],
    };
    assert!(verdict.iter().any(|start| reply.starts_with(start)), "{}: {reply}", login.name);
    // The reply reaches the client a moment before the session has cleared up behind itself.
    let end = Instant::now() + PATIENCE;
    loop {
        let found = memory::find(proxy.pid(), secret).unwrap();
        if found.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "{temper:?} {}: {secret} stays in memory: {found:#?}", login.name);
    }
}

#[test]
fn a_password_is_gone_from_memory_when_the_login_is_done() {
    let lab = Lab::new();
    let proxy = start(&lab, Tls::None, Tls::None);
    let client = |kind, temper| Client::new(kind, connect(proxy.endpoint(kind, name(temper), Tls::None).port));
    if !can_look(&proxy, client(Kind::Pop3, Temper::Accepts)) {
        return;
    }
    let mut number = 0;
    for (temper, kind) in
        [Temper::Accepts, Temper::Echoes].into_iter().flat_map(|temper| KINDS.map(|kind| (temper, kind)))
    {
        for way in 0..logins(kind, "", "").len() {
            number += 1;
            let secret = secret(number);
            log_in_and_look(&proxy, client(kind, temper), temper, &logins(kind, USER, &secret)[way], &secret);
        }
    }
}

/// A password that is learnt goes through a queue, another thread and a hash: it is nowhere either once its line is written, and none stays that was refused.
#[test]
fn a_password_that_was_learnt_is_gone_from_memory_too() {
    let lab = Lab::new();
    let file = lab.folder("logins").join("passwd");
    let proxy = start_with(&lab, &format!("learn_logins = {}\n", file.display()), Tls::None, Tls::None);
    let client = |kind, temper| Client::new(kind, connect(proxy.endpoint(kind, name(temper), Tls::None).port));
    if !can_look(&proxy, client(Kind::Pop3, Temper::Accepts)) {
        return;
    }
    let mut number = 2000;
    for (temper, kind) in
        [Temper::Accepts, Temper::Echoes].into_iter().flat_map(|temper| KINDS.map(|kind| (temper, kind)))
    {
        for way in 0..logins(kind, "", "").len() {
            number += 1;
            let (user, secret) = (format!("u{number}@example.org"), secret(number));
            let login = &logins(kind, &user, &secret)[way];
            log_in_and_look(&proxy, client(kind, temper), temper, login, &secret);
            let has_one =
                !["CRAM-MD5", "XOAUTH2", "OAUTHBEARER", "APOP"].iter().any(|other| login.name.starts_with(other));
            let is_there = || std::fs::read_to_string(&file).unwrap_or_default().contains(&format!("{user}:"));
            if has_one && temper == Temper::Accepts {
                wait_until("it is learnt", PATIENCE, is_there);
                // A second time: then it is compared with what is there.
                log_in_and_look(&proxy, client(kind, temper), temper, login, &secret);
            }
            assert_eq!(is_there(), has_one && temper == Temper::Accepts, "{}", login.name);
        }
    }
}

/// Between us and the client OpenSSL has its own memory for what it decrypts, of which we see nothing.
#[test]
fn a_password_is_gone_from_memory_also_where_it_came_by_tls() {
    let lab = Lab::new();
    let ca = Certificate::from_pem(&std::fs::read(lab.ca()).unwrap()).unwrap();
    let connector = TlsConnector::builder().disable_built_in_roots(true).add_root_certificate(ca).build().unwrap();
    let mut number = 1000;
    for (listen, upstream) in [(Tls::Implicit, Tls::None), (Tls::StartTls, Tls::None), (Tls::Implicit, Tls::Implicit)] {
        let proxy = start(&lab, listen, upstream);
        let client = |kind, temper| {
            let mut stream = connect(proxy.endpoint(kind, name(temper), listen).port);
            if listen == Tls::StartTls {
                ask_for_tls(kind, &mut stream);
            }
            let stream = connector.connect("localhost", stream).unwrap();
            if listen == Tls::StartTls { Client::greeted(kind, stream) } else { Client::new(kind, stream) }
        };
        if !can_look(&proxy, client(Kind::Pop3, Temper::Accepts)) {
            return;
        }
        for (kind, way) in [
            (Kind::Pop3, "USER and PASS"),
            (Kind::Pop3, "OAUTHBEARER"),
            (Kind::Imap, "LOGIN with quotes"),
            (Kind::Imap, "LOGIN with literals"),
            (Kind::Smtp, "PLAIN"),
            (Kind::Smtp, "LOGIN with its initial response"),
        ] {
            number += 1;
            let (temper, secret) = (if number % 2 == 0 { Temper::Accepts } else { Temper::Echoes }, secret(number));
            let logins = logins(kind, USER, &secret);
            let login = logins.iter().find(|login| login.name == way).unwrap();
            log_in_and_look(&proxy, client(kind, temper), temper, login, &secret);
        }
    }
}

fn ask_for_tls(kind: Kind, stream: &mut TcpStream) {
    let ask: &[u8] = match kind {
        Kind::Pop3 => b"STLS\r\n",
        Kind::Imap => b"a STARTTLS\r\n",
        Kind::Smtp => b"STARTTLS\r\n",
    };
    stream.write_all(ask).unwrap();
    // Octet by octet, up to the end of the reply: what follows is not for us.
    let (mut octet, mut lines) = ([0], 0);
    while lines < 2 {
        stream.read_exact(&mut octet).unwrap();
        lines += usize::from(octet == *b"\n");
    }
}
