//! Attacks on TLS: plaintext around a handshake from either side, capabilities and answers that the network changed, certificates that do not
//! hold, old protocols, connections cut in the middle of a message. No credential crosses in the clear, nothing said in plaintext counts, and
//! nothing half is kept.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use base64::prelude::{BASE64_STANDARD, Engine};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use support::peer::{Answers, Between, GREETING, Peer, Towards, ends, said_at_once};
use support::proxy::section;
use support::*;

const ANN: &str = "ann@example.org";
const KINDS: [Kind; 3] = [Kind::Pop3, Kind::Imap, Kind::Smtp];

fn peers(lab: &Lab, tls: Tls) -> [Peer; 3] {
    KINDS.map(|kind| Peer::answering(lab, kind, tls, vec![]))
}

/// A client of this proxy's section `a`, before any STARTTLS of its own.
fn plain(lab: &Lab, proxy: &Proxy, kind: Kind) -> Wire {
    Wire::connect(lab, proxy.endpoint(kind, "a", Tls::None))
}

fn say(wire: &mut Wire, kind: Kind, command: &str) -> String {
    match kind {
        Kind::Pop3 => wire.pop3(command),
        Kind::Smtp => wire.smtp(command),
        Kind::Imap => String::from_utf8_lossy(&wire.imap(command)).into_owned(),
    }
}

fn starttls(kind: Kind) -> &'static str {
    match kind {
        Kind::Pop3 => "STLS",
        Kind::Imap => "x STARTTLS",
        Kind::Smtp => "STARTTLS",
    }
}

#[test]
fn a_client_that_sends_plaintext_behind_starttls_is_cut_off_wherever_the_text_is_split() {
    let lab = Lab::new();
    let peers = peers(&lab, Tls::None);
    let sections: Vec<_> =
        peers.iter().map(|peer| section(&lab, "a", Tls::StartTls, peer.endpoint(Tls::None), "")).collect();
    let proxy = Proxy::start(&lab, &sections.concat());
    let mut sessions = 0;
    for kind in KINDS {
        let injected = match kind {
            Kind::Pop3 => "NOOP injected",
            Kind::Imap => "b NOOP injected",
            Kind::Smtp => "MAIL FROM:<injected@example.org>",
        };
        let command = starttls(kind);
        // In the same segment: a whole line, half a line, one octet.
        for behind in [format!("{injected}\r\n"), injected[..4].to_owned(), "\r".to_owned()] {
            let mut wire = plain(&lab, &proxy, kind);
            wire.send(format!("{command}\r\n{behind}").as_bytes());
            wire.rest();
            drop(wire);
            sessions += 1;
            let reason = &ends(&proxy, sessions)[sessions - 1];
            assert_eq!(reason, "the client sent plaintext before the TLS handshake", "{kind:?} {behind:?}");
        }
        // In a later one, when our OK has been read: the handshake takes it for what it is not.
        let mut wire = plain(&lab, &proxy, kind);
        wire.send(format!("{command}\r\n").as_bytes());
        wire.line();
        wire.send(format!("{injected}\r\n").as_bytes());
        wire.rest();
        drop(wire);
        sessions += 1;
        let reason = &ends(&proxy, sessions)[sessions - 1];
        assert!(reason.starts_with("TLS handshake with the client failed: "), "{kind:?}: {reason}");
    }
    for peer in &peers {
        assert!(!peer.heard().contains("injected"), "{}", peer.heard());
    }
    proxy.spool().holds(&[]);
}

