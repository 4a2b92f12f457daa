//! IMAP through the proxy, with the programs that people use: they get what they get without it, and all of it is kept.

mod support;

use std::fs;
use std::path::Path;

use support::client::{curl, fetchmail, getmail, maildirs, private};
use support::dovecot::{Mailbox, token};
use support::proxy::{nine, section};
use support::spool::{Expected, received, sent};
use support::wire::timeless;
use support::*;

const IMAP_PY: &str = include_str!("support/imap.py");

const ANN: &str = "ann@example.org";

#[test]
fn curl_in_all_nine_combinations_of_tls() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = small_corpus();
    let (sections, names) = nine(&lab, |tls| dovecot.endpoint(Kind::Imap, tls));
    let proxy = Proxy::start(&lab, &sections);
    let file = lab.path().join("upload");
    let upload = b"From: me@example.org\r\nSubject: Sent with curl\r\n\r\n.\r\nBye.\r\n";
    fs::write(&file, upload).unwrap();
    let session = |at: Endpoint, user: &str| -> Vec<Output> {
        dovecot.filled(user, &samples);
        let fetches = ["/INBOX;UID=1", "/INBOX;MAILINDEX=2", "/"].map(|path| curl(&lab, at, user, path, &[]).ok());
        let appended = curl(&lab, at, user, "/Sent", &["--upload-file", file.to_str().unwrap()]).ok();
        fetches.into_iter().chain([appended]).collect()
    };
    let mut expected = Vec::new();
    for (name, listen, upstream) in &names {
        let direct = session(dovecot.endpoint(Kind::Imap, *upstream), &format!("d-{name}@example.org"));
        let user = format!("p-{name}@example.org");
        let passed = session(proxy.endpoint(Kind::Imap, name, *listen), &user);
        assert_eq!(direct, passed, "{name}");
        for (sample, output) in samples.iter().zip(&passed) {
            assert_eq!(output.stdout, sample.bytes, "{name}");
            expected.push(received(&user, "", &sample.bytes));
        }
        expected.push(sent(&user, upload));
    }
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn every_login_names_the_owner() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let sections =
        section(&lab, "plain", Tls::None, dovecot.endpoint(Kind::Imap, Tls::None), "default_domain = example.org\n")
            + &section(&lab, "tls", Tls::StartTls, dovecot.endpoint(Kind::Imap, Tls::StartTls), "");
    let proxy = Proxy::start(&lab, &sections);
    let plain = proxy.endpoint(Kind::Imap, "plain", Tls::None);
    let secured = proxy.endpoint(Kind::Imap, "tls", Tls::StartTls);
    let mut expected = Vec::new();
    let mut mailbox = |user: &str, owner: &str| {
        let message = corpus::numbered(expected.len());
        dovecot.mailbox(user).put("INBOX", Place::New, &message);
        expected.push(received(owner, "", &message));
        message
    };

    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        for more in [&[][..], &["--sasl-ir"][..]] {
            let user = format!("c{}{}@example.org", mechanism, more.len()).to_lowercase();
            let message = mailbox(&user, &user);
            let option = format!("AUTH={mechanism}");
            let args = [&["--login-options", &option][..], more].concat();
            let output = curl(&lab, plain, &user, "/INBOX;UID=1", &args).ok();
            assert_eq!(output.stdout, message, "{mechanism}");
        }
    }
    for mechanism in
        ["login", "plain", "auth-login", "cram-md5", "scram-sha-1", "scram-sha-256", "xoauth2", "oauthbearer"]
    {
        for (name, at) in [("plain", plain), ("tls", secured)] {
            let user = format!("{mechanism}.{name}@example.org");
            mailbox(&user, &user);
            let secret = if mechanism.contains("oauth") { token(&user) } else { PASSWORD.to_owned() };
            python(&lab, IMAP_PY, at, &[mechanism, &user, &secret, "select INBOX", "fetch BODY.PEEK[]"]);
        }
    }
    // LOGIN in every form that the grammar has.
    type Form = fn(&str) -> Vec<String>;
    let forms: [(&str, Form); 5] = [
        ("atoms", |user| vec![format!("a LOGIN {user} {PASSWORD}\r\n")]),
        ("quoted", |user| vec![format!("a login \"{user}\" \"{PASSWORD}\"\r\n")]),
        ("literals", |user| {
            vec![
                format!("a LOGIN {{{}}}\r\n", user.len()),
                format!("{user} {{{}}}\r\n", PASSWORD.len()),
                format!("{PASSWORD}\r\n"),
            ]
        }),
        ("plus", |user| {
            vec![format!("a LOGIN {{{}+}}\r\n{user} {{{}+}}\r\n{PASSWORD}\r\n", user.len(), PASSWORD.len())]
        }),
        ("mixed", |user| vec![format!("a LOGIN \"{user}\" {{{}}}\r\n", PASSWORD.len()), format!("{PASSWORD}\r\n")]),
    ];
    for (name, form) in forms {
        let user = format!("login-{name}@example.org");
        mailbox(&user, &user);
        let mut wire = Wire::connect(&lab, plain);
        for part in form(&user) {
            wire.send(part.as_bytes());
            wire.imap_until("a");
        }
        wire.imap_ok("SELECT INBOX");
        wire.imap_ok("FETCH 1 BODY[]");
        wire.imap_ok("LOGOUT");
    }
    // Names that are written otherwise, or without a domain; only what the server accepted counts.
    for (user, owner) in [("Mixed.Case@Example.ORG", "mixed.case@example.org"), ("bare", "bare@example.org")] {
        mailbox(&user.to_lowercase(), owner);
        python(&lab, IMAP_PY, plain, &["login", user, PASSWORD, "select INBOX", "fetch RFC822"]);
    }
    mailbox("right@example.org", "right@example.org");
    let mut wire = Wire::connect(&lab, plain);
    assert!(String::from_utf8_lossy(&wire.imap("LOGIN wrong@example.org nonsense")).contains(" NO "));
    wire.login(Kind::Imap, "right@example.org");
    wire.imap_ok("EXAMINE INBOX");
    wire.imap_ok("UID FETCH 1 BODY.PEEK[]");
    drop(wire);
    proxy.spool().holds(&expected);
}

