//! When no snapshot is made, and what is said then.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::place::{JOE, Place, contents};
use crate::support::client::run_with_input;
use crate::support::dovecot::entries;
use crate::support::lab::is_root;

#[track_caller]
fn refused(place: &Place, options: &[&str], told: &str) {
    let output = place.backup(options);
    assert_eq!(output.code, Some(1), "{}{}", output.text(), output.errors());
    assert!(output.errors().contains(told), "{told:?} is not in {}", output.errors());
}

#[test]
fn wrong_usage_is_told_and_help_tells_all() {
    let place = Place::new("%d/%n");
    let tool = place.tool("backup");
    let run = |args: &[&str]| run_with_input(tool.to_str().unwrap(), args, b"", &place.dir);
    for args in [
        &[][..],
        &["--keep-daily", "-1", "x"],
        &["--keep-daily", "many", "x"],
        &["--keep", "3", "x"],
        &["--verif", "x"],
        &["one", "two"],
        &[""],
    ] {
        let output = run(args);
        assert_eq!((output.code, output.text()), (Some(2), String::new()), "{args:?}: {}", output.errors());
        assert!(output.errors().ends_with("see mailstore-backup --help\n"), "{}", output.errors());
    }
    for far in ["host:/backups", "root@host:backups", "rsync://host/backups", "host::module"] {
        let output = run(&[far]);
        assert_eq!(output.code, Some(2));
        assert!(output.errors().contains("is on another machine: name a folder of this one"), "{}", output.errors());
    }
    let help = run(&["--help"]).ok().text();
    for word in ["--keep-yearly N", "--shrunk", "exit status:", "  4    another run is at work"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}

#[test]
fn a_folder_that_was_not_prepared_is_not_written_to() {
    let place = Place::unprepared("%d/%n", false);
    place.put(JOE, "new", b"a message");
    refused(&place, &["--no-init"], "has no .mailstore-backup, so nothing is written there; is its disk mounted?");
    assert!(!place.dest.exists());
    fs::create_dir(&place.dest).unwrap();
    for options in [&["--no-init"][..], &["--list"], &["--dry-run"]] {
        refused(&place, options, "has no .mailstore-backup");
    }
    assert!(entries(&place.dest).is_empty());
    // Somebody else's folder.
    let foreign = place.dest.join("a file");
    fs::write(&foreign, "").unwrap();
    refused(&place, &[], "has no .mailstore-backup");
    assert_eq!(entries(&place.dest), [foreign]);
    place.backup(&["--init"]).ok();
    assert!(place.backup(&["--init"]).ok().text().contains("is prepared already"));
    place.snapshot(&["--no-init"]);
}

#[test]
fn the_first_run_prepares_a_folder_that_is_missing_or_empty() {
    for made in [false, true] {
        let place = Place::unprepared("%d/%n", false);
        place.put(JOE, "new", b"a message");
        if made {
            fs::create_dir(&place.dest).unwrap();
        }
        let said = place.backup(&[]).ok().text();
        assert!(
            said.contains(" is new, and was prepared for snapshots") && said.contains(": 1 message of 1 owner"),
            "{said}"
        );
        assert!(!place.backup(&["--no-init", "--keep-last", "2"]).ok().text().contains("is new"));
        assert_eq!(place.snapshots().len(), 2);
    }
}

#[test]
fn a_spool_that_is_missing_or_empty_or_less_than_half_makes_no_snapshot() {
    for place in Place::both("%d/%n") {
        let all: Vec<_> = (0..5).map(|n| place.put(JOE, "new", format!("message {n}").as_bytes())).collect();
        let first = place.snapshot(&[]);
        let whole = contents(&first);
        let away = place.dir.join("away");
        fs::rename(&place.spool, &away).unwrap();
        refused(&place, &[], "there is no such folder; is it the spool, and mounted?");
        fs::create_dir(&place.spool).unwrap();
        refused(&place, &[], "there is no message in");
        // Somebody made a Maildir below the bare mount point.
        fs::create_dir_all(place.spool.join(JOE).join("new")).unwrap();
        fs::create_dir_all(place.spool.join(JOE).join("cur")).unwrap();
        refused(&place, &["--shrunk"], "there is no message in");
        fs::remove_dir_all(&place.spool).unwrap();
        fs::rename(&away, &place.spool).unwrap();
        all[..3].iter().for_each(|file| fs::remove_file(file).unwrap());
        refused(&place, &[], "holds 2 messages, less than half of the 5 in ");
        assert_eq!(place.snapshots(), std::slice::from_ref(&first));
        assert_eq!(contents(&first), whole);
        let second = place.snapshot(&["--shrunk", "--keep-last", "2"]);
        assert_eq!(contents(&second.join("mailSpool")).len(), 2);
        assert_eq!(contents(&first), whole);
        // And that is the measure from then on.
        place.snapshot(&["--keep-last", "3"]);
    }
}

#[test]
fn neither_may_lie_in_the_other_by_whatever_name() {
    let mut place = Place::unprepared("%d/%n", false);
    place.put(JOE, "new", b"a message");
    let link = place.dir.join("link");
    symlink(&place.spool, &link).unwrap();
    for (dest, told) in [
        (place.spool.clone(), "lies in the spool"),
        (place.spool.join("example.com/joe"), "lies in the spool"),
        (link.join("new/folder"), "lies in the spool"),
        (place.dir.clone(), "the spool"),
        (place.dir.join("bin/.."), "the spool"),
        ("/".into(), "the spool"),
    ] {
        place.dest = dest;
        let before = contents(&place.spool);
        for options in [&["--init"][..], &[]] {
            refused(&place, options, told);
        }
        assert_eq!(contents(&place.spool), before);
        assert!(!place.dir.join(".mailstore-backup").exists());
    }
}

#[test]
fn what_cannot_be_read_makes_no_snapshot_and_the_rest_is_in_unfinished() {
    let place = Place::both("%d/%n").pop().unwrap();
    if !place.is_ordinary() {
        return eprintln!("skipped: root reads everything");
    }
    let closed = place.put(JOE, "new", b"closed");
    let open = place.put("example.com/ann", "new", b"open");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    refused(&place, &[], "Permission denied (13); run it as root, or as the user that the spool belongs to");
    assert!(place.snapshots().is_empty());
    assert!(place.in_snapshot(&place.dest.join("unfinished"), &open).exists());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    let folder = closed.parent().unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o000)).unwrap();
    refused(&place, &[], "Permission denied");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    let snapshot = place.snapshot(&[]);
    assert_eq!(contents(&snapshot.join("mailSpool")), contents(&place.spool));
}

