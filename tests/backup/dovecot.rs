//! Snapshots while MailStore keeps mail and a Dovecot serves it, and a spool that is put back from one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::place::{Place, contents, files, inode, messages};
use crate::support::dovecot::{give_away, mail_names};
use crate::support::lab::is_root;
use crate::support::proxy::section;
use crate::support::spool::hash;
use crate::support::{Dovecot, DovecotOptions, Endpoint, Kind, Lab, PASSWORD, Proxy, Tls, Wire, corpus, wire};

/// A user and a domain may be called like the folder that is left out.
const USERS: [(&str, &str); 3] =
    [("joe@example.com", "example.com/joe"), ("tmp@example.com", "example.com/tmp"), ("ann@tmp", "tmp/ann")];
const FOLDERS: [&str; 3] = ["INBOX", "Sent", "tmp"];

fn append(lab: &Lab, at: Endpoint, user: &str, folder: &str, bytes: &[u8]) {
    let mut wire = Wire::connect(lab, at);
    wire.login(Kind::Imap, user);
    wire.imap(&format!("CREATE {folder}"));
    wire.send(format!("a APPEND {folder} {{{}+}}\r\n", bytes.len()).as_bytes());
    wire.send(&[bytes, b"\r\n"].concat());
    let reply = String::from_utf8_lossy(&wire.imap_until("a")).into_owned();
    assert!(reply.contains("a OK"), "{reply}");
    wire.imap_ok("LOGOUT");
}

/// Says that it is over, also where the test fails.
pub(crate) struct Ends<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As `messages` gives it.
fn known(owner: &str, bytes: &[u8]) -> String {
    format!("{owner} {}", hash(bytes))
}

/// Dovecot over the spool, with its own files elsewhere, as docs/dovecot.md has it.
fn archive(lab: &Lab, spool: &Path) -> Dovecot {
    let own = lab.folder("indexes");
    give_away(&own);
    let (spool, own) = (spool.display(), own.display());
    let location = format!("mail_location = maildir:{spool}/%d/%n:INDEX={own}/%d/%n:CONTROL={own}/%d/%n\n");
    let options =
        DovecotOptions { separator: '.', special_use: None, extra: location.leak(), ..DovecotOptions::default() };
    Dovecot::with(lab, options)
}