#[test]
fn the_whole_corpus_in_every_form_of_fetch() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let direct = dovecot.endpoint(Kind::Imap, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let passed = proxy.endpoint(Kind::Imap, "a", Tls::None);
    let samples = corpus();
    // Commands, and whether they hand out whole messages.
    let forms: [(&[&str], bool); 19] = [
        (&["FETCH 1:* BODY[]"], true),
        (&["UID FETCH 1:* BODY.PEEK[]"], true),
        (&["FETCH 1:* RFC822"], true),
        (&["fetch 1:* (uid rfc822.size body[])"], true),
        (&["UID FETCH 1:* (UID RFC822.SIZE BODY[])", "NOOP"], true),
        (&["UID FETCH 1:* (RFC822.SIZE INTERNALDATE BODY.PEEK[] FLAGS UID ENVELOPE BODYSTRUCTURE)"], true),
        (&["FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[TEXT])"], true),
        (&["UID FETCH 1:* (BODY[TEXT] BODY[HEADER])"], true),
        (&["FETCH 1:* (RFC822.HEADER RFC822.TEXT FLAGS)"], true),
        (&["FETCH 1:* RFC822.HEADER", "FETCH 1:* BODY.PEEK[TEXT]"], true),
        (&["UID FETCH 1:* BODY.PEEK[HEADER]", "UID FETCH 1:* BODY.PEEK[TEXT]"], true),
        (&["FETCH 1:* (BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] RFC822)"], true),
        (&["FETCH 2:4,1,5:* (FLAGS BODY[])", "FETCH 1:3 BODY[]"], true),
        (
            &[
                "FETCH 1:* FULL",
                "FETCH 1:* (FLAGS UID RFC822.SIZE)",
                "FETCH 1:* BODYSTRUCTURE",
                "STATUS INBOX (MESSAGES)",
            ],
            false,
        ),
        (&["FETCH 1:* BODY.PEEK[HEADER]", "FETCH 1:* RFC822.HEADER"], false),
        (
            &[
                "UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (FROM SUBJECT \"X-Y\")])",
                "FETCH 1:* BODY[HEADER.FIELDS.NOT (A)]",
            ],
            false,
        ),
        (&["FETCH 1:* BODY.PEEK[]<0.100>", "FETCH 1:* BODY[TEXT]<5.10>"], false),
        (&["FETCH 1:* (BODY.PEEK[1] BODY.PEEK[1.MIME])", "UID FETCH 1:* BINARY.SIZE[1]"], false),
        (&["FETCH 999 BODY[]", "UID FETCH 999 BODY[]", "FETCH 1:* NONSENSE", "SEARCH ALL"], false),
    ];
    let mut expected = Vec::new();
    let mut allowed = Vec::new();
    for (n, (commands, whole)) in forms.iter().enumerate() {
        let user = format!("p{n:02}@example.org");
        let mut answers = Vec::new();
        for (at, user) in [(direct, &format!("d{n:02}@example.org")), (passed, &user)] {
            dovecot.filled(user, &samples);
            let mut wire = Wire::connect(&lab, at);
            wire.login(Kind::Imap, user);
            wire.heard.clear();
            wire.imap_ok(if n % 3 == 0 { "EXAMINE INBOX" } else { "SELECT INBOX" });
            for command in *commands {
                wire.imap(command);
            }
            wire.imap_ok("LOGOUT");
            answers.push(timeless(&wire.heard));
        }
        assert_same(&answers[0], &answers[1], &format!("{commands:?}"));
        for sample in &samples {
            if *whole {
                let bytes = if commands.concat().contains("TEXT]") || commands.concat().contains(".TEXT") {
                    header_and_text(&sample.bytes)
                } else {
                    sample.bytes.clone()
                };
                expected.push(received(&user, "", &bytes));
            } else {
                allowed.push(received(&user, "", &sample.bytes));
            }
        }
    }
    // Parts can be the whole of a very short message; then it may be kept, and nothing else.
    let kept = proxy.spool().list();
    let extra: Vec<Expected> =
        allowed.into_iter().filter(|a| kept.iter().any(|k| k.bytes == a.bytes && k.owner == a.owner)).collect();
    expected.extend(extra);
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn imaplib_message_by_message_and_pipelined() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let direct = dovecot.endpoint(Kind::Imap, Tls::Implicit);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::Implicit, direct, ""));
    let passed = proxy.endpoint(Kind::Imap, "a", Tls::Implicit);
    let samples = corpus();
    let mut expected: Vec<Expected> = Vec::new();
    let run = |at: Endpoint, user: &str| {
        dovecot.filled(user, &samples);
        let actions = [
            "list",
            "select INBOX",
            "each BODY.PEEK[]",
            "uidfetch (FLAGS BODY[] INTERNALDATE)",
            "create Work/2024",
            "append Sent From:\\x20a@b\\r\\n\\r\\nsent\\r\\n",
            "append Work/2024 Subject:\\x20x\\r\\n\\r\\nfiled\\r\\n",
            "append Drafts Subject:\\x20x\\r\\n\\r\\ndraft\\r\\n",
            "append Nowhere Subject:\\x20x\\r\\n\\r\\nno\\x20such\\x20folder\\r\\n",
            "move Trash",
            "select Sent",
            "fetch RFC822",
            "select Trash",
            "fetch BODY[]",
            "close",
        ];
        let output = python(&lab, IMAP_PY, at, &[&["login", user, PASSWORD][..], &actions].concat());
        timeless(&output.stdout)
    };
    assert_same(&run(direct, "direct@example.org"), &run(passed, "passed@example.org"), "imaplib");
    expected.extend(samples.iter().map(|s| received("passed@example.org", "", &s.bytes)));
    expected.push(sent("passed@example.org", b"From: a@b\r\n\r\nsent\r\n"));
    expected.push(received("passed@example.org", "Work.2024", b"Subject: x\r\n\r\nfiled\r\n"));
    proxy.spool().holds(&expected);

    // Many commands at once, as mbsync and mutt send them; SELECT among them: what is fetched belongs to the folder
    // that was selected when it was asked for.
    let session = |at: Endpoint, user: &str| {
        let mailbox = dovecot.filled(user, &samples);
        for n in 0..50 {
            mailbox.put("Archive", Place::Cur, &corpus::numbered(n));
        }
        let mut wire = Wire::connect(&lab, at);
        wire.login(Kind::Imap, user);
        wire.heard.clear();
        let mut all = String::from("a0 SELECT INBOX\r\n");
        for n in 1..=samples.len() {
            all += &format!("a{n} UID FETCH {n} (BODY.PEEK[])\r\n");
        }
        all += "b0 SELECT Archive\r\n";
        for n in 1..=50 {
            all += &format!("b{n} FETCH {n} (UID FLAGS BODY.PEEK[])\r\nc{n} NOOP\r\n");
        }
        all += "z LOGOUT\r\n";
        wire.send(all.as_bytes());
        // Dovecot works on several commands at a time; in which order it answers depends on how fast we read.
        let mut responses = Vec::new();
        loop {
            let response = wire.imap_response();
            let last = response.starts_with(b"z ");
            responses.push(timeless(&response));
            if last {
                return sorted(responses).concat();
            }
        }
    };
    assert_same(&session(direct, "direcu@example.org"), &session(passed, "passec@example.org"), "pipelined");
    expected.extend(samples.iter().map(|s| received("passec@example.org", "", &s.bytes)));
    expected.extend((0..50).map(|n| received("passec@example.org", "Archive", &corpus::numbered(n))));
    proxy.spool().holds(&expected);
}