/// A script in a mount namespace of its own, where a disk of 4 MB is mounted on the folder `backups`.
fn mounted(place: &Place, options: &str, script: &str) -> Option<String> {
    if !is_root() || !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|s| s.success()) {
        eprintln!("skipped: no mount namespace is to be had here");
        return None;
    }
    let script = format!(
        "set -e; mount -t tmpfs -o {options} none backups; backup() {{ {} -c mailstore.ini backups/dest \"$@\"; }}\n{script}",
        place.tool("backup").display()
    );
    let output = run_with_input("unshare", &["-m", "sh", "-c", &script], b"", &place.dir);
    assert_eq!(output.code, Some(0), "{}{}", output.text(), output.errors());
    Some(output.text() + &output.errors())
}

#[test]
fn a_full_disk_leaves_the_old_snapshots_and_nothing_that_looks_like_a_new_one() {
    let place = Place::unprepared("%d/%n", false);
    place.put(JOE, "new", &[b'a'; 100_000]);
    let big = place.put("example.com/ann", "new", &[b'b'; 5_000_000]);
    let aside = place.dir.join("big");
    fs::rename(&big, &aside).unwrap();
    let script = format!(
        "backup --init; backup -q; ls backups/dest >names; cp -a backups/dest/latest/. saved; mv {a} '{b}'
         backup -q --keep-monthly 0 && exit 9 || [ $? = 1 ]
         ls backups/dest | grep -v unfinished | cmp - names; diff -r saved backups/dest/latest/
         mv '{b}' {a}; backup -q --keep-last 2; diff -r mailSpool backups/dest/latest/mailSpool; ls backups/dest",
        a = aside.display(),
        b = big.display()
    );
    let Some(said) = mounted(&place, "size=4m,mode=700", &script) else { return };
    assert!(said.contains("No space left on device") && !said.contains("unfinished\n"), "{said}");
}

#[test]
fn a_disk_that_is_not_mounted_is_noticed() {
    let place = Place::unprepared("%d/%n", false);
    place.put(JOE, "new", b"a message");
    let script = "backup -q; umount backups
                  backup -q --no-init && exit 9 || [ $? = 1 ]; ! ls backups/dest
                  [ -e /etc/fstab ] || exit 0
                  echo \"none $PWD/backups tmpfs defaults\" >fstab; mount --bind fstab /etc/fstab
                  backup -q && exit 9 || [ $? = 1 ]; ! ls backups/dest";
    let Some(said) = mounted(&place, "size=4m,mode=700", script) else { return };
    assert!(said.contains("is its disk mounted?"), "{said}");
    assert!(!Path::new("/etc/fstab").exists() || said.contains("/etc/fstab has a disk for "), "{said}");
    assert!(entries(place.dest.parent().unwrap()).is_empty());
}

#[test]
fn what_cannot_be_flushed_gets_no_name() {
    let mut place = Place::new("%d/%n");
    place.put(JOE, "new", b"a message");
    crate::place::stand_in(&mut place, "sync", "echo 'sync: error syncing: Input/output error' >&2; exit 1");
    refused(&place, &[], "cannot be flushed to disk: sync: error syncing: Input/output error");
    assert!(place.snapshots().is_empty() && place.dest.join("unfinished").exists());
    place.env.clear();
    place.snapshot(&[]);
}
