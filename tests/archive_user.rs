//! `scripts/archive-user`: the logins to the archive that are made by hand. That Dovecot lets those in, tests/archive_reading.rs shows.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use nix::fcntl::{Flock, FlockArg};
use support::archive::{Archive, script};
use support::client::{run, run_with_input};
use support::dovecot::{entries, mail_names};
use support::lab::is_root;
use support::*;

/// A `mailstore.ini`, and Joe's Maildir.
fn archive(lab: &Lab) -> Archive {
    let archive = Archive::new(lab, "default_domain = example.com\n");
    archive.put("example.com/joe", "", b"Subject: x\r\n\r\n", "");
    archive
}

fn file(archive: &Archive) -> PathBuf {
    archive.dir.join("archive-users")
}

/// Runs the script with this as its standard input.
fn user(archive: &Archive, args: &[&str], input: &str) -> Output {
    let ini = archive.ini().display().to_string();
    run_with_input(&script("archive-user"), &[args, &["-c", &ini]].concat(), input.as_bytes(), &archive.dir)
}

fn add(archive: &Archive, owner: &str, password: &str) -> Output {
    user(archive, &["add", owner, "--password-fd", "0"], &format!("{password}\n"))
}

/// Whether this field of a line is the hash of this password, as OpenSSL makes it with the same salt.
fn is_hash_of(field: &str, password: &str) -> bool {
    let hash = field.strip_prefix("{SHA512-CRYPT}").expect("a scheme");
    let salt = hash.split('$').nth(2).expect("a salt");
    assert!(salt.len() >= 8, "{hash}");
    let made =
        run_with_input("openssl", &["passwd", "-6", "-salt", salt, "-stdin"], password.as_bytes(), Path::new("/"));
    made.ok().text().trim() == hash
}

fn read(archive: &Archive) -> String {
    fs::read_to_string(file(archive)).unwrap()
}

/// Nothing that was begun is left beside the file.
fn nothing_is_left(archive: &Archive) {
    for entry in entries(&archive.dir) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        assert!(["mailstore.ini", "mailSpool", "archive-users", "real"].contains(&name), "{name}");
    }
}

#[test]
fn adds_lists_and_removes() {
    let lab = Lab::new();
    let archive = archive(&lab);
    let said = user(&archive, &["list"], "");
    assert!(said.code == Some(1) && said.errors().contains("archive-users: No such file"), "{}", said.errors());
    let said = add(&archive, "Joe", "first").ok();
    assert!(said.text().starts_with("joe@example.com: added in ") && said.errors().is_empty(), "{}", said.errors());
    let said = add(&archive, "ANN@Example.org", "hers").ok();
    assert!(said.errors().contains("nothing is kept of ann@example.org in "), "{}", said.errors());
    let lines: Vec<String> = read(&archive).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2);
    assert!(is_hash_of(lines[0].strip_prefix("joe@example.com:").unwrap(), "first"));
    assert!(is_hash_of(lines[1].strip_prefix("ann@example.org:").unwrap(), "hers"));
    assert_eq!(user(&archive, &["list"], "").ok().text(), "joe@example.com\nann@example.org\n");
    assert_eq!(user(&archive, &["list", "joe"], "").ok().text(), "joe@example.com\n");

    // The same password has another salt.
    let said = add(&archive, "joe@example.com", "first").ok();
    assert!(said.text().starts_with("joe@example.com: new password in "), "{}", said.text());
    let again = read(&archive);
    assert!(!again.contains(&lines[0]) && again.lines().nth(1) == Some(&*lines[1]));
    assert!(is_hash_of(again.lines().next().unwrap().split_once(':').unwrap().1, "first"));

    user(&archive, &["remove", "ann@example.org"], "").ok();
    assert_eq!(user(&archive, &["list"], "").ok().text(), "joe@example.com\n");
    for args in [["remove", "ann@example.org"], ["list", "ann@example.org"]] {
        let said = user(&archive, &args, "");
        assert!(
            said.code == Some(1) && said.errors().contains("ann@example.org has no login in "),
            "{}",
            said.errors()
        );
    }
    user(&archive, &["remove", "joe"], "").ok();
    assert_eq!(read(&archive), "");
    nothing_is_left(&archive);
    let mode = fs::metadata(file(&archive)).unwrap();
    assert_eq!(mode.mode() & 0o777, 0o640);
    if is_root() {
        let group = nix::unistd::Group::from_name(&mail_names().1).unwrap().unwrap();
        assert_eq!((mode.uid(), mode.gid()), (0, group.gid.as_raw()));
    }
}

