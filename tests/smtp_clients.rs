//! SMTP through the proxy, with the programs that people use: what they send arrives as without it, and lies in their sent folder.

mod support;

use std::fs;

use support::client::{curl_with_input, private, python_with_input};
use support::dovecot::token;
use support::proxy::{nine, section};
use support::spool::{Expected, received, sent};
use support::*;

const SMTP_PY: &str = include_str!("support/smtp.py");

const ANN: &str = "ann@example.org";
const BOB: &str = "bob@example.org";

/// A message as a client of this name sends it.
fn message(from: &str, to: &str, subject: &str, body: &str) -> Vec<u8> {
    format!("From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{body}").into_bytes()
}

#[test]
fn curl_in_all_nine_combinations_of_tls() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let (sections, names) = nine(&lab, |tls| postfix.endpoint(tls));
    let proxy = Proxy::start(&lab, &sections);
    let mut expected = Vec::new();
    for (name, listen, upstream) in &names {
        let user = format!("{name}@example.org");
        let mut delivered = Vec::new();
        for (who, at) in [("d", postfix.endpoint(*upstream)), ("p", proxy.endpoint(Kind::Smtp, name, *listen))] {
            let to = format!("to-{who}-{name}@example.org");
            let text = message(&user, "someone", name, ".\r\n..dots\r\nlast\r\n");
            let args = ["--mail-from", &user, "--mail-rcpt", &to, "--upload-file", "-"];
            curl_with_input(&lab, at, &user, "/client.example.org", &args, &text).ok();
            if who == "p" {
                expected.push(sent(&user, &text));
            }
            delivered.push((to, text));
        }
        for (to, text) in delivered {
            assert_same(&postfix::to_lf(&text), postfix.wait_for(&to, 1)[0].message(), name);
        }
    }
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn every_login_names_the_owner() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let sections = section(&lab, "plain", Tls::None, postfix.endpoint(Tls::None), "default_domain = example.org\n")
        + &section(&lab, "start", Tls::StartTls, postfix.endpoint(Tls::Implicit), "")
        + &section(&lab, "full", Tls::Implicit, postfix.endpoint(Tls::StartTls), "");
    let proxy = Proxy::start(&lab, &sections);
    let at = |tls| match tls {
        Tls::None => proxy.endpoint(Kind::Smtp, "plain", tls),
        Tls::StartTls => proxy.endpoint(Kind::Smtp, "start", tls),
        Tls::Implicit => proxy.endpoint(Kind::Smtp, "full", tls),
    };
    let mut expected: Vec<Expected> = Vec::new();

    // smtplib, with and without an initial answer; the login counts, not the envelope.
    for mechanism in ["plain", "login", "late-plain", "late-login", "cram-md5", "scram-sha-1", "scram-sha-256"] {
        let user = format!("py-{mechanism}@example.org");
        let args = [mechanism, &user, PASSWORD, "other@example.net bob@example.org smtplib"];
        python_with_input(&lab, SMTP_PY, at(Tls::None), &args, b"Hello.\r\n").ok();
        expected.push(sent(&user, &message("other@example.net", BOB, "smtplib", "Hello.\r\n")));
    }
    // msmtp.
    for (i, mechanism) in
        ["plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "xoauth2", "oauthbearer"].iter().enumerate()
    {
        let user = format!("msmtp-{mechanism}@example.org");
        let bearer = mechanism.contains("auth");
        // It hands tokens over TLS only.
        let tls = if bearer { Tls::StartTls } else { Tls::ALL[i % 3] };
        let secret = if bearer { token(&user) } else { PASSWORD.to_owned() };
        let text = message(&user, BOB, mechanism, ".\r\nA line.\r\n");
        msmtp(&lab, at(tls), mechanism, &user, &secret, BOB, &postfix::to_lf(&text));
        expected.push(sent(&user, &text));
    }
    // swaks.
    for (i, mechanism) in ["PLAIN", "LOGIN", "CRAM-MD5"].iter().enumerate() {
        for more in [&[][..], &["--pipeline"][..]] {
            let user = format!("swaks-{mechanism}-{}@example.org", more.len()).to_lowercase();
            let text = message(&user, BOB, mechanism, "..\r\n.\r\nA line.\r\n");
            swaks(&lab, at(Tls::ALL[(i + more.len()) % 3]), mechanism, &user, more, &text);
            expected.push(sent(&user, &text));
        }
    }
    // curl.
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"] {
        for more in [&[][..], &["--sasl-ir"][..]] {
            let user = format!("curl-{mechanism}-{}@example.org", more.len()).to_lowercase();
            let text = message(&user, BOB, mechanism, "A line.\r\n");
            let (option, token) = (format!("AUTH={mechanism}"), token(&user));
            let mut args =
                vec!["--login-options", &option, "--mail-from", &user, "--mail-rcpt", BOB, "--upload-file", "-"];
            args.extend(more);
            if mechanism.contains("AUTH") {
                args.extend(["--user", &user, "--oauth2-bearer", &token]);
            }
            let login = if mechanism.contains("AUTH") { "" } else { &user };
            curl_with_input(&lab, at(Tls::None), login, "/client.example.org", &args, &text).ok();
            expected.push(sent(&user, &text));
        }
    }
    // A login without a domain, and one that fails before another one.
    let text = message(ANN, BOB, "no domain", "A line.\r\n");
    msmtp(&lab, at(Tls::None), "plain", "Bare", PASSWORD, BOB, &postfix::to_lf(&text));
    expected.push(sent("bare@example.org", &text));
    let mut wire = Wire::connect(&lab, at(Tls::None));
    wire.smtp("EHLO test.example.org");
    assert!(wire.smtp("AUTH PLAIN AHdyb25nQGV4YW1wbGUub3JnAG5vbnNlbnNl").starts_with("535"));
    wire.login(Kind::Smtp, ANN);
    let text = message(ANN, BOB, "second login", "A line.\r\n");
    assert!(send_data(&mut wire, ANN, &[BOB], &text).starts_with("250"));
    assert!(wire.smtp("QUIT").starts_with("221"));
    expected.push(sent(ANN, &text));

    postfix.wait_for(BOB, expected.len());
    proxy.spool().holds(&expected);
}

