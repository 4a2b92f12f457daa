//! A spool on a file system of its own, which gets full, runs out of inodes, becomes read-only, or goes away: for real, in a mount namespace that
//! only the program is in. Where the system gives no such namespace to whoever runs the tests, they say so and test nothing.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::client::{Client, expect, stuffed};
use crate::scenario::{ANN, BOB, Stage};
use crate::support::{CLIENT, Kind, Proxy, Spool, wait_until};

struct Mounted {
    /// Lives as long as the program.
    _stage: Stage,
    proxy: Proxy,
    /// As the test sees it: through the program's eyes.
    spool: PathBuf,
    /// As the program sees it.
    point: PathBuf,
    enter: Vec<String>,
}

impl Mounted {
    /// None where there are no namespaces to be had.
    fn start(options: &str) -> Option<Mounted> {
        Mounted::before(options, None)
    }

    /// The same before a server at this port.
    fn before(options: &str, server: Option<u16>) -> Option<Mounted> {
        let unshare = ["-m", "-Urm"].into_iter().find(|how| {
            Command::new("unshare")
                .args([how, "mount", "-t", "tmpfs", "none", "/mnt"])
                .output()
                .is_ok_and(|out| out.status.success())
        });
        let Some(unshare) = unshare else {
            println!("not tested: no mount namespace is to be had here");
            return None;
        };
        let stage = Stage::new(Kind::Smtp, "");
        let dir = stage.folder("spool = mnt/mailSpool");
        let ini = std::fs::read_to_string(dir.join("mailstore.ini")).unwrap().replace("spool = mailSpool\n", "");
        let ini = match server {
            Some(port) => ini.replace(&format!("localhost:{}", stage.server), &format!("localhost:{port}")),
            None => ini,
        };
        std::fs::write(dir.join("mailstore.ini"), ini).unwrap();
        let point = dir.join("mnt");
        std::fs::create_dir(&point).unwrap();
        let script = format!("mount -t tmpfs -o {options} none '{}' && exec \"$@\"", point.display());
        let mut command = Command::new("unshare");
        command.args([unshare, "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_start_proxies")]);
        let proxy = Proxy::launch(&dir, command).expect("the program in a namespace");
        let pid = proxy.pid().to_string();
        let mut enter = vec!["-t".to_owned(), pid.clone(), "-m".to_owned()];
        if unshare == "-Urm" {
            enter.extend(["-U".to_owned(), "--preserve-credentials".to_owned()]);
        }
        let inside = point.strip_prefix("/").unwrap().join("mailSpool");
        Some(Mounted {
            _stage: stage,
            proxy,
            spool: PathBuf::from(format!("/proc/{pid}/root")).join(inside),
            point,
            enter,
        })
    }

    /// Runs a command where the program runs.
    fn inside(&self, command: &[&str]) {
        let status = Command::new("nsenter").args(&self.enter).args(command).arg(&self.point).status().unwrap();
        assert!(status.success(), "{command:?}");
    }

    /// Ann sends this; what she hears at the end of it, or instead.
    fn send(&self, message: &[u8]) -> io::Result<String> {
        let mut client = Client::connect(self.proxy.port("smtp:x"))?;
        client.smtp_login(ANN)?;
        client.envelope(ANN, &[BOB])?;
        let reply = client.data(message)?;
        if reply.starts_with("250") {
            expect(&client.smtp("QUIT")?, "221")?;
        }
        Ok(reply)
    }

    fn kept(&self) -> Vec<Vec<u8>> {
        Spool::at(&self.spool).list().into_iter().map(|one| one.bytes).collect()
    }
}

fn message(number: usize, len: usize) -> Vec<u8> {
    let line = format!("{number:06} of a message\r\n");
    [&format!("Subject: {number}\r\n\r\n")[..], &line.repeat(len / line.len())].concat().into_bytes()
}

/// Sends until it is refused; what was accepted.
fn fill(mounted: &Mounted, len: usize) -> Vec<Vec<u8>> {
    let mut accepted = Vec::new();
    for number in 0..500 {
        let message = message(number, len);
        match mounted.send(&message).unwrap().as_str() {
            reply if reply.starts_with("250") => accepted.push(message),
            reply => {
                assert!(reply.starts_with("451 4.3.0"), "{reply}");
                return accepted;
            }
        }
    }
    panic!("the disk does not get full");
}

fn sorted(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.sort();
    messages
}

#[test]
fn a_full_disk_refuses_and_serves_again_once_there_is_room() {
    // Full of octets, then full of inodes.
    for (options, len) in [("size=300k", 20_000), ("size=10m,nr_inodes=40", 100)] {
        let Some(mounted) = Mounted::start(options) else { return };
        let accepted = fill(&mounted, len);
        assert!(accepted.len() > 3, "{}", mounted.proxy.log());
        mounted.proxy.tells_of("No space left on device");
        assert_eq!(sorted(mounted.kept()), sorted(accepted), "what was accepted is what is kept");
        mounted.inside(&["mount", "-o", "remount,size=20m,nr_inodes=4000"]);
        let late = message(1000, len);
        assert!(mounted.send(&late).unwrap().starts_with("250"));
        assert!(mounted.kept().contains(&late));
        mounted.proxy.stop();
    }
}

