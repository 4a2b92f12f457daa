//! What is in a snapshot, and what it costs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use crate::place::{JOE, Place, contents, files, inode};
use crate::support::dovecot::owned;

/// Odd for a shell, for rsync, for us, or for a terminal; and names of the folders in a Maildir.
const ODD: [&str; 12] =
    ["a'b", "x y", "%2Fz", "\u{e4}\u{df}", "-dash", "tmp", "new", "cur", "a*[b]?", "back\\slash", "$(id)", "new\nline"];

#[test]
fn everything_but_tmp_is_saved_and_the_next_snapshot_costs_links_only() {
    for place in Place::both("%d/%n") {
        let mut expected = Vec::new();
        for (number, name) in ODD.iter().enumerate() {
            for folder in [format!("example.com/{name}"), format!("tmp/{name}/.tmp"), format!("{name}/joe/.Sent")] {
                let sub = if number % 2 == 0 { "new" } else { "cur" };
                expected.push(place.put(&folder, sub, format!("{folder}\r\n").as_bytes()));
            }
        }
        let drafts: Vec<_> = files(&place.spool)
            .values()
            .map(|file| file.parent().unwrap().parent().unwrap().join("tmp/1700000000.M1P1Q1.host,mailstore"))
            .collect();
        for draft in &drafts {
            fs::write(draft, "half a mess").unwrap();
            owned(draft);
        }
        let notes = place.spool.join("example.com/tmp/mailstore-kept");
        fs::write(&notes, "notes").unwrap();
        owned(&notes);
        let pipe = place.spool.join("example.com/new/pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());

        let first = place.snapshot(&["--verify", "--keep-last", "9"]);
        let saved = contents(&first.join("mailSpool"));
        for file in expected.iter().chain([&notes]) {
            let below = file.strip_prefix(&place.spool).unwrap().to_str().unwrap();
            assert_eq!(saved.get(below), Some(&fs::read(file).unwrap()), "{below}");
        }
        assert_eq!(saved.len(), expected.len() + 1, "no draft, no pipe");
        // The Maildirs are whole, for who restores them; nobody else may look in.
        for file in &expected {
            let copy = place.in_snapshot(&first, file);
            assert!(copy.parent().unwrap().parent().unwrap().join("tmp").is_dir());
            let (was, is) = (fs::metadata(file).unwrap(), fs::metadata(copy).unwrap());
            let marks = |of: &fs::Metadata| (of.mode(), of.uid(), of.gid(), of.mtime(), of.mtime_nsec());
            assert_eq!(marks(&was), marks(&is), "{}", file.display());
        }
        for folder in [&place.dest, &first] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o7777, 0o700);
        }
        let ini = fs::read(place.dir.join("mailstore.ini")).unwrap();
        assert_eq!(fs::read(first.join("mailstore.ini")).unwrap(), ini);

        let second = place.snapshot(&["--keep-last", "9"]);
        for (below, file) in files(&second.join("mailSpool")) {
            assert_eq!(inode(&file), inode(&first.join("mailSpool").join(&below)), "{below}");
        }
        let list = place.backup(&["--list"]).ok().text();
        let last = list.lines().last().unwrap();
        assert!(last.contains("36 messages, ") && last.contains(" 0 bytes new  [last"), "{list}");
    }
}

#[test]
fn the_summary_tells_what_is_new_and_quiet_says_nothing() {
    let place = Place::new("%d/%n");
    place.put(JOE, "new", &[b'x'; 2500]);
    assert!(place.backup(&["--dry-run"]).ok().text().contains("about 1 message, 2.5 KB new"));
    assert!(place.snapshots().is_empty());
    let said = place.backup(&[]).ok().text();
    assert!(said.contains(": 1 message of 1 owner, 2.5 KB, 2.5 KB new, in "), "{said}");
    // Both lie in the lab's folder.
    assert!(said.contains("is on the same file system as the spool"), "{said}");
    let quiet = place.backup(&["--quiet"]).ok();
    assert_eq!((quiet.text(), quiet.errors()), (String::new(), String::new()));
}

#[test]
fn tmp_is_left_out_at_whatever_depth_the_template_puts_it() {
    for (template, maildirs) in [
        ("%u", ["joe@example.com", "tmp@tmp", "tmp"]),
        ("mail/%d/%n/Maildir", ["mail/example.com/joe/Maildir", "mail/tmp/tmp/Maildir", "mail/new/tmp/Maildir"]),
    ] {
        let place = Place::new(template);
        for maildir in maildirs {
            for folder in ["", "/.Sent", "/.tmp"] {
                let file = place.put(&format!("{maildir}{folder}"), "cur", format!("{maildir}{folder}").as_bytes());
                fs::write(file.parent().unwrap().parent().unwrap().join("tmp/draft"), "half").unwrap();
            }
        }
        let snapshot = place.snapshot(&[]);
        let saved = files(&snapshot.join("mailSpool"));
        assert_eq!(saved.len(), 9, "{saved:#?}");
        assert!(saved.keys().all(|below| below.contains(",H=")), "{saved:#?}");
    }
}