#[test]
fn what_a_client_said_in_plaintext_does_not_count_under_tls() {
    let lab = Lab::new();
    let peers = peers(&lab, Tls::None);
    let sections: Vec<_> =
        peers.iter().map(|peer| section(&lab, "a", Tls::StartTls, peer.endpoint(Tls::None), "")).collect();
    let proxy = Proxy::start(&lab, &sections.concat());

    // The envelope and the EHLO of before are gone; the server is told so too.
    let mut smtp = plain(&lab, &proxy, Kind::Smtp);
    for line in ["EHLO before.example.org", "MAIL FROM:<before@example.org>", "RCPT TO:<bob@example.org>"] {
        assert!(smtp.smtp(line).starts_with("250"));
    }
    smtp.smtp("STARTTLS");
    let mut smtp = smtp.secure(&lab);
    for line in ["MAIL FROM:<after@example.org>", "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBw"] {
        assert!(smtp.smtp(line).starts_with("503 "), "{line}");
    }
    let offered = smtp.smtp("EHLO after.example.org");
    assert!(offered.contains("AUTH") && !offered.contains("STARTTLS"), "{offered}");
    assert!(smtp.smtp("STARTTLS").starts_with("503 "), "a second STARTTLS");
    smtp.login(Kind::Smtp, ANN);
    assert!(smtp.smtp("STARTTLS").starts_with("503 "), "STARTTLS behind the login");
    assert!(smtp.smtp("DATA").starts_with("354"));
    smtp.send(b"Subject: under TLS\r\n\r\n.\r\n");
    assert!(smtp.smtp_reply().starts_with(b"250"));
    smtp.smtp("QUIT");
    assert!(peers[2].heard().contains("\r\nRSET\r\nEHLO after"), "{}", peers[2].heard());

    // A name given in plaintext is nobody's, and there is no login without a name.
    let mut pop3 = plain(&lab, &proxy, Kind::Pop3);
    assert!(pop3.pop3(&format!("USER {ANN}")).starts_with("-ERR"));
    pop3.pop3("STLS");
    let mut pop3 = pop3.secure(&lab);
    assert!(pop3.pop3("STLS").starts_with("-ERR"), "a second STLS");
    assert!(pop3.pop3("PASS x").starts_with("-ERR"), "a password without a name");

    let mut imap = plain(&lab, &proxy, Kind::Imap);
    assert!(String::from_utf8_lossy(&imap.imap("CAPABILITY")).contains(" STARTTLS LOGINDISABLED"));
    assert!(imap.imap(&format!("LOGIN {ANN} {PASSWORD}")).starts_with(b"t2 NO [PRIVACYREQUIRED]"));
    imap.imap_ok("STARTTLS");
    let mut imap = imap.secure(&lab);
    assert!(String::from_utf8_lossy(&imap.imap("STARTTLS")).contains(" BAD "), "a second STARTTLS");
    assert!(!String::from_utf8_lossy(&imap.imap("CAPABILITY")).contains("STARTTLS"));
    imap.login(Kind::Imap, ANN);
    assert!(String::from_utf8_lossy(&imap.imap("STARTTLS")).contains(" BAD "), "STARTTLS behind the login");
    imap.imap_ok("LOGOUT");
    // Only the one that logged in and sent has anything.
    proxy.spool().holds(&[spool::sent(ANN, b"Subject: under TLS\r\n\r\n")]);
}

/// A client that does not wait for anything.
fn hasty(kind: Kind) -> Vec<u8> {
    let plain = BASE64_STANDARD.encode(format!("\0{ANN}\0{PASSWORD}"));
    match kind {
        Kind::Pop3 => format!("USER {ANN}\r\nPASS {PASSWORD}\r\n"),
        Kind::Imap => format!("a LOGIN {ANN} {PASSWORD}\r\nb AUTHENTICATE PLAIN {plain}\r\n"),
        Kind::Smtp => format!("EHLO me\r\nAUTH PLAIN {plain}\r\n"),
    }
    .into_bytes()
}

/// Fails where anybody on this wire could read the password, in whatever form it is sent.
#[track_caller]
fn no_password_in(seen: &[u8]) {
    let text = String::from_utf8_lossy(seen);
    for part in
        [PASSWORD, &BASE64_STANDARD.encode(PASSWORD), &BASE64_STANDARD.encode(format!("\0{ANN}\0{PASSWORD}"))[..]]
    {
        assert!(!text.contains(part), "the password crossed in the clear:\n{text}");
    }
    for verb in ["USER ", "PASS ", "LOGIN ", "AUTH ", "AUTHENTICATE "] {
        let told = text.lines().any(|line| line.starts_with(verb) || line.contains(&format!(" {verb}ann")));
        assert!(!told, "a login was tried in the clear ({verb}):\n{text}");
    }
}

