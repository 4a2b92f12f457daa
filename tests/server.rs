//! The program as its users have it: started, signalled, and stopped, between toy clients and toy servers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use native_tls::{Certificate, Identity, TlsAcceptor, TlsConnector};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "../src/net/testing.rs"]
#[allow(dead_code)]
mod testing;

use testing::{Pem, pem};

/// Longer than anything takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGE: &str = "Subject: hello\r\n\r\n..dotted\r\nend\r\n";

fn program(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_start_proxies"));
    command
        .args(args)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(args: &[&str], dir: &Path) -> Output {
    program(args, dir).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A folder with a `mailstore.ini`, and the program over it.
struct Proxies {
    dir: tempfile::TempDir,
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Proxies {
    fn start(ini: &str) -> Proxies {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mailstore.ini"), ini).unwrap();
        let (child, log) = spawn(dir.path());
        let mut proxies = Proxies { dir, child, log, seen: Vec::new() };
        proxies.wait_for(" ready");
        proxies
    }

    fn restart(&mut self) {
        (self.child, self.log) = spawn(self.dir.path());
        self.seen.clear();
        self.wait_for(" ready");
    }

    fn configure(&self, ini: &str) {
        fs::write(self.dir.path().join("mailstore.ini"), ini).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// The next log line that holds this.
    fn wait_for(&mut self, part: &str) -> String {
        loop {
            let line = self
                .log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|e| panic!("no line with {part:?} ({e}); the log: {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The port of the first address of this proxy, as told last.
    fn port(&self, proxy: &str) -> u16 {
        let told = format!(" {proxy} listening on ");
        let line = self.seen.iter().rev().find(|line| line.contains(&told)).unwrap();
        let address = line.split(&told).nth(1).unwrap().split([',', ' ']).next().unwrap();
        address.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn client(&self, proxy: &str) -> Peer<TcpStream> {
        Peer(BufReader::new(connect(self.port(proxy))))
    }

    fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Message files: their paths below the spool, and content.
    fn kept(&self) -> Vec<(String, String)> {
        let spool = self.dir.path().join("mailSpool");
        let mut found: Vec<_> = walk(&spool)
            .into_iter()
            .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(",S="))
            .map(|path| {
                (
                    path.strip_prefix(&spool).unwrap().parent().unwrap().display().to_string(),
                    fs::read_to_string(path).unwrap(),
                )
            })
            .collect();
        found.sort();
        found
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path) -> (Child, Receiver<String>) {
    let mut child = program(&[], dir).spawn().unwrap();
    let (told, log) = channel();
    let stderr = child.stderr.take().unwrap();
    thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).all(|line| told.send(line).is_ok()));
    (child, log)
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn connect(port: u16) -> TcpStream {
    let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp
}

/// Lines, from either end.
struct Peer<S>(BufReader<S>);

impl<S: Read + Write> Peer<S> {
    /// A line without CRLF; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.0.read_line(&mut line);
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    fn retrieve(&mut self) -> String {
        assert!(self.ask("RETR 1").starts_with("+OK"));
        let mut message = String::new();
        loop {
            match self.line() {
                end if end == "." => return message,
                line => message += &format!("{}\r\n", line.strip_prefix('.').unwrap_or(&line)),
            }
        }
    }
}

/// A POP3 server with one message for everybody.
fn pop3<S: Read + Write>(stream: S) {
    let mut peer = Peer(BufReader::new(stream));
    peer.say("+OK toy");
    loop {
        let line = peer.line();
        match line.split(' ').next().unwrap() {
            "" => return,
            "PASS" if line.ends_with(" wrong") => peer.say("-ERR no"),
            "RETR" if line.ends_with(" 666") => {
                peer.say("+OK");
                return peer.say("Subject: half");
            }
            "RETR" => {
                peer.say("+OK");
                let stuffed = MESSAGE.replace("\r\n.", "\r\n..");
                peer.0.get_mut().write_all(stuffed.as_bytes()).unwrap();
                peer.say(".");
            }
            "QUIT" => return peer.say("+OK bye"),
            _ => peer.say("+OK"),
        }
    }
}

/// An SMTP server that takes everything; for a message with `silence` in it, it never says so.
fn smtp<S: Read + Write>(stream: S) {
    let mut peer = Peer(BufReader::new(stream));
    peer.say("220 toy");
    loop {
        let line = peer.line();
        match line.split(' ').next().unwrap() {
            "" => return,
            "DATA" => {
                peer.say("354 go on");
                let mut silent = false;
                loop {
                    let line = peer.line();
                    silent |= line.contains("silence");
                    if line == "." {
                        break;
                    }
                }
                if !silent {
                    peer.say("250 taken");
                }
            }
            "QUIT" => return peer.say("221 bye"),
            _ => peer.say("250 ok"),
        }
    }
}

/// An IMAP server that answers a FETCH with a hundred small messages.
fn imap<S: Read + Write>(stream: S) {
    let mut peer = Peer(BufReader::new(stream));
    peer.say("* OK toy");
    loop {
        let line = peer.line();
        let Some((tag, command)) = line.split_once(' ') else { return };
        if command.starts_with("FETCH") {
            for n in 100..200 {
                peer.say(&format!("* {n} FETCH (BODY[] {{19}}\r\nSubject: {n}\r\n\r\n.\r\n)"));
            }
        }
        peer.say(&format!("{tag} OK done"));
    }
}

fn serve(session: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    serve_on("127.0.0.1:0", session)
}

fn serve_on(address: &str, session: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let session = session.clone();
            thread::spawn(move || session(tcp));
        }
    });
    port
}

fn plain(kind: &str, port: u16) -> String {
    format!("[{kind}]\nlisten = 127.0.0.1:0\nupstream = 127.0.0.1:{port}\nupstream_tls = none\n")
}

fn log_in(client: &mut Peer<impl Read + Write>) {
    assert_eq!(client.line(), "+OK toy");
    assert_eq!(client.ask("USER Ann@example.org"), "+OK");
    assert_eq!(client.ask("PASS secret"), "+OK");
}

#[test]
fn a_message_fetched_is_kept_and_told() {
    let mut proxies = Proxies::start(&plain("pop3:main", serve(pop3)));
    for event in ["kept", "duplicate"] {
        let mut client = proxies.client("pop3:main");
        log_in(&mut client);
        assert_eq!(client.retrieve(), MESSAGE);
        assert_eq!(
            proxies.kept(),
            [("example.org/ann/new".to_owned(), MESSAGE.to_owned())],
            "before the client has read its end"
        );
        assert_eq!(client.ask("QUIT"), "+OK bye");
        assert_eq!(client.line(), "");
        let told = proxies.wait_for("hash=");
        assert!(
            told.contains(&format!(
                " pop3:main {event} owner=ann@example.org folder=INBOX size={} hash=",
                MESSAGE.len()
            )),
            "{told}"
        );
        let closed = proxies.wait_for(" closed client=127.0.0.1:");
        assert!(
            closed.contains(" user=ann@example.org ") && closed.contains(" not_kept=0 fetched=0 reason="),
            "{closed}"
        );
    }
    proxies.signal(Signal::SIGUSR1);
    let counters = proxies.wait_for("counters open=");
    assert!(counters.contains(" sessions=2 refused=0 kept=1 duplicates=1 not_kept=0 "), "{counters}");
    assert!(proxies.seen.iter().all(|line| !line.contains("secret") && !line.contains("dotted")));
    proxies.signal(Signal::SIGTERM);
    assert_eq!(proxies.end().code(), Some(0));
}

#[test]
fn one_proxy_listens_on_several_addresses_and_speaks_ipv6_on_both_sides() {
    let port = serve_on("[::1]:0", pop3);
    let ini = format!("[pop3:both]\nlisten = 127.0.0.1:0, [::1]:0\nupstream = [::1]:{port}\nupstream_tls = none\n");
    let mut proxies = Proxies::start(&ini);
    let told = " pop3:both listening on ";
    let line = proxies.seen.iter().find_map(|line| line.split(told).nth(1)).unwrap();
    let listening: Vec<SocketAddr> =
        line.split(" -> ").next().unwrap().split(", ").map(|address| address.parse().unwrap()).collect();
    assert!(listening.len() == 2 && listening[0].is_ipv4() && listening[1].is_ipv6(), "{listening:?}");
    for address in listening {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Peer(BufReader::new(tcp));
        log_in(&mut client);
        assert_eq!(client.retrieve(), MESSAGE, "{address}");
        assert_eq!(client.ask("QUIT"), "+OK bye");
        proxies.wait_for(&format!("closed client={}", if address.is_ipv4() { "127.0.0.1:" } else { "[::1]:" }));
    }
    // Whichever way it came, it is the same message of the same owner.
    assert_eq!(proxies.kept().len(), 1);
}

#[test]
fn the_log_says_which_login_failed_and_whose_message_is_not_kept() {
    let mut proxies = Proxies::start(&plain("pop3:main", serve(pop3)));
    let mut client = proxies.client("pop3:main");
    assert_eq!(client.line(), "+OK toy");
    assert_eq!(client.ask("USER Ann@example.org"), "+OK");
    assert_eq!(client.ask("PASS is wrong"), "-ERR no");
    let failed = proxies.wait_for("login failed");
    let (_, fields) = failed.split_once(" pop3:main login failed client=127.0.0.1:").unwrap();
    assert!(fields.ends_with(" reason=the server refused it"), "{failed}");
    assert!(!failed.to_lowercase().contains("ann") && !failed.contains("wrong"), "{failed}");

    let mut client = proxies.client("pop3:main");
    log_in(&mut client);
    assert_eq!(client.ask("RETR 666"), "+OK");
    let told = proxies.wait_for("not kept");
    assert!(told.contains(" pop3:main not kept owner=ann@example.org reason=the server closed"), "{told}");
}

#[test]
fn a_message_sent_is_kept_also_over_a_crash() {
    let mut proxies = Proxies::start(&plain("smtp", serve(smtp)));
    let send = |proxies: &mut Proxies, subject: &str| {
        let mut client = proxies.client("smtp");
        assert_eq!(client.line(), "220 toy");
        for (command, reply) in [
            ("EHLO me", "250 ok"),
            ("MAIL FROM:<Ann@example.org>", "250 ok"),
            ("RCPT TO:<bob@example.org>", "250 ok"),
            ("DATA", "354 go on"),
        ] {
            assert_eq!(client.ask(command), reply);
        }
        client.say(&format!("Subject: {subject}\r\n\r\ntext\r\n."));
        client
    };
    let mut client = send(&mut proxies, "heard");
    assert_eq!(client.line(), "250 taken");
    assert_eq!(client.ask("QUIT"), "221 bye");
    let heard = ("example.org/ann/.Sent/cur".to_owned(), "Subject: heard\r\n\r\ntext\r\n".to_owned());
    assert_eq!(proxies.kept(), std::slice::from_ref(&heard));
    // The server has the second one, and says nothing: it lies prepared when the program is killed.
    let _client = send(&mut proxies, "silence");
    let prepared = ("example.org/ann/.Sent/tmp".to_owned(), "Subject: silence\r\n\r\ntext\r\n".to_owned());
    while proxies.kept() != [heard.clone(), prepared.clone()] {
        thread::yield_now();
    }
    proxies.signal(Signal::SIGKILL);
    proxies.end();
    proxies.restart();
    assert!(proxies.seen.iter().any(|line| line.contains(" recovery kept maildir=")), "{:?}", proxies.seen);
    assert_eq!(proxies.kept(), [heard.clone(), (heard.0, prepared.1)]);
}

#[test]
fn tls_on_both_sides() {
    let Pem { certificate, private_key, dir: _dir, .. } = pem();
    let (chain, key) = (fs::read(&certificate).unwrap(), fs::read(&private_key).unwrap());
    let acceptor = TlsAcceptor::new(Identity::from_pkcs8(&chain, &key).unwrap()).unwrap();
    let port = serve(move |tcp| {
        // The program tries a certificate by itself; only sessions get through here.
        if let Ok(tls) = acceptor.accept(tcp) {
            pop3(tls);
        }
    });
    let ini = format!(
        "[pop3]\nlisten = 127.0.0.1:0\nlisten_tls = implicit\ncertificate = {}\nprivate_key = {}\nupstream = localhost:{port}\nupstream_ca = {}\n\n\
         [pop3:distrust]\nlisten = 127.0.0.1:0\nupstream = localhost:{port}\n",
        certificate.display(),
        private_key.display(),
        certificate.display()
    );
    let mut proxies = Proxies::start(&ini);
    let trust = TlsConnector::builder()
        .disable_built_in_roots(true)
        .add_root_certificate(Certificate::from_pem(&chain).unwrap())
        .build()
        .unwrap();
    let tls = trust.connect("localhost", connect(proxies.port("pop3"))).unwrap();
    let mut client = Peer(BufReader::new(tls));
    log_in(&mut client);
    assert_eq!(client.retrieve(), MESSAGE);
    assert_eq!(client.ask("QUIT"), "+OK bye");
    // Nobody vouches for that server's certificate.
    let mut client = proxies.client("pop3:distrust");
    assert_eq!(client.line(), "-ERR [SYS/TEMP] The mail server cannot be reached, try again later");
    assert!(proxies.wait_for("cannot be reached: ").contains("certificate verify failed"));
}

#[test]
fn a_faulty_file_changes_nothing_and_a_good_one_no_open_session() {
    let port = serve(pop3);
    let mut proxies = Proxies::start(&plain("pop3", port));
    let old_port = proxies.port("pop3");
    let mut open = proxies.client("pop3");
    log_in(&mut open);

    proxies.configure("[pop3]\nlisten = 127.0.0.1:0\nupstraem = x\n[imap:x]\n");
    proxies.signal(Signal::SIGHUP);
    assert!(proxies.wait_for("upstraem").contains("mailstore.ini: [pop3] upstraem: "));
    proxies.wait_for("the old configuration stays in force");
    let mut again = proxies.client("pop3");
    log_in(&mut again);

    // Another proxy, another upstream for the one that is there, which keeps its socket; a limit.
    let dead = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() };
    proxies.configure(&format!("[mailstore]\nmax_sessions = 3\n{}\n{}", plain("pop3", dead), plain("pop3:new", port)));
    proxies.signal(Signal::SIGHUP);
    proxies.wait_for(" reloaded ");
    assert_eq!(proxies.port("pop3"), old_port);
    let mut new = proxies.client("pop3:new");
    log_in(&mut new);
    assert_eq!(proxies.client("pop3").line(), "-ERR [SYS/TEMP] Too many sessions, try again later");
    assert_eq!(new.ask("QUIT"), "+OK bye");
    drop(new);
    // The place comes back right after the session's last log line; ask until it is there.
    let mut told = proxies.client("pop3").line();
    while told == "-ERR [SYS/TEMP] Too many sessions, try again later" {
        told = proxies.client("pop3").line();
    }
    assert_eq!(told, "-ERR [SYS/TEMP] The mail server cannot be reached, try again later");
    assert_eq!(open.retrieve(), MESSAGE, "under the configuration it began with");

    // And away again.
    proxies.configure(&plain("pop3:new", port));
    let new_port = proxies.port("pop3:new");
    proxies.signal(Signal::SIGHUP);
    proxies.wait_for(" reloaded ");
    assert!(TcpStream::connect(("127.0.0.1", old_port)).is_err());
    assert_eq!(proxies.port("pop3:new"), new_port);
    assert_eq!(again.ask("NOOP"), "+OK");
}

#[test]
fn reloads_leave_nothing_behind_whatever_they_change() {
    let port = serve(pop3);
    let mut proxies = Proxies::start(&plain("pop3", port));
    let process = PathBuf::from(format!("/proc/{}", proxies.child.id()));
    let count = |what: &str| fs::read_dir(process.join(what)).unwrap().count();
    let before = [count("task"), count("fd")];
    for number in 0..10 {
        let (sync, spool) = (["no", "yes"][number % 2], ["mailSpool", "other"][number / 2 % 2]);
        proxies.configure(&format!("[mailstore]\nspool = {spool}\nsync = {sync}\n{}", plain("pop3", port)));
        proxies.signal(Signal::SIGHUP);
        proxies.wait_for(" reloaded ");
    }
    // Of the archive before the last one, at most: a thread, and the two ends of what ends it.
    let after = [count("task"), count("fd")];
    assert!(after[0] <= before[0] + 1 && after[1] <= before[1] + 2, "{before:?} {after:?}");
    let mut client = proxies.client("pop3");
    log_in(&mut client);
    client.retrieve();
    assert_eq!(fs::read_dir(proxies.dir.path().join("mailSpool/example.org/ann/new")).unwrap().count(), 1);
}

/// What is in use is not refused with the file: it may be well again at any moment. But it is told.
#[test]
fn a_reload_tells_of_a_spool_that_cannot_be_used() {
    let mut proxies = Proxies::start(&plain("pop3", serve(pop3)));
    let spool = proxies.dir.path().join("mailSpool");
    let _ = fs::remove_dir_all(&spool);
    fs::write(&spool, "no folder").unwrap();
    proxies.signal(Signal::SIGHUP);
    proxies.wait_for(" WARN the spool cannot be used at present: ");
    proxies.wait_for(" reloaded ");
    fs::remove_file(&spool).unwrap();
    let mut client = proxies.client("pop3");
    log_in(&mut client);
    client.retrieve();
    assert_eq!(proxies.kept().len(), 1);
}

#[test]
fn sessions_have_their_time_when_the_program_ends() {
    let mut proxies = Proxies::start(&plain("pop3", serve(pop3)));
    let mut client = proxies.client("pop3");
    log_in(&mut client);
    proxies.signal(Signal::SIGTERM);
    proxies.wait_for("stopping, 1 session open");
    assert!(TcpStream::connect(("127.0.0.1", proxies.port("pop3"))).is_err());
    assert_eq!(client.retrieve(), MESSAGE);
    assert_eq!(client.ask("QUIT"), "+OK bye");
    drop(client);
    assert_eq!(proxies.end().code(), Some(0));
    assert_eq!(proxies.kept().len(), 1);
}

#[test]
fn after_the_grace_sessions_are_told_to_go() {
    let mut proxies = Proxies::start(&format!("[mailstore]\nshutdown_grace = 1s\n{}", plain("pop3", serve(pop3))));
    let mut client = proxies.client("pop3");
    log_in(&mut client);
    proxies.signal(Signal::SIGINT);
    assert!(client.line().starts_with("-ERR [SYS/TEMP]"));
    drop(client);
    assert_eq!(proxies.end().code(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut proxies = Proxies::start(&plain("pop3", serve(pop3)));
    let mut client = proxies.client("pop3");
    log_in(&mut client);
    proxies.signal(Signal::SIGTERM);
    proxies.wait_for("stopping, 1 session open");
    proxies.signal(Signal::SIGTERM);
    proxies.wait_for("stopped at once");
    assert_eq!(proxies.end().code(), Some(0));
}

#[test]
fn a_silent_client_is_sent_away() {
    let mut proxies = Proxies::start(&format!("[mailstore]\nlogin_timeout = 1s\n{}", plain("pop3", serve(pop3))));
    let mut client = proxies.client("pop3");
    assert_eq!(client.line(), "+OK toy");
    assert!(client.line().starts_with("-ERR "));
    assert_eq!(client.line(), "");
    drop(client);
    assert!(proxies.wait_for(" closed ").contains("(login_timeout)"));
}

#[test]
fn many_small_messages_need_few_files() {
    let mut proxies = Proxies::start(&plain("imap", serve(imap)));
    // Enough for the session, not for as many drafts as it may hold until they are flushed together.
    let limit = ["--nofile=32:32".to_owned(), "--pid".to_owned(), proxies.child.id().to_string()];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
    let mut client = proxies.client("imap");
    assert_eq!(client.line(), "* OK toy");
    assert_eq!(client.ask("a LOGIN ann@example.org secret"), "a OK done");
    assert_eq!(client.ask("b SELECT INBOX"), "b OK done");
    client.say("c FETCH 100:199 BODY[]");
    let told = std::iter::repeat_with(|| client.line()).take(1000).find(|line| line.starts_with("c "));
    assert_eq!(told.as_deref(), Some("c OK done"));
    drop(client);
    let closed = proxies.wait_for(" closed ");
    assert!(closed.contains("kept=100 duplicates=0 not_kept=0"), "{closed}");
}

#[test]
fn trying_the_configuration_as_root_leaves_no_spool_behind() {
    if !nix::unistd::geteuid().is_root() {
        return; // Nobody else can become another user.
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let shared = "[mailstore]\nspool = deep/spool\nuser = nobody\n";
    fs::write(dir.path().join("mailstore.ini"), shared.to_owned() + &plain("pop3", 995)).unwrap();
    let tried = output(&["-t"], dir.path());
    assert_eq!(tried.status.code(), Some(0), "{}", text(&tried.stderr));
    assert!(!dir.path().join("deep").exists());
    // Where the user cannot get to, a start would fail: so does the trial.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let tried = output(&["-t"], dir.path());
    assert_eq!(tried.status.code(), Some(1));
    assert!(text(&tried.stderr).contains("[mailstore] spool: "), "{}", text(&tried.stderr));
    assert!(!dir.path().join("deep").exists());
}

#[test]
fn faults_that_nobody_hears_still_make_the_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mailstore.ini"), "[pop3]\n").unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(program(&[], dir.path()).stderr(full).status().unwrap().code(), Some(1));
}

#[test]
fn exit_codes_and_the_test_option() {
    let dir = tempfile::tempdir().unwrap();
    let ini = |text: &str| fs::write(dir.path().join("mailstore.ini"), text).unwrap();
    assert_eq!(output(&["--nonsense"], dir.path()).status.code(), Some(2));
    assert_eq!(output(&[], dir.path()).status.code(), Some(1), "no file");
    for option in ["-h", "-V"] {
        let told = output(&[option], dir.path());
        assert!(told.status.code() == Some(0) && !told.stdout.is_empty() && told.stderr.is_empty());
    }
    ini(&format!("{}{}", plain("pop3", 995), plain("smtp:mx", 25)));
    let good = output(&["-t"], dir.path());
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let lines: Vec<&str> = text(&good.stdout).lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("pop3: ") && lines[1].starts_with("smtp:mx: "), "{lines:?}");
    assert!(!dir.path().join("mailSpool").exists());

    // Four things at once that are wrong behind a file that is right in itself.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = TcpListener::bind(taken).unwrap();
    let address = taken.local_addr().unwrap();
    fs::write(dir.path().join("mailSpool"), "a file").unwrap();
    fs::write(dir.path().join("c.pem"), "nothing").unwrap();
    ini(&format!(
        "[pop3]\nlisten = {address}\nupstream = h:1\nupstream_tls = none\n\
         [smtp]\nlisten = 127.0.0.1:0\nlisten_tls = starttls\ncertificate = c.pem\nprivate_key = c.pem\nupstream = h:2\nupstream_ca = c.pem\n"
    ));
    for args in [&["-t"][..], &[]] {
        let bad = output(args, dir.path());
        assert_eq!((bad.status.code(), text(&bad.stdout)), (Some(1), ""));
        let told = text(&bad.stderr);
        for place in ["[pop3] listen: ", "[smtp] certificate: ", "[smtp] upstream_ca: ", "[mailstore] spool: "] {
            assert!(told.lines().any(|line| line.contains(&format!("mailstore.ini: {place}"))), "{place} in {told}");
        }
        assert!(told.contains("(process "), "who holds the port: {told}");
    }
}
