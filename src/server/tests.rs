//! Sessions with a protocol made for the test, and the keeper over a real spool.

mod remembering;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;

use super::keeper::{Keeper, Label, Policy, Tally};
use super::proxy::Speak;
use super::*;
use crate::archive::{Destination, Folder, Owner};
use crate::config::{Keep, Kind, OnArchiveFailure, TlsMode};
use crate::protocol::{DraftId, End, Farewell, Host, Protocol, Refused, Side};

/// Keeps a message of one line, then does what the client says: panics on `panic`, ends on `end`.
struct Fragile {
    draft: Option<DraftId>,
}

impl Protocol for Fragile {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        if from == Side::Server {
            host.send(Side::Client, bytes);
            return bytes.len();
        }
        match bytes {
            b"prepare\n" => {
                let draft = host.begin(&[destination("sent@example.org")], None).unwrap();
                host.append(draft, b"sent\r\n").unwrap();
                host.prepare(draft).unwrap();
                host.send(Side::Client, b"prepared\n");
            }
            b"begin\n" => {
                let draft = host.begin(&[destination("half@example.org")], None).unwrap();
                host.append(draft, b"half\r\n").unwrap();
                self.draft = Some(draft);
                host.send(Side::Client, b"begun\n");
            }
            b"panic\n" => panic!("as the test asks"),
            _ => host.end(End::Orderly("end")),
        }
        bytes.len()
    }
    fn eof(&mut self, _: Side, _: &mut dyn Host) {}
    fn tls_started(&mut self, _: Side, _: &mut dyn Host) {}
    fn outstanding(&self) -> bool {
        false
    }
    fn farewell(&self, _: Farewell) -> Option<Vec<u8>> {
        Some(b"bye\n".to_vec())
    }
}

struct Speaker;

impl Speak for Speaker {
    fn protocol(&self, _: SocketAddr) -> Box<dyn Protocol> {
        Box::new(Fragile { draft: None })
    }
    fn refusal(&self, text: &str) -> Vec<u8> {
        format!("NO {text}\n").into_bytes()
    }
}

fn destination(address: &str) -> Destination {
    Destination { owner: Owner::new(address.as_bytes(), "localhost"), folder: Folder::inbox(), outgoing: false }
}

fn archive(spool: &Path) -> Archive {
    let maildir = Template::parse("%u").unwrap();
    Archive::new(archive::Settings { spool: spool.to_owned(), maildir, sync: false })
}

fn shared(spool: &Path) -> config::Shared {
    let long = Duration::from_secs(60);
    config::Shared {
        spool: spool.to_owned(),
        maildir: "%u".to_owned(),
        default_domain: "localhost".to_owned(),
        sent_folder: String::new(),
        skip_folders: Vec::new(),
        skip_special_use: false,
        imap_folders: config::ImapFolders::Mirror,
        on_archive_failure: OnArchiveFailure::Refuse,
        sync: false,
        learn_logins: None,
        max_sessions: 3,
        max_sessions_per_client: 2,
        max_message_size: 100,
        login_timeout: long,
        idle_timeout: long,
        shutdown_grace: long,
        user: None,
        group: None,
        log: log::LevelFilter::Off,
    }
}

/// A listener with the test's protocol, before a server that only takes connections.
struct Rig {
    world: Arc<World>,
    listener: Listener,
    /// Connections that the server has taken.
    servers: Arc<Mutex<Vec<TcpStream>>>,
    _stop: OwnedFd,
}

fn rig(spool: &Path) -> Rig {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    let servers: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let taken = Arc::clone(&servers);
    std::thread::spawn(move || {
        for tcp in upstream.incoming() {
            // Known before anybody can have heard of it.
            let mut taken = taken.lock().unwrap();
            taken.push(tcp.unwrap());
            taken.last_mut().unwrap().write_all(b"hello\n").unwrap();
        }
    });
    let (stop_read, stop) = stop_pipe().unwrap();
    let world = Arc::new(World::new(stop_read));
    let config = config::Proxy {
        kind: Kind::Smtp,
        name: "smtp:test".to_owned(),
        listen: Vec::new(),
        listen_tls: TlsMode::None,
        certificate: None,
        private_key: None,
        upstream_host: "127.0.0.1".to_owned(),
        upstream_port: port,
        upstream_tls: TlsMode::None,
        upstream_ca: None,
        default_domain: "localhost".to_owned(),
        keep: Keep::Sender,
        local_domains: Vec::new(),
        follow: config::Follow::No,
    };
    let proxy = Proxy {
        counters: world.counters.of(&config.name),
        config,
        shared: Arc::new(shared(spool)),
        archive: archive(spool),
        acceptor: None,
        connector: None,
        speaker: Box::new(Speaker),
        teacher: None,
        doubts: Vec::new(),
    };
    let listener = Listener::start(&world, bind("127.0.0.1:0".parse().unwrap()).unwrap(), Arc::new(proxy)).unwrap();
    Rig { world, listener, servers, _stop: stop }
}