#[test]
fn the_whole_corpus_by_data_and_by_bdat() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let direct = postfix.endpoint(Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let passed = proxy.endpoint(Kind::Smtp, "a", Tls::None);
    let samples = corpus();
    let mut expected = Vec::new();
    let mut said = [String::new(), String::new()];
    for (i, at) in [direct, passed].into_iter().enumerate() {
        let mut wire = Wire::connect(&lab, at);
        wire.login(Kind::Smtp, ANN);
        wire.heard.clear();
        let to = |way: &str| format!("{}-{way}@example.org", ["direct", "passed"][i]);
        for (n, sample) in samples.iter().enumerate() {
            // BARE CR at the end of a line's text would change its meaning where a server is lax; DATA is for lines.
            let lines = sample.as_lines();
            assert!(send_data(&mut wire, ANN, &[&to("data")], &lines).starts_with("250"), "{}", sample.name);
            let bdat = [b"X-Way: bdat\r\n", &sample.bytes[..]].concat();
            assert!(send_bdat(&mut wire, ANN, &to("bdat"), &bdat, n % 4).starts_with("250"), "{}", sample.name);
            if i == 1 {
                expected.push(sent(ANN, &lines));
                expected.push(sent(ANN, &bdat));
            }
        }
        wire.send(b"NOOP\r\nQUIT\r\n");
        wire.rest();
        said[i] = queueless(&wire.text());
    }
    assert_same(said[0].as_bytes(), said[1].as_bytes(), "what the server said");
    for way in ["data", "bdat"] {
        let without = by_content(&postfix.wait_for(&format!("direct-{way}@example.org"), samples.len()));
        let with = by_content(&postfix.wait_for(&format!("passed-{way}@example.org"), samples.len()));
        assert_same(&without, &with, way);
    }
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn transactions_rejections_and_pipelining() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let direct = postfix.endpoint(Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let passed = proxy.endpoint(Kind::Smtp, "a", Tls::None);

    // smtplib: a rejected recipient among others, all rejected, a rejected sender at DATA, a rejected message, RSET, SMTPUTF8.
    let said = [direct, passed].map(|at| {
        let args = [
            "plain",
            ANN,
            PASSWORD,
            "ann@example.org bob@example.org,unknown1@example.org first",
            "ann@example.org unknown1@example.org,unknown2@example.org nobody takes it",
            "nodata@example.org bob@example.org not from this sender",
            "rset",
            "ann@example.org bob@example.org REJECT-ME",
            "ann@example.org bob@example.org,cat@example.org second",
            "ann@example.org münchen@example.org third",
        ];
        python_with_input(&lab, SMTP_PY, at, &args, "Grüße\r\n.\r\n..\r\n".as_bytes()).stdout
    });
    assert_same(&said[0], &said[1], "smtplib");
    let text = |to: &str, subject: &str| message(ANN, to, subject, "Grüße\r\n.\r\n..\r\n");
    let mut expected = vec![
        sent(ANN, &text("bob@example.org,unknown1@example.org", "first")),
        sent(ANN, &text("bob@example.org,cat@example.org", "second")),
        sent(ANN, &text("münchen@example.org", "third")),
    ];
    postfix.wait_for(BOB, 4);
    proxy.spool().holds(&expected);

    // Everything at once, as RFC 2920 allows; also what is answered late or not at all.
    let one = message(ANN, BOB, "pipelined one", "..\r\n");
    let two = message(ANN, BOB, "pipelined two", "text\r\n");
    let three = message(ANN, BOB, "pipelined three, by BDAT", "no newline at the end");
    let said = [direct, passed].map(|at| {
        let mut wire = Wire::connect(&lab, at);
        wire.login(Kind::Smtp, ANN);
        wire.heard.clear();
        wire.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<unknown@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
        for _ in 0..4 {
            wire.smtp_reply();
        }
        // The end of the text and the whole next transaction's commands in one write.
        let mut all = stuffed(&one);
        all.extend(b"RSET\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
        wire.send(&all);
        for _ in 0..5 {
            wire.smtp_reply();
        }
        let mut all = stuffed(&two);
        // BDAT can be sent without waiting for anything.
        all.extend(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nBDAT 20\r\n");
        all.extend(&three[..20]);
        all.extend(format!("BDAT {}\r\n", three.len() - 20).as_bytes());
        all.extend(&three[20..]);
        // Then what comes to nothing: a transaction taken back, one that nobody takes, a DATA without any.
        all.extend(b"BDAT 0 LAST\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nBDAT 5\r\nab\r\nxRSET\r\nDATA\r\n");
        wire.send(&all);
        for _ in 0..11 {
            wire.smtp_reply();
        }
        wire.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<unknown@example.org>\r\nDATA\r\n");
        for _ in 0..3 {
            wire.smtp_reply();
        }
        wire.send(b"NOOP\r\nVRFY bob@example.org\r\nHELP\r\nQUIT\r\n");
        wire.rest();
        queueless(&wire.text())
    });
    assert_same(said[0].as_bytes(), said[1].as_bytes(), "pipelining");
    expected.extend([sent(ANN, &one), sent(ANN, &two), sent(ANN, &three)]);
    postfix.wait_for(BOB, 10);
    proxy.spool().holds(&expected);

    // Clients that go away in the middle leave nothing, neither here nor there.
    for half in [&b"DATA\r\n"[..], b"BDAT 1000\r\nFrom: ann@example.org\r\n\r\nhalf a chunk"] {
        let mut wire = Wire::connect(&lab, passed);
        wire.login(Kind::Smtp, ANN);
        wire.smtp("MAIL FROM:<ann@example.org>");
        wire.smtp("RCPT TO:<bob@example.org>");
        wire.send(half);
        if half == b"DATA\r\n" {
            assert!(wire.smtp_reply().starts_with(b"354"));
            wire.send(b"From: ann@example.org\r\n\r\nhalf a message\r\n.\r");
        }
    }
    proxy.spool().holds(&expected);
    assert_eq!(postfix.delivered(BOB).len(), 10);
}

#[test]
fn keep_recipients_before_an_mx() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let direct = Endpoint { kind: Kind::Smtp, port: postfix.mx(), tls: Tls::None };
    let local = "local_domains = Example.ORG\n";
    let sections = section(&lab, "mx", Tls::None, direct, &format!("keep = recipients\n{local}"))
        + &section(&lab, "tls", Tls::StartTls, Endpoint { tls: Tls::StartTls, ..direct }, "keep = recipients\n")
        + &section(&lab, "both", Tls::None, postfix.endpoint(Tls::None), &format!("keep = both\n{local}"))
        + &section(&lab, "sender", Tls::None, direct, &format!("keep = sender\n{local}"));
    let proxy = Proxy::start(&lab, &sections);
    let at = |name: &str| proxy.endpoint(Kind::Smtp, name, if name == "tls" { Tls::StartTls } else { Tls::None });
    let (bob, cat, dan) = ("bob@example.org", "cat@example.org", "dan@example.net");
    let everyone = ["Bob@Example.org", cat, dan, "unknown@example.org", "BOB@example.org"];
    let mut expected = Vec::new();

    let from_outside = message("x@elsewhere.example.com", bob, "From outside", "text\r\n");
    let mut wire = Wire::connect(&lab, at("mx"));
    wire.smtp("EHLO mta.example.com");
    assert!(send_data(&mut wire, "x@elsewhere.example.com", &everyone, &from_outside).starts_with("250"));
    // A bounce: the null sender owns nothing, the recipients do.
    let bounce = message("<>", cat, "Bounce", "text\r\n");
    assert!(send_bdat(&mut wire, "", cat, &bounce, 2).starts_with("250"));
    assert!(wire.smtp("QUIT").starts_with("221"));
    expected.extend([received(bob, "", &from_outside), received(cat, "", &from_outside), received(cat, "", &bounce)]);

    // Without local_domains everyone who was accepted.
    let secured = message("x@elsewhere.example.com", bob, "Over TLS", "text\r\n");
    let mut wire = Wire::connect(&lab, at("tls"));
    wire.smtp("EHLO mta.example.com");
    assert!(send_data(&mut wire, "x@elsewhere.example.com", &everyone, &secured).starts_with("250"));
    expected.extend([bob, cat, dan].map(|to| received(to, "", &secured)));

    // Both: the login's sent folder as well.
    let mine = message(ANN, bob, "Both", "text\r\n");
    let mut wire = Wire::connect(&lab, at("both"));
    wire.login(Kind::Smtp, ANN);
    assert!(send_data(&mut wire, ANN, &everyone, &mine).starts_with("250"));
    expected.extend([sent(ANN, &mine), received(bob, "", &mine), received(cat, "", &mine)]);

    // The sender, without a login: the envelope, if he is one of ours.
    let ours = message(cat, bob, "Ours", "text\r\n");
    let mut wire = Wire::connect(&lab, at("sender"));
    wire.smtp("EHLO mta.example.com");
    assert!(send_data(&mut wire, "Cat@example.org", &[bob], &ours).starts_with("250"));
    for stranger in ["x@elsewhere.example.com", ""] {
        let text = message(stranger, bob, "A stranger's", "text\r\n");
        assert!(send_data(&mut wire, stranger, &[bob], &text).starts_with("250"));
    }
    expected.push(sent(cat, &ours));
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
    postfix.wait_for(dan, 3);
}

/// Postfix reads far more than the standard allows, and delivers: whom we read has to be whom it reads.
#[test]
fn however_a_sender_spells_a_recipient_the_copy_goes_where_the_mail_goes() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let direct = Endpoint { kind: Kind::Smtp, port: postfix.mx(), tls: Tls::None };
    let keys = "keep = recipients\nlocal_domains = example.org\n";
    let proxy = Proxy::start(&lab, &section(&lab, "mx", Tls::None, direct, keys));
    let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Smtp, "mx", Tls::None));
    wire.smtp("EHLO mta.example.com");
    let mut expected = Vec::new();
    let mut delivered = Vec::new();
    for (path, owner) in [
        ("<bob@example.org>", "bob"),
        (" <Bob@EXAMPLE.org>", "bob"),
        ("bob@example.org", "bob"),
        ("<@relay.example.com,@b.example.com:bob@example.org>", "bob"),
        ("<bob@example.org.>", "bob"),
        ("<bob>", "bob"),
        ("bob", "bob"),
        ("<Postmaster>", "postmaster"),
        ("<\"bob\"@example.org>", "bob"),
        ("<\"b\\ob\"@example.org>", "bob"),
        ("<\"b<o>b\"@example.org> NOTIFY=NEVER", "b<o>b"),
        ("\"b ob\"@example.org ORCPT=rfc822;x@example.com", "b ob"),
        ("<bob.@example.org>", "bob."),
        ("<b..ob@example.org>", "b..ob"),
        ("<bob+tag=x@example.org>", "bob+tag=x"),
    ] {
        let text = message("x@far.example.com", "bob", &format!("To {}", expected.len()), "text\r\n");
        assert!(wire.smtp("MAIL FROM:<x@far.example.com>").starts_with("250"));
        let reply = wire.smtp(&format!("RCPT TO:{path}"));
        assert!(reply.starts_with("250"), "{path}: {reply}");
        assert!(wire.smtp("DATA").starts_with("354"));
        wire.send(&stuffed(&text));
        assert!(wire.smtp_reply().starts_with(b"250"), "{path}");
        expected.push(received(&format!("{owner}@example.org"), "", &text));
        delivered.push((format!("{owner}@example.org"), postfix::to_lf(&text)));
    }
    for path in [
        "<bob@example.org(x)>",
        "<bob@ example.org>",
        "<bob @example.org>",
        "(<x@far.example.com>)<bob@example.org>",
        "(<bob@example.org>)<mallory@example.org>",
        "<x@far.example.com><bob@example.org>",
        "Bob <bob@example.org>",
        "<\"bob@example.org\">",
        "<\"@relay.example.com:bob\"@example.org>",
        "<bob%example.org>",
        "<example.org!bob>",
        "<b\\ob@example.org>",
        "<bob@example.org",
        "<>",
    ] {
        assert!(wire.smtp("MAIL FROM:<x@far.example.com>").starts_with("250"));
        assert!(wire.smtp(&format!("RCPT TO:{path}")).starts_with("501 5.1.3 "), "{path}");
        assert!(wire.smtp("RSET").starts_with("250"));
    }
    wait_until("all is delivered", CLIENT, || postfix.all().count() >= delivered.len());
    let mut by_postfix: Vec<_> =
        postfix.all().map(|message| (message.recipient().to_lowercase(), message.message().to_vec())).collect();
    by_postfix.sort();
    delivered.sort();
    let shown = |all: &[(String, Vec<u8>)]| {
        all.iter().map(|(to, text)| format!("{to}: {}", String::from_utf8_lossy(text))).collect::<Vec<_>>()
    };
    assert_eq!(shown(&by_postfix), shown(&delivered));
    proxy.spool().holds(&expected);
}

