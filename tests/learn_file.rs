//! The passwd-file of `learn_logins`: other programs write it too, it stays whole whatever happens, and what is wrong with it is said.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use support::lab::is_root;
use support::learn::{client, folder, is_hash_of, knows, learning, learnt, teach, toys};
use support::logins::{Client, connect};
use support::*;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn two_hundred_logins_at_once_of_fifty_owners_and_other_programs_lines() {
    let lab = Lab::new();
    let file = folder(&lab).join("passwd");
    let foreign = "# made by hand\nzoe@x.example:{BLF-CRYPT}$2y$05$abc:1000:100::/home/zoe::x=y\n\nu7@x.example:{PLAIN}old:::::: nologin\n";
    fs::write(&file, foreign).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    // Two of them, and a script that keeps to the lock.
    let proxies = [(); 2].map(|()| Proxy::with(&lab, &(learning(&file) + "sync = no\n"), &toys(&lab, "a")));
    let script = "import fcntl, os, sys\nfolder, name = os.path.split(sys.argv[1])\nfd = os.open(folder, os.O_RDONLY)\n\
        for n in range(40):\n    fcntl.flock(fd, fcntl.LOCK_EX)\n    text = open(sys.argv[1]).read()\n    \
        open(sys.argv[1] + '.x', 'w').write(text + 'script%d@x.example:{X}y\\n' % n)\n    os.rename(sys.argv[1] + '.x', sys.argv[1])\n    fcntl.flock(fd, fcntl.LOCK_UN)\n";
    thread::scope(|scope| {
        for n in 0..200 {
            let proxy = &proxies[n % 2];
            scope.spawn(move || teach(proxy, &format!("u{}@x.example", n % 50), &format!("pw{}", n % 50)));
        }
        scope.spawn(|| {
            run_with_input("/usr/bin/python3", &["-c", script, file.to_str().unwrap()], b"", Path::new("/")).ok()
        });
    });
    let lines = || fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let line = |name: &str| {
        lines().iter().filter(|line| line.starts_with(&format!("{name}@x.example:"))).cloned().collect::<Vec<_>>()
    };
    for n in 0..50 {
        wait_until(&format!("u{n} is learnt"), CLIENT, || {
            let found = line(&format!("u{n}"));
            assert!(found.len() <= 1, "{found:?}");
            found.first().is_some_and(|line| is_hash_of(line.split(':').nth(1).unwrap(), &format!("pw{n}")))
        });
    }
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# made by hand\nzoe@x.example:{BLF-CRYPT}$2y$05$abc:1000:100::/home/zoe::x=y\n\nu7@x.example:{SHA512-CRYPT}$6$"), "{text}");
    assert!(line("u7")[0].ends_with(":::::: nologin"));
    assert_eq!(text.matches("script").count(), 40);
    assert_eq!(lines().len(), 4 + 49 + 40);
    drop(proxies);
    let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["passwd"]);
}

/// Set when it is dropped, also by a panic: those who look at it are waited for.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killed_at_any_moment_it_leaves_a_whole_file() {
    let lab = Lab::new();
    let file = folder(&lab).join("passwd");
    let dir = lab.folder("proxy");
    fs::write(
        dir.join("mailstore.ini"),
        format!("[mailstore]\nspool = mailSpool\n{}{}", learning(&file), toys(&lab, "a")),
    )
    .unwrap();
    // So many others that a write takes its time.
    let hash = format!("{{SHA512-CRYPT}}$6${}${}", "s".repeat(16), "h".repeat(86));
    fs::write(&file, (0..2_000).map(|n| format!("other{n}@x.example:{hash}::::::\n")).collect::<String>()).unwrap();
    for round in 0..8 {
        let proxy = Proxy::start_in(&dir);
        let (before, len) = (learnt(&file), fs::metadata(&file).unwrap().len());
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let over = Over(&stop);
            for worker in 0..4 {
                let (proxy, stop) = (&proxy, &stop);
                scope.spawn(move || {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let mut client = Client::new(Kind::Imap, connect(proxy.port("imap:a")));
                        client.say(format!("a LOGIN u{round}-{worker}-{n}@x.example pw").as_bytes());
                    }
                });
            }
            wait_until("it is at it", CLIENT, || fs::metadata(&file).unwrap().len() > len + 150 * round);
            drop(over);
        });
        proxy.end_by(Signal::SIGKILL);
        let after = learnt(&file);
        assert!(before.iter().all(|(name, hash)| after.get(name) == Some(hash)), "what was there is there");
    }
    let proxy = Proxy::start_in(&dir);
    teach(&proxy, "last@x.example", "last");
    knows(&file, "last@x.example", "last");
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "what a killed one left is gone");
}

