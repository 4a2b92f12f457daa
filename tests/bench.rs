//! `scripts/bench`: that it runs and tells what it should. How fast anything is, no test says.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Uses what is built into the folder that this test was built into.
fn bench(options: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_BIN_EXE_start_proxies")).ancestors().nth(2).expect("cargo's target folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench");
    let mut command = Command::new(script);
    command.args(["--debug", "--no-install"]).args(options).env("CARGO_TARGET_DIR", target).current_dir("/");
    command.stdin(Stdio::null()).output().expect("scripts/bench")
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_quick_run_measures_judges_and_draws_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = |name: &str| dir.path().join(name).to_str().expect("a name").to_owned();
    let (json, markdown, charts, spool) = (place("figures.json"), place("tables.md"), place("charts"), place("spool"));
    fs::create_dir(&spool).expect("a folder");
    let program = format!("another={}", env!("CARGO_BIN_EXE_start_proxies"));
    let mine = format!("mailstore={}", env!("CARGO_BIN_EXE_start_proxies"));
    let options: &[&str] = &[
        "--quick",
        "--only",
        "smtp-4k,pop3-4k-tls,imap-4k,noop,logins,idle,sync-imap-4k",
        "--peers",
        "direct,python,mailstore",
        "--program",
        &mine,
        "--program",
        &program,
        "--json",
        &json,
        "--markdown",
        &markdown,
        "--plot",
        &charts,
        "--spool",
        &spool,
    ];
    let output = bench(options);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for row in ["smtp-4k", "pop3-4k-tls", "imap-4k", "noop", "logins", "idle", "sync-imap-4k"] {
        let rows = said.lines().skip_while(|line| !line.starts_with(&format!("{row} ")));
        let peers: Vec<&str> = rows
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        for expected in ["mailstore", "another", if row.starts_with("sync") { "machine" } else { "python" }] {
            assert!(peers.contains(&expected), "{row} without {expected}: {peers:?}\n{said}");
        }
    }
    for expected in [
        ">= 35000",     // a goal that needs nobody else
        "not measured", // one that does
        "commit: ",     // what, on what, and when
        "\nmachine: ",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in\n{said}");
    }
    let figures = fs::read_to_string(json).expect("the figures");
    let read = Command::new("python3").args(["-c", "import json, sys; json.loads(sys.argv[1])", &figures]).status();
    assert!(read.expect("python3").success(), "{figures}");
    assert!(figures.contains("{\"row\": \"imap-4k\", \"peer\": \"another\", \"cpu_1000\": ["), "{figures}");
    let page = fs::read_to_string(markdown).expect("the tables");
    assert!(page.contains("| row | direct | python | mailstore | another |"), "{page}");
    let chart = fs::read_to_string(Path::new(&charts).join("sessions.svg")).expect("a chart");
    assert!(chart.contains("prefers-color-scheme: dark") && chart.ends_with("</svg>\n"), "{chart}");
    assert_eq!(fs::read_dir(spool).expect("the spool").count(), 0, "what was kept is still there");
}

#[test]
fn what_it_does_not_know_it_refuses_before_anything_is_started() {
    for (options, word) in [
        (&["--only", "smtp-5k"][..], "smtp-5k"),
        (&["--peers", "exim"], "exim"),
        (&["--program", "x=/nowhere"], "/nowhere"),
        (&["--rounds", "many"], "many"),
        (&["--rounds", "0"], "--rounds 0"),
        (&["--only"], "--only"),
    ] {
        let output = bench(options);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("scripts/bench: ") && said.contains(word), "{said}");
    }
}

#[test]
fn where_nothing_can_be_written_nothing_is_measured() {
    for option in ["--json", "--markdown", "--plot", "--spool"] {
        let output = bench(&["--only", "noop", "--peers", "direct", option, "/proc/nowhere/x"]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("scripts/bench: {option} /proc/nowhere/x: cannot be ")), "{said}");
        assert!(!said.contains("noop "), "{said}");
    }
}
