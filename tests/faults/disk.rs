//! Every call on the spool's file system fails in every way that it can: in each session of the three protocols, with `refuse` and with
//! `pass`, while the program runs. Then the disk is well again, and so has to be the service.

use std::fs;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::scenario::{self, Scenario, Stage};
use crate::shim::{Orders, Shim};
use crate::support::spool::Expected;
use crate::support::{CLIENT, Kind, Proxy, Spool, wait_until};

/// What fails: the rules of the shim, one a line.
struct Fault {
    rules: String,
    /// The same message may be there twice afterwards: what lies in a folder that could not be flushed is kept anew.
    twice: bool,
}

/// One by one, so that each is what stops the message.
fn faults() -> Vec<Fault> {
    let fault = |call: &str, errno: i32| Fault { rules: format!("{call} {errno} 0 -\n"), twice: call == "syncdir" };
    // Files are flushed one by one, or all that lie on the file system.
    let files = |errno: i32| Fault { rules: format!("sync {errno} 0 -\nsyncfs {errno} 0 -\n"), twice: false };
    let mut all = vec![
        fault("mkdir", libc::ENOSPC),
        fault("create", libc::ENOSPC),
        fault("create", libc::EMFILE),
        fault("create", libc::EROFS),
        fault("create", libc::EACCES),
        fault("write", libc::ENOSPC),
        fault("write", libc::EDQUOT),
        fault("write", libc::EIO),
        files(libc::EIO),
        files(libc::ENOSPC),
        fault("syncdir", libc::EIO),
        fault("open", libc::EMFILE),
        fault("rename", libc::EIO),
        fault("rename", libc::ENOSPC),
    ];
    // The system does not flush file systems.
    all.push(Fault { rules: format!("sync {} 0 -\nsyncfs {} 0 -\n", libc::EIO, libc::ENOSYS), twice: false });
    // The first half of a write, then no more.
    all.push(Fault { rules: format!("write {} 1 -\nwrite 0 0 -\n", libc::ENOSPC), twice: false });
    all
}

struct Patient<'a> {
    scenario: &'a Scenario,
    stage: Stage,
    proxy: Proxy,
    dir: PathBuf,
    rules: PathBuf,
    sessions: usize,
}