#[test]
fn a_message_of_25_megabytes() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::Implicit, postfix.endpoint(Tls::StartTls), ""));
    let big = corpus::big();
    let args = ["--mail-from", ANN, "--mail-rcpt", BOB, "--upload-file", "-"];
    let at = proxy.endpoint(Kind::Smtp, "a", Tls::Implicit);
    curl_with_input(&lab, at, ANN, "/client.example.org", &args, &big.bytes).ok();
    assert!(postfix.wait_for(BOB, 1)[0].ends_with(&big.bytes));
    proxy.spool().holds(&[sent(ANN, &big.bytes)]);
}

/// One transaction by DATA; gives the last reply.
fn send_data(wire: &mut Wire, from: &str, to: &[&str], text: &[u8]) -> String {
    let reply = wire.smtp(&format!("MAIL FROM:<{from}> BODY=8BITMIME"));
    assert!(reply.starts_with("250"), "{reply}");
    for recipient in to {
        wire.smtp(&format!("RCPT TO:<{recipient}>"));
    }
    let reply = wire.smtp("DATA");
    assert!(reply.starts_with("354"), "{reply}");
    wire.send(&stuffed(text));
    String::from_utf8(wire.smtp_reply()).unwrap()
}

/// One transaction by BDAT, cut in one of four ways; gives the last reply.
fn send_bdat(wire: &mut Wire, from: &str, to: &str, text: &[u8], way: usize) -> String {
    assert!(wire.smtp(&format!("MAIL FROM:<{from}> BODY=8BITMIME")).starts_with("250"));
    assert!(wire.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    let cuts: Vec<&[u8]> = match way {
        0 => vec![text],
        1 => vec![text, b""],
        2 => text.chunks(text.len().div_ceil(3)).collect(),
        _ => text.chunks(text.len().min(40_000).div_ceil(2)).collect(),
    };
    let last = cuts.len() - 1;
    for (i, chunk) in cuts.iter().enumerate() {
        let end = if i == last { " LAST" } else { "" };
        wire.send(&[format!("BDAT {}{end}\r\n", chunk.len()).as_bytes(), chunk].concat());
        let reply = String::from_utf8(wire.smtp_reply()).unwrap();
        if i == last {
            return reply;
        }
        assert!(reply.starts_with("250"), "{reply}");
    }
    unreachable!("there is a last chunk")
}

fn msmtp(lab: &Lab, at: Endpoint, mechanism: &str, user: &str, secret: &str, to: &str, text: &[u8]) {
    let home = lab.folder("msmtp");
    let tls = match at.tls {
        Tls::None => "tls off".to_owned(),
        Tls::StartTls => format!("tls on\ntls_starttls on\ntls_trust_file {}", lab.ca().display()),
        Tls::Implicit => format!("tls on\ntls_starttls off\ntls_trust_file {}", lab.ca().display()),
    };
    let rc = format!(
        "account default\nhost localhost\nport {}\nfrom {ANN}\nauth {mechanism}\nuser {user}\npassword {secret}\n{tls}\n\
         set_from_header off\nset_date_header off\nset_msgid_header off\nundisclosed_recipients off\ndomain client.example.org\n",
        at.port
    );
    private(&home.join("msmtprc"), &rc);
    let rc = home.join("msmtprc");
    run_with_input("msmtp", &["-C", rc.to_str().unwrap(), "--", to], text, &home).ok();
}

fn swaks(lab: &Lab, at: Endpoint, mechanism: &str, user: &str, more: &[&str], text: &[u8]) {
    let home = lab.folder("swaks");
    let (file, ca, port) = (home.join("message"), lab.ca(), at.port.to_string());
    // It ends the message with a line end of its own.
    fs::write(&file, postfix::to_lf(text.strip_suffix(b"\r\n").unwrap())).unwrap();
    let file = format!("@{}", file.display());
    let mut args = vec!["--server", "localhost", "--port", &port, "--from", user, "--to", BOB, "--auth", mechanism];
    args.extend(["--auth-user", user, "--auth-password", PASSWORD, "--data", &file]);
    args.extend(["--ehlo", "client.example.org", "--timeout", "30"]);
    match at.tls {
        Tls::None => {}
        Tls::StartTls => args.extend(["--tls", "--tls-verify", "--tls-ca-path", ca.to_str().unwrap()]),
        Tls::Implicit => args.extend(["--tls-on-connect", "--tls-verify", "--tls-ca-path", ca.to_str().unwrap()]),
    }
    args.extend(more);
    run_with_input("swaks", &args, b"", &home).ok();
}

/// As it is on the wire behind DATA.
fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 100);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend(line);
    }
    out.extend(b".\r\n");
    out
}

/// Queue ids left out.
fn queueless(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once("queued as ") {
        Some((before, _)) => format!("{before}queued\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// The messages without Postfix's own fields, in a fixed order.
fn by_content(delivered: &[Delivered]) -> Vec<u8> {
    let mut all: Vec<&[u8]> = delivered.iter().map(Delivered::message).collect();
    all.sort();
    all.join(&b"\n=====END\n"[..])
}
