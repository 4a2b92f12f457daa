//! What the log, `-t` and a panic tell: never a password, a token, or the text of a message; also not where people type it in the wrong place, or the
//! server repeats it. (The name of a login that the server accepted is told, and so are addresses of envelopes, and names of folders.)

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use native_tls::{Certificate, TlsConnector};
use support::logins::{Client, Temper, connect, logins, secret, toy};
use support::proxy::section;
use support::{CLIENT, Endpoint, Kind, Lab, Proxy, Tls, memory, wait_until};

const KINDS: [Kind; 3] = [Kind::Pop3, Kind::Imap, Kind::Smtp];
const USER: &str = "ann@example.org";

/// So many letters of a secret in a row are a leak.
const LEAK: usize = 6;

/// The line of this text that holds a part of a secret, in whatever form, for each secret of which there is one.
fn leaks<'a>(text: &'a str, secrets: &[&str]) -> BTreeMap<usize, &'a str> {
    // By their lengths, all parts of all forms.
    let mut parts: BTreeMap<usize, HashMap<String, usize>> = BTreeMap::new();
    for (index, secret) in secrets.iter().enumerate() {
        let mut add = |form: &str, len: usize| {
            let parts = parts.entry(len).or_default();
            parts.extend(windows(form, len).map(|part| (part.to_lowercase(), index)));
        };
        let join =
            |format: fn(u8) -> String, between: &str| secret.bytes().map(format).collect::<Vec<_>>().join(between);
        add(secret, LEAK);
        add(&join(|byte| format!("{byte:02x}"), ""), 2 * LEAK);
        add(&join(|byte| format!("{byte:02x}"), " "), 3 * LEAK);
        add(&join(|byte| format!("\\x{byte:02x}"), ""), 4 * LEAK);
        add(&join(|byte| byte.to_string(), ", "), 5 * LEAK);
        memory::in_base64(secret.as_bytes()).iter().for_each(|form| add(form, LEAK + 3));
    }
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let lower = line.to_ascii_lowercase();
        for (len, parts) in &parts {
            let here = lower.as_bytes().windows(*len).filter_map(|part| parts.get(str::from_utf8(part).ok()?));
            found.extend(here.map(|index| (*index, line)));
        }
    }
    found
}

fn leak(text: &str, secret: &str) -> Option<String> {
    leaks(text, &[secret]).into_values().next().map(str::to_owned)
}

fn windows(text: &str, len: usize) -> impl Iterator<Item = &str> {
    (0..(text.len() + 1).saturating_sub(len)).map(move |at| &text[at..at + len])
}

#[test]
fn the_search_for_leaks_finds_all_forms() {
    let (log, secret) = (|form: &str| format!("a\nreason={form} b\nc"), secret(1));
    let base64 = |before: &str| {
        use base64::prelude::{BASE64_STANDARD, Engine};
        BASE64_STANDARD.encode(format!("{before}{secret}"))
    };
    let escaped: String = secret.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    let half = secret[..8].to_uppercase();
    for form in
        [&secret, &half, &base64(""), &base64("x"), &base64("xx"), &escaped, &format!("{:?}", secret.as_bytes())]
    {
        assert!(leak(&log(form), &secret).is_some_and(|line| line.starts_with("reason=")), "{form}");
    }
    assert_eq!(leak(&log("nothing"), &secret), None);
}

/// The proxies, telling all they can.
fn start(lab: &Lab, sections: &str) -> Proxy {
    let dir = lab.folder("proxy");
    fs::create_dir(dir.join("logins")).unwrap();
    let shared = "[mailstore]\nspool = mailSpool\nlearn_logins = logins/passwd\nlog = trace\n";
    fs::write(dir.join("mailstore.ini"), format!("{shared}{sections}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_start_proxies"));
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("SSLKEYLOGFILE", dir.join("keys.log"));
    let proxy = Proxy::start_by(command, &dir);
    assert!(!dir.join("keys.log").exists());
    proxy
}

