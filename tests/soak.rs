//! `scripts/soak` for some seconds, and whether its verdict can fail.

// The test uses a part of them only.
#[allow(dead_code)]
#[path = "../examples/soak/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "../examples/soak/messages.rs"]
mod messages;
#[allow(dead_code)]
#[path = "../examples/soak/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../examples/soak/random.rs"]
mod random;
#[path = "../examples/soak/verdict.rs"]
mod verdict;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use ledger::Ledger;
use messages::Message;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use process::Sample;

/// Uses what is built into the folder that this test was built into.
fn soak(options: &[&str]) -> Command {
    let target = Path::new(env!("CARGO_BIN_EXE_start_proxies")).ancestors().nth(2).expect("cargo's target folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/soak");
    let mut command = Command::new(script);
    command.arg("--debug").args(options).env("CARGO_TARGET_DIR", target).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The temporary folder, by the line that tells it.
fn folder(said: &str) -> PathBuf {
    let line = said.lines().find(|line| line.contains(" s of traffic, seed ")).expect("the first line");
    PathBuf::from(line.rsplit(' ').next().expect("the folder"))
}

#[test]
fn some_seconds_of_it_find_nothing_and_leave_nothing() {
    let output = soak(&["--seconds", "8", "--seed", "7", "--load", "100"]).output().expect("scripts/soak");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for expected in [
        "sync = no",
        " s idle: RSS ",
        "completions that had to be in the archive: ",
        "  POP3 RETR\n",
        "  SMTP\n",
        "  IMAP",
        "  SIGHUP\n",
        "  the spool was away\n",
        " files proven\n",
        "start_proxies when no session is open:\n",
        "VERDICT: nothing was found\n",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in\n{said}");
    }
    assert!(!folder(&said).exists(), "the temporary folder is still there");
}

#[test]
fn an_interrupted_soak_tells_what_it_has_and_leaves_nothing() {
    let mut soak: Child = soak(&["5", "--sync"]).spawn().expect("scripts/soak");
    let mut lines = BufReader::new(soak.stdout.take().expect("its output"));
    let mut said = String::new();
    assert_ne!(lines.read_line(&mut said).expect("a line"), 0, "it ended too early");
    kill(Pid::from_raw(soak.id().cast_signed()), Signal::SIGINT).expect("sending SIGINT");
    lines.read_to_string(&mut said).expect("the rest");
    assert_eq!(soak.wait().expect("its end").code(), Some(130), "{said}");
    assert!(said.contains("sync = yes") && said.contains("\n---- after "), "{said}");
    assert!(said.ends_with("VERDICT: interrupted; nothing was found until then\n"), "{said}");
    assert!(!folder(&said).exists(), "the temporary folder is still there");
}

#[test]
fn a_second_interruption_ends_it_at_once_without_findings_of_its_own() {
    let mut soak: Child = soak(&["5"]).spawn().expect("scripts/soak");
    let mut lines = BufReader::new(soak.stdout.take().expect("its output"));
    let mut said = String::new();
    assert_ne!(lines.read_line(&mut said).expect("a line"), 0, "it ended too early");
    let pid = Pid::from_raw(soak.id().cast_signed());
    kill(pid, Signal::SIGINT).expect("sending SIGINT");
    while !said.contains("interrupted: ") {
        assert_ne!(lines.read_line(&mut said).expect("a line"), 0, "it says that it was heard: {said}");
    }
    kill(pid, Signal::SIGINT).expect("sending it again");
    lines.read_to_string(&mut said).expect("the rest");
    assert_eq!(soak.wait().expect("its end").code(), Some(130), "{said}");
    assert!(!said.contains("found: ") && !said.contains("FAILED"), "{said}");
    assert!(!folder(&said).exists(), "the temporary folder is still there");
}

#[test]
fn what_it_does_not_know_it_refuses() {
    for wrong in [&["--frobnicate"][..], &["a"], &["--seed"], &["--seed", "x"], &["1", "2"]] {
        let output = soak(wrong).output().expect("scripts/soak");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output));
    }
    for nothing in [&["0"][..], &["00"], &["--load", "0"], &["--seconds", "0"]] {
        let output = soak(nothing).output().expect("scripts/soak");
        assert_eq!(output.status.code(), Some(2), "{nothing:?}: {}", text(&output));
        assert!(text(&output).trim_end().ends_with("give 1 or more"), "{nothing:?}: {}", text(&output));
    }
    let help = soak(&["--help"]).output().expect("scripts/soak");
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help).contains("scripts/soak [MINUTES]"), "{}", text(&help));
}

