//! `scripts/verify` at work: while mail is read, on a hundred thousand messages, interrupted, and watched.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

#[test]
fn messages_that_are_read_flagged_and_removed_meanwhile_are_no_fault() {
    let lab = Lab::new();
    let mut spool = Filed::new(&lab);
    let first = spool.folder("example.com/a", "").join("new/1700000000.M1P1Q0.host,S=4");
    write(&first, b"text", DAY);
    for _ in 1..3000 {
        spool.link(&first, "example.com/a", "", Place::New, DAY);
    }
    let folder = spool.folder("example.com/a", "");
    let done = AtomicBool::new(false);
    // Also where what is asserted is not so.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            // From new to cur, as it is seen, then from flags to flags.
            for flags in ["", "S", "FS", "RS", "S", "FS"].iter().cycle() {
                for sub in ["new", "cur"] {
                    for (at, file) in entries(&folder.join(sub)).into_iter().enumerate() {
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                        let base = name(&file).split(':').next().unwrap().to_owned();
                        if at == 1000 {
                            fs::remove_file(&file).unwrap();
                        } else {
                            fs::rename(&file, folder.join("cur").join(format!("{base}:2,{flags}"))).unwrap();
                        }
                    }
                }
            }
        });
        for _ in 0..5 {
            let (lines, summary) = over(spool.path(), &[], 0);
            assert_eq!(lines, [""; 0], "{summary}");
            let messages: usize = summary.split(' ').next().unwrap().replace(',', "").parse().unwrap();
            assert!((2500..=3000).contains(&messages), "{summary}");
        }
    });
}

#[test]
fn a_hundred_thousand_messages() {
    let lab = Lab::new();
    let mut spool = Filed::new(&lab);
    // A message to many is one file: 500 of them for each of 200 owners.
    let text = "Content is what counts.\r\n".repeat(80);
    let messages: Vec<PathBuf> = (0..500)
        .map(|n| {
            let bytes = format!("Subject: {n}\r\n\r\n{}", &text[..n * 4]);
            spool.put("example.com/user0", "", Place::New, DAY, bytes.as_bytes())
        })
        .collect();
    for owner in 1..200 {
        let maildir = format!("example.com/user{owner}");
        for (n, message) in messages.iter().enumerate() {
            let (folder, place) = if n % 5 == 0 { (".Sent", Place::Cur) } else { ("", Place::New) };
            spool.link(message, &maildir, folder, place, DAY);
        }
    }
    // One more, and it is not what it was.
    let last = spool.put("example.com/user199", ".Work", Place::New, DAY, b"text");
    fs::write(&last, b"Text").unwrap();
    let began = Instant::now();
    let (lines, summary) = over(spool.path(), &[], 1);
    let took = began.elapsed();
    println!("100,000 messages in {took:.2?}: {:.0} messages/s", 100_000.0 / took.as_secs_f64());
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with(&format!("damaged owner=user199@example.com path={}", below(&spool, &last))));
    assert!(summary.starts_with("100,001 messages of 200 owners, ") && summary.ends_with(": 1 damaged"), "{summary}");
}

/// Starts it over a message that takes minutes, a file without a block on the disk, and waits until that is being read. The processes that it has
/// started as well.
fn endless(lab: &Lab) -> (Child, Vec<u32>) {
    let (mut spool, _) = three(lab);
    let long = spool.put("example.com/e", "", Place::New, DAY, b"");
    File::options().write(true).open(&long).unwrap().set_len(64 << 30).unwrap();
    let mut command = Command::new(script("verify"));
    command.args(["--spool", spool.path().to_str().unwrap(), "--jobs", "3"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let mut helpers = Vec::new();
    wait_until("it reads the long message", START, || {
        helpers = children(child.id());
        let mut open = helpers.iter().flat_map(|pid| entries(Path::new(&format!("/proc/{pid}/fd"))));
        helpers.len() == 3 && open.any(|file| fs::read_link(file).is_ok_and(|file| file == long))
    });
    (child, helpers)
}

/// The processes that another one has started.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[test]
fn an_interruption_ends_all_of_its_processes() {
    let lab = Lab::new();
    for (signal, status) in [(Signal::SIGINT, Some(130)), (Signal::SIGTERM, Some(143)), (Signal::SIGKILL, None)] {
        let (mut child, helpers) = endless(&lab);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), status, "{signal}");
        wait_until("its processes end", START, || !helpers.iter().any(|pid| is_alive(*pid)));
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(!said.contains("Traceback") && !said.contains("Exception"), "{said}");
    }
}

#[test]
fn a_process_that_is_killed_does_not_make_it_say_that_all_is_well() {
    let lab = Lab::new();
    let (child, helpers) = endless(&lab);
    helpers.iter().for_each(|pid| kill(Pid::from_raw(*pid as i32), Signal::SIGKILL).unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("(for want of memory?): not everything was looked at\n"), "{said}");
}

/// Gives work to processes that are gone: that must not be the end of us as it is where nobody reads our output.
const GONE: &str = "
import multiprocessing, os, signal, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from mailstore import cli, examine
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
def batches():
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    yield 'owner', 'below', '/nowhere', 'new', ['name'], None
try:
    list(examine.spread(batches(), 2))
except cli.Stop as why:
    print(why)
";

#[test]
fn work_for_a_process_that_is_gone_is_told() {
    let output = run("/usr/bin/python3", &["-c", GONE, &script("lib")]).ok();
    assert!(output.text().contains("not everything was looked at"), "{}{}", output.text(), output.errors());
}

/// On a terminal: what it writes to both outputs.
fn on_a_terminal(args: &[&str]) -> String {
    let python = "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let verify = script("verify");
    run("/usr/bin/python3", &[&["-c", python, &verify], args].concat()).ok().text()
}

#[test]
fn progress_is_for_a_terminal() {
    let lab = Lab::new();
    let mut spool = Filed::new(&lab);
    let new = spool.folder("example.com/a", "").join("new");
    for n in 0..10_u64 {
        // Nothing but a size: no block on the disk.
        let file = new.join(format!("1700000000.M1P{n}.host,S={}", 10_000_000 + n));
        write(&file, b"", DAY);
        File::options().write(true).open(&file).unwrap().set_len(10_000_000 + n).unwrap();
    }
    let args = ["--spool", spool.path().to_str().unwrap(), "--jobs", "1"];
    let said = on_a_terminal(&args);
    assert!(said.contains(" %, ") && said.contains(" messages/s"), "{said:?}");
    // Nothing of it stays.
    let last = said.trim_end().rsplit(['\n', '\r']).next().unwrap();
    assert!(last.trim_start_matches("\x1b[K").starts_with("10 messages of 1 owner, "), "{said:?}");
    assert!(!on_a_terminal(&[&args[..], &["--quiet"]].concat()).contains("messages"));
}
