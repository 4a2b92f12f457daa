//! What users see: their folders and messages, as they lie in the Maildirs, whatever the owner or the template is called.

use super::*;

super::for_both_versions!(
    serves_the_maildirs_as_they_are,
    takes_any_template_and_any_name,
    tls_on_both_ports_and_no_password_without,
    nobody_gets_a_maildir_made,
    what_comes_meanwhile_is_seen,
    mail_programs_fetch_all_of_it,
    many_sessions_begin_at_once,
);

fn serves_the_maildirs_as_they_are(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "default_domain = example.com\n");
    let before = contents(&archive.spool());
    archive.add(JOE);
    let dovecot = archive.start(version, &lab, &[]);
    let mut wire = read(&lab, &dovecot, "JOE");
    let all = ["INBOX", "Sent", "Work.Reports", "&AMQ-rger", "100%25", "imap"];
    let mut all: BTreeSet<String> = all.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(folders(&mut wire, "LIST \"\" *"), all);
    // Programs that show subscribed folders only show them all (the inbox they show anyway).
    all.remove("INBOX");
    assert_eq!(folders(&mut wire, "LSUB \"\" *"), all);
    assert!(text(&wire.imap_ok("LIST \"\" Sent")).contains("\\Sent) \".\" Sent\r\n"));
    for (folder, subjects) in [
        ("INBOX", vec!["first", "second", "trashed"]),
        ("Sent", vec!["sent"]),
        ("Work.Reports", vec!["report"]),
        ("&AMQ-rger", vec!["trouble"]),
        ("100%25", vec!["percent"]),
        ("imap", vec!["imap"]),
    ] {
        wire.imap_ok(&format!("SELECT \"{folder}\""));
        let mut expected: Vec<Vec<u8>> = subjects.into_iter().map(message).collect();
        let mut served = wire::literals(&wire.imap_ok("FETCH 1:* BODY.PEEK[]"));
        expected.sort();
        served.sort();
        assert_eq!(served, expected, "{folder}");
    }
    // The date received is the file's, the size its own; marking changes neither.
    for command in ["NOOP", "STORE 1:* +FLAGS (\\Seen \\Flagged $Forwarded)"] {
        wire.imap_ok("SELECT INBOX");
        wire.imap_ok(command);
        let answer = text(&wire.imap_ok("FETCH 1:2 (INTERNALDATE RFC822.SIZE)"));
        for (line, (second, subject)) in answer.lines().zip([(0, "first"), (1, "second")]) {
            let date = format!("INTERNALDATE \"14-Jul-2017 02:40:0{second} +0000\"");
            let size = format!("RFC822.SIZE {}", message(subject).len());
            assert!(line.contains(&date) && line.contains(&size), "{command}: {line}");
        }
    }
    // Nothing of Dovecot's is in the spool, and names keep their S= and H=.
    unchanged(&archive.spool(), &before);

    // Who does not want to see a folder does not get it back at the next login; a new one comes.
    wire.imap_ok("UNSUBSCRIBE imap");
    wire.imap_ok("SUBSCRIBE INBOX");
    archive.put("example.com/joe", ".New.er", &message("new"), "");
    let mut wire = read(&lab, &dovecot, JOE);
    all.remove("imap");
    all.extend(["New.er".to_owned(), "INBOX".to_owned()]);
    assert_eq!(folders(&mut wire, "LSUB \"\" *"), all);
    // What has to be looked for in the folder that a person names can be found by the administrator as well.
    let found = dovecot.doveadm(&["fetch", "-u", JOE, "hdr.subject", "mailbox", "Work.Reports"]).ok().text();
    assert!(found.contains("hdr.subject: report"), "{found}");
}