/// Idle samples with these amounts of memory, KiB.
fn idle(rss: &[u64]) -> Vec<Sample> {
    rss.iter().map(|rss| Sample { rss: *rss, pss: None, threads: 13, fds: Some(45), cpu_s: 1.0 }).collect()
}

#[test]
fn memory_that_grows_is_a_finding_and_warming_up_is_none() {
    let flat = [14_000, 20_000, 21_000, 21_100, 21_400, 21_200, 21_300, 21_500, 21_400];
    assert_eq!(verdict::faults(&idle(&flat)), [""; 0]);
    // More than a tenth and 4 MiB, from the median of the second third to that of the last.
    let grows = [14_000, 20_000, 21_000, 21_100, 21_400, 21_200, 27_700, 27_600, 27_700];
    let faults = verdict::faults(&idle(&grows));
    assert_eq!(faults, ["memory grows: 27700 KiB when idle in the last third of the time, 21200 KiB in the second"]);
    // One sample that stands out is no growth; and few samples tell nothing.
    let once = [14_000, 20_000, 21_000, 21_100, 21_400, 21_200, 21_300, 90_000, 21_400];
    assert_eq!(verdict::faults(&idle(&once)), [""; 0]);
    assert_eq!(verdict::thirds(&idle(&grows[..5])), None);
}

#[test]
fn a_thread_or_a_file_descriptor_too_many_is_a_finding() {
    let mut samples = idle(&[20_000; 6]);
    samples[4].threads += 1;
    samples[5].fds = Some(46);
    assert_eq!(
        verdict::faults(&samples),
        ["idle sample 4: 14 threads instead of 13", "idle sample 5: 46 open file descriptors instead of 45"]
    );
    // Where nobody may look at them, they are not held against it.
    samples.iter_mut().for_each(|sample| (sample.fds, sample.threads) = (None, 13));
    assert_eq!(verdict::faults(&samples), [""; 0]);
    assert_eq!(verdict::faults(&[]), ["the proxies were never seen idle"]);
}

#[test]
fn a_completed_message_that_is_not_in_the_archive_is_a_finding() {
    let (ledger, message) = (Ledger::default(), Message::new(1, 3, 5));
    let missing = |ledger: &Ledger| ledger.settle(|_, _| false);
    ledger.offer(3, message.hash);
    // Found before the session began: it may have been removed since.
    assert!(ledger.found(3, message.hash));
    let begun = Instant::now();
    ledger.claim(3, message.hash, begun, "POP3 RETR");
    let sentences = missing(&ledger);
    assert_eq!(sentences.len(), 1);
    assert!(sentences[0].contains("POP3 RETR of u003@soak.example.org"), "{sentences:?}");
    // Found at any time since then it is there; an earlier claim does not take the place of a later one.
    ledger.claim(3, message.hash, begun, "POP3 RETR");
    assert!(ledger.found(3, message.hash));
    assert_eq!(missing(&ledger), [""; 0]);
    let later = Instant::now();
    ledger.claim(3, message.hash, later, "IMAP FETCH");
    ledger.claim(3, message.hash, begun, "POP3 RETR");
    assert_eq!(missing(&ledger).len(), 1);
    // What was seen in part only can be excused, what was completed cannot.
    ledger.claim_weakly(3, message.hash, later, "IMAP, seen in part");
    assert_eq!(ledger.settle(|owner, _| owner == 3), [""; 0]);
    ledger.claim(3, message.hash, later, "IMAP FETCH");
    assert_eq!(ledger.settle(|_, _| true).len(), 1);
    // In another's Maildir it is nobody's.
    assert!(!ledger.found(4, message.hash));
}
