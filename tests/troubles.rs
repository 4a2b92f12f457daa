//! What an administrator reads when something is not as he meant it: a server that is none or of another kind, a spool that fails and is well again, a
//! configuration that says one thing and its opposite.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::lab::is_root;
use support::logins::{Client, Temper, connect, toy};
use support::proxy::section;
use support::*;

/// A server that says this to everybody, and waits.
fn says(words: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut tcp in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = tcp.write_all(words.as_bytes());
                let _ = tcp.read_to_end(&mut Vec::new());
            });
        }
    });
    port
}

fn before(lab: &Lab, kind: Kind, tls: Tls, port: u16) -> String {
    section(lab, "a", Tls::None, Endpoint { kind, port, tls }, "")
}

/// All that a client hears that says nothing.
fn heard(proxy: &Proxy, kind: Kind) -> Vec<u8> {
    let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.endpoint(kind, "a", Tls::None).port)).unwrap();
    tcp.set_read_timeout(Some(CLIENT)).unwrap();
    let mut all = Vec::new();
    tcp.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn a_server_of_another_kind_is_told_of_with_what_it_said_and_what_to_look_at() {
    let lab = Lab::new();
    let (pop3, imap, smtp) = ("+OK ready\r\n", "* OK ready\r\n", "220 mx ready\r\n");
    for (kind, tls, words, why) in [
        (Kind::Pop3, Tls::None, imap, "this is no POP3 server: it greets with \"* OK ready\"; so IMAP servers greet. "),
        (
            Kind::Pop3,
            Tls::None,
            smtp,
            "this is no POP3 server: it greets with \"220 mx ready\"; so SMTP servers greet. ",
        ),
        (Kind::Imap, Tls::None, pop3, "this is no IMAP server: it greets with \"+OK ready\"; so POP3 servers greet. "),
        (Kind::Smtp, Tls::None, pop3, "this is no SMTP server: it says \"+OK ready\"; so POP3 servers greet. "),
        (Kind::Imap, Tls::None, "go \x1b[2Jaway\r\n", "this is no IMAP server: it greets with \"go \\x1b[2Jaway\"; "),
        (Kind::Pop3, Tls::StartTls, imap, "this is no POP3 server: "),
        (
            Kind::Smtp,
            Tls::None,
            "HTTP/1.1 400 Bad Request\r\n",
            "this is no SMTP server: it says \"HTTP/1.1 400 Bad Request\"; ",
        ),
        (
            Kind::Imap,
            Tls::None,
            "",
            "the server did not answer in time (login_timeout); at a port where TLS is spoken from the start nothing comes without it",
        ),
        (
            Kind::Smtp,
            Tls::StartTls,
            "",
            "the server did not answer in time (login_timeout); at a port where TLS is spoken from the start nothing comes without it",
        ),
    ] {
        let port = says(words);
        let proxy = Proxy::with(&lab, "login_timeout = 1s\n", &before(&lab, kind, tls, port));
        let heard = heard(&proxy, kind);
        assert!(!heard.is_empty(), "the client is told something");
        let told = format!("server localhost:{port} cannot be used: {why}");
        proxy.tells_of(&told);
        proxy.tells_of(" closed client=");
        let log = proxy.stop();
        let line = log.lines().find(|line| line.contains(&told)).unwrap();
        let end = format!("ook at upstream and at upstream_tls, which is {}, of [{}:a]", tls.key(), kind.key());
        assert!(line.contains(" WARN ") && line.ends_with(&end), "{line}");
        let counted = log.lines().find(|line| line.contains(&format!(" counters {}:a ", kind.key()))).unwrap();
        assert!(counted.ends_with(" unserved=1"), "{counted}");
    }
    // TLS where none is spoken.
    let port = says(imap);
    let proxy = Proxy::start(&lab, &before(&lab, Kind::Imap, Tls::Implicit, port));
    let words = heard(&proxy, Kind::Imap);
    proxy.tells_of(&format!("server localhost:{port} cannot be reached: TLS handshake failed: wrong version number (the other side does not speak TLS at this port from the start)"));
    proxy.tells_of(&format!(" sent={} ", words.len()));
}

