//! `scripts/demo`, as a newcomer runs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Builds into the folder that this test was built into: hardly anything is left to be done then.
fn demo(options: &[&str], input: Stdio) -> Child {
    let target = Path::new(env!("CARGO_BIN_EXE_start_proxies")).ancestors().nth(2).expect("cargo's target folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let mut command = Command::new(script);
    command.args(options).env("CARGO_TARGET_DIR", target).current_dir("/");
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("scripts/demo")
}

/// The temporary folder, by the line that tells it.
fn folder(said: &str) -> PathBuf {
    let line = said.lines().find(|line| line.starts_with("All of this runs")).expect("the line about the folder");
    PathBuf::from(line.rsplit(' ').next().expect("the folder").trim_end_matches('.'))
}

#[test]
fn shows_and_proves_it() {
    let output = demo(&[], Stdio::null()).wait_with_output().expect("scripts/demo");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for expected in [
        "   ok  what he got is what Alice sent, byte for byte\n",
        "   ok  the host has it no longer: his mailbox there is empty\n",
        "4. Alice files two messages by IMAP, over TLS,",
        "   ok  she got 5000 bytes of ",
        "   mailSpool/example.com/alice/\n      .Sent/cur/\n",
        "      .Work.2026/new/\n",
        "   mailSpool/example.com/bob/\n      new/\n",
        "| sha256sum --check --quiet\n",
        "   ok  alice@example.com, INBOX: Dovecot serves the same bytes (2 messages)\n",
        "   ok  bob@example.com, INBOX: Dovecot serves the same bytes (1 message)\n",
        "   ok  start_proxies ended in order after SIGTERM\n",
        "\nHow to go on with your own mail server:\n",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in\n{said}");
    }
    assert_eq!(said.matches("   proven  ").count(), 8, "{said}");
    assert!(!folder(&said).exists(), "the temporary folder is still there");
}

/// What it has said once this was said, and where the rest will come from.
fn read_until(demo: &mut Child, wanted: &str) -> (BufReader<ChildStdout>, String) {
    let mut lines = BufReader::new(demo.stdout.take().expect("its output"));
    let mut said = String::new();
    while !said.contains(wanted) {
        assert_ne!(lines.read_line(&mut said).expect("a line"), 0, "it ended too early:\n{said}");
    }
    (lines, said)
}

#[test]
fn stays_until_it_is_asked_to_end() {
    for by_signal in [false, true] {
        let mut demo = demo(&["--stay"], Stdio::piped());
        let mut input = demo.stdin.take().expect("its input");
        let (mut lines, mut said) = read_until(&mut demo, "Enter or Ctrl-C ends it.\n");
        // The settings are true: a mail program gets what the demo filed.
        let line = said.lines().find(|line| line.starts_with("   IMAP ")).expect("the settings");
        let port = line.split_whitespace().nth(2).expect("the port");
        let (folder, url) = (folder(&said), format!("imaps://localhost:{port}/Sent;MAILINDEX=2"));
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-4", "--max-time", "20", "--user", "alice@example.com:a-password-for-the-demo", "--cacert"]);
        let output = curl.arg(folder.join("authority.pem")).arg(url).output().expect("curl");
        let (got, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(got.contains("\r\nSubject: A note to myself\r\n"), "{got}\n{complaint}\n{said}");
        if by_signal {
            kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGINT).expect("sending SIGINT");
        } else {
            input.write_all(b"\n").expect("pressing Enter");
        }
        lines.read_to_string(&mut said).expect("the rest");
        assert_eq!(demo.wait().expect("its end").code(), Some(0), "{said}");
        assert!(said.contains("\nHow to go on with your own mail server:\n"), "{said}");
        assert!(!folder.exists(), "the temporary folder is still there");
    }
}

#[test]
fn clears_up_when_it_is_interrupted() {
    let mut demo = demo(&[], Stdio::null());
    let (mut lines, mut said) = read_until(&mut demo, "\n2. ");
    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGTERM).expect("sending SIGTERM");
    lines.read_to_string(&mut said).expect("the rest");
    let mut errors = String::new();
    demo.stderr.take().expect("its stderr").read_to_string(&mut errors).expect("the rest");
    let status = demo.wait().expect("its end");
    // On a very slow machine the signal may find it at its end.
    assert!(matches!(status.code(), Some(0 | 143)), "{status}\n{said}\n{errors}");
    assert!(!folder(&said).exists(), "the temporary folder is still there");
}