#[test]
fn sigterm_finishes_what_waits_and_sighup_changes_the_file() {
    let lab = Lab::new();
    let (one, two) = (folder(&lab).join("passwd"), folder(&lab).join("passwd"));
    let dir = lab.folder("proxy");
    let sections = toys(&lab, "a");
    let configure = |key: &str| {
        fs::write(dir.join("mailstore.ini"), format!("[mailstore]\nspool = mailSpool\n{key}{sections}")).unwrap()
    };
    configure("");
    let proxy = Proxy::start_in(&dir);
    teach(&proxy, "off@x.example", "pw");
    let mut reloads = 0;
    let mut reload = |key: &str| {
        configure(key);
        proxy.signal(Signal::SIGHUP);
        reloads += 1;
        proxy.tells(" reloaded ", reloads);
    };
    reload(&learning(&one));
    // Of a session from before the reload, too, but by those who log in after it.
    teach(&proxy, "one@x.example", "pw");
    knows(&one, "one@x.example", "pw");
    reload(&learning(&two));
    teach(&proxy, "two@x.example", "pw");
    knows(&two, "two@x.example", "pw");
    // A file that cannot be is refused, and the old one stays in force.
    configure("learn_logins = none/passwd\n");
    proxy.signal(Signal::SIGHUP);
    proxy.tells_of("is not applied");
    teach(&proxy, "three@x.example", "pw");
    knows(&two, "three@x.example", "pw");
    let mut early = client(&proxy, Kind::Imap);
    reload("");
    // It has begun under the old configuration; off is off all the same.
    assert!(early.say(b"a LOGIN early@x.example pw").starts_with("a OK"));
    drop(early);
    reload(&learning(&two));
    for n in 0..30 {
        teach(&proxy, &format!("late{n}@x.example"), "pw");
    }
    let log = proxy.stop();
    assert_eq!(learnt(&one).keys().collect::<Vec<_>>(), ["one@x.example"]);
    let found = learnt(&two);
    assert_eq!((found.len(), found.contains_key("early@x.example")), (32, false), "{log}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_of_once_and_mail_goes_on() {
    let lab = Lab::new();
    let folder = folder(&lab);
    let file = folder.join("passwd");
    let proxy = Proxy::with(&lab, &learning(&file), &toys(&lab, "a"));
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).unwrap();
    for n in 0..20 {
        teach(&proxy, &format!("u{n}@x.example"), "pw");
    }
    proxy.tells_of("logins not learnt");
    fs::rename(&away, &folder).unwrap();
    teach(&proxy, "last@x.example", "pw");
    knows(&file, "last@x.example", "pw");
    proxy.tells("logins can be learnt again", 1);
    proxy.tells("ERROR", 1);
    let log = proxy.log();
    let told = log.lines().find(|line| line.contains("logins not learnt")).unwrap();
    assert!(told.contains("install -d -m 2750 -o ") && told.contains(folder.to_str().unwrap()), "{told}");
}

/// What `-t` and a start say.
fn tried(dir: &Path) -> (Option<i32>, String) {
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_start_proxies"));
        command.arg("-c").arg(dir.join("mailstore.ini"));
        command
    };
    let output = program().arg("-t").output().unwrap();
    let said = text(&output.stderr);
    if output.status.code() != Some(0) {
        let start = program().output().unwrap();
        assert_eq!((start.status.code(), text(&start.stderr).contains(said.trim())), (Some(1), true), "{said}");
    }
    (output.status.code(), said + &text(&output.stdout))
}

#[test]
fn a_file_that_cannot_be_is_a_fault_with_what_would_be_right() {
    let lab = Lab::new();
    let dir = lab.folder("proxy");
    let sections = toys(&lab, "a");
    let says = |key: &str, right: &str| {
        fs::write(dir.join("mailstore.ini"), format!("[mailstore]\nspool = mailSpool\n{key}\n{sections}")).unwrap();
        let (code, said) = tried(&dir);
        assert!(
            code == Some(1) && said.contains("[mailstore] learn_logins: ") && said.contains(right),
            "{key}: {said}"
        );
    };
    says("learn_logins = none/passwd", "install -d -m 2750 -o ");
    says("learn_logins = mailSpool/passwd", "lies in the spool");
    says("learn_logins = ~/passwd", "only a shell understands");
    says("learn_logins = .", "is no file");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is made");
    if !is_root() {
        return eprintln!("skipped: only root can try it as another user");
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let logins = folder(&lab);
    let key = format!("user = nobody\nlearn_logins = {}/passwd", logins.display());
    let hint = format!("install -d -m 2750 -o nobody -g dovecot {}", logins.display());
    says(&key, &hint);
    // As the sentence says; only the group is another here.
    let mail = nix::unistd::Group::from_name("mail").unwrap().unwrap();
    chown(&logins, Some(nobody.uid.as_raw()), Some(mail.gid.as_raw())).unwrap();
    fs::set_permissions(&logins, fs::Permissions::from_mode(0o2750)).unwrap();
    let (code, said) = tried(&dir);
    assert!(
        code == Some(0) && said.contains(&format!(", learn_logins {}/passwd, run as nobody", logins.display())),
        "{said}"
    );
    assert_eq!(fs::read_dir(&logins).unwrap().count(), 0);
    let proxy = Proxy::start_in(&dir);
    teach(&proxy, "joe@x.example", "pw");
    let file = logins.join("passwd");
    knows(&file, "joe@x.example", "pw");
    let of = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid(), meta.mode() & 0o7777)).unwrap();
    assert_eq!(of(&file), (nobody.uid.as_raw(), mail.gid.as_raw(), 0o640));
    // Root has written it by hand since, as its own: the group that reads it stays, and the mode.
    fs::write(logins.join("x"), fs::read(&file).unwrap()).unwrap();
    chown(logins.join("x"), Some(0), Some(mail.gid.as_raw())).unwrap();
    fs::set_permissions(logins.join("x"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(logins.join("x"), &file).unwrap();
    teach(&proxy, "ann@x.example", "pw");
    knows(&file, "ann@x.example", "pw");
    assert_eq!(of(&file), (nobody.uid.as_raw(), mail.gid.as_raw(), 0o644));
    // A group that nobody is in cannot be kept: then who reads it would not read it any more.
    chown(&file, Some(0), Some(0)).unwrap();
    teach(&proxy, "zoe@x.example", "pw");
    proxy.tells_of("belongs to the group root, which the new file cannot be given");
    assert_eq!(learnt(&file).len(), 2);
}