#[test]
fn append_in_every_form() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let direct = dovecot.endpoint(Kind::Imap, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let passed = proxy.endpoint(Kind::Imap, "a", Tls::None);
    let samples = corpus();
    let mut answers = Vec::new();
    let mut stored = Vec::new();
    let mut expected: Vec<Expected> = Vec::new();
    for (at, user) in [(direct, "direct@example.org"), (passed, "passed@example.org")] {
        let mailbox = dovecot.mailbox(user);
        let mut wire = Wire::connect(&lab, at);
        wire.login(Kind::Imap, user);
        wire.heard.clear();
        wire.imap_ok("LIST \"\" *");
        wire.imap_ok("CREATE Work/Reports");
        for (n, sample) in samples.iter().enumerate() {
            // Each in one of the forms, into one of the folders.
            let folder = ["INBOX", "Sent", "Work/Reports", "\"Sent\"", "Drafts", "{4}"][n % 6];
            let head =
                ["", "(\\Seen) ", "\"01-Jan-2024 12:00:00 +0000\" ", "(\\Flagged $x) \" 1-Feb-2024 12:00:00 +0100\" "]
                    [n % 4];
            let tag = wire.next_tag();
            wire.send(format!("{tag} APPEND {folder}").as_bytes());
            if folder == "{4}" {
                wire.send(b"\r\n");
                wire.imap_until(&tag);
                wire.send(b"Sent");
            }
            if n % 5 == 4 {
                wire.send(format!(" {head}{{{}+}}\r\n", sample.bytes.len()).as_bytes());
            } else {
                wire.send(format!(" {head}{{{}}}\r\n", sample.bytes.len()).as_bytes());
                let go_on = wire.imap_until(&tag);
                assert!(go_on.starts_with(b"+ "), "{}", String::from_utf8_lossy(&go_on));
            }
            wire.send(&sample.bytes);
            wire.send(b"\r\n");
            assert!(String::from_utf8_lossy(&wire.imap_until(&tag)).contains(" OK "), "{}", sample.name);
            if user.starts_with('p') {
                match n % 6 {
                    0 => expected.push(received(user, "", &sample.bytes)),
                    2 => expected.push(received(user, "Work.Reports", &sample.bytes)),
                    4 => {}
                    _ => expected.push(sent(user, &sample.bytes)),
                }
            }
        }
        // Several in one command, with both kinds of literals.
        let many: Vec<Vec<u8>> = (0..4).map(corpus::numbered).collect();
        let tag = wire.next_tag();
        wire.send(format!("{tag} APPEND Sent (\\Seen) {{{}+}}\r\n", many[0].len()).as_bytes());
        wire.send(&many[0]);
        wire.send(format!(" {{{}}}\r\n", many[1].len()).as_bytes());
        assert!(wire.imap_until(&tag).starts_with(b"+ "));
        wire.send(&many[1]);
        wire.send(format!(" \"01-Jan-2024 12:00:00 +0000\" {{{}+}}\r\n", many[2].len()).as_bytes());
        wire.send(&many[2]);
        wire.send(format!(" (\\Answered) \"01-Jan-2024 12:00:00 +0000\" {{{}+}}\r\n", many[3].len()).as_bytes());
        wire.send(&many[3]);
        wire.send(b"\r\n");
        assert!(String::from_utf8_lossy(&wire.imap_until(&tag)).contains(" OK "));

        // What the server does not take: no such folder (both kinds of literals), nothing at all. (With a bad date Dovecot
        // takes the literal for commands; that is its own affair and not tried here.)
        let lost = corpus::numbered(100);
        let sync = wire.imap(&format!("APPEND Nowhere {{{}}}", lost.len()));
        assert!(String::from_utf8_lossy(&sync).contains("TRYCREATE"));
        let tag = wire.next_tag();
        wire.send(format!("{tag} APPEND Nowhere {{{}+}}\r\n", lost.len()).as_bytes());
        wire.send(&lost);
        wire.send(b"\r\n");
        assert!(String::from_utf8_lossy(&wire.imap_until(&tag)).contains("TRYCREATE"));
        let tag = wire.next_tag();
        wire.send(format!("{tag} APPEND Sent {{0+}}\r\n\r\n").as_bytes());
        wire.imap_until(&tag);
        // As clients do then: create it, and again.
        wire.imap_ok("CREATE Nowhere");
        let again = corpus::numbered(101);
        let tag = wire.next_tag();
        wire.send(format!("{tag} APPEND Nowhere {{{}+}}\r\n", again.len()).as_bytes());
        wire.send(&again);
        wire.send(b"\r\n");
        wire.imap_until(&tag);
        wire.imap_ok("LOGOUT");
        answers.push(timeless(&wire.heard));
        stored
            .push(["INBOX", "Sent", "Work/Reports", "Drafts", "Nowhere"].map(|folder| sorted(mailbox.stored(folder))));
        if user.starts_with('p') {
            expected.extend(many.iter().map(|message| sent(user, message)));
            expected.push(received(user, "Nowhere", &again));
        }
    }
    assert_same(&answers[0], &answers[1], "APPEND");
    assert!(stored[0] == stored[1], "the server has other messages");
    assert_eq!(stored[1].iter().map(Vec::len).sum::<usize>(), samples.len() + 5);
    // A message that is kept already is not kept again: what was appended twice in two folders would be one.
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn folders_of_all_names() {
    let lab = Lab::new();
    let nested = ["Work", "Work/Reports", "v1.2", "Entw&APw-rfe", "Two words", "100%", "Sent", "Drafts", "a/b/c/d/e/f"];
    let dotted = ["Work", "Work.Reports", "Entw&APw-rfe", "Two words", "100%", "Sent", "Trash", "a.b.c.d.e.f"];
    let servers = [
        ("nested", DovecotOptions::default(), &nested[..]),
        ("dotted", DovecotOptions { separator: '.', ..DovecotOptions::default() }, &dotted[..]),
        (
            "below",
            DovecotOptions { separator: '.', prefix: "INBOX.", special_use: None, ..DovecotOptions::default() },
            &dotted[..],
        ),
        (
            "german",
            DovecotOptions { special_use: Some("Gesendete Objekte"), ..DovecotOptions::default() },
            &["Gesendete Objekte", "Junk"][..],
        ),
    ];
    for (name, options, folders) in servers {
        let prefix = options.prefix;
        let dovecot = Dovecot::with(&lab, options);
        let direct = dovecot.endpoint(Kind::Imap, Tls::None);
        let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
        let flat = Proxy::with(
            &lab,
            "imap_folders = flat\nskip_folders = Work/Reports, Two words, Work.Reports\n",
            &section(&lab, "a", Tls::None, direct, ""),
        );
        let fill = |user: &str| {
            let mailbox = dovecot.filled(user, &small_corpus());
            for (n, folder) in folders.iter().enumerate() {
                mailbox.put(folder, Place::Cur, &corpus::numbered(n));
            }
        };
        let mut all = Vec::new();
        for (at, user) in [
            (direct, "direct@example.org"),
            (proxy.endpoint(Kind::Imap, "a", Tls::None), "mirror@example.org"),
            (flat.endpoint(Kind::Imap, "a", Tls::None), "allflat@example.org"),
        ] {
            fill(user);
            all.push(wire::all_mail(&lab, at, user));
        }
        assert_eq!(all[0], all[1], "{name}");
        assert_eq!(all[0], all[2], "{name}");
        assert_eq!(all[0].values().map(Vec::len).sum::<usize>(), folders.len() + 2, "{name}");

        let inbox = |user: &str| small_corpus().iter().map(|s| received(user, "", &s.bytes)).collect::<Vec<_>>();
        let mut mirrored = inbox("mirror@example.org");
        let mut flattened = inbox("allflat@example.org");
        for (n, folder) in folders.iter().enumerate() {
            let message = corpus::numbered(n);
            let separator = if name == "nested" || name == "german" { '/' } else { '.' };
            let levels: Vec<String> =
                folder.split(separator).map(|l| l.replace('%', "%25").replace('.', "%2E")).collect();
            let dir = match *folder {
                "Sent" | "Gesendete Objekte" => Some("Sent".to_owned()),
                "Drafts" | "Trash" | "Junk" => None,
                _ => Some(format!("{prefix}{}", levels.join("."))),
            };
            mirrored.extend(dir.map(|dir| received("mirror@example.org", &dir, &message)));
            if !["Work/Reports", "Work.Reports", "Two words"].contains(folder) {
                flattened.push(received("allflat@example.org", "", &message));
            }
        }
        proxy.spool().holds(&mirrored);
        proxy.spool().served_by_dovecot(&lab);
        flat.spool().holds(&flattened);
    }
}

#[test]
fn mbsync_both_ways() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = corpus();
    let sections = section(&lab, "start", Tls::StartTls, dovecot.endpoint(Kind::Imap, Tls::None), "")
        + &section(&lab, "full", Tls::Implicit, dovecot.endpoint(Kind::Imap, Tls::StartTls), "");
    let proxy = Proxy::start(&lab, &sections);
    let mut expected = Vec::new();
    for (n, (tls, name, mechanism)) in [
        (Tls::StartTls, "start", "SCRAM-SHA-256"),
        (Tls::Implicit, "full", "CRAM-MD5"),
        (Tls::StartTls, "start", "PLAIN"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut near = Vec::new();
        let mut far = Vec::new();
        for (at, who) in [(dovecot.endpoint(Kind::Imap, tls), "d"), (proxy.endpoint(Kind::Imap, name, tls), "p")] {
            let user = format!("{who}{n}@example.org");
            let mailbox = dovecot.filled(&user, &samples);
            mailbox.put("Work/Reports", Place::Cur, &corpus::numbered(1000 + n));
            let home = lab.folder("mbsync");
            let maildir = |folder: &str| home.join("mail").join(folder);
            mbsync(&lab, at, mechanism, &user, &home);
            // Pulled; now two of its own are pushed, one of them big.
            for (i, (folder, message)) in
                [("Sent", corpus::numbered(2000 + n)), ("Work/Reports", corpus::sized("Big", 300_000))]
                    .iter()
                    .enumerate()
            {
                let file = maildir(folder).join("cur").join(format!("170000000{i}.M1P1.near:2,S"));
                fs::write(file, postfix::to_lf(message)).unwrap();
            }
            mbsync(&lab, at, mechanism, &user, &home);
            near.push(tree(&home.join("mail")));
            far.push(far_tree(&mailbox));
            if who == "p" {
                expected.extend(samples.iter().map(|s| received(&user, "", &s.bytes)));
                expected.push(received(&user, "Work.Reports", &corpus::numbered(1000 + n)));
                // mbsync marks what it pushes with a field of its own; the server has what was on the wire (with LF line ends).
                expected.extend(pushed(&mailbox, "Sent", "Number").map(|bytes| sent(&user, &bytes)));
                expected.extend(
                    pushed(&mailbox, "Work/Reports", "Big").map(|bytes| received(&user, "Work.Reports", &bytes)),
                );
            }
        }
        assert_same(&near[0], &near[1], "what mbsync pulled");
        assert_same(&far[0], &far[1], "what mbsync pushed");
    }
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn fetchmail_getmail_and_mutt() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    // A line longer than fetchmail's buffer gets octets at random in it.
    let samples: Vec<Sample> = corpus().into_iter().filter(|s| s.name != "a very long line").collect();
    let sections = section(&lab, "start", Tls::StartTls, dovecot.endpoint(Kind::Imap, Tls::Implicit), "")
        + &section(&lab, "full", Tls::Implicit, dovecot.endpoint(Kind::Imap, Tls::None), "");
    let proxy = Proxy::start(&lab, &sections);
    let mut expected = Vec::new();
    let ends =
        |tls: Tls, name: &str| [("d", dovecot.endpoint(Kind::Imap, tls)), ("p", proxy.endpoint(Kind::Imap, name, tls))];

    // Header and text in two commands (the text only where it finds a header).
    let no_header = ["first line is a dot", "all dots", "one octet"];
    let with_header: Vec<Sample> = samples.iter().filter(|s| !no_header.contains(&s.name)).cloned().collect();
    for (name, more) in [("keep", "keep"), ("all", "fetchall nokeep")] {
        let mut got = Vec::new();
        for (who, at) in ends(Tls::StartTls, "start") {
            let user = format!("fm-{who}-{name}@example.org");
            dovecot.filled(&user, &with_header);
            got.push(fetchmail(&lab, at, "", &user, more, "RFC822.HEADER"));
            if who == "p" {
                expected.extend(with_header.iter().map(|s| received(&user, "", &header_and_text(&s.bytes))));
            }
        }
        assert!(got[0].len() > 300_000);
        assert_same(&got[0], &got[1], &format!("fetchmail {name}"));
    }
    let mut got = Vec::new();
    for (who, at) in ends(Tls::Implicit, "full") {
        let user = format!("gm-{who}@example.org");
        dovecot.filled(&user, &samples);
        got.push(getmail(&lab, at, "SimpleIMAPSSLRetriever", &user, "").concat());
        if who == "p" {
            expected.extend(samples.iter().map(|s| received(&user, "", &s.bytes)));
        }
    }
    assert!(got[0].len() > 300_000);
    assert_same(&got[0], &got[1], "getmail");

    let mut got = Vec::new();
    for (tls, name) in [(Tls::Implicit, "full"), (Tls::StartTls, "start")] {
        for (who, at) in ends(tls, name) {
            let user = format!("mu-{who}-{name}@example.org");
            dovecot.filled(&user, &samples);
            got.push(mutt(&lab, at, &user));
            if who == "p" {
                expected.extend(samples.iter().map(|s| received(&user, "", &s.bytes)));
            }
        }
    }
    assert!(got[0].len() > 300_000);
    for other in &got[1..] {
        assert_same(&got[0], other, "mutt");
    }
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn idle_tells_of_new_mail_at_once() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let direct = dovecot.endpoint(Kind::Imap, Tls::StartTls);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::Implicit, direct, ""));
    let passed = proxy.endpoint(Kind::Imap, "a", Tls::Implicit);
    dovecot.mailbox(ANN);
    let mut idle = Wire::connect(&lab, passed);
    idle.login(Kind::Imap, ANN);
    idle.imap_ok("SELECT INBOX");
    let mut expected = Vec::new();
    for n in 0..3 {
        let message = corpus::numbered(n);
        let tag = idle.next_tag();
        idle.send(format!("{tag} IDLE\r\n").as_bytes());
        assert!(idle.imap_until(&tag).starts_with(b"+ "));
        // Another client puts a message there, past the proxy.
        let mut other = Wire::connect(&lab, direct);
        other.login(Kind::Imap, ANN);
        let append = other.next_tag();
        other.send(format!("{append} APPEND INBOX {{{}+}}\r\n", message.len()).as_bytes());
        other.send(&[&message[..], b"\r\n"].concat());
        other.imap_until(&append);
        // The idling one hears of it without asking (its reads have a deadline).
        while !idle.line().ends_with(b" EXISTS\r\n") {}
        idle.send(b"DONE\r\n");
        idle.imap_until(&tag);
        let got = idle.imap_ok(&format!("FETCH {} (FLAGS BODY[])", n + 1));
        assert_eq!(wire::literals(&got), [&message[..]]);
        expected.push(received(ANN, "", &message));
    }
    idle.imap_ok("LOGOUT");
    proxy.spool().holds(&expected);
}