#[test]
fn a_server_that_talks_on_around_its_ok_to_starttls_is_left_and_nobody_hears_what_it_said() {
    let lab = Lab::new();
    // Before its OK, in the greeting's own segment; behind it in the same segment, whole and half; behind it, when the handshake has begun.
    let ok = |kind: Kind| match kind {
        Kind::Pop3 => "+OK go\r\n",
        Kind::Imap => "MAILSTORE1 OK go\r\n",
        Kind::Smtp => "220 go\r\n",
    };
    let cases: [(Kind, &[&str], &str); 14] = [
        (Kind::Pop3, &["+OK hi\r\n+OK injected\r\n", "+OK go\r\n"], "TLS handshake with the server failed"),
        (Kind::Pop3, &["+OK hi\r\n", "+OK go\r\n+OK injected\r\n"], "the server sent plaintext"),
        (Kind::Pop3, &["+OK hi\r\n", "+OK go\r\n+OK inj"], "the server sent plaintext"),
        (Kind::Pop3, &["+OK hi\r\n", "+OK go\r\n", "+OK injected\r\n"], "TLS handshake with the server failed"),
        (
            Kind::Imap,
            &["* OK hi\r\nMAILSTORE1 OK injected\r\n", "MAILSTORE1 OK go\r\n"],
            "TLS handshake with the server failed",
        ),
        (
            Kind::Imap,
            &["* OK hi\r\n* OK injected\r\n* CAPABILITY IMAP4rev1 injected\r\n", "MAILSTORE1 OK go\r\n* OK in"],
            "the server sent plaintext",
        ),
        (
            Kind::Imap,
            &["* OK hi\r\n* PREAUTH injected\r\n", "MAILSTORE1 OK go\r\n* PREAUTH injected\r\n"],
            "the server sent plaintext",
        ),
        (Kind::Imap, &["* PREAUTH injected\r\n", "MAILSTORE1 OK go\r\n"], "the server greets with PREAUTH"),
        (
            Kind::Imap,
            &["* OK hi\r\n", "MAILSTORE1 OK go\r\n", "* CAPABILITY injected\r\n"],
            "TLS handshake with the server failed",
        ),
        (Kind::Imap, &["* OK hi\r\n", "X OK injected\r\n"], "upstream_tls = starttls, but the server answers"),
        (
            Kind::Smtp,
            &["220 hi\r\n250 injected STARTTLS\r\n", "250 STARTTLS\r\n"],
            "the server does not offer STARTTLS",
        ),
        (
            Kind::Smtp,
            &["220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n220 injected\r\n", "220 go\r\n"],
            "TLS handshake with the server failed",
        ),
        (
            Kind::Smtp,
            &["220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n250-injected\r\n250 AUTH PLAIN\r\n"],
            "the server sent plaintext",
        ),
        (
            Kind::Smtp,
            &["220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n", "250 injected\r\n"],
            "TLS handshake with the server failed",
        ),
    ];
    let mut sections = String::new();
    let mut peers = Vec::new();
    for (number, (kind, says, _)) in cases.iter().enumerate() {
        let (says, ok) = (says.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), ok(*kind));
        let peer = Peer::start(*kind, move |talk| {
            for (at, text) in says.iter().enumerate() {
                match at.checked_sub(1).map(|before| &says[before]) {
                    None => {}
                    // Behind its OK comes the first flight of a handshake.
                    Some(before) if before == ok => talk.wait()?,
                    Some(_) => drop(talk.line()?),
                }
                talk.say(text)?;
            }
            talk.rest()
        });
        sections += &section(&lab, &format!("n{number}"), Tls::None, peer.endpoint(Tls::StartTls), "");
        peers.push(peer);
    }
    let proxy = Proxy::start(&lab, &sections);
    for (number, (kind, says, reason)) in cases.into_iter().enumerate() {
        let heard = said_at_once(proxy.endpoint(kind, &format!("n{number}"), Tls::None), &hasty(kind));
        assert!(!heard.contains("injected") && !heard.contains("hi\r\n"), "{says:?}: {heard}");
        let last = &ends(&proxy, number + 1)[number];
        assert!(last.starts_with(reason), "{says:?}: {last}");
        no_password_in(peers[number].heard().as_bytes());
    }
    assert!(!proxy.log().contains(" login user="));
    proxy.spool().holds(&[]);
}

