//! Runs that are killed, and two at once.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::{JOE, Place, contents, files, stand_in};
use crate::support::{CLIENT, preload, wait_until};

/// A place with a few messages, and more that came after its first snapshot.
fn filled() -> Place {
    let place = Place::new("%d/%n");
    for number in 0..6 {
        place.put(JOE, "new", format!("message {number}").as_bytes());
        place.put("example.com/ann/.Sent", "cur", format!("sent {number}").as_bytes());
    }
    let first = place.snapshot(&[]);
    fs::rename(&first, place.dest.join("2020-01-01T000000")).unwrap();
    for number in 6..9 {
        place.put(JOE, "new", format!("message {number}").as_bytes());
    }
    place
}

/// Whatever has the name of a snapshot is one: all of it is there.
#[track_caller]
fn nothing_by_half(place: &Place) {
    let whole = contents(&place.spool);
    for snapshot in place.snapshots() {
        assert!(snapshot.join("mailstore-snapshot").exists(), "{}", snapshot.display());
        let saved = contents(&snapshot.join("mailSpool"));
        let is_old = snapshot.file_name().unwrap().to_str() < Some("2021");
        let expected = if is_old { 12 } else { whole.len() };
        assert_eq!(saved.len(), expected, "{}", snapshot.display());
        assert!(saved.iter().all(|(below, bytes)| whole.get(below) == Some(bytes)), "{}", snapshot.display());
    }
    assert!(place.snapshots().contains(&place.dest.join("2020-01-01T000000")));
}

/// The next run goes on, and leaves nothing behind.
#[track_caller]
fn goes_on(place: &Place) {
    nothing_by_half(place);
    let last = place.snapshot(&["--keep-last", "99"]);
    assert_eq!(contents(&last.join("mailSpool")), contents(&place.spool));
    let left: Vec<String> =
        fs::read_dir(&place.dest).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with("removing-") && name != ".latest"), "{left:?}");
}