#[test]
fn a_client_that_does_not_wait_for_a_silent_server_leaves_a_line_behind() {
    let lab = Lab::new();
    let port = says("");
    let proxy = Proxy::start(&lab, &before(&lab, Kind::Imap, Tls::None, port));
    let at = proxy.endpoint(Kind::Imap, "a", Tls::None).port;
    drop(connect(at));
    proxy.tells_of(" closed client=");
    assert!(!proxy.log().contains("cannot be used"), "who goes at once is not the server's fault");
    // How long is long enough the server counts from when it was reached: one client after the other leaves until it says so.
    let mut patient: Vec<_> = (0..5).map(|_| connect(at)).collect();
    let since = Instant::now();
    let told = format!("server localhost:{port} cannot be used: it had not greeted when the client left after ");
    wait_until(&told, Duration::from_secs(60), || {
        let left = 5 - patient.len() as u32;
        if since.elapsed() > Duration::from_secs(5) * (left + 1) {
            patient.pop();
        }
        proxy.log().contains(&told)
    });
}

#[test]
fn a_thousand_clients_before_a_server_that_is_down_leave_one_line_and_its_return_another() {
    let lab = Lab::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let proxy = Proxy::with(&lab, "", &before(&lab, Kind::Imap, Tls::None, port).replace("localhost", "127.0.0.1"));
    for _ in 0..1000 {
        assert!(heard(&proxy, Kind::Imap).starts_with(b"* BYE [UNAVAILABLE]"));
    }
    let warned =
        |log: &str| log.lines().filter(|line| line.contains(" WARN ") && line.contains("cannot be reached")).count();
    assert_eq!(warned(&proxy.log()), 1);
    proxy.tells_of(&format!(" imap:a server 127.0.0.1:{port} cannot be reached: 127.0.0.1:{port}: Connection refused"));
    // Somebody else's toy, where the one that was down is to be.
    let real = toy(Kind::Imap, Temper::Accepts, "", None);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = connect(real);
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    for _ in 0..2 {
        let mut client = Client::new(Kind::Imap, connect(proxy.endpoint(Kind::Imap, "a", Tls::None).port));
        assert!(client.say(b"a LOGIN ann x").starts_with("a OK"));
    }
    proxy.tells(&format!("server 127.0.0.1:{port} can be used again"), 1);
    assert!(proxy.stop().contains(" counters imap:a sessions=1002 "));
}

/// What the server says to a message of Ann's.
fn send(proxy: &Proxy, subject: &str) -> String {
    let mut client = Client::new(Kind::Smtp, connect(proxy.port("smtp:a")));
    for line in ["EHLO x", "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>", "DATA"] {
        client.say(line.as_bytes());
    }
    client.say(format!("Subject: {subject}\r\n\r\n.").as_bytes())
}

#[test]
fn a_spool_that_can_be_written_again_is_told_of_once() {
    let lab = Lab::new();
    let port = toy(Kind::Smtp, Temper::Accepts, "", None);
    let mut command = Command::new("setpriv");
    command.arg("--").arg(env!("CARGO_BIN_EXE_start_proxies"));
    command.env("LD_PRELOAD", preload::shim(&lab, "full"));
    command.env("FULL_WHILE", lab.path().join("full"));
    let proxy = Proxy::by(&lab, "", &before(&lab, Kind::Smtp, Tls::None, port), command);
    let send = |text: &str| send(&proxy, text);
    assert!(send("one").starts_with("250"));
    fs::write(lab.path().join("full"), "").unwrap();
    assert!(!send("two").starts_with("250") && !send("three").starts_with("250"));
    proxy.tells_of("No space left on device");
    assert!(!proxy.log().contains("written again"));
    fs::remove_file(lab.path().join("full")).unwrap();
    assert!(send("four").starts_with("250") && send("five").starts_with("250"));
    proxy.tells("the spool can be written again", 1);
}