#[test]
fn a_network_that_strips_starttls_gets_no_password_and_one_that_only_listens_sees_none() {
    let lab = Lab::new();
    // What the network makes of the server's lines; the name tells it.
    let strip: [(&str, &[(&str, &str)]); 6] = [
        ("listens", &[]),
        ("offer", &[("250-STARTTLS\r\n", ""), (" STARTTLS", ""), ("STLS\r\n", "")]),
        ("refused", &[("+OK go", "-ERR no"), ("MAILSTORE1 OK", "MAILSTORE1 NO"), ("220 go", "454 no")]),
        ("unknown", &[("+OK go", "-ERR what?"), ("MAILSTORE1 OK", "MAILSTORE1 BAD"), ("220 go", "502 what?")]),
        (
            "disabled",
            &[
                ("hello\r\n", "[CAPABILITY IMAP4rev1 LOGINDISABLED] hello\r\n"),
                ("+OK go", "-ERR no"),
                ("220 go", "502 no"),
                ("MAILSTORE1 OK", "MAILSTORE1 BAD"),
            ],
        ),
        ("preauth", &[("* OK hello", "* PREAUTH hello"), ("+OK hello", "-ERR hello"), ("220 hello", "554 hello")]),
    ];
    let peers = peers(&lab, Tls::None);
    let mut sections = String::new();
    let mut networks = Vec::new();
    for (name, changes) in strip {
        for (kind, peer) in KINDS.into_iter().zip(&peers) {
            let network = Between::start(peer.endpoint(Tls::None), move |towards, bytes| match towards {
                Towards::Server => bytes.to_vec(),
                Towards::Client => changes.iter().fold(bytes.to_vec(), |all, (from, to)| replaced(&all, from, to)),
            });
            sections += &section(&lab, name, Tls::None, network.endpoint(kind, Tls::StartTls), "");
            networks.push((name, kind, network));
        }
    }
    let proxy = Proxy::start(&lab, &sections);
    for (name, kind, network) in &networks {
        let endpoint = proxy.endpoint(*kind, name, Tls::None);
        // POP3's and IMAP's STARTTLS is not asked about, but said: that the offer is gone changes nothing.
        let untouched = *name == "listens" || *name == "offer" && *kind != Kind::Smtp;
        if untouched {
            Wire::connect(&lab, endpoint).login(*kind, ANN);
        } else {
            let heard = said_at_once(endpoint, &hasty(*kind));
            assert!(
                !heard.contains("OK") && !heard.contains("250") && !heard.contains("235"),
                "{name} {kind:?}: {heard}"
            );
        }
        no_password_in(&network.seen());
    }
    proxy.tells(" login user=", 5);
    proxy.spool().holds(&[]);
}

/// A context of OpenSSL's with all that has been given up since.
fn old(versions: (SslVersion, SslVersion), ciphers: &str, certificate: Option<&Certificate>) -> SslContext {
    let mut context = SslContextBuilder::new(SslMethod::tls()).unwrap();
    context.set_security_level(0);
    context.set_min_proto_version(Some(versions.0)).unwrap();
    context.set_max_proto_version(Some(versions.1)).unwrap();
    context.set_cipher_list(ciphers).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    if let Some(certificate) = certificate {
        context.set_certificate_chain_file(&certificate.chain).unwrap();
        context.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
    }
    context.build()
}

const OLD: (SslVersion, SslVersion) = (SslVersion::TLS1, SslVersion::TLS1_1);
const TLS12: (SslVersion, SslVersion) = (SslVersion::TLS1_2, SslVersion::TLS1_2);
const ANONYMOUS: &str = "aNULL:eNULL";

/// A POP3 server behind a handshake of OpenSSL's; gives whether it succeeded in its greeting.
fn pop3_behind(context: SslContext) -> Peer {
    Peer::start(Kind::Pop3, move |talk| {
        let stream = talk.tcp().try_clone()?;
        let mut stream = Ssl::new(&context).unwrap().accept(stream).map_err(std::io::Error::other)?;
        stream.write_all(b"+OK hello\r\n")?;
        let mut buffer = [0; 1000];
        while stream.read(&mut buffer)? > 0 {
            stream.write_all(b"+OK\r\n")?;
        }
        Ok(())
    })
}

