//! Messages that are not any more what their names say: `--verify` finds them, and says where a whole one is.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::place::{JOE, Place, inode};
use crate::support::Output;

/// Changes an octet as a disk does: the file's time stays.
fn flip(file: &Path) {
    let time = fs::metadata(file).unwrap().modified().unwrap();
    let open = File::options().read(true).write(true).open(file).unwrap();
    let mut octet = [0];
    open.read_exact_at(&mut octet, 3).unwrap();
    open.write_all_at(&[octet[0] ^ 1], 3).unwrap();
    open.set_modified(time).unwrap();
}

#[track_caller]
fn found(output: &Output, told: &str) {
    assert_eq!(output.code, Some(3), "{}{}", output.text(), output.errors());
    assert!(output.errors().contains(told), "{told:?} is not in {}", output.errors());
}

#[test]
fn damage_on_the_backups_disk_is_found_and_does_not_go_on_for_ever() {
    for place in Place::both("%d/%n") {
        let files =
            [place.put(JOE, "cur", b"a message of Joe"), place.put("example.com/ann", "new", b"a message of Ann")];
        let first = place.snapshot(&["--verify"]);
        flip(&place.in_snapshot(&first, &files[0]));
        // Without --verify nobody notices: size and time are the same, the new snapshot has the same file.
        let keep = ["--keep-last", "9"];
        let second = place.snapshot(&keep);
        let shared = inode(&place.in_snapshot(&first, &files[0]));
        assert_eq!(inode(&place.in_snapshot(&second, &files[0])), shared);

        let output = place.backup(&["--verify", "--keep-daily", "0", "--keep-monthly", "0"]);
        found(&output, "; the spool's is whole and was put in its place here");
        assert!(
            output.errors().contains(": damaged ") && output.text().ends_with("; 1 damaged\n"),
            "{}",
            output.errors()
        );
        // After that nothing is removed.
        let third = place.snapshots().pop().unwrap();
        assert_eq!(place.snapshots(), [first.clone(), second, third.clone()]);
        let mended = place.in_snapshot(&third, &files[0]);
        assert_eq!(fs::read(&mended).unwrap(), b"a message of Joe");
        let (is, was) = (fs::metadata(&mended).unwrap(), fs::metadata(&files[0]).unwrap());
        use std::os::unix::fs::MetadataExt;
        assert_eq!((is.mode(), is.uid(), is.mtime_nsec()), (was.mode(), was.uid(), was.mtime_nsec()));
        // The older one is not written to, and the next links to the whole one.
        assert_eq!(inode(&place.in_snapshot(&first, &files[0])), shared);
        let fourth = place.snapshot(&[&keep[..], &["--verify"]].concat());
        assert_eq!(inode(&place.in_snapshot(&fourth, &files[0])), inode(&mended));
        assert_eq!(inode(&place.in_snapshot(&fourth, &files[1])), inode(&place.in_snapshot(&first, &files[1])));
    }
}

#[test]
fn a_truncated_file_is_found_and_where_a_whole_one_is() {
    let place = Place::new("%d/%n");
    let file = place.put(JOE, "new", b"a message that will be short");
    let first = place.snapshot(&[]);
    // The spool's is cut: the snapshot takes it as it is.
    File::options().write(true).open(&file).unwrap().set_len(5).unwrap();
    // Under other flags by now.
    let moved = file.to_str().unwrap().replace("/new/", "/cur/") + ":2,S";
    fs::rename(&file, &moved).unwrap();
    let output = place.backup(&["--verify"]);
    let whole = place.in_snapshot(&first, &file);
    found(
        &output,
        &format!("in the spool it is so too, or gone; a whole one, {}, was put in its place here", whole.display()),
    );
    assert!(output.errors().contains(": truncated "), "{}", output.errors());
    let mended = place
        .snapshots()
        .pop()
        .unwrap()
        .join("mailSpool/example.com/joe/cur")
        .join(Path::new(&moved).file_name().unwrap());
    assert_eq!(fs::read(mended).unwrap(), b"a message that will be short");
    // Where there is none that is told as well.
    place.snapshots().iter().for_each(|snapshot| fs::remove_dir_all(snapshot).unwrap());
    found(&place.backup(&["--verify"]), "no whole one is in the spool or in another snapshot");
    // Put back by hand, all is well again.
    fs::write(&moved, b"a message that will be short").unwrap();
    place.snapshot(&["--verify", "--keep-last", "9"]);
}