#[test]
fn a_big_append_while_a_big_fetch_streams() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let direct = dovecot.endpoint(Kind::Imap, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let big = corpus::big();
    let upload = corpus::sized("Upload", 20_000_000);
    dovecot.filled(ANN, std::slice::from_ref(&big));
    let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Imap, "a", Tls::None));
    wire.login(Kind::Imap, ANN);
    wire.imap_ok("SELECT INBOX");
    // The answer is asked for and not read while the client sends: who does not read meanwhile stands still.
    wire.send(format!("f FETCH 1 BODY.PEEK[]\r\ng APPEND Sent {{{}+}}\r\n", upload.len()).as_bytes());
    let mut reader = wire.reading_half();
    let sender = std::thread::spawn({
        let upload = upload.clone();
        move || {
            wire.send(&upload);
            wire.send(b"\r\n");
            wire
        }
    });
    let fetched = reader.imap_until("f");
    assert!(wire::literals(&fetched) == [&big.bytes[..]]);
    assert!(String::from_utf8_lossy(&reader.imap_until("g")).contains(" OK "));
    drop(sender.join().unwrap());
    proxy.spool().holds(&[received(ANN, "", &big.bytes), sent(ANN, &upload)]);
}

/// What BODY[HEADER] and BODY[TEXT] are together: of a message without a blank line, Dovecot makes the header end with one.
fn header_and_text(message: &[u8]) -> Vec<u8> {
    message.to_vec()
}