#[test]
fn odd_names_and_passwords() {
    let lab = Lab::new();
    let archive = archive(&lab);
    for (owner, line) in [
        ("o'neil@example.com", "o\\'neil@example.com:"),
        ("-dash@example.com", "-dash@example.com:"),
        ("MÜLLER@Exämple.de", "müller@exämple.de:"),
        ("a+b=c&d@example.com", "a+b=c&d@example.com:"),
    ] {
        for _ in 0..1 + usize::from(owner.starts_with('-')) {
            let ini = archive.ini().display().to_string();
            let args = ["add", "-c", &ini, "--password-fd", "0", "--", owner];
            run_with_input(&script("archive-user"), &args, "pä'ss\"w\\o rd:$x".as_bytes(), &archive.dir).ok();
        }
        let text = read(&archive);
        let found: Vec<&str> = text.lines().filter_map(|found| found.strip_prefix(line)).collect();
        assert_eq!(found.len(), 1, "{text}");
        assert!(is_hash_of(found[0], "pä'ss\"w\\o rd:$x"));
    }
    assert!(user(&archive, &["list"], "").ok().text().starts_with("o'neil@example.com\n"));
    user(&archive, &["remove", "o'neil@example.com"], "").ok();
    let before = read(&archive);
    for owner in [
        "a:b@example.com",
        "a/b@example.com",
        "a%b@example.com",
        "a b@example.com",
        "a\nb@example.com",
        "a\u{200b}b@example.com",
        "#a@example.com",
        "a\"b@example.com",
        "a@b@example.com",
        ".a@example.com",
        "..",
        "@example.com",
        "@",
        "",
        "a@..",
    ] {
        let said = add(&archive, owner, "x");
        assert_eq!(said.code, Some(1), "{owner:?}: {} {}", said.text(), said.errors());
        assert!(said.errors().lines().count() == 1 && !said.errors().contains("Traceback"), "{}", said.errors());
    }
    let long = "x".repeat(256);
    for (password, told) in [
        ("", "is empty"),
        (&*long, "more than 255 octets"),
        ("a\tb", "control character"),
        ("a\0b", "control character"),
        ("a\nb", "more than one line"),
    ] {
        let said = add(&archive, "joe", password);
        assert!(said.code == Some(1) && said.errors().contains(told), "{password:?}: {}", said.errors());
    }
    assert_eq!(read(&archive), before);
    // As long as may be, and with the line end of Windows.
    let secret = lab.path().join("secret");
    fs::write(&secret, format!("{}\r\n", "x".repeat(255))).unwrap();
    user(&archive, &["add", "joe", "--password-file", secret.to_str().unwrap()], "").ok();
    assert!(is_hash_of(read(&archive).lines().last().unwrap().split_once(':').unwrap().1, &"x".repeat(255)));
    nothing_is_left(&archive);
}

#[test]
fn what_others_wrote_stays() {
    let lab = Lab::new();
    let archive = archive(&lab);
    let theirs = "# joe@example.com:{PLAIN}not a line\n\njoe@example.com:{PLAIN}old::::::user_x=1\n  \nann@example.com:{SHA512-CRYPT}$6$x$y::::::\n\
                  #end\njoe@example.com:{PLAIN}second\njoe@example.comm:x\nJOE@example.com:y\nlast:\u{e9} no end";
    fs::write(file(&archive), theirs).unwrap();
    fs::set_permissions(file(&archive), fs::Permissions::from_mode(0o604)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(file(&archive), Some(7), Some(8)).unwrap();
    }
    let before = fs::metadata(file(&archive)).unwrap();
    add(&archive, "joe", "new").ok();
    let text = read(&archive);
    let line = text.lines().nth(2).unwrap();
    let hash = line.strip_prefix("joe@example.com:").and_then(|rest| rest.strip_suffix("::::::user_x=1")).unwrap();
    assert!(is_hash_of(hash, "new"));
    let expected = theirs.replace("{PLAIN}old", hash).replace("joe@example.com:{PLAIN}second\n", "") + "\n";
    assert_eq!(text, expected);
    let after = fs::metadata(file(&archive)).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    // Dovecot looks for another second or another size.
    assert!(after.mtime() > before.mtime() || after.size() != before.size());
    user(&archive, &["remove", "joe"], "").ok();
    assert_eq!(read(&archive), expected.replace(&format!("{line}\n"), ""));
    // A link stays one.
    fs::create_dir(archive.dir.join("real")).unwrap();
    fs::rename(file(&archive), archive.dir.join("real/users")).unwrap();
    symlink("real/users", file(&archive)).unwrap();
    add(&archive, "joe", "new").ok();
    assert!(fs::symlink_metadata(file(&archive)).unwrap().is_symlink());
    assert!(read(&archive).ends_with('\n') && read(&archive).contains("\njoe@example.com:{SHA512-CRYPT}$6$"));
    nothing_is_left(&archive);
}