#[test]
fn a_message_of_two_owners_is_one_file_and_a_maildir_behind_a_link_is_saved() {
    let place = Place::new("%d/%n");
    let file = place.put(JOE, "new", b"for both");
    place.put("example.com/ann", "new", b"hers");
    let hers = place.spool.join("example.com/ann/new").join(file.file_name().unwrap());
    fs::hard_link(&file, &hers).unwrap();
    // Moved to another disk; an alias; and links that lead round in a circle.
    let elsewhere = place.lab.folder("elsewhere");
    fs::rename(place.spool.join("example.com/ann"), elsewhere.join("ann")).unwrap();
    symlink(elsewhere.join("ann"), place.spool.join("example.com/ann")).unwrap();
    symlink("joe", place.spool.join("example.com/alias")).unwrap();
    symlink("../..", place.spool.join("example.com/joe/.up")).unwrap();
    symlink(&place.spool, place.spool.join("example.org")).unwrap();
    symlink("nowhere", place.spool.join("example.com/joe/dangling")).unwrap();
    let said = place.backup(&[]).ok();
    let told: Vec<String> = said.errors().lines().map(str::to_owned).collect();
    assert!(told.iter().all(|line| line.contains("leads round in a circle")) && told.len() == 3, "{told:#?}");
    let snapshot = place.snapshots().remove(0);
    let saved = files(&snapshot.join("mailSpool"));
    let real: Vec<&str> = saved.keys().filter(|below| below.contains(",H=")).map(|below| &below[..15]).collect();
    assert_eq!(real, ["example.com/ali", "example.com/ann", "example.com/ann", "example.com/joe"]);
    assert_eq!(inode(&place.in_snapshot(&snapshot, &file)), inode(&place.in_snapshot(&snapshot, &hers)));
    assert!(!snapshot.join("mailSpool/example.com/ann").is_symlink());
}

#[test]
fn links_deeper_down_and_to_what_is_not_the_spools_are_not_followed() {
    let place = Place::new("%d/%n");
    let file = place.put(JOE, "new", b"a message");
    for name in ["round", "and-round"] {
        symlink("..", place.spool.join(JOE).join("cur").join(name)).unwrap();
    }
    let root = nix::unistd::geteuid().is_root();
    if root {
        symlink("/etc", place.spool.join(JOE).join(".Etc")).unwrap();
        symlink("/proc", place.spool.join("proc")).unwrap();
        crate::support::dovecot::owned(&place.spool);
        let uid = Some(fs::metadata(&place.spool).unwrap().uid());
        let links = [place.spool.join(JOE).join(".Etc"), place.spool.join("proc")];
        links.iter().for_each(|link| std::os::unix::fs::lchown(link, uid, None).unwrap());
    }
    let said = place.backup(&[]).ok();
    let told = said.errors().lines().filter(|line| line.contains("that root did not make")).count();
    assert_eq!(told, if root { 2 } else { 0 }, "{}", said.errors());
    let snapshot = place.snapshots().remove(0);
    assert!(place.in_snapshot(&snapshot, &file).exists());
    let saved = files(&snapshot.join("mailSpool"));
    assert_eq!(saved.keys().filter(|below| below.contains(",H=") || below.contains("passwd")).count(), 1, "{saved:#?}");
}

/// What a spool that is not MailStore's own has: no configuration, and no hash in the names.
#[test]
fn a_spool_without_a_configuration_is_saved_too() {
    let place = Place::new("%d/%n");
    place.put(JOE, "new", b"one");
    let moved = place.spool.join(JOE).join("cur/1700000001.M2P2.host,S=3:2,S");
    fs::write(&moved, "two").unwrap();
    fs::remove_file(place.dir.join("mailstore.ini")).unwrap();
    let (tool, spool, dest) = (place.tool("backup"), place.spool.to_str().unwrap(), place.dest.to_str().unwrap());
    let run = |args: &[&str]| crate::support::client::run_with_input(tool.to_str().unwrap(), args, b"", &place.dir);
    let said = run(&["--spool", spool, dest, "--verify"]).ok().text();
    assert!(said.contains(": 2 messages of 1 owner, 6 bytes"), "{said}");
    let snapshot = place.snapshots().remove(0);
    assert_eq!(contents(&snapshot.join("mailSpool")), contents(&place.spool));
    assert!(!snapshot.join("mailstore.ini").exists());
    // Without both it says what to name.
    let lost = run(&[dest]);
    assert_eq!(lost.code, Some(1));
    assert!(lost.errors().contains("name the file with -c FILE"), "{}", lost.errors());
}

/// An IMAP server takes what is new to `cur` when a folder is opened, and flags are part of the name: that costs nothing.
#[test]
fn a_message_that_was_renamed_or_moved_costs_a_link() {
    for place in Place::both("%d/%n") {
        let read = place.put(JOE, "new", b"will be read");
        let moved = place.put(JOE, "new", b"will be moved");
        let touched = place.put(JOE, "new", b"will be read and is younger then");
        place.put("example.com/joe/.Work", "cur", b"was there");
        let first = place.snapshot(&["--keep-last", "9"]);
        let renamed = |file: &std::path::Path, folder: &str| {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned() + ":2,FS";
            let new = place.spool.join(folder).join("cur").join(name);
            fs::rename(file, &new).unwrap();
            new
        };
        let (read, moved, touched) = (
            (renamed(&read, JOE), read),
            (renamed(&moved, "example.com/joe/.Work"), moved),
            (renamed(&touched, JOE), touched),
        );
        let time = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options().write(true).open(&touched.0).unwrap().set_modified(time).unwrap();
        let second = place.snapshot(&["--keep-last", "9", "--verify"]);
        for (new, old) in [&read, &moved] {
            assert_eq!(inode(&place.in_snapshot(&second, new)), inode(&place.in_snapshot(&first, old)));
        }
        assert_ne!(inode(&place.in_snapshot(&second, &touched.0)), inode(&place.in_snapshot(&first, &touched.1)));
        assert_eq!(contents(&second.join("mailSpool")), contents(&place.spool));
        assert!(place.backup(&["--list"]).ok().text().lines().last().unwrap().contains(", 32 bytes new"));
    }
}