#[test]
fn a_read_only_disk_refuses_and_serves_again_once_it_can_be_written() {
    let Some(mounted) = Mounted::start("size=10m") else { return };
    let (early, late) = (message(1, 100), message(2, 100));
    assert!(mounted.send(&early).unwrap().starts_with("250"));
    mounted.inside(&["mount", "-o", "remount,ro"]);
    let reply = mounted.send(&late).unwrap();
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    mounted.proxy.tells_of("Read-only file system");
    mounted.inside(&["mount", "-o", "remount,rw"]);
    assert!(mounted.send(&late).unwrap().starts_with("250"));
    assert_eq!(sorted(mounted.kept()), sorted(vec![early, late]));
    mounted.proxy.stop();
}

/// What were kept below the bare mount point would be out of sight as soon as the file system is back.
#[test]
fn a_spool_whose_mount_went_away_is_not_made_anew_below_the_mount_point() {
    let Some(mounted) = Mounted::start("size=10m") else { return };
    assert!(mounted.send(&message(1, 100)).unwrap().starts_with("250"));
    mounted.inside(&["umount"]);
    let reply = mounted.send(&message(2, 100)).unwrap();
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    mounted.proxy.tells_of("the file system on which the spool lay is not mounted there any more");
    assert!(!mounted.spool.exists(), "something was made below the bare mount point");
    // The same or another one: all that counts is that there is one.
    mounted.inside(&["mount", "-t", "tmpfs", "none"]);
    let late = message(3, 100);
    assert!(mounted.send(&late).unwrap().starts_with("250"));
    assert_eq!(mounted.kept(), [late]);
    mounted.proxy.stop();
}

/// A file can be made there then: where it lies tells.
#[test]
fn a_spool_whose_mount_went_away_is_noticed_where_the_same_folders_lie_below_it() {
    let Some(mounted) = Mounted::start("size=10m") else { return };
    let folder = mounted.point.join("mailSpool/example.org/ann/.Sent");
    for sub in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(folder.join(sub)).unwrap();
    }
    let mut kept: Vec<_> = (1..3).map(|number| message(number, 100)).collect();
    for message in &kept {
        assert!(mounted.send(message).unwrap().starts_with("250"));
    }
    // To come back, with what was kept there.
    let held = mounted.point.with_file_name("held");
    std::fs::create_dir(&held).unwrap();
    let held = held.to_str().unwrap();
    mounted.inside(&["sh", "-c", &format!("mount --bind \"$0\" '{held}'")]);
    mounted.inside(&["umount"]);
    for number in 3..5 {
        let reply = mounted.send(&message(number, 100)).unwrap();
        assert!(reply.starts_with("451 4.3.0"), "{reply}");
    }
    mounted.proxy.tells_of("the file system on which the spool lay is not mounted there any more");
    for sub in ["tmp", "new", "cur"] {
        assert_eq!(std::fs::read_dir(folder.join(sub)).unwrap().count(), 0, "{sub} below the bare mount point");
    }
    mounted.inside(&["mount", "--bind", held]);
    kept.push(message(5, 100));
    assert!(mounted.send(&kept[2]).unwrap().starts_with("250"));
    assert_eq!(sorted(mounted.kept()), sorted(kept));
    mounted.proxy.stop();
}

/// A server that has got a message says this once it is told to.
fn slow_server(answer: &'static str) -> (u16, Receiver<()>, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ((got, has_it), (go_on, told)) = (channel(), channel());
    thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(tcp.try_clone().unwrap()).lines();
        let mut say = |text: &str| tcp.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        say("220 ready");
        while let Some(Ok(line)) = lines.next() {
            match line.split(' ').next().unwrap() {
                "EHLO" => say("250-server\r\n250 AUTH PLAIN"),
                "AUTH" => say("235 welcome"),
                "DATA" => {
                    say("354 go on");
                    while lines.next().unwrap().unwrap() != "." {}
                    got.send(()).unwrap();
                    told.recv().unwrap();
                    say(answer);
                }
                _ => say("250 fine"),
            }
        }
    });
    (port, has_it, go_on)
}

/// The server has it, and then its file system is away: it is moved, or removed, when that is there again.
#[test]
fn what_the_server_took_or_refused_while_the_mount_was_away_is_brought_to_its_end_afterwards() {
    for answer in ["250 taken", "554 no"] {
        let (port, has_it, go_on) = slow_server(answer);
        let Some(mounted) = Mounted::before("size=10m", Some(port)) else { return };
        // The same file system is held elsewhere, to come back.
        let held = mounted.point.with_file_name("held");
        std::fs::create_dir(&held).unwrap();
        let held = held.to_str().unwrap();
        mounted.inside(&["sh", "-c", &format!("mount --bind \"$0\" '{held}'")]);
        let mut client = Client::connect(mounted.proxy.port("smtp:x")).unwrap();
        client.smtp_login(ANN).unwrap();
        client.envelope(ANN, &[BOB]).unwrap();
        expect(&client.smtp("DATA").unwrap(), "354").unwrap();
        let message = message(1, 100);
        client.say(&stuffed(&message)).unwrap();
        has_it.recv().unwrap();
        mounted.inside(&["umount", "-l"]);
        go_on.send(()).unwrap();
        expect(&client.smtp_reply().unwrap(), &answer[..3]).unwrap();
        mounted.inside(&["mount", "--bind", held]);
        let tmp = mounted.spool.join("example.org/ann/.Sent/tmp");
        wait_until("nothing is left in tmp", CLIENT, || {
            std::fs::read_dir(&tmp).is_ok_and(|mut entries| entries.next().is_none())
        });
        let expected = if answer.starts_with('2') { vec![message] } else { Vec::new() };
        assert_eq!(mounted.kept(), expected, "{answer}\n{}", mounted.proxy.log());
        drop(client);
        mounted.proxy.stop();
    }
}