#[test]
fn a_spool_that_was_moved_away_is_told_of_and_mail_is_kept_in_its_place() {
    let lab = Lab::new();
    let port = toy(Kind::Smtp, Temper::Accepts, "", None);
    let proxy = Proxy::start(&lab, &before(&lab, Kind::Smtp, Tls::None, port));
    let send = |text: &str| assert!(send(&proxy, text).starts_with("250"));
    let spool = proxy.spool().path().to_owned();
    send("one");
    fs::rename(&spool, lab.path().join("moved")).unwrap();
    send("two");
    let told = format!("ERROR the spool {} was moved or removed, and a new one was begun there", spool.display());
    proxy.tells(&told, 1);
    proxy.spool().holds(&[spool::sent("ann@example.org", b"Subject: two\r\n\r\n")]);
    // Once each time, and no more than that.
    fs::remove_dir_all(&spool).unwrap();
    send("three");
    send("four");
    proxy.tells(&told, 2);
    proxy.stop();
}

#[test]
fn a_client_that_speaks_tls_where_none_is_spoken_from_the_start_is_told_of() {
    let lab = Lab::new();
    for kind in [Kind::Pop3, Kind::Imap, Kind::Smtp] {
        let port = toy(kind, Temper::Accepts, "", None);
        let proxy = Proxy::start(&lab, &before(&lab, kind, Tls::None, port));
        let port = proxy.port(&format!("{}:a", kind.key()));
        let spoken = client::run("openssl", &["s_client", "-connect", &format!("127.0.0.1:{port}")]);
        assert_ne!(spoken.code, Some(0));
        proxy.tells_of(" reason=the client speaks TLS from the start, and listen_tls is not implicit: ");
        assert!(proxy.stop().contains(" stopped"));
    }
}

#[test]
fn a_certificate_that_has_ended_is_a_warning_of_a_trial_a_start_and_a_reload() {
    let lab = Lab::new();
    let (dir, over) = (lab.folder("proxy"), lab.expired());
    let ini = format!(
        "[mailstore]\nspool = mailSpool\n[imap]\nlisten = 127.0.0.1:0\nlisten_tls = implicit\ncertificate = {}\nprivate_key = {}\nupstream = localhost:{}\nupstream_tls = none\n",
        over.chain.display(),
        over.key.display(),
        says("")
    );
    let (code, _, said) = tried(&dir, &ini);
    let why = format!("[imap] certificate: {}: the certificate ended on ", over.chain.display());
    assert!(code == Some(0) && said.starts_with("warning: ") && said.lines().next().unwrap().contains(&why), "{said}");
    let proxy = Proxy::start_in(&dir);
    proxy.tells(&why, 1);
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    proxy.tells(&why, 2);
}

#[test]
fn the_start_tells_who_runs_what_with_which_file_and_spool() {
    let lab = Lab::new();
    let port = says("");
    let proxy = Proxy::start(&lab, &before(&lab, Kind::Pop3, Tls::None, port));
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let spool = proxy.spool().path().to_owned();
    let ini = spool.parent().unwrap().join("mailstore.ini");
    let log = proxy.stop();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once(" INFO ").map_or(line, |(_, text)| text)).collect();
    let at =
        |text: &str| lines.iter().position(|line| line.starts_with(text)).unwrap_or_else(|| panic!("{text}: {log}"));
    let told = format!(
        "MailStore {} configuration={} user={me} spool={}",
        env!("CARGO_PKG_VERSION"),
        ini.display(),
        spool.display()
    );
    assert!(at(&told) < at("pop3:a listening on ") && at("pop3:a listening on ") < at("ready"), "{log}");
    assert!(log.contains("stopping, 0 sessions open, waiting for 30 s at most"), "{log}");
}