fn takes_any_template_and_any_name(version: Version) {
    let lab = Lab::new();
    let names = [
        "joe@example.com",
        "o'neil+lists@example.com",
        "müller@exämple.de",
        "ann=x@localhost",
        "-dash-@example.com",
        "日本@例え.jp",
    ];
    for (template, names) in [
        ("%u", &names[..]),
        ("mail/%n@%d/Maildir", &names[1..4]),
        ("%d/%n", &names[1..4]),
        ("x-%d/%u/%n", &names[3..4]),
    ] {
        let archive = Archive::new(&lab, &format!("maildir = {template}\n"));
        for &owner in names {
            let (user, domain) = owner.split_once('@').unwrap();
            let path = template.replace("%u", owner).replace("%n", user).replace("%d", domain);
            archive.put(&path, "", &message(owner), "");
            archive.add(owner);
        }
        let dovecot = archive.start(version, &lab, &[]);
        for &owner in names {
            let mut wire = read(&lab, &dovecot, owner);
            wire.imap_ok("SELECT INBOX");
            assert_eq!(wire::literals(&wire.imap_ok("FETCH 1:* BODY[]")), [message(owner)], "{template} {owner}");
        }
        // A name without a domain is one of the domain `localhost`, as everywhere in MailStore.
        log_in(&mut Wire::connect(&lab, support::archive::at(&dovecot)), "Ann=x", ARCHIVE_PASSWORD);
    }
    // Whom Dovecot cannot find is told of.
    let archive = Archive::new(&lab, "");
    archive.put("example.com/a%2Fb", "", &message("x"), "");
    archive.put("example.com/a@b", "", &message("x"), "");
    archive.put("example.com/ann", "", &message("x"), "");
    let said = archive.script(version, &[]).ok().errors();
    assert!(
        said.contains("2 owners cannot log in here") && said.contains("a/b@example.com") && !said.contains("ann@"),
        "{said}"
    );
}

fn tls_on_both_ports_and_no_password_without(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    archive.add(JOE);
    let dovecot = archive.start(version, &lab, &[]);
    for (tls, port) in [(Tls::Implicit, dovecot.port), (Tls::StartTls, dovecot.starttls_port)] {
        let mut wire = Wire::connect(&lab, Endpoint { kind: Kind::Imap, port, tls });
        log_in(&mut wire, JOE, ARCHIVE_PASSWORD);
        wire.imap_ok("SELECT INBOX");
    }
    // Dovecot takes a client with its own address for safe; this one has another.
    let source = run_with_input(
        "/usr/bin/python3",
        &[
            "-c",
            "import socket, sys\n\
             s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), source_address=('127.0.0.3', 0))\n\
             print(s.recv(9999))\ns.sendall(b'a LOGIN %s \"%s\"\\r\\n' % tuple(map(str.encode, sys.argv[2:])))\nprint(s.recv(9999))",
            &dovecot.starttls_port.to_string(),
            JOE,
            ARCHIVE_PASSWORD,
        ],
        b"",
        lab.path(),
    );
    let said = source.ok().text();
    assert!(said.contains("LOGINDISABLED") && said.contains("a NO [PRIVACYREQUIRED]"), "{said}");
    // A port that is not wanted is not there.
    let only = archive.start(version, &lab, &["--starttls-port", "0"]);
    assert!(TcpStream::connect(("127.0.0.1", only.starttls_port)).is_err());
}

fn nobody_gets_a_maildir_made(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    for name in ["ann@example.com", "..@example.com", "..@..", "joe@.."] {
        archive.add_line(name);
    }
    let dovecot = archive.start(version, &lab, &[]);
    let before = contents(&archive.dir);
    for name in ["ann@example.com", "..@example.com", "..@..", "joe@.."] {
        let said = try_log_in(&mut Wire::connect(&lab, at(&dovecot)), name, ARCHIVE_PASSWORD);
        assert_eq!(said, format!("* BYE Nothing is kept of {name}\r\n"));
        dovecot.tells_of(&["nothing is kept of", name]);
    }
    // The administrator's own way makes none either.
    assert_ne!(dovecot.doveadm(&["mailbox", "status", "-u", "ann@example.com", "messages", "INBOX"]).code, Some(0));
    unchanged(&archive.dir, &before);
    for name in ["a/../joe@example.com", "joe@example.com/../x", "a:b@example.com", "%n@example.com"] {
        let said = try_log_in(&mut Wire::connect(&lab, at(&dovecot)), name, ARCHIVE_PASSWORD);
        assert!(said.contains(" NO "), "{name}: {said}");
    }
}