fn sorted(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.sort();
    messages
}

fn mbsync(lab: &Lab, at: Endpoint, mechanism: &str, user: &str, home: &Path) {
    let tls = match at.tls {
        Tls::None => "None",
        Tls::StartTls => "STARTTLS",
        Tls::Implicit => "IMAPS",
    };
    fs::create_dir_all(home.join("mail")).unwrap();
    let rc = format!(
        "IMAPAccount a\nHost localhost\nPort {}\nUser {user}\nPass {PASSWORD}\nSSLType {tls}\nCertificateFile {}\n\
         AuthMechs {mechanism}\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath {h}/mail/\nInbox {h}/mail/INBOX\n\
         SubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge None\nSyncState *\n\
         CopyArrivalDate yes\n",
        at.port,
        lab.ca().display(),
        h = home.display()
    );
    private(&home.join("mbsyncrc"), &rc);
    run_with_input("mbsync", &["-c", home.join("mbsyncrc").to_str().unwrap(), "-a"], b"", home).ok();
}

/// All messages below a folder of Maildirs, without what mbsync marks them with.
fn tree(root: &Path) -> Vec<u8> {
    let folders = maildirs(root).into_iter().map(|(folder, messages)| {
        let messages = messages.iter().map(|message| tuidless(message)).collect();
        [folder.as_bytes(), &sorted(messages).concat()].concat()
    });
    folders.collect::<Vec<_>>().concat()
}