#[test]
fn two_changes_within_a_second_look_different_to_dovecot() {
    let lab = Lab::new();
    let archive = archive(&lab);
    let mut seen = Vec::new();
    for password in ["one", "two", "three"] {
        add(&archive, "joe", password).ok();
        seen.push(fs::metadata(file(&archive)).unwrap().mtime());
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
}

#[test]
fn all_at_once() {
    let lab = Lab::new();
    let archive = archive(&lab);
    let owners: Vec<String> = (0..16).map(|n| format!("user{n}@example.com")).collect();
    thread::scope(|scope| {
        for owner in &owners {
            let archive = &archive;
            scope.spawn(move || add(archive, owner, owner).ok());
        }
    });
    let mut listed: Vec<String> = user(&archive, &["list"], "").ok().text().lines().map(str::to_owned).collect();
    let mut expected = owners.clone();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    for line in read(&archive).lines() {
        let (owner, hash) = line.split_once(':').unwrap();
        assert!(is_hash_of(hash, owner), "{line}");
    }
    nothing_is_left(&archive);
}

/// Whoever else writes such a file, MailStore with `learn_logins` for one, holds the lock of its folder.
#[test]
fn the_folder_is_locked_meanwhile() {
    let lab = Lab::new();
    let archive = archive(&lab);
    let lock = Flock::lock(fs::File::open(&archive.dir).unwrap(), FlockArg::LockExclusive).expect("the lock");
    let mut child = Command::new(script("archive-user"))
        .args(["add", "joe", "--password-fd", "0", "-c"])
        .arg(archive.ini())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    use std::io::Write;
    child.stdin.take().unwrap().write_all(b"x\n").unwrap();
    let waits = format!("-> FLOCK  ADVISORY  WRITE {} ", child.id());
    wait_until("it waits for the lock", START, || {
        assert!(child.try_wait().unwrap().is_none(), "it did not wait");
        fs::read_to_string("/proc/locks").unwrap().contains(&waits)
    });
    // What is written meanwhile is not lost.
    fs::write(file(&archive), "ann@example.com:x\n").unwrap();
    drop(lock);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(read(&archive).starts_with("ann@example.com:x\njoe@example.com:{SHA512-CRYPT}"), "{}", read(&archive));
}

/// At a terminal these keys are typed, each line when it is asked for; what came of it.
fn at_a_terminal(archive: &Archive, keys: &[&str]) -> Output {
    let python = "
import os, pty, sys
keys = sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], [sys.argv[1], 'add', 'joe', '-c', os.environ['INI']])
heard = b''
while True:
    try:
        data = os.read(terminal, 9999)
    except OSError:
        break
    if not data:
        break
    heard += data
    if keys and heard.rstrip(b' ').endswith(b':'):
        os.write(terminal, keys.pop(0).encode())
        heard += b'|'
sys.stdout.buffer.write(heard)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let (script, ini) = (script("archive-user"), format!("INI={}", archive.ini().display()));
    run_with_input("env", &[&[&ini, "/usr/bin/python3", "-c", python, &script], keys].concat(), b"", &archive.dir)
}

#[test]
fn the_password_is_asked_for_twice() {
    let lab = Lab::new();
    let archive = archive(&lab);
    let said = at_a_terminal(&archive, &["secret one\r", "secret one\r"]).ok().text();
    assert!(said.contains("Password for the archive: ") && said.contains("Once more: "), "{said}");
    assert!(!said.contains("secret"), "the password is shown: {said}");
    assert!(is_hash_of(read(&archive).trim().split_once(':').unwrap().1, "secret one"));
    let before = read(&archive);
    for (keys, code, told) in [
        (&["one\r", "two\r"][..], 1, "two different passwords"),
        (&["\r", "\r"], 1, "is empty"),
        (&["\u{4}"], 1, "no password was typed"),
        // Ctrl-C.
        (&["\u{3}"], 130, ""),
        (&["one\r", "\u{3}"], 130, ""),
    ] {
        let said = at_a_terminal(&archive, keys);
        assert!(said.code == Some(code) && said.text().contains(told), "{keys:?}: {:?} {}", said.code, said.text());
        assert!(!said.text().contains("Traceback"), "{}", said.text());
    }
    assert_eq!(read(&archive), before);
    nothing_is_left(&archive);
    // Where there is none to ask at, it says so.
    let ini = archive.ini().display().to_string();
    let said = run("setsid", &["-w", &script("archive-user"), "add", "joe", "-c", &ini]);
    assert!(said.code == Some(1) && said.errors().contains("there is no terminal"), "{}", said.errors());
}