impl Rig {
    fn client(&self) -> Client {
        let tcp = TcpStream::connect(self.listener.local).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Client(tcp)
    }
}

struct Client(TcpStream);

impl Client {
    fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while line.last() != Some(&b'\n') && self.0.read(&mut byte).is_ok_and(|n| n == 1) {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn ask(&mut self, text: &str) -> String {
        self.0.write_all(text.as_bytes()).unwrap();
        self.line()
    }
}

/// All files below a folder, with their content.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_panic_ends_one_session_and_loses_nothing() {
    let spool = tempfile::tempdir().unwrap();
    let rig = rig(spool.path());
    let (mut sick, mut well) = (rig.client(), rig.client());
    assert_eq!((sick.line(), well.line()), ("hello\n".to_owned(), "hello\n".to_owned()));
    assert_eq!(sick.ask("prepare\n"), "prepared\n");
    assert_eq!(sick.ask("begin\n"), "begun\n");
    assert_eq!(sick.ask("panic\n"), "", "closed");
    assert_eq!(well.ask("prepare\n"), "prepared\n");
    assert_eq!(well.ask("end\n"), "");
    assert!(rig.world.limits.wait_until_none(Duration::from_secs(30)), "places came back");
    let found = files(spool.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0.contains("sent@example.org/new/") && found[0].1 == b"sent\r\n");
    let counters = rig.world.counters.of("smtp:test");
    assert_eq!((counters.sessions.get(), counters.kept.get(), counters.duplicates.get()), (2, 1, 1));
}

#[test]
fn full_limits_are_told_in_the_protocols_words() {
    let spool = tempfile::tempdir().unwrap();
    let rig = rig(spool.path());
    let (mut first, mut second) = (rig.client(), rig.client());
    assert_eq!((first.line(), second.line()), ("hello\n".to_owned(), "hello\n".to_owned()));
    assert_eq!(rig.client().line(), "NO Too many sessions, try again later\n");
    assert_eq!(first.ask("end\n"), "");
    drop(first);
    // The place is given back after the last word to the client; ask until it is.
    let mut third = rig.client();
    while third.line() != "hello\n" {
        third = rig.client();
    }
    assert_eq!(rig.servers.lock().unwrap().len(), 3);
}

#[test]
fn a_listener_that_is_dropped_closes_its_socket_and_no_session() {
    let spool = tempfile::tempdir().unwrap();
    let Rig { world, listener, servers, _stop } = rig(spool.path());
    let local = listener.local;
    let mut client = Client(TcpStream::connect(local).unwrap());
    assert_eq!(client.line(), "hello\n");
    drop(listener);
    assert!(TcpStream::connect(local).is_err());
    servers.lock().unwrap()[0].write_all(b"still here\n").unwrap();
    assert_eq!(client.line(), "still here\n");
    drop(_stop);
    assert_eq!(client.line(), "bye\n");
    assert!(world.limits.wait_until_none(Duration::from_secs(30)));
}

/// As the tests' keeper knows it.
const UPSTREAM: &str = "mail.example.com:993";

fn keeper(spool: &Path, on_archive_failure: OnArchiveFailure) -> Keeper {
    let label = Label { id: 0x7f3a, proxy: "smtp:test".to_owned(), client: "192.0.2.1:1".parse().unwrap() };
    let policy =
        Policy { on_archive_failure, max_message_size: 10, upstream: UPSTREAM.to_owned(), sends: false, teacher: None };
    Keeper::new(label, policy, archive(spool), Arc::default())
}

fn tally(kept: u64, duplicates: u64, not_kept: u64) -> Tally {
    Tally { kept, duplicates, not_kept, fetched: 0 }
}

#[test]
fn what_is_too_large_is_refused_or_passes_uncounted_twice() {
    let to = [destination("a@example.org")];
    for (policy, verdict) in [(OnArchiveFailure::Refuse, Err(Refused::TooLarge)), (OnArchiveFailure::Pass, Ok(()))] {
        let spool = tempfile::tempdir().unwrap();
        let mut keeper = keeper(spool.path(), policy);
        assert_eq!(keeper.begin(&to, Some(11)).map(|_| ()), verdict);
        let draft = keeper.begin(&to, Some(10)).unwrap();
        assert_eq!(keeper.append(draft, b"0123456789"), Ok(()));
        assert_eq!(keeper.append(draft, b"x"), verdict);
        if policy == OnArchiveFailure::Pass {
            assert_eq!(keeper.append(draft, b"and so on"), Ok(()));
            assert_eq!(keeper.prepare(draft), Ok(()));
            keeper.commit(draft);
            let part = keeper.begin(&to, Some(11)).unwrap();
            let whole = keeper.begin(&to, None).unwrap();
            assert_eq!(keeper.append_draft(whole, part), Ok(()));
            keeper.finish(whole);
        }
        assert_eq!(keeper.settle(), Ok(()));
        keeper.close();
        assert!(files(spool.path()).is_empty());
        assert_eq!(keeper.tally(), tally(0, 0, if policy == OnArchiveFailure::Pass { 3 } else { 2 }));
    }
}