fn far_tree(mailbox: &Mailbox) -> Vec<u8> {
    let folders = ["INBOX", "Sent", "Work/Reports"]
        .map(|folder| sorted(mailbox.stored(folder).iter().map(|message| tuidless(message)).collect()).concat());
    folders.concat()
}

/// mbsync finds the messages it transferred by a random field that it adds.
fn tuidless(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|&byte| byte == b'\n');
    lines.filter(|line| !line.starts_with(b"X-TUID: ")).flatten().copied().collect()
}

/// The messages that a client put into this folder of the server, as they were on the wire.
fn pushed<'a>(mailbox: &Mailbox, folder: &str, subject: &'a str) -> impl Iterator<Item = Vec<u8>> + 'a {
    let stored = mailbox.stored(folder).into_iter();
    let wanted = move |message: &Vec<u8>| {
        let text = String::from_utf8_lossy(&message[..message.len().min(600)]).into_owned();
        // Those that lay there before have CRLF on disk.
        text.contains(&format!("Subject: {subject}")) && !text.contains("\r\n")
    };
    stored.filter(wanted).map(|message| message.split_inclusive(|&b| b == b'\n').flat_map(crlf).collect())
}

fn crlf(line: &[u8]) -> Vec<u8> {
    match line.strip_suffix(b"\n") {
        Some(text) => [text, b"\r\n"].concat(),
        None => line.to_vec(),
    }
}