/// Waits until every session is over, and searches the log for all of these.
#[track_caller]
fn log_is_clean(proxy: &Proxy, sessions: usize, secrets: &[(String, String)]) {
    let closed = || proxy.log().lines().filter(|line| line.contains(" closed client=")).count();
    wait_until("every session is closed", CLIENT, || closed() >= sessions);
    let log = proxy.log();
    let words: Vec<&str> = secrets.iter().map(|(secret, _)| secret.as_str()).collect();
    let leaks: Vec<_> = leaks(&log, &words).into_iter().map(|(index, line)| (&secrets[index].1, line)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    // Nor what is learnt of them.
    assert!(!log.contains("$6$"), "a hash is in the log");
}

/// Says all this in one session; a server or a proxy that has had enough may end it.
fn say_all(mut client: Client<impl Read + Write>, lines: &[Vec<u8>]) {
    for line in lines {
        client.say(line);
    }
}

#[test]
fn no_way_to_log_in_leaves_its_secret_in_the_log_whatever_the_server_says() {
    let lab = Lab::new();
    let (mut sections, mut secrets, mut number) = (String::new(), Vec::new(), 0);
    let tempers = [Temper::Accepts, Temper::Echoes, Temper::Rambles];
    let certificate = lab.certificate();
    for tls in [Tls::None, Tls::Implicit] {
        for (temper, kind) in tempers.into_iter().flat_map(|temper| KINDS.map(|kind| (temper, kind))) {
            let port = toy(kind, temper, "", (tls == Tls::Implicit).then_some(&certificate));
            sections +=
                &section(&lab, &format!("{temper:?}{tls:?}").to_lowercase(), tls, Endpoint { kind, port, tls }, "");
        }
    }
    let proxy = start(&lab, &sections);
    let ca = Certificate::from_pem(&fs::read(lab.ca()).unwrap()).unwrap();
    let connector = TlsConnector::builder().disable_built_in_roots(true).add_root_certificate(ca).build().unwrap();
    for (temper, kind) in tempers.into_iter().flat_map(|temper| KINDS.map(|kind| (temper, kind))) {
        for way in 0..logins(kind, "", "").len() {
            for tls in [Tls::None, Tls::Implicit] {
                number += 1;
                let secret = secret(number);
                let login = logins(kind, USER, &secret).swap_remove(way);
                let name = format!("{temper:?}{tls:?}").to_lowercase();
                let stream = connect(proxy.endpoint(kind, &name, tls).port);
                match tls {
                    Tls::Implicit => {
                        say_all(Client::new(kind, connector.connect("localhost", stream).unwrap()), &login.lines)
                    }
                    _ => say_all(Client::new(kind, stream), &login.lines),
                }
                secrets.push((secret, format!("{} {} {name}", kind.key(), login.name)));
            }
        }
    }
    log_is_clean(&proxy, secrets.len(), &secrets);
}

/// Lines with a password in a place where it does not belong: `%`, or cut off in base64, or too long. They are separated by `|`.
const POP3_MISPLACED: &str = "%|\t%|PASS %|PASS\t%|USER %|XYZZY %|RETR %|DELE %|UIDL %|TOP % 1|TOP % 99999999|LIST %|CAPA %|AUTH %|AUTH PLAIN %|\
    AUTH PLAIN CUT|AUTH PLAIN = %|AUTH GSSAPI %|APOP %|STLS %|XTND %|USER %\0|PASS %\0x|PASS %\rx|PASS LONG|USER LONG";
const IMAP_MISPLACED: &str = "%|\t%|a %|a\t%|% LOGIN x y|a LOGIN ann % %|a LOGIN ann \"%|a LOGIN\tann %|a LOGIN ann {16+}%|\
    a LOGIN ann {99999999999999999999+}\r\n%|a AUTHENTICATE %|a AUTHENTICATE PLAIN %|a AUTHENTICATE PLAIN CUT|a AUTHENTICATE PLAIN {16+}\r\n%|\
    a AUTHENTICATE GSSAPI %|a ID (\"x\" \"%\")|a ENABLE %|a XYZZY %|a CAPABILITY %|a LOGIN ann %\0|a FETCH % BODY[]|a STORE % +FLAGS (\\Deleted)|\
    a UID % 1|a SEARCH SUBJECT %|a EXPUNGE %|a MOVE % x|a IDLE %|a STARTTLS %|a COMPRESS %|a APPEND x {2}\r\n%|a LOGIN ann LONG";
const SMTP_MISPLACED: &str = "%|\t%|EHLO %|HELO %|LHLO %|AUTH %|AUTH PLAIN %|AUTH PLAIN CUT|AUTH PLAIN = %|AUTH GSSAPI %|XCLIENT %|XCLIENT=%|VRFY %|\
    BURL %|X-EXPS %|XSHADOW%|STARTTLS %|MAIL %|MAIL FROM:%|RCPT TO:%|BDAT %|BDAT 1 %\r\nx|DATA %|RSET %|NOOP %|PASS %\0|%\rx|AUTH PLAIN LONG|QUIT %";

fn misplaced(kind: Kind, temper: Temper, secret: &str) -> Vec<Vec<u8>> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let cut = BASE64_STANDARD.encode(format!("\0{USER}\0{secret}"))[..41].to_owned();
    let long = secret.repeat(5000);
    let (lines, as_name) = match kind {
        Kind::Pop3 => (POP3_MISPLACED, "|APOP % %"),
        Kind::Imap => (IMAP_MISPLACED, "|a LOGIN % %|a LOGIN %|a LOGIN \"%\" x|a LOGIN {16}\r\n% %"),
        Kind::Smtp => (SMTP_MISPLACED, "|AUTH LOGIN %"),
    };
    // A name that is accepted is the name.
    let as_name = if temper == Temper::Accepts { "" } else { as_name };
    let line = |line: &str| line.replace("CUT", &cut).replace("LONG", &long).replace('%', secret).into_bytes();
    [lines, as_name].concat().split('|').map(line).collect()
}