fn what_comes_meanwhile_is_seen(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    archive.add(JOE);
    let dovecot = archive.start(version, &lab, &[]);
    let mut wire = read(&lab, &dovecot, JOE);
    // Into `new`, and, what was sent, right into `cur`.
    for (folder, flags) in [("INBOX", ""), ("Sent", ":2,S")] {
        wire.imap_ok(&format!("SELECT {folder}"));
        let on_disk = if folder == "INBOX" { "" } else { ".Sent" };
        for count in 0..3 {
            let bytes = message(&format!("late {count}"));
            archive.put("example.com/joe", on_disk, &bytes, flags);
            wait_until("the message shows", START, || {
                let answer = wire.imap_ok("NOOP");
                text(&answer).contains(" EXISTS")
                    || !wire::literals(&wire.imap_ok("FETCH * BODY.PEEK[]")).is_empty() && {
                        wire::literals(&wire.imap_ok("FETCH * BODY.PEEK[]"))[0] == bytes
                    }
            });
            assert_eq!(wire::literals(&wire.imap_ok("FETCH * BODY.PEEK[]")), [bytes]);
        }
    }
    // One that vanishes while it is read costs this message only.
    wire.imap_ok("SELECT INBOX");
    let file = entries(&archive.spool().join("example.com/joe/cur"))
        .into_iter()
        .find(|file| file.to_str().unwrap().contains(&hash(&message("first"))));
    fs::remove_file(file.expect("the first message")).unwrap();
    let answer = wire.imap("FETCH 1:2 BODY.PEEK[]");
    assert!(wire::literals(&answer).contains(&message("second")), "{}", text(&answer));
}

fn mail_programs_fetch_all_of_it(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    archive.add(JOE);
    let dovecot = archive.start(version, &lab, &[]);
    let ca = lab.ca().display().to_string();
    let curl = |path: &str| {
        let (url, login) = (format!("imaps://localhost:{}/{path}", dovecot.port), format!("{JOE}:{ARCHIVE_PASSWORD}"));
        run("curl", &["-sS", "--max-time", "60", "--cacert", &ca, "--user", &login, &url]).ok().stdout
    };
    assert_eq!(curl("Work.Reports;UID=1"), message("report"));
    assert!(text(&curl("INBOX?SUBJECT%20second")).starts_with("* SEARCH 2"));

    let home = lab.folder("mbsync");
    fs::create_dir(home.join("mail")).unwrap();
    let rc = format!(
        "IMAPAccount a\nHost localhost\nPort {}\nUser {JOE}\nPass \"{ARCHIVE_PASSWORD}\"\nSSLType STARTTLS\nCertificateFile {ca}\n\n\
         IMAPStore far\nAccount a\n\nMaildirStore near\nPath {h}/mail/\nInbox {h}/mail/INBOX\nSubFolders Verbatim\n\n\
         Channel c\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSync Pull\nSyncState *\nCopyArrivalDate yes\n",
        dovecot.starttls_port,
        h = home.display()
    );
    support::client::private(&home.join("mbsyncrc"), &rc);
    let sync = || run_with_input("mbsync", &["-c", "mbsyncrc", "-a"], b"", &home).ok();
    sync();
    sync();
    let fetched = support::client::maildirs(&home.join("mail"));
    let count = |folder: &str| fetched.get(folder).map_or(0, Vec::len);
    assert_eq!(["INBOX", "Sent", "Work/Reports", "imap"].map(count), [3, 1, 1, 1], "{:?}", fetched.keys());
}

/// As a mail program does that has five connections: all folders are new to Dovecot, and so is the user.
fn many_sessions_begin_at_once(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    for name in ["joe", "kim"] {
        archive.put(&format!("example.com/{name}"), ".Sent", &message("sent"), ":2,S");
        archive.put(&format!("example.com/{name}"), "", &message("came"), "");
        archive.add(&format!("{name}@example.com"));
    }
    let dovecot = archive.start(version, &lab, &[]);
    let session = |user: &str| {
        let mut wire = read(&lab, &dovecot, user);
        for folder in ["INBOX", "Sent"] {
            wire.imap_ok(&format!("STATUS {folder} (MESSAGES UIDNEXT UNSEEN)"));
            wire.imap_ok(&format!("SELECT {folder}"));
            wire.imap_ok("FETCH 1:* (UID FLAGS BODY.PEEK[])");
        }
        wire.imap_ok("LIST \"\" *");
    };
    std::thread::scope(|scope| {
        for user in [JOE, "kim@example.com"].iter().cycle().take(16) {
            scope.spawn(|| session(user));
        }
    });
    assert!(folders(&mut read(&lab, &dovecot, JOE), "LSUB \"\" *").contains("Work.Reports"));
    let log = dovecot.log();
    assert!(!log.contains("Panic") && !log.contains("Error:") && !log.contains("Fatal"), "{log}");
}