/// Opens the inbox in mutt and copies all to a local mbox, as a user does by keys; gives that mbox.
fn mutt(lab: &Lab, at: Endpoint, user: &str) -> Vec<u8> {
    let home = lab.folder("mutt");
    let scheme = if at.tls == Tls::Implicit { "imaps" } else { "imap" };
    let got = home.join("got");
    let rc = format!(
        "set folder=\"{scheme}://localhost:{}/\"\nset spoolfile=\"+INBOX\"\nset imap_user=\"{user}\"\nset imap_pass=\"{PASSWORD}\"\n\
         set certificate_file=\"{}\"\nset ssl_starttls=yes\nset ssl_force_tls=yes\nset mbox_type=mbox\n\
         set ssl_ca_certificates_file=\"{}\"\n\
         set confirmappend=no\nset confirmcreate=no\nset quit=yes\nset delete=no\nset mark_old=no\nset sort=mailbox-order\n\
         set move=no\nset wait_key=no\nset copy=no\nset header_cache=\"\"\nset message_cachedir=\"\"\n\
         push \"<tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><quit>\"\n",
        at.port,
        lab.ca().display(),
        lab.ca().display(),
        got.display()
    );
    private(&home.join("muttrc"), &rc);
    // It wants a terminal.
    let command = format!("mutt -n -F {}/muttrc", home.display());
    let output = run_with_input("script", &["-qec", &command, "/dev/null"], b"", &home);
    let mbox = fs::read(&got).unwrap_or_else(|e| panic!("mutt copied nothing ({e}): {}", output.text()));
    // Its own lines between the messages have the time in them.
    let lines = mbox.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"From "));
    lines.flatten().copied().collect()
}
