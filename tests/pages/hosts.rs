//! docs/hosts.md: each configuration is accepted as it stands there; those before servers of one's own carry mail, with Dovecot and Postfix set
//! up by the page's own lines.

use std::fs;

use base64::prelude::{BASE64_STANDARD, Engine};
use nix::sys::signal::Signal;

use super::page::{all_blocks, at_home, block, text};
use crate::support::dovecot::token;
use crate::support::page::with;
use crate::support::proxy::program;
use crate::support::spool::{received, sent};
use crate::support::*;

const PAGE: &str = include_str!("../../docs/hosts.md");
const ANN: &str = "ann@example.org";
const BOB: &str = "bob@example.net";
/// A machine whose Postfix trusts its own network, as every machine's does.
const TRUSTING: &str =
    "mynetworks = 127.0.0.0/8\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination";

#[test]
fn every_configuration_is_accepted() {
    let lab = Lab::new();
    let inis = all_blocks(PAGE, "ini");
    assert_eq!(inis.len(), 6);
    for ini in inis {
        let dir = at_home(&lab, ini);
        let output = program().args(["-t", "-c"]).arg(dir.join("mailstore.ini")).output().unwrap();
        assert!(output.status.success(), "{ini}\n{}", text(&output.stderr));
        // One line a proxy.
        assert_eq!(text(&output.stdout).matches(" -> ").count(), ini.matches("upstream = ").count(), "{ini}");
        // It is not accepted because nobody looks.
        let file = dir.join("mailstore.ini");
        fs::write(&file, with(&fs::read_to_string(&file).unwrap(), &[("upstream = ", "upstrem = ")])).unwrap();
        let output = program().args(["-t", "-c"]).arg(file).output().unwrap();
        assert!(text(&output.stderr).contains("did you mean upstream?"), "{ini}");
    }
}