/// What is finished holds files open, and takes its time to be flushed.
#[test]
fn many_messages_and_long_ones_are_settled_before_they_have_to_be() {
    let spool = tempfile::tempdir().unwrap();
    for (len, count) in [(4, 32), (9 << 20, 4_u32)] {
        let mut keeper = keeper(spool.path(), OnArchiveFailure::Refuse);
        keeper.allow(u64::MAX);
        for number in 0..count {
            assert_eq!(keeper.tally(), tally(0, 0, 0), "{number} of {len} octets");
            let draft = keeper.begin(&[destination("a@example.org")], None).unwrap();
            keeper.append(draft, &number.to_be_bytes().repeat(len / 4)).unwrap();
            keeper.finish(draft);
        }
        assert_eq!(keeper.tally(), tally(count.into(), 0, 0), "{len} octets");
    }
}

#[test]
fn a_spool_that_fails_is_told_at_begin_and_at_settle() {
    let to = [destination("a@example.org")];
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    fs::write(&blocked, b"").unwrap();
    let mut refusing = keeper(&blocked, OnArchiveFailure::Refuse);
    assert_eq!(refusing.begin(&to, None), Err(Refused::Unavailable));
    assert_eq!(refusing.tally(), tally(0, 0, 1));

    let spool = dir.path().join("spool");
    let mut refusing = keeper(&spool, OnArchiveFailure::Refuse);
    let draft = refusing.begin(&to, None).unwrap();
    refusing.append(draft, b"text").unwrap();
    // The folder it was to go to is a file all of a sudden.
    fs::remove_dir(spool.join("a@example.org/new")).unwrap();
    fs::write(spool.join("a@example.org/new"), b"").unwrap();
    refusing.finish(draft);
    assert_eq!(refusing.settle(), Err(Refused::Unavailable));
    assert_eq!(refusing.settle(), Ok(()), "told once");
    assert_eq!(refusing.tally(), tally(0, 0, 1));
}

#[test]
fn many_finished_messages_are_settled_before_files_run_out() {
    let spool = tempfile::tempdir().unwrap();
    let mut keeper = keeper(spool.path(), OnArchiveFailure::Refuse);
    for n in 0..100 {
        let draft = keeper.begin(&[destination("a@example.org")], None).unwrap();
        keeper.append(draft, format!("{}", n % 50).as_bytes()).unwrap();
        keeper.finish(draft);
    }
    assert!(keeper.tally().kept >= 50, "{:?}", keeper.tally());
    assert_eq!(keeper.settle(), Ok(()));
    assert_eq!(keeper.tally(), tally(50, 50, 0));
}

#[test]
fn messages_that_are_told_of_in_one_line_are_counted_each() {
    let spool = tempfile::tempdir().unwrap();
    let mut keeper = keeper(spool.path(), OnArchiveFailure::Refuse);
    keeper.not_kept("one");
    keeper.not_kept_more(7, "7 more");
    assert_eq!(keeper.tally(), tally(0, 0, 8));
}

#[test]
fn a_session_that_ends_keeps_what_may_have_been_sent() {
    let spool = tempfile::tempdir().unwrap();
    let mut keeper = keeper(spool.path(), OnArchiveFailure::Refuse);
    let drafts: Vec<DraftId> = ["prepared", "finished", "half", "aborted"]
        .iter()
        .map(|text| {
            let draft = keeper.begin(&[destination(&format!("{text}@example.org"))], None).unwrap();
            keeper.append(draft, text.as_bytes()).unwrap();
            draft
        })
        .collect();
    keeper.prepare(drafts[0]).unwrap();
    keeper.finish(drafts[1]);
    keeper.prepare(drafts[3]).unwrap();
    keeper.abort(drafts[3]);
    keeper.close();
    drop(keeper);
    let found: Vec<Vec<u8>> = files(spool.path()).into_iter().map(|(_, content)| content).collect();
    assert_eq!(found, [b"finished".to_vec(), b"prepared".to_vec()]);
}

#[test]
fn a_transaction_without_login_ends_the_login_timeout() {
    use crate::net::relay::Wired;
    let spool = tempfile::tempdir().unwrap();
    let mut keeper = keeper(spool.path(), OnArchiveFailure::Refuse);
    keeper.send(Side::Server, b"MAIL FROM:<>\r\n");
    assert!(!keeper.identified());
    keeper.taken_in();
    assert!(keeper.identified());
}