#[test]
fn what_cannot_be_is_told_and_nothing_is_lost() {
    let lab = Lab::new();
    let archive = archive(&lab);
    add(&archive, "joe", "x").ok();
    let before = read(&archive);
    for (args, told) in [
        (&["add", "joe", "--frob"][..], "unrecognized arguments: --frob"),
        (&["frob"], "invalid choice: 'frob'"),
        (&["add"], "whom to add?"),
        (&["remove"], "whom to remove?"),
        (&["remove", "joe", "--password-fd", "0"], "a password is for `add`"),
        (&["add", "joe", "--password-fd", "x"], "--password-fd"),
        (&["add", "joe", "--password-fd", "0", "--password-file", "x"], "not allowed with"),
        (&["add", "joe", "ann", "--password-fd", "0"], "unrecognized arguments: ann"),
    ] {
        let said = user(&archive, args, "x\n");
        assert!(said.code == Some(2) && said.errors().contains(told), "{args:?}: {:?} {}", said.code, said.errors());
    }
    for (args, told) in [
        (&["add", "joe", "--password-fd", "77"][..], "Bad file descriptor"),
        (&["add", "joe", "--password-file", "/no/such/file"], "/no/such/file: No such file"),
        (&["add", "joe", "--password-fd", "0", "--file", "/no/such/folder/users"], "/no/such/folder: No such file"),
        (&["add", "joe", "--password-fd", "0", "--file", "/"], "directory"),
    ] {
        let said = user(&archive, args, "x\n");
        assert!(said.code == Some(1) && said.errors().contains(told), "{args:?}: {:?} {}", said.code, said.errors());
        assert!(!said.errors().contains("Traceback"), "{}", said.errors());
    }
    // A disk that takes no more leaves the old file.
    let ini = archive.ini().display().to_string();
    let full = ["--fsize=60", &script("archive-user"), "add", "ann@example.com", "--password-fd", "0", "-c", &ini];
    let said = run_with_input("prlimit", &full, b"x\n", &archive.dir);
    assert!(said.code == Some(1) && said.errors().contains("File too large"), "{}", said.errors());
    if is_root() {
        // Nor does anybody else than its owner change it.
        let nobody = ["--reuid=7", "--regid=7", "--clear-groups", &script("archive-user"), "remove", "joe", "-c", &ini];
        fs::set_permissions(&archive.dir, fs::Permissions::from_mode(0o755)).unwrap();
        let said = run("setpriv", &nobody);
        assert!(said.code == Some(1) && said.errors().contains("Permission denied"), "{}", said.errors());
    }
    assert_eq!(read(&archive), before);
    nothing_is_left(&archive);
    // Without a mailstore.ini: a file, and an owner with his domain.
    let alone = lab.path().join("alone");
    let run_alone = |owner: &str| {
        let args = ["add", owner, "--password-fd", "0", "--file", alone.to_str().unwrap()];
        run_with_input(&script("archive-user"), &args, b"x\n", lab.path())
    };
    assert!(run_alone("joe").errors().contains("write user@domain"));
    run_alone("joe@example.com").ok();
    assert!(fs::read_to_string(&alone).unwrap().starts_with("joe@example.com:{SHA512-CRYPT}$6$"));
}

/// As `scripts/install` lays it: the scripts and their library in one folder, and a link to each in another.
#[test]
fn works_where_it_is_installed() {
    let lab = Lab::new();
    let archive = archive(&lab);
    let prefix = lab.folder("prefix");
    fs::create_dir_all(prefix.join("lib/mailstore")).unwrap();
    fs::create_dir(prefix.join("bin")).unwrap();
    let to = prefix.join("lib/mailstore").display().to_string();
    run("cp", &["-r", &script("archive-user"), &script("dovecot-archive"), &script("lib"), &to]).ok();
    for name in ["archive-user", "dovecot-archive"] {
        symlink(format!("../lib/mailstore/{name}"), prefix.join("bin").join(format!("mailstore-{name}"))).unwrap();
    }
    let program = |name: &str| prefix.join("bin").join(name).display().to_string();
    let ini = archive.ini().display().to_string();
    let args = ["add", "ann@example.com", "-c", &ini, "--password-fd", "0"];
    let said = run_with_input(&program("mailstore-archive-user"), &args, b"x\n", lab.path()).ok();
    assert!(
        said.errors().starts_with("mailstore-archive-user: nothing is kept of ann@example.com"),
        "{}",
        said.errors()
    );
    let said = run(&program("mailstore-dovecot-archive"), &["-c", &ini, "--dovecot", "2.3"]).ok();
    assert!(said.text().contains(&format!("/bin/sh {to}/lib/dovecot/archive-login\n")), "{}", said.text());
    assert!(!prefix.join("lib/mailstore/lib/mailstore/__pycache__").exists());
}
