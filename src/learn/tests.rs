use super::*;

use std::fs;
use std::time::Instant;

fn owner(name: &str) -> Owner {
    Owner::new(name.as_bytes(), "example.org")
}

fn secret(text: &str) -> Secret {
    Secret::password(text.as_bytes()).unwrap()
}

fn hash_of(file: &Path, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let line =
        text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap_or_else(|| panic!("{name} in {text}"));
    line.split(':').nth(1).unwrap().to_owned()
}

fn knows(file: &Path, name: &str, password: &str) -> bool {
    hash::verifies(&secret(password), hash_of(file, name).as_bytes())
}

#[test]
fn what_waits_is_learnt_before_the_end_and_the_last_password_of_an_owner_counts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    let mut learner = Learner::new(file.clone(), false);
    let teacher = learner.teacher();
    // Before the thread is there: so that they wait together.
    for n in 0..200 {
        teacher.teach(&owner(&format!("u{}", n % 5)), secret(&format!("pw{n}")));
    }
    assert_eq!(learner.shared.lock().lessons.len(), 5);
    learner.start().unwrap();
    learner.finish(Duration::from_secs(60));
    for n in 0..5 {
        assert!(knows(&file, &format!("u{n}@example.org"), &format!("pw{}", 195 + n)));
    }
    teacher.teach(&owner("late"), secret("x"));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 5);
}

#[test]
fn the_queue_has_an_end_and_nobody_waits_at_it() {
    let learner = Learner::new(PathBuf::from("/nowhere/passwd"), false);
    let teacher = learner.teacher();
    let begun = Instant::now();
    for n in 0..QUEUE_MAX + 7 {
        teacher.teach(&owner(&format!("u{n}")), secret("x"));
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    let queue = learner.shared.lock();
    assert_eq!((queue.lessons.len(), queue.dropped), (QUEUE_MAX, 7));
}

#[test]
fn nothing_is_written_where_nothing_is_new() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    let lesson = |password| {
        let mut learner = Learner::new(file.clone(), true);
        learner.teacher().teach(&owner("joe"), secret(password));
        learner.start().unwrap();
        learner.finish(Duration::from_secs(60));
        fs::metadata(&file).unwrap().ino()
    };
    let first = lesson("one");
    let hash = hash_of(&file, "joe@example.org");
    assert_eq!((lesson("one"), hash_of(&file, "joe@example.org")), (first, hash));
    assert_ne!(lesson("two"), first);
    assert!(knows(&file, "joe@example.org", "two") && !knows(&file, "joe@example.org", "one"));
}

#[test]
fn a_name_that_cannot_stand_in_the_file_is_not_taken() {
    let learner = Learner::new(PathBuf::from("/nowhere/passwd"), false);
    for name in ["a:b@c", "..", "a b", "a\nb", "#a", "a/b"] {
        learner.teacher().teach(&owner(name), secret("x"));
    }
    assert!(learner.shared.lock().lessons.is_empty());
}

#[test]
fn a_file_in_the_spool_is_refused_by_whatever_way_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let inside = |file: &Path| check(file, &spool).is_err_and(|why| why.contains("lies in the spool"));
    assert!(inside(&spool.join("passwd")), "also where it is not there yet");
    fs::create_dir(&spool).unwrap();
    fs::create_dir(dir.path().join("other")).unwrap();
    std::os::unix::fs::symlink(&spool, dir.path().join("link")).unwrap();
    assert!(inside(&dir.path().join("link/passwd")) && inside(&dir.path().join("other/../spool/a/passwd")));
    assert!(check(&dir.path().join("link"), &spool).is_err());
    assert_eq!(check(&dir.path().join("other/passwd"), &spool), Ok(()));
    assert_eq!(check(&dir.path().join("spool.passwd"), &spool), Ok(()));
}

/// As scripts/archive-user writes them, and tests/archive_user.rs shows that Dovecot reads them.
#[test]
fn names_stand_as_dovecot_looks_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    let mut learner = Learner::new(file.clone(), false);
    learner.start().unwrap();
    for name in ["o'neil", r#"a"b\c"#] {
        learner.teacher().teach(&owner(name), secret("pw"));
    }
    learner.finish(Duration::from_secs(60));
    for name in [r"o\'neil@example.org", r#"a\"b\\c@example.org"#] {
        assert!(knows(&file, name, "pw"));
    }
}
