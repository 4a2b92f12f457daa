//! `learn_logins`: the users' own passwords open the archive, once the real server has accepted them; nothing else is learnt, and the file stays whole.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use support::dovecot::{Configured, mail_names, token};
use support::lab::is_root;
use support::learn::{KINDS, client, folder, is_hash_of, knows, learning, learnt, teach, toys};
use support::logins::{logins, secret};
use support::proxy::{nine, section};
use support::*;

/// A real server whose users have the passwords in this file.
fn origin(lab: &Lab, users: &Path) -> Dovecot {
    let extra = format!(
        "passdb {{\n  driver = passwd-file\n  mechanisms = plain login\n  args = scheme=PLAIN username_format=%u {}\n}}\n{NO_PENALTY}",
        users.display()
    );
    Dovecot::with(lab, DovecotOptions { extra: Box::leak(extra.into_boxed_str()), ..DovecotOptions::default() })
}

/// Otherwise each wrong password makes the next login wait longer.
const NO_PENALTY: &str = "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n";

fn write_users(file: &Path, users: &[(String, &str)]) {
    let lines: String = users.iter().map(|(user, password)| format!("{user}:{{PLAIN}}{password}::::::\n")).collect();
    fs::write(file, lines).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Dovecot over a spool, whose users have the passwords of the file.
fn archive(lab: &Lab, spool: &Path, file: &Path) -> Configured {
    let (user, group) = mail_names();
    let home = lab.folder("archive");
    dovecot::owned(&home);
    let certificate = lab.certificate();
    Configured::start(lab, |port| {
        format!(
            "protocols = imap
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
ssl = required
ssl_cert = <{}
ssl_key = <{}
auth_mechanisms = plain login
auth_username_format = %Lu
auth_cache_size = 0
passdb {{
  driver = passwd-file
  args = scheme=SHA512-CRYPT username_format=%u {file}
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {file}
}}
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
mail_home = {}/%d/%n
mail_location = maildir:{}/%d/%n:CONTROL=~/control:INDEX=~/index
",
            certificate.chain.display(),
            certificate.key.display(),
            home.display(),
            spool.display(),
            file = file.display(),
        )
    })
}

/// Whether these open the archive.
fn opens(lab: &Lab, archive: &Configured, user: &str, password: &str) -> Option<Wire> {
    let mut wire = Wire::connect(lab, Endpoint { kind: Kind::Imap, port: archive.port, tls: Tls::Implicit });
    wire.send(format!("a LOGIN {user} {password}\r\n").as_bytes());
    let reply = text(&line_with(&mut wire, b"a "));
    if reply.starts_with("a OK") { Some(wire) } else { None }
}

/// The next line that begins so.
fn line_with(wire: &mut Wire, start: &[u8]) -> Vec<u8> {
    loop {
        let line = wire.line();
        assert!(!line.is_empty(), "the connection is over: {}", wire.text());
        if line.starts_with(start) {
            return line;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Logs in with TLS where the endpoint has it. Whether that succeeded; the session stays open.
fn log_in(lab: &Lab, at: Endpoint, user: &str, password: &str) -> (bool, Wire) {
    let mut wire = Wire::connect(lab, at);
    let plain = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
    let reply = match at.kind {
        Kind::Pop3 => {
            wire.send(format!("USER {user}\r\n").as_bytes());
            line_with(&mut wire, b"");
            wire.send(format!("PASS {password}\r\n").as_bytes());
            line_with(&mut wire, b"")
        }
        Kind::Imap => {
            wire.send(format!("l LOGIN \"{user}\" \"{password}\"\r\n").as_bytes());
            line_with(&mut wire, b"l ")
        }
        Kind::Smtp => {
            wire.send(b"EHLO x\r\n");
            line_with(&mut wire, b"250 ");
            wire.send(format!("AUTH PLAIN {plain}\r\n").as_bytes());
            line_with(&mut wire, b"")
        }
    };
    (["+OK", "l OK", "235"].iter().any(|good| reply.starts_with(good.as_bytes())), wire)
}

#[test]
fn the_users_own_passwords_open_the_archive_by_every_protocol_and_tls_mode() {
    let lab = Lab::new();
    let users = lab.path().join("users");
    let origin = origin(&lab, &users);
    let postfix = Postfix::start(&lab, &origin);
    let (mut sections, mut ways) = (String::new(), Vec::new());
    for kind in KINDS {
        let server = |tls| if kind == Kind::Smtp { postfix.endpoint(tls) } else { origin.endpoint(kind, tls) };
        let (text, names) = nine(&lab, server);
        sections += &text;
        ways.extend(names.into_iter().map(|(name, listen, _)| (kind, name, listen)));
    }
    let user = |(kind, name, _): &(Kind, String, Tls)| format!("{}.{name}@example.org", kind.key());
    write_users(&users, &ways.iter().map(|way| (user(way), "fir$t-Pa55")).collect::<Vec<_>>());
    let file = folder(&lab).join("passwd");
    let more = if is_root() { format!("user = {}\n", mail_names().0) } else { String::new() };
    if is_root() {
        // As mailstore.ini says: MailStore writes, Dovecot reads.
        let (folder, (user, _)) = (file.parent().unwrap(), mail_names());
        run("install", &["-d", "-m", "2750", "-o", &user, "-g", "dovecot", folder.to_str().unwrap()]).ok();
    }
    let proxy = Proxy::with(&lab, &(learning(&file) + &more), &sections);
    let archive = archive(&lab, proxy.spool().path(), &file);
    for way in &ways {
        origin.filled(&user(way), &small_corpus()[..1]);
        let at = proxy.endpoint(way.0, &way.1, way.2);
        if way.1 == "none-none" {
            assert!(!log_in(&lab, at, &user(way), "wr0ng-Pa55").0);
        }
        assert!(log_in(&lab, at, &user(way), "fir$t-Pa55").0);
    }
    for way in &ways {
        knows(&file, &user(way), "fir$t-Pa55");
        if way.1 == "implicit-starttls" {
            wait_until(&user(way), CLIENT, || opens(&lab, &archive, &user(way), "fir$t-Pa55").is_some());
        }
    }
    assert!(opens(&lab, &archive, &user(&ways[0]), "wr0ng-Pa55").is_none());
    assert_eq!(learnt(&file).len(), ways.len());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);

    // And he reads there what he fetched.
    let at = proxy.endpoint(Kind::Imap, "none-none", Tls::None);
    let joe = "imap.none-none@example.org";
    let (_, mut wire) = log_in(&lab, at, joe, "fir$t-Pa55");
    wire.imap_ok("SELECT INBOX");
    wire.imap_ok("FETCH 1 BODY[]");
    let mut reads = opens(&lab, &archive, joe, "fir$t-Pa55").unwrap();
    reads.imap_ok("SELECT INBOX");
    assert!(text(&reads.imap_ok("FETCH 1 BODY[]")).contains("Subject: Plain\r\n"));
    drop((wire, reads));

    // A new password at the provider's, then another one at once: Dovecot has to see each.
    for (old, new) in [("fir$t-Pa55", "second-Pa55"), ("second-Pa55", "third#-Pa55")] {
        let before = learnt(&file)[joe].clone();
        write_users(&users, &ways.iter().map(|way| (user(way), new)).collect::<Vec<_>>());
        wait_until("the provider knows the new one", CLIENT, || !log_in(&lab, at, joe, old).0);
        assert_eq!(learnt(&file)[joe], before, "who is refused teaches nothing");
        assert!(log_in(&lab, at, joe, new).0);
        wait_until("the new one opens the archive", CLIENT, || opens(&lab, &archive, joe, new).is_some());
        assert!(opens(&lab, &archive, joe, old).is_none());
    }
    let log = proxy.stop();
    let told = |how: &str| log.matches(&format!("learnt login owner={joe} line={how}")).count();
    assert_eq!((told("new"), told("changed")), (1, 2), "{log}");
    for said in ["Pa55", "$6$"] {
        assert!(!log.contains(said), "{said} is in the log");
    }
}

#[test]
fn passwords_are_learnt_of_every_login_that_has_one_and_of_no_other() {
    let lab = Lab::new();
    let file = folder(&lab).join("passwd");
    let proxy = Proxy::with(&lab, &learning(&file), &toys(&lab, "a"));
    let mut right = BTreeMap::new();
    for (number, kind) in KINDS.into_iter().enumerate() {
        for way in 0..logins(kind, "", "").len() {
            let (user, word) = (format!("u{way}@{}.example", kind.key()), secret((100 * number + way) as u64));
            let login = &logins(kind, &user, &word)[way];
            let mut client = client(&proxy, kind);
            login.lines.iter().for_each(|line| drop(client.say(line)));
            if !["CRAM-MD5", "XOAUTH2", "OAUTHBEARER", "APOP"].iter().any(|other| login.name.starts_with(other)) {
                let word = if login.name == "LOGIN with quotes" { format!("p\"a \\s {word}") } else { word };
                right.insert(user, word);
            }
        }
    }
    let plain = |text: &str| format!("a AUTHENTICATE PLAIN {}", BASE64_STANDARD.encode(text));
    for said in [
        plain("boss@x.example\0me@x.example\0pw"),
        plain("\0nul@x.example\0p\0w"),
        plain("\0none@x.example\0"),
        "a LOGIN me@x.example*root pw".to_owned(),
        "a LOGIN a:b@x.example pw".to_owned(),
        "a LOGIN \"a b@x.example\" pw".to_owned(),
        "a LOGIN #a@x.example pw".to_owned(),
        "a LOGIN ..@x.example pw".to_owned(),
        "a LOGIN a/b@x.example pw".to_owned(),
    ] {
        assert!(client(&proxy, Kind::Imap).say(said.as_bytes()).starts_with("a OK"), "{said}");
    }
    for (user, word) in
        [("a'b+c@x.example", "odd"), ("-x@x.example", "dash"), ("j\u{fc}rgen@x.example", "umlaut"), ("joe", "bare")]
    {
        teach(&proxy, user, word);
        // A quote has a backslash before it, as Dovecot looks for it.
        let name = user.replace('\'', "\\'");
        right.insert(if user.contains('@') { name } else { format!("{name}@localhost") }, word.to_owned());
    }
    // What came before the last one was looked at before it.
    teach(&proxy, "last@x.example", "last");
    right.insert("last@x.example".to_owned(), "last".to_owned());
    knows(&file, "last@x.example", "last");
    let found = learnt(&file);
    assert_eq!(found.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (user, word) in &right {
        assert!(is_hash_of(&found[user], word), "{user}");
    }
}

#[test]
fn real_servers_that_take_tokens_and_proofs_teach_nothing() {
    let lab = Lab::new();
    let origin = Dovecot::start(&lab);
    let file = folder(&lab).join("passwd");
    let proxy =
        Proxy::with(&lab, &learning(&file), &section(&lab, "a", Tls::None, origin.endpoint(Kind::Imap, Tls::None), ""));
    let oauth = |user: &str| BASE64_STANDARD.encode(format!("user={user}\u{1}auth=Bearer {}\u{1}\u{1}", token(user)));
    let bearer = |user: &str| BASE64_STANDARD.encode(format!("n,a={user},\u{1}auth=Bearer {}\u{1}\u{1}", token(user)));
    for said in [
        format!("AUTHENTICATE XOAUTH2 {}", oauth("ox@a.example")),
        format!("AUTHENTICATE OAUTHBEARER {}", bearer("ob@a.example")),
    ] {
        let reply = client(&proxy, Kind::Imap).say(format!("a {said}").as_bytes());
        assert!(reply.starts_with("a OK"), "{reply}");
    }
    let cram = "import imaplib, sys\ni = imaplib.IMAP4('localhost', int(sys.argv[2]))\ni.login_cram_md5('cram@a.example', sys.argv[5])\ni.logout()\n";
    python(&lab, cram, proxy.endpoint(Kind::Imap, "a", Tls::None), &[PASSWORD]);
    teach(&proxy, "last@a.example", PASSWORD);
    knows(&file, "last@a.example", PASSWORD);
    assert_eq!(learnt(&file).len(), 1);
}