#[test]
fn no_password_typed_in_the_wrong_place_is_in_the_log() {
    let lab = Lab::new();
    let (mut sections, mut secrets, mut number) = (String::new(), Vec::new(), 5000);
    let tempers = [Temper::Accepts, Temper::Echoes, Temper::Rambles];
    for (temper, kind) in tempers.into_iter().flat_map(|temper| KINDS.map(|kind| (temper, kind))) {
        let upstream = Endpoint { kind, port: toy(kind, temper, "", None), tls: Tls::None };
        sections += &section(&lab, &format!("{temper:?}").to_lowercase(), Tls::None, upstream, "");
    }
    let proxy = start(&lab, &sections);
    for (temper, kind) in tempers.into_iter().flat_map(|temper| KINDS.map(|kind| (temper, kind))) {
        let name = format!("{temper:?}").to_lowercase();
        let before: &[&str] = match kind {
            Kind::Pop3 => &["USER ann", "PASS x"],
            Kind::Imap => &["b LOGIN ann x", "b SELECT INBOX"],
            Kind::Smtp => &["EHLO x", "MAIL FROM:<ann@example.org>"],
        };
        for place in 0..misplaced(kind, temper, USER).len() {
            for before in [&[][..], before] {
                number += 1;
                let secret = secret(number);
                let line = misplaced(kind, temper, &secret).swap_remove(place);
                let what = format!("{} {name} {before:?} {}", kind.key(), line[..line.len().min(60)].escape_ascii());
                let mut lines: Vec<Vec<u8>> = before.iter().map(|line| line.as_bytes().to_vec()).collect();
                lines.push(line);
                let client = Client::new(kind, connect(proxy.endpoint(kind, &name, Tls::None).port));
                say_all(client, &lines);
                secrets.push((secret, what));
            }
        }
    }
    log_is_clean(&proxy, secrets.len(), &secrets);
}

#[test]
fn no_text_of_a_message_is_in_the_log() {
    let lab = Lab::new();
    let (mut sections, mut secrets) = (String::new(), Vec::new());
    let mut mark = |what: &str| {
        let mark = secret(9000 + secrets.len() as u64);
        secrets.push((mark.clone(), what.to_owned()));
        mark
    };
    for (kind, temper, name) in [
        (Kind::Pop3, Temper::Accepts, "a"),
        (Kind::Imap, Temper::Accepts, "a"),
        (Kind::Smtp, Temper::Accepts, "a"),
        (Kind::Smtp, Temper::Echoes, "refuses"),
        // Takes the text for commands, and answers each line.
        (Kind::Smtp, Temper::Rambles, "confused"),
    ] {
        let port = toy(kind, temper, &mark(kind.key()), None);
        sections += &section(&lab, name, Tls::None, Endpoint { kind, port, tls: Tls::None }, "");
    }
    let sent = |mark: &str| -> Vec<Vec<u8>> {
        let text = format!("Subject: {mark}\r\n\r\n{mark}\r\n{mark} after a dot\r\n.");
        ["EHLO x", "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>", "DATA", &text]
            .map(|line| line.as_bytes().to_vec())
            .to_vec()
    };
    let proxy = start(&lab, &sections);
    let open = |kind, name| Client::new(kind, connect(proxy.endpoint(kind, name, Tls::None).port));
    for name in ["a", "refuses", "confused"] {
        say_all(open(Kind::Smtp, name), &sent(&mark(&format!("DATA {name}"))));
    }
    let mut pop3 = open(Kind::Pop3, "a");
    for line in ["USER ann", "PASS x", "RETR 1"] {
        pop3.say(line.as_bytes());
    }
    assert!(!pop3.dotted().is_empty());
    drop(pop3);
    let (appended, searched) = (mark("APPEND"), mark("SEARCH"));
    let append = format!("a APPEND Sent {{{}+}}\r\nSubject: {appended}", appended.len() + 9);
    let lines = ["a LOGIN ann x", "a SELECT INBOX", "a FETCH 1 BODY[]", &format!("a SEARCH TEXT {searched}"), &append];
    say_all(open(Kind::Imap, "a"), &lines.map(|line| line.as_bytes().to_vec()));
    log_is_clean(&proxy, 5, &secrets);
    assert_eq!(proxy.log().lines().filter(|line| line.contains(" kept owner=")).count(), 4, "{}", proxy.log());
}