fn own_line(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn at(proxy: &Proxy, section: &str, tls: Tls) -> Endpoint {
    let kind = [Kind::Pop3, Kind::Imap, Kind::Smtp].into_iter().find(|kind| section.starts_with(kind.key())).unwrap();
    Endpoint { kind, port: proxy.port(section), tls }
}

/// Sends a message to these; the replies to RCPT and to its end.
fn send(wire: &mut Wire, from: &str, to: &[&str], message: &[u8]) -> (Vec<String>, String) {
    assert!(wire.smtp(&format!("MAIL FROM:<{from}>")).starts_with("250"));
    let accepted = to.iter().map(|to| wire.smtp(&format!("RCPT TO:<{to}>"))).collect();
    assert!(wire.smtp("DATA").starts_with("354"));
    wire.send(&replaced(message, "\r\n.", "\r\n.."));
    (accepted, wire.smtp("."))
}

#[test]
fn an_own_postfix_and_dovecot_serve_behind_it_and_relay_for_nobody() {
    let lab = Lab::new();
    let part = "## 4. An own Postfix and Dovecot";
    let options =
        DovecotOptions { extra: own_line(block(PAGE, part, "dovecot").to_owned()), ..DovecotOptions::default() };
    let dovecot = Dovecot::with(&lab, options);
    let services = block(PAGE, part, "master.cf");
    let postfix = Postfix::with_services(&lab, &dovecot, TRUSTING, |[submission, _, mx]| {
        let line = with(services, &[("127.0.0.1:587", &format!("127.0.0.1:{submission}"))]);
        format!("{line}\n127.0.0.1:{mx} inet n - n - - smtpd\n")
    });
    let ini = with(
        block(PAGE, part, "ini"),
        &[
            ("127.0.0.1:143", &format!("127.0.0.1:{}", dovecot.imap())),
            ("127.0.0.1:110", &format!("127.0.0.1:{}", dovecot.pop3())),
            ("127.0.0.1:587", &format!("127.0.0.1:{}", postfix.submission())),
        ],
    );
    let proxy = Proxy::start_in(&at_home(&lab, &ini));

    let (incoming, older, outgoing) = (corpus::numbered(1), corpus::numbered(2), corpus::numbered(3));
    let mailbox = dovecot.mailbox(ANN);
    mailbox.put("INBOX", Place::New, &incoming);
    mailbox.put("INBOX", Place::New, &older);
    let mut imap = Wire::connect(&lab, at(&proxy, "imap", Tls::Implicit));
    imap.login(Kind::Imap, ANN);
    imap.imap_ok("SELECT INBOX");
    assert_eq!(wire::literals(&imap.imap_ok("UID FETCH 1 BODY.PEEK[]")), [&incoming[..]]);
    let mut pop3 = Wire::connect(&lab, at(&proxy, "pop3", Tls::Implicit));
    pop3.login(Kind::Pop3, ANN);
    assert!(pop3.pop3("RETR 2").starts_with("+OK"));
    pop3.pop3_lines();
    let mut smtp = Wire::connect(&lab, at(&proxy, "smtp", Tls::Implicit));
    smtp.login(Kind::Smtp, ANN);
    let (accepted, end) = send(&mut smtp, ANN, &[BOB], &outgoing);
    assert!(accepted[0].starts_with("250") && end.starts_with("250"), "{accepted:?} {end}");
    assert!(postfix.wait_for(BOB, 1)[0].ends_with(&outgoing));
    proxy.spool().holds(&[received(ANN, "", &incoming), received(ANN, "", &older), sent(ANN, &outgoing)]);

    // Who does not log in sends to nobody, not even here: this port is for users.
    let mut stranger = Wire::connect(&lab, at(&proxy, "smtp", Tls::Implicit));
    stranger.smtp("EHLO stranger.example.com");
    stranger.smtp(&format!("MAIL FROM:<{ANN}>"));
    for to in ["someone@elsewhere.example", BOB] {
        let reply = stranger.smtp(&format!("RCPT TO:<{to}>"));
        assert!(reply.starts_with("554") || reply.starts_with("550"), "{to}: {reply}");
    }
}

/// MailStore before the MX that these lines make; what a stranger is told who wants to send elsewhere.
fn relayed_by_mx(services: &str) -> String {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::with_services(&lab, &dovecot, TRUSTING, |[submission, _, mx]| {
        let line = with(services, &[("127.0.0.1:2525", &format!("127.0.0.1:{mx}"))]);
        format!("{line}\n127.0.0.1:{submission} inet n - n - - smtpd\n")
    });
    let ini = block(PAGE, "### Before Postfix", "ini");
    let ini = with(
        ini,
        &[
            ("127.0.0.1:2525", &format!("127.0.0.1:{}", postfix.mx())),
            ("local_domains = example.com, example.org", "local_domains = example.org"),
        ],
    );
    let proxy = Proxy::start_in(&at_home(&lab, &ini));
    let mut expected = Vec::new();
    // Other servers, one that speaks TLS and one that does not.
    let mut wire = [Tls::StartTls, Tls::None].map(|tls| Wire::connect(&lab, at(&proxy, "smtp:mx", tls)));
    for (number, wire) in wire.iter_mut().enumerate() {
        let message = corpus::numbered(40 + number);
        wire.smtp("EHLO mail.elsewhere.example");
        let (accepted, end) = send(wire, "someone@elsewhere.example", &[ANN, BOB], &message);
        assert!(accepted.iter().all(|reply| reply.starts_with("250")) && end.starts_with("250"), "{accepted:?} {end}");
        for who in [ANN, BOB] {
            assert!(postfix.wait_for(who, number + 1).iter().any(|delivered| delivered.ends_with(&message)));
        }
        expected.push(received(ANN, "", &message));
    }
    // Bob's domain is not in the list.
    proxy.spool().holds(&expected);
    let [_, mut wire] = wire;
    wire.smtp("MAIL FROM:<someone@elsewhere.example>");
    wire.smtp("RCPT TO:<another@far.example>")
}

#[test]
fn an_mx_behind_it_keeps_for_its_recipients_and_is_no_open_relay() {
    let services = block(PAGE, "### Before Postfix", "master.cf");
    let refused = relayed_by_mx(services);
    assert!(refused.starts_with("554") && refused.contains("Relay access denied"), "{refused}");
    // What the page warns of is so.
    let careless = with(
        services,
        &[("  -o mynetworks=\n", ""), ("  -o smtpd_relay_restrictions=reject_unauth_destination\n", "")],
    );
    let accepted = relayed_by_mx(&careless);
    // Let through; there is no way out of the tests' Postfix, which is all that stops it.
    assert!(accepted.contains("no mail leaves the tests"), "{accepted}");
}

#[test]
fn behind_postfix_it_keeps_what_arrives_and_postfix_sees_who_sends() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let part = "### Behind Postfix";
    // The ports of Postfix are known when it has started; then MailStore hears of the one behind it.
    let ini =
        with(block(PAGE, part, "ini"), &[("local_domains = example.com, example.org", "local_domains = example.org")]);
    let dir = at_home(&lab, &ini);
    let proxy = Proxy::start_in(&dir);
    let listening = format!("127.0.0.1:{}", proxy.port("smtp:incoming"));
    let options = format!("{TRUSTING}\nvirtual_alias_maps = inline:{{ {{sales@example.org={ANN}}} }}");
    let postfix = Postfix::with_services(&lab, &dovecot, &options, |[behind, _, mx]| {
        with(
            block(PAGE, part, "master.cf"),
            &[
                ("smtp inet", &format!("127.0.0.1:{mx} inet")),
                ("127.0.0.1:10026", &format!("127.0.0.1:{behind}")),
                ("smtp:[127.0.0.1]:10025", &format!("smtp:[127.0.0.1]:{}", proxy.port("smtp:incoming"))),
            ],
        )
    });
    let file = dir.join("mailstore.ini");
    let behind = format!("127.0.0.1:{}", postfix.submission());
    fs::write(&file, with(&fs::read_to_string(&file).unwrap(), &[("127.0.0.1:10026", &behind)])).unwrap();
    proxy.signal(Signal::SIGHUP);
    proxy.tells_of("reloaded");
    assert!(proxy.log().contains(&format!("{listening} -> {behind}")), "{}", proxy.log());

    let message = corpus::numbered(5);
    let mut wire = Wire::connect(&lab, Endpoint { kind: Kind::Smtp, port: postfix.mx(), tls: Tls::None });
    wire.smtp("EHLO mail.elsewhere.example");
    let (accepted, end) = send(&mut wire, "someone@elsewhere.example", &["sales@example.org", BOB], &message);
    assert!(accepted.iter().all(|reply| reply.starts_with("250")) && end.starts_with("250"), "{accepted:?} {end}");
    // The alias is resolved; the copy has the message behind Postfix's own lines, which name who sent it.
    assert!(postfix.wait_for(ANN, 1)[0].ends_with(&message) && postfix.wait_for(BOB, 1)[0].ends_with(&message));
    wait_until("the copy is kept", CLIENT, || proxy.log().contains(" kept owner="));
    let kept = proxy.spool().list();
    assert_eq!(kept.iter().map(|kept| &*kept.owner).collect::<Vec<_>>(), ["example.org/ann"]);
    assert!(kept[0].bytes.ends_with(&message) && text(&kept[0].bytes).contains("from mail.elsewhere.example"));
    postfix.wait_until_idle();

    // Where nothing can be kept, Postfix's queue has it.
    let log = proxy.stop();
    assert_eq!(log.matches(" kept owner=").count(), 1);
    let late = corpus::numbered(6);
    let (_, end) = send(&mut wire, "someone@elsewhere.example", &[ANN], &late);
    assert!(end.starts_with("250"), "{end}");
    wait_until("it waits in the queue", CLIENT, || postfix.log().contains("status=deferred"));
    assert_eq!(postfix.delivered(ANN).len(), 1);
}

