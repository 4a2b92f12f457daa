//! `scripts/demo` does what it says, for root and for an ordinary user.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::lab::is_root;
use support::*;

/// What has to be in its story, in this order.
const STORY: [&str; 7] = [
    "A mail host of our own",
    "start_proxies is ready.",
    "Mail passes, by all three protocols",
    "Work.Reports",
    "Proven: every file's SHA-256 is in its name",
    "Read back with Dovecot over the spool",
    "All stopped, all cleaned up",
];

fn tells_the_story(output: Output) {
    let output = output.ok();
    let text = output.text();
    let mut rest = &text[..];
    for part in STORY {
        let at = rest.find(part).unwrap_or_else(|| panic!("`{part}` is missing (or not in its place) in:\n{text}"));
        rest = &rest[at..];
    }
    assert_eq!(text.matches(": OK\n").count(), 5, "sha256sum's lines in:\n{text}");
}

#[test]
fn the_demonstration_runs_and_needs_no_root() {
    runs();
    if is_root() {
        runs_for_an_ordinary_user();
    }
}

fn runs() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let lab = Lab::new();
    // Its temporary folder is made here, and is gone afterwards.
    let home = lab.folder("demo");
    let temporary = format!("TMPDIR={}", home.display());
    let cargo_home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    let rustup_home =
        std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{}/.rustup", std::env::var("HOME").unwrap()));
    let args = [
        temporary,
        format!("CARGO_HOME={cargo_home}"),
        format!("RUSTUP_HOME={rustup_home}"),
        script.to_str().unwrap().to_owned(),
    ];
    tells_the_story(run_with_input("env", &args, b"", &home));
    assert!(dovecot::entries(&home).is_empty(), "the demonstration left something behind");
}

/// With what the script has just built.
fn runs_for_an_ordinary_user() {
    let lab = Lab::new();
    let home = lab.folder("demo");
    // The build may lie where others may not look.
    let built = PathBuf::from(env!("CARGO_BIN_EXE_start_proxies"));
    fs::create_dir(home.join("examples")).unwrap();
    fs::copy(&built, home.join("start_proxies")).unwrap();
    fs::copy(built.parent().unwrap().join("examples/demo"), home.join("examples/demo")).unwrap();
    let temporary = home.join("tmp");
    fs::create_dir(&temporary).unwrap();
    dovecot::give_away(&temporary);
    let (demo, temporary_is) = (home.join("examples/demo"), format!("TMPDIR={}", temporary.display()));
    let args = ["--reuid=65534", "--regid=65534", "--clear-groups", "--", "env", &temporary_is, demo.to_str().unwrap()];
    tells_the_story(run_with_input("setpriv", &args, b"", &temporary));
    assert!(dovecot::entries(&temporary).is_empty(), "the demonstration left something behind");
}