#[test]
fn while_mail_arrives_and_dovecot_renames_every_snapshot_is_whole_and_one_is_as_good_as_the_spool() {
    let place = Place::unprepared("%d/%n", false);
    let lab = &place.lab;
    let provider = Dovecot::with(lab, DovecotOptions { separator: '.', ..DovecotOptions::default() });
    let user = if is_root() { format!("user = {}\n", mail_names().0) } else { String::new() };
    let ini = format!(
        "[mailstore]\nspool = mailSpool\nlog = debug\n{user}\n{}",
        section(lab, "a", Tls::None, provider.endpoint(Kind::Imap, Tls::None), "")
    );
    fs::write(place.dir.join("mailstore.ini"), ini).unwrap();
    place.backup(&["--init"]).ok();

    // What was there before.
    let complete = Mutex::new(Vec::new());
    for (number, (user, owner)) in USERS.into_iter().enumerate() {
        provider.mailbox(user);
        for (at, folder) in FOLDERS.into_iter().enumerate() {
            for count in 0..40 {
                let bytes = corpus::numbered(1000 * (10 * number + at) + count);
                let dir = if at == 0 { owner.to_owned() } else { format!("{owner}/.{folder}") };
                place.put(&dir, "new", &bytes);
                complete.lock().unwrap().push(known(owner, &bytes));
            }
        }
        fs::write(place.spool.join(owner).join("tmp/1700000000.M1P1Q1.elsewhere"), "half a mess").unwrap();
    }
    give_away(&place.spool);
    let proxy = Proxy::start_in(&place.dir);
    let imap = proxy.endpoint(Kind::Imap, "a", Tls::None);
    let archive = archive(lab, &place.spool);

    // Mail comes; a reader marks everything, again and again: each mark renames every file of a folder.
    let done = AtomicBool::new(false);
    let rounds = Mutex::new(0);
    thread::scope(|scope| {
        let _ends = Ends(&done);
        scope.spawn(|| {
            for number in 100_000.. {
                let ((user, owner), bytes) = (USERS[number % 3], corpus::numbered(number));
                append(lab, imap, user, FOLDERS[number / 3 % 3], &bytes);
                complete.lock().unwrap().push(known(owner, &bytes));
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for (user, _) in USERS {
            let (done, rounds, archive) = (&done, &rounds, &archive);
            scope.spawn(move || {
                let mut wire = Wire::connect(lab, archive.endpoint(Kind::Imap, Tls::None));
                wire.imap_ok(&format!("LOGIN {user} {PASSWORD}"));
                for round in 0.. {
                    for folder in FOLDERS {
                        wire.imap_ok(&format!("SELECT {folder}"));
                        let sign = if round % 2 == 0 { '+' } else { '-' };
                        wire.imap_ok(&format!("STORE 1:* {sign}FLAGS.SILENT (\\Flagged)"));
                    }
                    *rounds.lock().unwrap() += 1;
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        for run in 0..3 {
            let before = complete.lock().unwrap().clone();
            let already = *rounds.lock().unwrap();
            let snapshot = place.snapshot(&["--verify", "--keep-last", "99"]);
            let saved = messages(&snapshot.join("mailSpool"));
            for message in &before {
                let times = saved.iter().filter(|one| *one == message).count();
                assert_eq!(times, 1, "{message} in run {run}");
            }
            let drafts: Vec<String> =
                files(&snapshot.join("mailSpool")).into_keys().filter(|name| name.contains("elsewhere")).collect();
            assert!(drafts.is_empty(), "{drafts:?}");
            crate::support::wait_until("Dovecot is at work", crate::support::CLIENT, || {
                *rounds.lock().unwrap() > already
            });
        }
    });
    // As `Spool` knows it: read, or not.
    let mut reader = Wire::connect(lab, archive.endpoint(Kind::Imap, Tls::None));
    for (user, _) in USERS {
        reader = Wire::connect(lab, archive.endpoint(Kind::Imap, Tls::None));
        reader.imap_ok(&format!("LOGIN {user} {PASSWORD}"));
        for folder in FOLDERS {
            reader.imap_ok(&format!("SELECT {folder}"));
            reader.imap_ok("STORE 1:* FLAGS.SILENT (\\Seen)");
        }
        reader.imap_ok("LOGOUT");
    }
    drop(reader);
    drop(archive);

    // Where nothing came the next one costs links only.
    let quiet = place.snapshot(&["--keep-last", "99"]);
    let last = place.snapshot(&["--keep-last", "99"]);
    for (below, file) in files(&last.join("mailSpool")) {
        assert_eq!(inode(&file), inode(&quiet.join("mailSpool").join(&below)), "{below}");
    }

    // The disk dies. What docs/backup.md says brings everything back.
    proxy.stop();
    for (_, owner) in USERS {
        fs::remove_file(place.spool.join(owner).join("tmp/1700000000.M1P1Q1.elsewhere")).unwrap();
    }
    let whole = contents(&place.spool);
    let expected = complete.into_inner().unwrap();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(messages(&place.spool), sorted);
    fs::remove_dir_all(&place.spool).unwrap();
    let status = Command::new("cp").arg("-a").args([&last.join("mailSpool"), &place.dir]).status().unwrap();
    assert!(status.success());
    assert_eq!(contents(&place.spool), whole);

    // MailStore goes on with it, and a Dovecot serves it.
    let proxy = Proxy::start_in(&place.dir);
    let spool = proxy.spool();
    let before = spool.list().len();
    assert_eq!(before, expected.len());
    let imap = proxy.endpoint(Kind::Imap, "a", Tls::None);
    for (user, _) in USERS {
        assert!(wire::all_mail(lab, imap, user).values().any(|mail| !mail.is_empty()));
    }
    // His third, which lies in another folder.
    append(lab, imap, USERS[0].0, "INBOX", &corpus::numbered(100_002));
    proxy.tells_of("duplicate owner=joe@example.com folder=INBOX");
    assert_eq!(spool.list().len(), before, "something is kept twice");
    append(lab, imap, USERS[0].0, "INBOX", &corpus::numbered(999_999));
    assert_eq!(spool.list().len(), before + 1);
    spool.served_by_dovecot(lab);
}