#[test]
fn servers_that_do_not_prove_who_they_are_or_speak_what_is_given_up_are_refused() {
    let lab = Lab::new();
    let by = |certificate: &Certificate| old((SslVersion::TLS1_2, SslVersion::TLS1_3), "DEFAULT", Some(certificate));
    let good = lab.certificate();
    let cases = [
        ("good", "localhost", by(&good), None),
        ("address", "127.0.0.1", by(&good), None),
        // As OpenSSL has it: the subject counts where the authority has named no host in any other way.
        ("common-name", "localhost", by(&lab.common_name_only()), None),
        ("wrong-name", "localhost", by(&lab.wrong_name()), Some("hostname mismatch")),
        ("expired", "localhost", by(&lab.expired()), Some("certificate has expired")),
        ("self-signed", "localhost", by(&lab.self_signed()), Some("self-signed certificate")),
        // A name that is none: neither stands for the other, nor does a part of it.
        (
            "address-only",
            "localhost",
            by(&lab.named_for("address", "IP:127.0.0.1,DNS:other.example")),
            Some("hostname mismatch"),
        ),
        (
            "name-only",
            "127.0.0.1",
            by(&lab.named_for("name", "DNS:localhost,DNS:127.0.0.1")),
            Some("IP address mismatch"),
        ),
        (
            "wildcard",
            "localhost",
            by(&lab.named_for("wild", "DNS:*,DNS:local*,DNS:*.localhost,DNS:localhost.evil.example")),
            Some("hostname mismatch"),
        ),
        ("tls11", "localhost", old(OLD, "ALL", Some(&good)), Some("(the other side knows no TLS 1.2)")),
        ("anonymous", "localhost", old(TLS12, ANONYMOUS, None), Some("handshake failure")),
    ];
    let mut sections = String::new();
    let mut peers = Vec::new();
    for (name, host, context, _) in &cases {
        let peer = pop3_behind(context.clone());
        let text = section(&lab, name, Tls::None, peer.endpoint(Tls::Implicit), "");
        sections += &text.replace("upstream = localhost:", &format!("upstream = {host}:"));
        peers.push(peer);
    }
    let proxy = Proxy::start(&lab, &sections);
    for (name, _, _, refused) in &cases {
        let endpoint = proxy.endpoint(Kind::Pop3, name, Tls::None);
        match refused {
            None => Wire::connect(&lab, endpoint).login(Kind::Pop3, ANN),
            Some(why) => {
                let heard = said_at_once(endpoint, &hasty(Kind::Pop3));
                assert!(heard.starts_with("-ERR [SYS/TEMP] ") && heard.lines().count() == 1, "{name}: {heard}");
                let told = |line: &str| line.contains(&format!(" pop3:{name} ")) && line.contains(why);
                wait_until(&format!("{name}: {why}"), CLIENT, || proxy.log().lines().any(told));
            }
        }
    }
    proxy.tells(" login user=", 3);
}

#[test]
fn clients_that_speak_what_is_given_up_are_refused() {
    let lab = Lab::new();
    let peer = Peer::answering(&lab, Kind::Pop3, Tls::None, vec![]);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::Implicit, peer.endpoint(Tls::None), ""));
    let at = proxy.endpoint(Kind::Pop3, "a", Tls::Implicit);
    for context in [old(OLD, "ALL", None), old(TLS12, ANONYMOUS, None)] {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, at.port)).unwrap();
        assert!(Ssl::new(&context).unwrap().connect(stream).is_err());
    }
    let reasons = ends(&proxy, 2);
    assert!(reasons.iter().all(|reason| reason.starts_with("TLS handshake with the client failed: ")), "{reasons:?}");
    assert_eq!(peer.heard(), "");
    Wire::connect(&lab, at).login(Kind::Pop3, ANN);
}

