//! How much the proxy fetches besides what a client asks for, on a session of each kind: README.md has it as a table, which is checked here.

mod support;

use std::fs;
use std::path::Path;

use support::proxy::section;
use support::replay::{PASSED, Reader, Scene, inbox};
use support::*;

/// The rows of README.md's table: what a client does, and how many kilobytes are fetched besides.
fn documented() -> Vec<(String, u64)> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let table = readme.split_once("| fetched besides, KB |\n| --- | --- |\n").expect("the table is in README.md").1;
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches(['|', ' ']).split_once(" | ").unwrap());
    cells.map(|(what, kilobytes)| (what.to_owned(), kilobytes.trim().replace(',', "").parse().unwrap())).collect()
}

/// `fetched=` in the closing line of this user's last session.
fn fetched(proxy: &Proxy, user: &str, sessions: usize) -> u64 {
    let end = format!(" user={user} ");
    let mut line = String::new();
    wait_until("the session is over", START, || {
        let log = proxy.log();
        let closed: Vec<&str> = log.lines().filter(|l| l.contains(" closed client=") && l.contains(&end)).collect();
        line = closed.last().map_or_else(String::new, |line| (*line).to_owned());
        closed.len() == sessions
    });
    let number = line.split_once(" fetched=").unwrap_or_else(|| panic!("{line}")).1;
    number.split(' ').next().unwrap().parse().unwrap()
}

fn kilobytes(octets: u64) -> u64 {
    (octets + 500) / 1000
}

#[test]
fn what_the_readme_says_is_what_is_fetched() {
    let scene = Scene::new(UNFOLLOWED);
    let mut measured: Vec<(&str, u64)> = Vec::new();
    let mut sessions = 0;
    let mut run = |row: &'static str, scripts: &[&str]| {
        sessions += 1;
        let user = format!("u{sessions}@example.org");
        scene.fill(&user);
        let mut last = 0;
        for (count, script) in scripts.iter().enumerate() {
            let mut reader = Reader::login(&scene.lab, scene.passed, &user);
            reader.play(script);
            reader.bye();
            last = fetched(&scene.proxy, &user, count + 1);
        }
        measured.push((row, kilobytes(last)));
    };
    run(
        "reads messages whole (Outlook, mbsync, getmail, Thunderbird offline)",
        &["SELECT INBOX \n UID FETCH 101:* (UID FLAGS BODY.PEEK[])"],
    );
    run(
        "reads them in chunks, to the end (Thunderbird, iOS, Evolution)",
        &[
            "SELECT INBOX \n UID FETCH 104 (UID RFC822.SIZE BODY[]<65536+8192..>) \n UID FETCH 103 (UID BODY.PEEK[]<393216..>)",
        ],
    );
    run(
        "reads header and text (fetchmail, Geary)",
        &["SELECT INBOX \n FETCH 3:4 RFC822.HEADER \n FETCH 3:4 BODY.PEEK[TEXT]"],
    );
    run(
        "lists the folder, with previews of 2 KB",
        &[
            "SELECT INBOX \n UID FETCH 101:* (FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)] BODY.PEEK[TEXT]<0.2048>)",
        ],
    );
    let text = "SELECT INBOX \n UID FETCH 103 (BODY.PEEK[1.1])";
    run("reads only the text of the 100 KB message, not its attachments (K-9, FairEmail, Roundcube)", &[text]);
    let parts = "SELECT INBOX \n UID FETCH 104 (BODY.PEEK[1]) \n UID FETCH 104 (BODY.PEEK[2]<65536..end>)";
    run("reads all parts of the 1,500 KB message", &[parts]);
    run(
        "stops the download of the 1,500 KB message after 64 KB",
        &["SELECT INBOX \n UID FETCH 104 (BODY.PEEK[]<0.65536>)"],
    );
    run("deletes the 100 KB message unread", &["SELECT INBOX \n UID STORE 103 +FLAGS (\\Deleted) \n EXPUNGE"]);
    run("moves the 100 KB message unread to the trash", &["SELECT INBOX \n UID MOVE 103 Trash"]);
    run(
        "deletes a message that it has read before, whole or by parts",
        &[text, "SELECT INBOX \n UID STORE 103 +FLAGS (\\Deleted) \n EXPUNGE"],
    );
    run("reads again, in another session or with another program, what was read before", &[parts, parts]);

    let followed = Proxy::start(&scene.lab, &section(&scene.lab, "f", Tls::None, scene.direct, "follow = inbox\n"));
    scene.fill(PASSED);
    let mut reader = Reader::login(&scene.lab, followed.endpoint(Kind::Imap, "f", Tls::None), PASSED);
    reader.play("SELECT INBOX \n FETCH 1:* (FLAGS UID)");
    wait_until("all is kept", START * 3, || followed.spool().list().len() == inbox().len());
    reader.bye();
    measured
        .push(("stays connected with `follow = inbox`, and reads nothing", kilobytes(fetched(&followed, PASSED, 1))));

    let direct = scene.dovecot.endpoint(Kind::Pop3, Tls::None);
    let pop3 = Proxy::start(&scene.lab, &section(&scene.lab, "p", Tls::None, direct, ""));
    let mut run = |row: &'static str, user: &str, lines: &[&str]| {
        scene.fill(user);
        let mut wire = Wire::connect(&scene.lab, pop3.endpoint(Kind::Pop3, "p", Tls::None));
        wire.login(Kind::Pop3, user);
        for line in lines {
            wire.pop3(line);
        }
        drop(wire);
        measured.push((row, kilobytes(fetched(&pop3, user, 1))));
    };
    run("reads by POP3, and deletes on the server", "p1@example.org", &["UIDL", "RETR 3", "DELE 3", "QUIT"]);
    run("deletes the 100 KB message unread by POP3", "p2@example.org", &["UIDL", "TOP 3 0", "DELE 3", "QUIT"]);

    let measured: Vec<(String, u64)> = measured.into_iter().map(|(row, count)| (row.to_owned(), count)).collect();
    assert_eq!(measured, documented());
}