#[test]
fn trying_the_configuration_shows_nothing_of_a_private_key() {
    let lab = Lab::new();
    let certificate = lab.certificate();
    let key = fs::read_to_string(&certificate.key).unwrap();
    let told = |name: &str, text: &str| {
        let file = lab.path().join(name);
        fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_start_proxies"))
            .arg("-tc")
            .arg(&file)
            .env("RUST_LOG", "trace")
            .output()
            .unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!told.is_empty(), "{name}");
        let told_lower = told.to_lowercase();
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            let shown = windows(line, 12).find(|part| told_lower.contains(&part.to_lowercase()));
            assert_eq!(shown, None, "{name}: {told}");
        }
        told
    };
    let (chain, file) = (certificate.chain.display(), certificate.key.display());
    let proxy = |more: &str| {
        format!(
            "[mailstore]\nspool = {}\n[pop3]\nlisten = 127.0.0.1:0\nupstream = localhost:1\n{more}\n",
            lab.path().join("spool").display()
        )
    };
    let tls = format!("listen_tls = implicit\ncertificate = {chain}\n");
    assert!(told("good.ini", &proxy(&format!("{tls}private_key = {file}"))).starts_with("pop3: "));
    told("no-chain.ini", &proxy(&format!("listen_tls = implicit\ncertificate = {file}\nprivate_key = {file}")));
    told("no-ca.ini", &proxy(&format!("upstream_ca = {file}")));
    told("cut.ini", &{
        fs::write(lab.path().join("cut.key"), &key[..key.len() - 60]).unwrap();
        proxy(&format!("{tls}private_key = cut.key"))
    });
    // The key itself where its name should stand, in one line and in its own; the wrong file after -c.
    assert!(
        told("inline.ini", &proxy(&format!("{tls}private_key = {}", key.replace('\n', " "))))
            .contains("[pop3] private_key: ")
    );
    assert!(told("lines.ini", &proxy(&format!("{tls}private_key =\n{key}\n"))).contains("PEM"));
    assert!(told("server.key", &key).contains("PEM"));
}

/// What a thread of the program does in a child of this test: see below.
const PANICS: &str = "MAILSTORE_TEST_PANICS";

#[test]
fn a_panic_in_any_thread_tells_where_and_nothing_of_what() {
    let secret = secret(9999);
    if std::env::var_os(PANICS).is_some() {
        mailstore::logging::install_panic_hook();
        if std::env::var(PANICS).unwrap() == "logging" {
            mailstore::logging::init(log::LevelFilter::Info);
        }
        let thread = |panics: fn(&str)| {
            let secret = secret.clone();
            std::thread::Builder::new()
                .name("session".to_owned())
                .spawn(move || panics(&secret))
                .unwrap()
                .join()
                .unwrap_err();
        };
        thread(|secret| panic!("password {secret}"));
        thread(|secret| std::panic::panic_any(secret.to_owned()));
        thread(|secret| drop(secret.parse::<u8>().map(Box::new).map_err(|_| secret.to_owned()).unwrap()));
        thread(|secret| assert_eq!(secret, "other", "{secret}"));
        thread(|secret| drop(String::from_utf8([secret.as_bytes(), b"\xff"].concat()).expect(secret)));
        thread(|secret| drop(secret[..secret.parse::<usize>().unwrap_or(99)].to_owned()));
        return;
    }
    for how in ["logging", "before"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", "a_panic_in_any_thread_tells_where_and_nothing_of_what"]);
        command.env(PANICS, how).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace").stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(leak(&told, &secret), None);
        let panics = told.lines().filter(|line| line.contains("panic in the thread session at ")).count();
        assert_eq!(panics, 6, "{told}");
        assert!(!told.contains("stack backtrace"), "{told}");
    }
}