/// A message whose end never comes, in the words of each protocol's server.
fn half_a_message(kind: Kind) -> Answers {
    match kind {
        Kind::Pop3 => vec![("RETR", b"+OK 100 octets\r\nSubject: half\r\n\r\nhalf of it\r\n.\r".to_vec())],
        _ => vec![(
            "FETCH",
            b"* 1 FETCH (BODY[] {100}\r\nSubject: half\r\n\r\nhalf of it\r\n)\r\n{tag} OK done\r\n".to_vec(),
        )],
    }
}

#[test]
fn a_message_that_is_cut_off_below_tls_is_not_kept_by_half() {
    let lab = Lab::new();
    // From the server: its connection ends without close_notify, as anybody on the way can end it.
    let acceptor = support::peer::acceptor(&lab.certificate());
    let mut sections = String::new();
    let mut servers = Vec::new();
    for kind in [Kind::Pop3, Kind::Imap] {
        let (acceptor, [(command, half)]) = (acceptor.clone(), <[_; 1]>::try_from(half_a_message(kind)).unwrap());
        let peer = Peer::start(kind, move |talk| {
            talk.secure(&acceptor)?;
            talk.say(if kind == Kind::Pop3 { "+OK hello\r\n" } else { "* OK hello\r\n" })?;
            loop {
                let line = String::from_utf8(talk.line()?).unwrap();
                let tag = line.split(' ').next().unwrap_or_default().to_owned();
                if line.contains(command) {
                    talk.say(&half)?;
                    return talk.cut();
                }
                talk.say(if kind == Kind::Pop3 { "+OK\r\n".to_owned() } else { format!("{tag} OK done\r\n") })?;
            }
        });
        sections += &section(&lab, "server", Tls::None, peer.endpoint(Tls::Implicit), "");
        servers.push(peer);
    }
    // From the client: the same, in the middle of what it sends.
    let peers = [Kind::Imap, Kind::Smtp].map(|kind| Peer::answering(&lab, kind, Tls::None, vec![]));
    for peer in &peers {
        sections += &section(&lab, "client", Tls::Implicit, peer.endpoint(Tls::None), "");
    }
    let proxy = Proxy::start(&lab, &sections);
    let mut pop3 = Wire::connect(&lab, proxy.endpoint(Kind::Pop3, "server", Tls::None));
    pop3.login(Kind::Pop3, ANN);
    pop3.send(b"RETR 1\r\n");
    assert!(!pop3.rest().ends_with(b".\r\n"), "the client was told an end");
    let mut imap = Wire::connect(&lab, proxy.endpoint(Kind::Imap, "server", Tls::None));
    imap.login(Kind::Imap, ANN);
    imap.imap_ok("SELECT INBOX");
    imap.send(b"a FETCH 1 BODY[]\r\n");
    assert!(!String::from_utf8_lossy(&imap.rest()).contains("a OK"));
    let mut sessions = 2;
    for (kind, commands) in [
        (Kind::Smtp, &["MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>", "DATA"][..]),
        (Kind::Smtp, &["MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>"]),
        (Kind::Imap, &[]),
    ] {
        let mut wire = Wire::connect(&lab, proxy.endpoint(kind, "client", Tls::Implicit));
        wire.login(kind, ANN);
        for command in commands {
            say(&mut wire, kind, command);
        }
        match (kind, commands.last()) {
            (Kind::Imap, _) => wire.send(b"a APPEND Sent {100+}\r\nSubject: half\r\n\r\n"),
            (_, Some(&"DATA")) => wire.send(b"Subject: half\r\n\r\nhalf of it\r\n."),
            _ => wire.send(b"BDAT 100 LAST\r\nSubject: half\r\n\r\n"),
        }
        wire.cut();
        sessions += 1;
        ends(&proxy, sessions);
    }
    proxy.tells("without TLS close_notify", 5);
    proxy.spool().holds(&[]);
}

#[test]
fn a_code_in_a_greeting_from_before_tls_is_not_the_servers() {
    let lab = Lab::new();
    let greeting = vec![(GREETING, b"* OK [ALERT] call this number\r\n".to_vec())];
    let peer = Peer::answering(&lab, Kind::Imap, Tls::None, greeting);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, peer.endpoint(Tls::StartTls), ""));
    let wire = plain(&lab, &proxy, Kind::Imap);
    assert_eq!(wire.text(), "* OK call this number\r\n");
}