#[test]
fn killed_before_each_of_its_own_steps_it_leaves_nothing_that_looks_complete() {
    let mut place = filled();
    let library = preload::shim(&place.lab, "shim");
    let trace = place.dir.join("trace");
    let env = |kill: usize| {
        [
            ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
            ("SHIM_ROOT", place.dest.to_str().unwrap().to_owned()),
            ("SHIM_TRACE", trace.to_str().unwrap().to_owned()),
            ("SHIM_KILL", kill.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    };
    let envs: Vec<Vec<(String, String)>> = (0..200).map(env).collect();
    let mut kills = 0;
    for env in envs.into_iter().skip(1) {
        // Something to be removed each time.
        let old = place.dest.join("2019-01-01T000000");
        if !old.exists() {
            let status = std::process::Command::new("cp")
                .arg("-al")
                .arg(place.dest.join("2020-01-01T000000"))
                .arg(&old)
                .status();
            assert!(status.unwrap().success());
        }
        place.env = env;
        let mut child = place.spawn(&[
            "--keep-last",
            "0",
            "--keep-daily",
            "2",
            "--keep-monthly",
            "0",
            "--keep-weekly",
            "0",
            "--keep-yearly",
            "1",
        ]);
        let status = child.wait().unwrap();
        place.env.clear();
        nothing_by_half(&place);
        if status.code() == Some(0) {
            // It has no more steps than that.
            break;
        }
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
        kills += 1;
        if old.exists() {
            fs::remove_dir_all(&old).unwrap();
        }
        goes_on(&place);
        for snapshot in place.snapshots() {
            if !snapshot.ends_with("2020-01-01T000000") {
                fs::remove_dir_all(snapshot).unwrap();
            }
        }
    }
    let steps = fs::read_to_string(&trace).unwrap();
    for step in ["mkdir ", "rename ", "syncdir ", "write "] {
        assert!(steps.contains(step), "{step} is not in {steps}");
    }
    assert!((10..199).contains(&kills), "{kills} steps");
}

#[test]
fn an_rsync_that_is_killed_at_any_file_leaves_what_the_next_run_goes_on_with() {
    let mut place = filled();
    let library = preload::shim(&place.lab, "shim");
    // The receiver dies when it is about to write its file of this number; once with the whole script.
    let script = "LD_PRELOAD=$LIBRARY SHIM_ROOT=$INTO SHIM_KILL=$AT \"$real\" \"$@\"; status=$?
                  if [ $status != 0 ] && [ \"$WITH\" ]; then kill -9 $PPID; fi; exit $status";
    for at in 1..=4 {
        for with in ["", "yes"] {
            stand_in(&mut place, "rsync", script);
            let into = place.dest.join("unfinished");
            for (name, value) in [
                ("LIBRARY", library.to_str().unwrap()),
                ("INTO", into.to_str().unwrap()),
                ("AT", &at.to_string()),
                ("WITH", with),
            ] {
                place.env.push((name.to_owned(), value.to_owned()));
            }
            let output = place.backup(&["--keep-last", "99"]);
            place.env.clear();
            // There are three new files only.
            match at {
                4 => assert_eq!(output.code, Some(0), "{}", output.errors()),
                _ if with.is_empty() => {
                    assert_eq!(output.code, Some(1));
                    assert!(output.errors().contains("rsync failed: "), "{}", output.errors());
                }
                _ => assert_eq!(output.code, None),
            }
            if at < 4 {
                assert!(into.exists() && !files(&into).is_empty());
            }
            goes_on(&place);
            for snapshot in place.snapshots().into_iter().filter(|path| !path.ends_with("2020-01-01T000000")) {
                fs::remove_dir_all(snapshot).unwrap();
            }
        }
    }
}

#[test]
fn a_signal_ends_rsync_too() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut place = filled();
        let (started, ended) = (place.dir.join("started"), place.dir.join("ended"));
        let script = "trap 'touch \"$ENDED\"; exit 20' TERM; touch \"$STARTED\"; while :; do sleep 0.05; done";
        stand_in(&mut place, "rsync", script);
        for (name, path) in [("STARTED", &started), ("ENDED", &ended)] {
            place.env.push((name.to_owned(), path.to_str().unwrap().to_owned()));
        }
        let mut child = place.spawn(&[]);
        wait_until("rsync is at work", CLIENT, || started.exists());
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let code = child.wait().unwrap().code();
        let expected = match signal {
            Signal::SIGTERM => 143,
            Signal::SIGHUP => 129,
            _ => 130,
        };
        assert_eq!(code, Some(expected));
        assert!(ended.exists(), "rsync was not waited for");
        place.env.clear();
        goes_on(&place);
    }
}

/// It is in no snapshot yet, whichever run copied it.
#[test]
fn what_an_interrupted_run_has_copied_is_new_all_the_same() {
    let mut place = Place::new("%d/%n");
    let interrupted = |place: &mut Place| {
        stand_in(place, "rsync", "\"$real\" \"$@\"; kill -9 $PPID");
        assert_eq!(place.backup(&[]).code, None);
        place.env.clear();
        assert!(!files(&place.dest.join("unfinished")).is_empty());
    };
    let read = place.put(JOE, "new", &[b'a'; 20_000]);
    place.put(JOE, "cur", &[b'b'; 3_000]);
    // One file with two names.
    let both = place.put(JOE, "new", &[b'c'; 500]);
    fs::hard_link(&both, place.put("example.com/ann", "new", b"").with_file_name(both.file_name().unwrap())).unwrap();
    interrupted(&mut place);
    let said = place.backup(&["--dry-run"]).ok().text();
    assert!(said.contains(", 23.5 KB new\n"), "{said}");
    let said = place.backup(&[]).ok().text();
    assert!(said.contains(": 5 messages of 2 owners, 24.0 KB, 23.5 KB new, "), "{said}");

    // Read meanwhile, and one more.
    let name = format!("cur/{}:2,S", read.file_name().unwrap().to_str().unwrap());
    fs::rename(&read, place.spool.join(JOE).join(name)).unwrap();
    place.put(JOE, "new", &[b'd'; 1_500]);
    interrupted(&mut place);
    let said = place.backup(&["--keep-last", "9"]).ok().text();
    assert!(said.contains(": 6 messages of 2 owners, 25.5 KB, 1.5 KB new, "), "{said}");
    let list = place.backup(&["--list"]).ok().text();
    let new: Vec<&str> = list.lines().filter_map(|line| line.split(", ").nth(2)?.split("  ").next()).collect();
    assert_eq!(new, ["23.5 KB new", "1.5 KB new"], "{list}");
}

#[test]
fn of_two_at_once_the_second_does_nothing_and_says_so() {
    let mut place = filled();
    let (started, go) = (place.dir.join("started"), place.dir.join("go"));
    let script = "touch \"$STARTED\"; while [ ! -e \"$GO\" ]; do sleep 0.05; done; exec \"$real\" \"$@\"";
    stand_in(&mut place, "rsync", script);
    for (name, path) in [("STARTED", &started), ("GO", &go)] {
        place.env.push((name.to_owned(), path.to_str().unwrap().to_owned()));
    }
    let mut first = place.spawn(&["--keep-last", "99"]);
    wait_until("the first is at work", CLIENT, || started.exists());
    let second = place.backup(&[]);
    assert_eq!(second.code, Some(4));
    assert!(second.errors().contains("another run is at work there; this one has done nothing"), "{}", second.errors());
    // Killed, it leaves an rsync that goes on; as long as that lives nobody else writes there.
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(place.backup(&[]).code, Some(4));
    fs::write(&go, "").unwrap();
    wait_until("rsync has ended", CLIENT, || place.backup(&["--keep-last", "99"]).code == Some(0));
    place.env.clear();
    goes_on(&place);
}