/// A host whose folders are labels, with one message under two of them, and its junk marked.
#[test]
fn labels_are_folders_and_a_message_is_kept_once() {
    let lab = Lab::new();
    let labels = [("All Mail", "All"), ("Spam", "Junk"), ("Papierkorb", "Trash"), ("Sent Mail", "Sent")];
    let mailboxes: String = labels
        .iter()
        .map(|(name, attribute)| {
            format!("  mailbox \"[Gmail]/{name}\" {{\n    auto = create\n    special_use = \\{attribute}\n  }}\n")
        })
        .collect();
    let extra = own_line(format!("namespace inbox {{\n{mailboxes}}}\n"));
    let host = Dovecot::with(&lab, DovecotOptions { special_use: None, extra, ..DovecotOptions::default() });
    let user = "ann@gmail.com";
    let mailbox = host.mailbox(user);
    let (message, junk, own) = (corpus::numbered(7), corpus::numbered(8), corpus::numbered(9));
    for (folder, bytes) in [
        ("INBOX", &message),
        ("[Gmail]/All Mail", &message),
        ("[Gmail]/All Mail", &own),
        ("[Gmail]/Spam", &junk),
        ("[Gmail]/Papierkorb", &junk),
        ("[Gmail]/Sent Mail", &own),
    ] {
        mailbox.put(folder, Place::New, bytes);
    }
    let imap = host.endpoint(Kind::Imap, Tls::Implicit).port;
    let upstream = format!("upstream = localhost:{imap}\nupstream_ca = {}", lab.ca().display());
    let ini = with(block(PAGE, "## 2. Gmail", "ini"), &[("upstream = imap.gmail.com:993", &upstream)]);
    let proxy = Proxy::start_in(&at_home(&lab, &ini));
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        let mut wire = Wire::connect(&lab, at(&proxy, "imap", Tls::Implicit));
        let bearer = format!("auth=Bearer {}", token(user));
        let first = match mechanism {
            "XOAUTH2" => format!("user={user}\u{1}{bearer}\u{1}\u{1}"),
            _ => format!("n,a={user},\u{1}{bearer}\u{1}\u{1}"),
        };
        wire.imap_ok(&format!("AUTHENTICATE {mechanism} {}", BASE64_STANDARD.encode(first)));
        wire.imap_ok("LIST \"\" *");
        for folder in ["INBOX", "[Gmail]/Sent Mail", "[Gmail]/All Mail", "[Gmail]/Spam", "[Gmail]/Papierkorb"] {
            wire.imap_ok(&format!("SELECT \"{folder}\""));
            wire.imap_ok("UID FETCH 1:* BODY.PEEK[]");
        }
        wire.imap_ok("LOGOUT");
    }
    // What is in the folder marked as Sent was not sent through here.
    proxy.spool().holds(&[received(user, "", &message), received(user, "Sent", &own)]);
    proxy.tells_of(" duplicate owner=ann@gmail.com");
}
