//! What users may do: read and mark; and with `--writable` all else.

use super::*;

super::for_both_versions!(users_read_and_mark_and_change_nothing_else, writable_if_asked_for_and_the_log_tells,);

/// What a user may not do, each as a command and how the answer has to begin.
const FORBIDDEN: [(&str, &str); 20] = [
    ("STORE 1:* +FLAGS (\\Deleted)", "OK"),
    ("STORE 1 FLAGS (\\Deleted \\Seen)", "OK"),
    ("UID STORE 1:* +FLAGS.SILENT (\\Deleted)", "OK"),
    ("EXPUNGE", "OK"),
    ("UID EXPUNGE 1:*", "OK"),
    ("COPY 1 Sent", "NO [NOPERM]"),
    ("COPY 1 INBOX", "NO [NOPERM]"),
    ("MOVE 1 Sent", "NO [NOPERM]"),
    ("UID MOVE 1:* Sent", "NO [NOPERM]"),
    ("COPY 1 Trash", "NO ["),
    ("CREATE Trash", "NO [NOPERM]"),
    ("CREATE Work.New", "NO [NOPERM]"),
    ("CREATE Sent.New", "NO [NOPERM]"),
    ("CREATE Nothing.At.All.", "NO [NOPERM]"),
    ("DELETE imap", "NO [NOPERM]"),
    ("DELETE Work.Reports", "NO [NOPERM]"),
    ("RENAME Work.Reports Work.Old", "NO [NOPERM]"),
    ("RENAME INBOX Old", "NO [NOPERM]"),
    ("RENAME Sent Old", "NO [NOPERM]"),
    ("SETACL INBOX joe@example.com lrswipkxtea", "BAD"),
];

fn users_read_and_mark_and_change_nothing_else(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    archive.add(JOE);
    let dovecot = archive.start(version, &lab, &[]);
    // The first SELECT moves what is new; then nothing may change but flags.
    let before = contents(&archive.spool());
    let mut wire = read(&lab, &dovecot, JOE);
    let selected = text(&wire.imap_ok("SELECT INBOX"));
    let permanent = selected.lines().find(|line| line.contains("PERMANENTFLAGS")).unwrap();
    assert!(
        permanent.contains("\\Seen") && permanent.contains("\\*") && !permanent.contains("\\Deleted"),
        "{permanent}"
    );
    for (command, expected) in FORBIDDEN {
        let answer = text(&wire.imap(command));
        let last = answer.lines().last().unwrap();
        assert!(last.split_once(' ').unwrap().1.starts_with(expected), "{command}: {answer}");
    }
    for folder in ["INBOX", "Sent", "Trash"] {
        wire.send(format!("a APPEND {folder} (\\Seen) {{3+}}\r\nx\r\n\r\n").as_bytes());
        let answer = text(&wire.imap_until("a"));
        assert!(answer.contains("a NO [NOPERM]") || answer.contains("a NO [TRYCREATE]"), "{answer}");
    }
    if text(&wire.imap_ok("CAPABILITY")).contains(" REPLACE ") {
        wire.send(b"a REPLACE 1 INBOX {3+}\r\nx\r\n\r\n");
        assert!(text(&wire.imap_until("a")).contains("a NO [NOPERM]"));
    }
    // A message that was marked as deleted by other means stays as well, however the folder is left.
    for leave in ["EXPUNGE", "CLOSE", "SELECT Sent", "UNSELECT", "LOGOUT"] {
        wire.imap_ok("SELECT INBOX");
        assert!(text(&wire.imap_ok("SEARCH DELETED")).starts_with("* SEARCH 3\r\n"));
        wire.imap_ok(leave);
    }
    unchanged(&archive.spool(), &before);

    // Searching and marking works, also in the next session, and shows in the files' names only.
    let mut wire = read(&lab, &dovecot, JOE);
    wire.imap_ok("SELECT INBOX");
    assert!(text(&wire.imap_ok("SEARCH SUBJECT second")).starts_with("* SEARCH 2\r\n"));
    assert!(text(&wire.imap_ok("SEARCH BODY newline")).starts_with("* SEARCH 1 2 3\r\n"));
    wire.imap_ok("FETCH 1 BODY[]");
    wire.imap_ok("STORE 2 +FLAGS (\\Flagged \\Answered $Label1)");
    wire.imap_ok("STORE 2 -FLAGS (\\Answered)");
    wire.imap_ok("LOGOUT");
    let mut wire = read(&lab, &dovecot, JOE);
    wire.imap_ok("SELECT INBOX");
    let flags = text(&wire.imap_ok("FETCH 1:2 FLAGS"));
    let lines: Vec<&str> = flags.lines().collect();
    assert!(lines[0].contains("FLAGS (\\Seen)"), "{flags}");
    assert!(
        lines[1].contains("\\Flagged") && lines[1].contains("$Label1") && !lines[1].contains("Answered"),
        "{flags}"
    );
    unchanged(&archive.spool(), &before);
    let names: Vec<String> =
        entries(&archive.spool().join("example.com/joe/cur")).iter().map(|file| file.display().to_string()).collect();
    for (subject, flags) in [("first", "S"), ("second", "Fa"), ("trashed", "ST")] {
        let end = format!(",S={},H={}:2,{flags}", message(subject).len(), hash(&message(subject)));
        assert!(names.iter().any(|name| name.ends_with(&end)), "{end} in {names:#?}");
    }
    // Who read and marked what.
    dovecot.tells_of(&["event:mail_opened", "field:user=joe@example.com", "field:mailbox=INBOX", "field:uid=1"]);
    dovecot.tells_of(&["imap(joe@example.com)", "flag_change: box=INBOX, uid=2, msgid=<second@example.org>", "size="]);
    assert!(!dovecot.log().contains("Error:") && !dovecot.log().contains("Panic"), "{}", dovecot.log());
}

fn writable_if_asked_for_and_the_log_tells(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    archive.add(JOE);
    let dovecot = archive.start(version, &lab, &["--writable"]);
    let mut wire = read(&lab, &dovecot, JOE);
    wire.imap_ok("SELECT INBOX");
    wire.imap_ok("COPY 2 Sent");
    wire.imap_ok("STORE 2 +FLAGS (\\Deleted)");
    wire.imap_ok("EXPUNGE");
    wire.imap_ok("CREATE Mine");
    let size = message("second").len();
    let second = format!("uid=2, msgid=<second@example.org>, size={size}");
    for words in [
        ["delete: box=INBOX", &second],
        ["expunge: box=INBOX", &second],
        ["copy from INBOX: box=Sent", &format!("size={size}")],
    ] {
        dovecot.tells_of(&["imap(joe@example.com)", words[0], words[1]]);
    }
    wire.imap_ok("DELETE Mine");
    assert!(entries(&archive.spool().join("example.com/joe/new")).is_empty());
    assert_eq!(entries(&archive.spool().join("example.com/joe/cur")).len(), 1);
}