impl<'a> Patient<'a> {
    fn new(scenario: &'a Scenario, shared: &str) -> Patient<'a> {
        let stage = Stage::new(scenario.kind, scenario.more);
        let shim = Shim::build(&stage.lab);
        let dir = stage.folder(shared);
        let rules = dir.join("rules");
        fs::write(&rules, "").unwrap();
        let environment =
            shim.environment(&dir.join("mailSpool"), &Orders { rules: Some(&rules), ..Orders::default() });
        let proxy = Proxy::try_start_in(&dir, &environment).expect("the program");
        Patient { scenario, stage, proxy, dir, rules, sessions: 0 }
    }

    fn spool(&self) -> PathBuf {
        self.dir.join("mailSpool")
    }

    /// One session under these rules; how it ended, and what it logged.
    fn play(&mut self, rules: &str) -> (std::io::Result<()>, String) {
        let before = self.proxy.log().len();
        self.stage.refill();
        fs::write(&self.rules, rules).unwrap();
        let played = self.scenario.play(self.proxy.port(&format!("{}:x", self.scenario.kind.key())));
        self.sessions += 1;
        wait_until("the session is over", CLIENT, || {
            self.proxy.log().matches(" closed client=").count() == self.sessions
        });
        fs::write(&self.rules, "").unwrap();
        (played, self.proxy.log()[before..].to_owned())
    }

    /// The administrator begins with an empty spool.
    fn empty(&self) {
        for entry in fs::read_dir(self.spool()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }

    /// All that the session owes is there, once (or at least once).
    #[track_caller]
    fn holds_all(&self, twice: bool, when: &str) {
        for one in self.scenario.whole() {
            let count = kept(&self.spool(), &one);
            assert!(count == 1 || twice && count == 2, "{when}: kept {count} times: {}", subject(&one));
        }
    }
}

/// How often it is kept. What lies there is checked to be whole.
fn kept(spool: &Path, wanted: &Expected) -> usize {
    let same = |one: &&crate::support::Kept| {
        (&one.owner, &one.folder, one.place, &one.bytes) == (&wanted.owner, &wanted.folder, wanted.place, &wanted.bytes)
    };
    Spool::at(spool).list().iter().filter(same).count()
}

fn subject(one: &Expected) -> String {
    format!("{} {:?}", one.owner, String::from_utf8_lossy(&one.bytes[..one.bytes.len().min(60)]))
}

/// What a client may hear: come back later, in its protocol's words, or nothing more at all.
fn is_temporary(kind: Kind, said: &str) -> bool {
    let words: &[&str] = match kind {
        Kind::Pop3 => &["-ERR [SYS/TEMP]"],
        Kind::Imap => &["NO [UNAVAILABLE]", "* BYE"],
        Kind::Smtp => &["451 4.3.0", "421 4.3.0"],
    };
    words.iter().any(|word| said.contains(word))
        || said.contains("unexpected end of file")
        || said.contains("reset by peer")
}

fn nothing_passes_that_is_not_kept(scenario: &Scenario) {
    let mut patient = Patient::new(scenario, "on_archive_failure = refuse");
    for Fault { rules, twice } in faults() {
        let when = format!("with `{}`", rules.trim_end().replace('\n', "; "));
        let (played, log) = patient.play(&rules);
        let heard = played.expect_err("the fault is noticed").to_string();
        assert!(is_temporary(scenario.kind, &heard), "{when} the client hears: {heard}");
        assert!(log.contains(" not kept owner="), "{when} the log does not say what is not kept:\n{log}");
        for one in patient.stage.owed_by_host(scenario) {
            assert!(
                kept(&patient.spool(), &one) > 0,
                "{when} the server has done it and it is not kept: {}\n{log}",
                subject(&one)
            );
        }
        let (played, log) = patient.play("");
        played.unwrap_or_else(|e| panic!("{when}, then well again: {e}\n{log}"));
        patient.holds_all(twice, &format!("{when}, then well again"));
        patient.empty();
    }
    patient.proxy.stop();
}

fn all_passes_and_what_is_not_kept_is_told(scenario: &Scenario) {
    let mut patient = Patient::new(scenario, "on_archive_failure = pass");
    for Fault { rules, twice } in faults() {
        let when = format!("with `{}`", rules.trim_end().replace('\n', "; "));
        let (played, log) = patient.play(&rules);
        played.unwrap_or_else(|e| panic!("{when} mail does not flow: {e}\n{log}"));
        let missing = scenario.whole().iter().filter(|one| kept(&patient.spool(), one) == 0).count();
        let told = log.matches(" not kept owner=").count() + log.matches(" not in its folder yet owner=").count();
        assert!(told > 0, "{when} nothing happened:\n{log}");
        assert!(told >= missing, "{when} {missing} messages are missing and {told} told of:\n{log}");
        let counted = log.lines().find_map(|line| line.split_once(" not_kept=")?.1.split(' ').next()?.parse().ok());
        assert_eq!(
            counted,
            Some(log.matches(" not kept owner=").count()),
            "{when} the closing line counts otherwise:\n{log}"
        );
        let (played, log) = patient.play("");
        played.unwrap_or_else(|e| panic!("{when}, then well again: {e}\n{log}"));
        patient.holds_all(twice, &format!("{when}, then well again"));
        patient.empty();
    }
    patient.proxy.stop();
}

macro_rules! tests {
    ($($refuse:ident, $pass:ident: $scenario:ident;)*) => {
        $(
            #[test]
            fn $refuse() {
                nothing_passes_that_is_not_kept(&scenario::$scenario);
            }

            #[test]
            fn $pass() {
                all_passes_and_what_is_not_kept_is_told(&scenario::$scenario);
            }
        )*
    };
}

tests! {
    a_broken_disk_refuses_pop3_retr, a_broken_disk_lets_pop3_retr_pass: POP3_RETR;
    a_broken_disk_refuses_pop3_dele, a_broken_disk_lets_pop3_dele_pass: POP3_DELETED_UNREAD;
    a_broken_disk_refuses_imap_fetch, a_broken_disk_lets_imap_fetch_pass: IMAP_FETCH;
    a_broken_disk_refuses_imap_parts_and_deletions, a_broken_disk_lets_imap_parts_and_deletions_pass: IMAP_PARTS_AND_UNREAD;
    a_broken_disk_refuses_imap_append, a_broken_disk_lets_imap_append_pass: IMAP_APPEND;
    a_broken_disk_refuses_smtp_data, a_broken_disk_lets_smtp_data_pass: SMTP_DATA;
    a_broken_disk_refuses_smtp_bdat, a_broken_disk_lets_smtp_bdat_pass: SMTP_BDAT;
    a_broken_disk_refuses_recipients, a_broken_disk_lets_recipients_pass: SMTP_RECIPIENTS;
}

/// The server has taken them, and only then the disk does not let them into their folder: they are there as soon as it does.
#[test]
fn what_the_server_took_gets_to_its_folder_when_the_disk_is_back_without_a_restart() {
    for (scenario, part) in
        [(&scenario::SMTP_DATA, "/cur/"), (&scenario::IMAP_APPEND, "/cur/"), (&scenario::SMTP_RECIPIENTS, "/new/")]
    {
        let mut patient = Patient::new(scenario, "");
        let (played, log) = patient.play(&format!("rename {} 0 {part}\n", libc::ENOSPC));
        played.unwrap();
        assert_eq!(log.matches(" not in its folder yet owner=").count(), scenario.whole().len(), "{log}");
        wait_until("what was left is caught up with", CLIENT, || {
            patient.proxy.log().matches("recovery kept ").count() == scenario.whole().len()
        });
        patient.holds_all(false, "caught up");
        patient.proxy.stop();
    }
}

/// Hard links that cannot be made are copies.
#[test]
fn owners_share_a_file_or_have_copies() {
    let mut patient = Patient::new(&scenario::SMTP_RECIPIENTS, "");
    for errno in [libc::EMLINK, libc::EXDEV, libc::EPERM] {
        let (played, log) = patient.play(&format!("link {errno} 0 -\n"));
        played.unwrap_or_else(|e| panic!("{e}\n{log}"));
        patient.holds_all(false, "without hard links");
        patient.empty();
    }
}

/// A message fetched later in a session that had trouble is as good as any.
#[test]
fn one_failed_write_spoils_one_message_only() {
    let mut patient = Patient::new(&scenario::POP3_RETR, "on_archive_failure = pass");
    let (played, log) = patient.play(&format!("sync {} 2 -\n", libc::EIO));
    played.unwrap();
    assert_eq!(log.matches(" not kept owner=").count(), 1, "{log}");
    let kept: Vec<usize> = patient.scenario.whole().iter().map(|one| kept(&patient.spool(), one)).collect();
    assert_eq!(kept, [1, 1, 0]);
}

/// It cannot be undone that the server took it, nor be made safe by flushing again: the log says what that means.
#[test]
fn what_the_server_took_and_could_not_be_flushed_is_told_of_as_that() {
    let mut patient = Patient::new(&scenario::SMTP_DATA, "");
    let (played, log) = patient.play(&format!("syncdir {} 0 /cur\n", libc::EIO));
    played.unwrap();
    let told = log.matches(" in its folder, but not flushed owner=ann@example.org folder=Sent reason=").count();
    assert!(told > 0 && log.contains("; a power cut may take it away"), "{log}");
    patient.holds_all(false, "not flushed");
    patient.proxy.stop();
}