/// `-t` over this configuration: exit status, standard output, standard error.
fn tried(dir: &Path, ini: &str) -> (Option<i32>, String, String) {
    fs::write(dir.join("mailstore.ini"), ini).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_start_proxies"));
    let output = command.args(["-t", "-c"]).arg(dir.join("mailstore.ini")).env_remove("RUST_LOG").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_has_no_effect_is_a_warning_of_a_trial_and_of_a_start() {
    let lab = Lab::new();
    let dir = lab.folder("proxy");
    let (certificate, port) = (lab.certificate(), says(""));
    let ini = format!(
        "[mailstore]\nspool = mailSpool\n[imap]\nlisten = 127.0.0.1:0\ncertificate = {}\nupstream = localhost:{port}\nupstream_tls = none\n",
        certificate.chain.display()
    );
    let (code, understood, said) = tried(&dir, &ini);
    let (warned, shared) = said.split_once('\n').unwrap();
    let why =
        format!("{}: [imap] certificate: has no effect while listen_tls is none", dir.join("mailstore.ini").display());
    assert!(warned.starts_with(&format!("warning: {why}")) && code == Some(0), "{warned}");
    assert!(understood.lines().count() == 1 && understood.starts_with("imap: "), "{understood}");
    assert!(shared.starts_with("mailstore: spool "), "{said}");
    let proxy = Proxy::start_in(&dir);
    proxy.tells(&format!("WARN {why}"), 1);
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    proxy.tells(&format!("WARN {why}"), 2);
}

#[test]
fn a_spool_of_another_user_is_told_with_the_command_that_gives_it_away() {
    if !is_root() {
        return eprintln!("skipped: only root can make a spool of another user's");
    }
    let lab = Lab::new();
    let dir = lab.folder("proxy");
    let spool = dir.join("mailSpool");
    let ini =
        format!("[mailstore]\nspool = mailSpool\nuser = nobody\n{}", before(&lab, Kind::Smtp, Tls::None, says("")));
    fs::create_dir(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o700)).unwrap();
    let help = format!("; if it belongs to another user: chown -R nobody: {}", spool.display());
    let (code, _, said) = tried(&dir, &ini);
    assert!(
        code == Some(1) && said.contains("[mailstore] spool: cannot be used: ") && said.trim_end().ends_with(&help),
        "{said}"
    );
    // There is none yet, and who is no root cannot make it.
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o755)).unwrap();
    let below = ini.replace("user = nobody\n", "").replace("spool = mailSpool", "spool = mailSpool/a/b");
    fs::write(dir.join("below.ini"), below).unwrap();
    let file = dir.join("below.ini").display().to_string();
    let bin = env!("CARGO_BIN_EXE_start_proxies");
    let said = client::run("setpriv", &["--reuid=nobody", "--regid=65534", "--clear-groups", bin, "-t", "-c", &file]);
    let help_to_make = format!("; to make it, as root: install -d -m 700 -o nobody {}/a/b", spool.display());
    assert!(said.code == Some(1) && said.errors().trim_end().ends_with(&help_to_make), "{}", said.errors());
    fs::write(dir.join("file"), "").unwrap();
    let (code, _, said) = tried(&dir, &ini.replace("spool = mailSpool", "spool = file"));
    assert!(code == Some(1) && said.contains("something is there that is no folder"), "{said}");
    tried(&dir, &ini);
    // Only below: the program starts, and says so.
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    chown(&spool, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    fs::create_dir_all(spool.join("example.org/ann")).unwrap();
    fs::set_permissions(spool.join("example.org"), fs::Permissions::from_mode(0o700)).unwrap();
    let proxy = Proxy::start_in(&dir);
    proxy.tells(&format!("ERROR recovery: not all of the spool can be used{help}"), 1);
}
