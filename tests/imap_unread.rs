//! Mail that a client deletes or moves before it has read it, and downloads that come to no end: the message is kept whole all the
//! same, once, and neither the client nor the server can tell.

mod support;

use support::proxy::section;
use support::replay::{
    ALL, BIG, DIRECT, FORWARDED, LETTER, PARTS, PASSED, Reader, SMALL, Scene, UNREAD, from_inbox, inbox, replay,
};
use support::spool::{Expected, received};
use support::wire::timeless;
use support::*;

#[test]
fn deleted_by_uid_and_expunged() {
    replay(&[PARTS], "SELECT INBOX \n UID STORE 103 +FLAGS (\\Deleted) \n EXPUNGE \n UID FETCH 1:* (FLAGS)");
}

#[test]
fn deleted_by_sequence_number_and_expunged() {
    let script = "
        SELECT INBOX
        FETCH 1:* (UID FLAGS ENVELOPE)
        STORE 2,4 +FLAGS.SILENT (\\Seen \\Deleted)
        STORE 1 FLAGS (\\Deleted)
        EXPUNGE
        FETCH 1:* (UID FLAGS)
    ";
    replay(&[SMALL, LETTER, BIG], script);
}

#[test]
fn deleted_and_expunged_by_uid() {
    let script = "
        ENABLE QRESYNC
        SELECT INBOX (CONDSTORE)
        UID STORE 103:105 +FLAGS.SILENT (\\Deleted)
        UID EXPUNGE 103:104
        UID STORE 105 -FLAGS (\\Deleted)
        UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)
        UID FETCH 105 BODY.PEEK[]
    ";
    replay(&[PARTS, BIG, FORWARDED], script);
}

#[test]
fn deleted_by_close() {
    replay(&ALL, "SELECT INBOX \n STORE 1:* +FLAGS.SILENT (\\Deleted) \n CLOSE \n STATUS INBOX (MESSAGES UIDNEXT)");
}

#[test]
fn deleted_where_some_were_read_before() {
    let script = "
        SELECT INBOX
        UID FETCH 101 BODY[]
        UID FETCH 103 BODY.PEEK[1.1]
        UID FETCH 104 BODY.PEEK[]<65536..>
        UID STORE 101:105 +FLAGS.SILENT (\\Deleted)
        EXPUNGE
    ";
    replay(&[SMALL, LETTER, PARTS, BIG, FORWARDED], script);
}

#[test]
fn deleted_by_commands_sent_at_once() {
    in_any_order(
        &[PARTS, BIG],
        "
        SELECT INBOX
        & UID STORE 103,104 +FLAGS.SILENT (\\Deleted)
        & EXPUNGE
        NOOP
        UID FETCH 101:* (FLAGS)
        ",
    );
}

#[test]
fn deleted_by_who_did_not_flag_it() {
    for (folder, end) in [("SELECT INBOX", "EXPUNGE"), ("SELECT INBOX", "CLOSE"), ("SELECT INBOX", "UID EXPUNGE 1:*")] {
        let scene = Scene::new(UNFOLLOWED);
        let session = |at: Endpoint, user: &str| {
            scene.fill(user);
            // By a client that does not come through the proxy.
            let mut other = Reader::login(&scene.lab, scene.direct, user);
            other.play("SELECT INBOX \n UID STORE 103:104 +FLAGS.SILENT (\\Deleted) \n UNSELECT");
            other.bye();
            let mut reader = Reader::login(&scene.lab, at, user);
            reader.play(&format!("{folder} \n {end}"));
            reader.bye()
        };
        assert_same(&session(scene.direct, DIRECT), &session(scene.passed, PASSED), end);
        scene.same_mail();
        scene.keeps(&[PARTS, BIG]);
    }
}

#[test]
fn deleted_with_its_folder() {
    let scene = Scene::new(UNFOLLOWED);
    let message = corpus::numbered;
    let session = |at: Endpoint, user: &str| {
        let mailbox = scene.fill(user);
        for n in 0..40 {
            mailbox.put("Old", Place::New, &message(n));
        }
        let mut reader = Reader::login(&scene.lab, at, user);
        reader.play("LIST \"\" * \n STATUS Old (MESSAGES) \n DELETE Old \n & NOOP \n LIST \"\" * \n SELECT INBOX");
        reader.bye()
    };
    assert_same(&session(scene.direct, DIRECT), &session(scene.passed, PASSED), "a folder that is deleted");
    let expected: Vec<Expected> = (0..40).map(|n| received(PASSED, "Old", &message(n))).collect();
    scene.proxy.spool().holds(&expected);
}

#[test]
fn a_message_that_the_server_cannot_read_ends_one_session_and_no_other() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new("follow = inbox\n");
    let mailbox = scene.dovecot.mailbox(PASSED);
    for n in 0..3 {
        mailbox.put("INBOX", Place::New, &corpus::numbered(n));
    }
    let mut files = support::dovecot::entries(&mailbox.folder("INBOX").join("new"));
    files.sort();
    std::fs::set_permissions(&files[1], std::fs::Permissions::from_mode(0o0)).unwrap();
    let told = |count: usize| {
        wait_until("the log tells of it", START, || {
            let log = scene.proxy.log();
            log.lines().filter(|line| line.contains(" not kept owner=passed@example.org ")).count() >= count
        });
    };
    // Dovecot says BYE to a FETCH of it; once may be chance.
    for times in [1, 2] {
        let mut reader = Reader::login(&scene.lab, scene.passed, PASSED);
        reader.wire.imap_ok("SELECT INBOX");
        reader.wire.send(b"x UID STORE 2 +FLAGS (\\Deleted)\r\n");
        assert!(String::from_utf8_lossy(&reader.wire.rest()).contains("* BYE "));
        told(times);
    }
    assert!(scene.proxy.log().contains("when it was asked for it"), "{}", scene.proxy.log());
    assert!(scene.proxy.log().contains("(folder=INBOX uid=2)"), "{}", scene.proxy.log());
    // It is not deleted, the session goes on, and all others are followed.
    let mut reader = Reader::login(&scene.lab, scene.passed, PASSED);
    reader.wire.imap_ok("SELECT INBOX");
    let answer = reader.wire.imap("UID STORE 2 +FLAGS (\\Deleted)");
    assert!(String::from_utf8_lossy(&answer).contains(" NO [UNAVAILABLE] "), "{}", answer.escape_ascii());
    scene.comes_to_keep_these(&[corpus::numbered(0), corpus::numbered(2)]);
    reader.wire.imap_ok("NOOP");
    reader.bye();
}

#[test]
fn moved_to_the_trash() {
    let script = "
        SELECT INBOX
        UID MOVE 103,105 Trash
        MOVE 1 Trash
        UID MOVE 104 \"Trash\"
        FETCH 1:* (UID FLAGS)
        SELECT Trash
        FETCH 1:* (UID FLAGS)
    ";
    replay(&[SMALL, PARTS, BIG, FORWARDED], script);
}

#[test]
fn copied_to_the_trash_and_deleted() {
    let script = "
        SELECT INBOX
        UID COPY 103:104 Trash
        UID STORE 103:104 +FLAGS.SILENT (\\Deleted \\Seen)
        EXPUNGE
        SELECT Trash
        UID FETCH 1:* (FLAGS)
    ";
    replay(&[PARTS, BIG], script);
}

#[test]
fn moved_and_read_there_is_kept_once() {
    let script = "
        SELECT INBOX
        UID MOVE 103 Work
        SELECT Work
        FETCH 1 (UID BODYSTRUCTURE)
        FETCH 1 BODY.PEEK[1.1]
        FETCH 1 (UID BODY[])
    ";
    replay(&[PARTS], script);
}

#[test]
fn read_copied_and_read_there_is_kept_once() {
    let script = "
        SELECT INBOX
        UID FETCH 103 BODY.PEEK[2]
        UID FETCH 104 BODY[]
        UID COPY 103:104 Work
        SELECT Work
        FETCH 1 BODY.PEEK[1.1]
        FETCH 2 BODY.PEEK[]<0.65536>
        FETCH 2 BODY[]
    ";
    replay(&[PARTS, BIG], script);
}

#[test]
fn copied_unread_and_read_there_is_kept_there() {
    let scene = Scene::new(UNFOLLOWED);
    scene.replay("SELECT INBOX \n UID COPY 103 Work \n SELECT Work \n FETCH 1 BODY.PEEK[1.1] \n EXAMINE INBOX \n FETCH 3 BODY[2]");
    scene.proxy.spool().holds(&[received(PASSED, "Work", &inbox()[2].bytes)]);
}

#[test]
fn kept_before_the_answer_is_complete() {
    let scene = Scene::new(UNFOLLOWED);
    scene.fill(PASSED);
    let mut reader = Reader::login(&scene.lab, scene.passed, PASSED);
    let mut kept = Vec::new();
    for (uid, commands) in [
        (PARTS, "SELECT INBOX \n UID FETCH 103 BODY.PEEK[1.1]"),
        (FORWARDED, "FETCH 5 BODY[2]"),
        (BIG, "UID FETCH 104 BODY.PEEK[2]<0.65536>"),
        (LETTER, "UID MOVE 102 Trash"),
        // The second is the first that is left.
        (SMALL, "STORE 1 +FLAGS (\\Deleted) \n EXPUNGE"),
    ] {
        reader.play(commands);
        kept.push(uid);
        scene.keeps(&kept);
    }
    reader.bye();
    scene.keeps(&kept);
}

#[test]
fn a_part_with_logout_behind_it() {
    replay(&[PARTS], "SELECT INBOX \n UID FETCH 103 BODY.PEEK[1.1] \n & LOGOUT");
    replay(&[BIG], "SELECT INBOX \n UID FETCH 104 BODY.PEEK[]<0.65536> \n & LOGOUT");
}

#[test]
fn a_part_with_another_folder_behind_it() {
    let script = "
        SELECT INBOX
        UID FETCH 103 BODY[1.1]
        & SELECT Work
        & STATUS Trash (MESSAGES)
        & EXAMINE INBOX
        & FETCH 4 BODY.PEEK[]<0.65536>
        & SELECT Trash
        & NOOP
        & CLOSE
    ";
    replay(&[PARTS, BIG], script);
}

#[test]
fn a_part_with_idle_behind_it() {
    replay(&[PARTS], "SELECT INBOX \n UID FETCH 103 BODY[1.1] \n & IDLE \n NOOP");
    replay(&[BIG], "EXAMINE INBOX \n FETCH 4 BODY[]<0.65536> \n & IDLE \n NOOP");
}

#[test]
fn a_part_with_its_deletion_behind_it() {
    let script = "
        SELECT INBOX
        UID FETCH 103:104 (UID BODY.PEEK[1])
        & UID STORE 103:105 +FLAGS.SILENT (\\Deleted)
        EXPUNGE
        UID FETCH 101:* (FLAGS)
    ";
    replay(&[PARTS, BIG, FORWARDED], script);
}

#[test]
fn a_part_with_its_expunge_behind_it() {
    // Where Dovecot (2.3.19) gets these three at once, it expunges nothing: there is nothing to compare with.
    let scene = Scene::new(UNFOLLOWED);
    scene.fill(PASSED);
    let mut reader = Reader::login(&scene.lab, scene.passed, PASSED);
    let script = "
        SELECT INBOX
        UID FETCH 103:104 (UID BODY.PEEK[1])
        & UID STORE 103:105 +FLAGS.SILENT (\\Deleted)
        & EXPUNGE
        & LOGOUT
    ";
    reader.play(script);
    reader.bye();
    scene.keeps(&[PARTS, BIG, FORWARDED]);
}

#[test]
fn many_parts_in_a_pipeline() {
    let script = "
        SELECT INBOX
        UID FETCH 103 BODY.PEEK[1.1]
        & UID FETCH 103 BODY.PEEK[1.2]
        & FETCH 3 BODY.PEEK[2]
        & FETCH 1,5 (BODY.PEEK[1])
        & NOOP
        & UID FETCH 104 BODY.PEEK[]<0.65536>
        & UID FETCH 104 BODY.PEEK[]<65536.65536>
        & UID FETCH 102 BODY.PEEK[TEXT]
        & UID STORE 102 +FLAGS (\\Answered)
    ";
    replay(&[SMALL, LETTER, PARTS, BIG, FORWARDED], script);
}

#[test]
fn a_hang_up_in_the_middle_of_a_download() {
    for (uid, script) in [
        (BIG, "SELECT INBOX \n UID FETCH 104 (UID RFC822.SIZE BODY[]<0.65536>)"),
        (BIG, "EXAMINE INBOX \n FETCH 4 BODY.PEEK[]<0.16384> \n FETCH 4 BODY.PEEK[]<16384.16384>"),
        (BIG, "SELECT INBOX \n UID FETCH 104 BODY.PEEK[2]<0.65536>"),
        (PARTS, "SELECT INBOX \n UID FETCH 103 BODY[1.1]"),
    ] {
        let scene = Scene::new(UNFOLLOWED);
        for (at, user) in [(scene.direct, DIRECT), (scene.passed, PASSED)] {
            scene.fill(user);
            let mut reader = Reader::login(&scene.lab, at, user);
            reader.play(script);
            reader.hang_up();
        }
        scene.comes_to_keep(&[uid]);
        wait_until("the session is over", START, || scene.proxy.log().contains(" closed client="));
        scene.same_mail();
    }
}

#[test]
fn a_client_that_says_all_at_once_and_closes_its_side() {
    let scene = Scene::new(UNFOLLOWED);
    let session = |at: Endpoint, user: &str| {
        scene.fill(user);
        let mut wire = Wire::connect(&scene.lab, at);
        wire.login(Kind::Imap, user);
        wire.heard.clear();
        wire.send(
            b"a SELECT INBOX\r\nb UID FETCH 104 (BODY[]<0.65536>)\r\nc UID FETCH 103 BODY.PEEK[1.1]\r\nd MOVE 1 Trash\r\n\
              e LOGOUT\r\n",
        );
        wire.finish_sending();
        let mut responses: Vec<Vec<u8>> = Vec::new();
        while !responses.last().is_some_and(|last| last.starts_with(b"e ")) {
            responses.push(timeless(&wire.imap_response()));
        }
        responses.sort();
        [responses.concat(), wire.rest()].concat()
    };
    assert_same(&session(scene.direct, DIRECT), &session(scene.passed, PASSED), "half closed");
    scene.same_mail();
    scene.comes_to_keep(&[SMALL, PARTS, BIG]);
}

#[test]
fn one_client_expunges_while_another_reads_parts() {
    let scene = Scene::new(UNFOLLOWED);
    let session = |at: Endpoint, user: &str| {
        scene.fill(user);
        let mut reader = Reader::login(&scene.lab, at, user);
        let mut other = Reader::login(&scene.lab, at, user);
        reader.play("SELECT INBOX \n FETCH 4 BODY.PEEK[]<0.65536> \n FETCH 3 BODY.PEEK[1.1]");
        other.play("SELECT INBOX \n UID STORE 101 +FLAGS.SILENT (\\Deleted) \n EXPUNGE");
        // A sequence number is what it was until the reader is told.
        reader.play("FETCH 4 BODY.PEEK[]<65536.65536> \n FETCH 5 BODY.PEEK[1]");
        other.play("UID STORE 102 +FLAGS.SILENT (\\Deleted) \n UID EXPUNGE 102 \n UID MOVE 103 Trash");
        reader.play("FETCH 4 BODY.PEEK[]<131072.65536> \n STORE 4 +FLAGS (\\Flagged)");
        reader.play(
            "NOOP \n FETCH 1 BODY.PEEK[]<196608.65536> \n UID FETCH 104 BODY.PEEK[]<65536..> \n FETCH 1:* (UID FLAGS)",
        );
        other.play("NOOP \n UID FETCH 105 BODY.PEEK[2] \n IDLE");
        // What the server tells of the other's changes it tells at the end of any command, ours too: lines may come earlier, none may come
        // twice or not at all.
        let heard = replaced(&[reader.bye(), other.bye()].concat(), " completed ", " completed\n");
        let mut lines: Vec<&[u8]> = heard.split_inclusive(|&byte| byte == b'\n').collect();
        lines.sort_unstable();
        lines.concat()
    };
    assert_same(&session(scene.direct, DIRECT), &session(scene.passed, PASSED), "two clients");
    scene.same_mail();
    scene.keeps(&[SMALL, LETTER, PARTS, BIG, FORWARDED]);
}

#[test]
fn nothing_is_fetched_twice_not_even_after_a_restart() {
    let script = "
        SELECT INBOX
        UID FETCH 103 (BODY.PEEK[1.1])
        FETCH 4 (BODY.PEEK[2]<0.65536>)
        UID FETCH 101 BODY[TEXT]
        UID FETCH 103:104 BODY.PEEK[1]
        UID MOVE 105 Work
        EXAMINE INBOX
        UID FETCH 104 (BODY[]<0.65536>)
    ";
    let again = "
        SELECT INBOX
        FETCH 3 (BODY.PEEK[1.1])
        UID FETCH 104 (BODY.PEEK[2]<0.65536>)
        UID FETCH 101 (BODY.PEEK[1])
        UID FETCH 104 (BODY[]<65536.65536>)
        UID STORE 101,103 +FLAGS.SILENT (\\Deleted)
        EXPUNGE
        UID MOVE 104 Trash
    ";
    let kept = [SMALL, PARTS, BIG, FORWARDED];
    let scene = Scene::new(UNFOLLOWED);
    scene.fill(PASSED);
    let closing = |proxy: &Proxy| -> String {
        let mut line = None;
        wait_until("the session is over", START, || {
            line = proxy.log().lines().find(|line| line.contains(" closed client=")).map(str::to_owned);
            line.is_some()
        });
        line.unwrap()
    };
    let mut reader = Reader::login(&scene.lab, scene.passed, PASSED);
    reader.play(script);
    reader.bye();
    scene.keeps(&kept);
    let first = closing(&scene.proxy);
    let fetched = first.split_once(" fetched=").unwrap_or_else(|| panic!("nothing about what was fetched: {first}")).1;
    assert!(!fetched.starts_with("0 "), "{first}");

    let dir = scene.proxy.spool().path().parent().unwrap().to_owned();
    scene.proxy.stop();
    let proxy = Proxy::start_in(&dir);
    let mut reader = Reader::login(&scene.lab, proxy.endpoint(Kind::Imap, "a", Tls::None), PASSED);
    reader.play(again);
    reader.bye();
    let second = closing(&proxy);
    assert!(second.contains(" fetched=0 "), "{second}");
    proxy.spool().holds(&from_inbox(PASSED, &kept));
}

/// Subjects only, as a client lists them.
const SUBJECTS: &str = "UID FETCH 101:* (FLAGS BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])";

#[test]
fn the_inbox_is_followed_while_the_client_is_quiet() {
    let scene = Scene::new("follow = inbox\n");
    let unfollowed = Proxy::start(&scene.lab, &section(&scene.lab, "no", Tls::None, scene.direct, "follow = no\n"));
    let list = |at: Endpoint, user: &str| {
        scene.fill(user);
        let mut reader = Reader::login(&scene.lab, at, user);
        reader.play(&format!("SELECT INBOX \n {SUBJECTS}"));
        reader
    };
    // These went quiet before the one that is waited for.
    let mut not_followed = list(unfollowed.endpoint(Kind::Imap, "no", Tls::None), "listed@example.org");
    let mut elsewhere = Reader::login(&scene.lab, scene.passed, "others@example.org");
    scene.fill("others@example.org").put("Work", Place::New, &corpus::numbered(1));
    elsewhere.play("SELECT Work \n FETCH 1:* (UID FLAGS ENVELOPE)");
    let mut direct = list(scene.direct, DIRECT);
    let mut passed = list(scene.passed, PASSED);
    scene.comes_to_keep(&ALL);
    unfollowed.spool().holds(&[]);
    let script = "NOOP \n FETCH 1:* (UID FLAGS) \n UID FETCH 101 BODY[]";
    passed.play(script);
    direct.play(script);
    assert_same(&direct.bye(), &passed.bye(), "the client that was followed");
    not_followed.play("NOOP");
    not_followed.bye();
    elsewhere.play("NOOP");
    elsewhere.bye();
    scene.same_mail();
    scene.keeps(&ALL);
    unfollowed.spool().holds(&[]);
}

#[test]
fn the_inbox_is_followed_in_idle() {
    let scene = Scene::new("follow = inbox\n");
    let message = corpus::numbered(1);
    let session = |at: Endpoint, user: &str, kept: &dyn Fn(&[Expected])| {
        scene.fill(user);
        let mut reader = Reader::login(&scene.lab, at, user);
        reader.play(&format!("EXAMINE INBOX \n {SUBJECTS}"));
        let tag = reader.fall_idle();
        let mut expected = from_inbox(PASSED, &ALL);
        kept(&expected);
        // What comes meanwhile is told as ever, and kept when the client falls idle again: an IDLE that the server knows of is not broken.
        append(&scene, user, &message);
        reader.hear("* 7 EXISTS");
        reader.wake_up(&tag);
        let tag = reader.fall_idle();
        expected.push(received(PASSED, "", &message));
        kept(&expected);
        reader.wake_up(&tag);
        reader.play("NOOP \n FETCH 1:* (UID FLAGS) \n IDLE");
        reader.bye()
    };
    let direct = session(scene.direct, DIRECT, &|_| ());
    let passed = session(scene.passed, PASSED, &|expected| {
        let spool = scene.proxy.spool();
        wait_until("all is kept in IDLE", START * 3, || spool.list().len() >= expected.len());
        spool.holds(expected);
    });
    assert_same(&direct, &passed, "IDLE that was followed");
    scene.same_mail();
}

#[test]
fn all_folders_are_followed_but_those_that_are_skipped() {
    let scene = Scene::new("follow = all\n");
    let select = |at: Endpoint, user: &str, folder: &str| {
        let mailbox = scene.fill(user);
        mailbox.put("Work", Place::New, &corpus::numbered(1));
        mailbox.put("Work", Place::Cur, &corpus::sized("At work", 200_000));
        mailbox.put("Trash", Place::New, &corpus::numbered(3));
        let mut reader = Reader::login(&scene.lab, at, user);
        reader.play(&format!("SELECT {folder} \n FETCH 1:* (UID FLAGS ENVELOPE)"));
        reader
    };
    let mut skipped = select(scene.passed, "trash@example.org", "Trash");
    let mut direct = select(scene.direct, DIRECT, "Work");
    let mut passed = select(scene.passed, PASSED, "Work");
    let expected =
        [received(PASSED, "Work", &corpus::numbered(1)), received(PASSED, "Work", &corpus::sized("At work", 200_000))];
    let spool = scene.proxy.spool();
    wait_until("what is in Work is kept", START * 3, || spool.list().len() >= expected.len());
    direct.play("NOOP \n UID SEARCH UNSEEN");
    passed.play("NOOP \n UID SEARCH UNSEEN");
    skipped.play("NOOP");
    assert_same(&direct.bye(), &passed.bye(), "Work that was followed");
    skipped.bye();
    scene.same_mail();
    spool.holds(&expected);
}

#[test]
fn nothing_is_followed_where_it_is_not_wanted() {
    let script = format!("SELECT INBOX \n {SUBJECTS} \n NOOP \n IDLE \n EXAMINE Work \n IDLE \n SELECT INBOX \n NOOP");
    replay(&[], &script);
    replay(&[UNREAD], &format!("{script} \n UID FETCH 106 BODY.PEEK[]"));
}

/// For an EXPUNGE among others that were sent with it: Dovecot tells what it expunged at once, or with the next answer, depending on
/// whether it has read the next command by then.
#[track_caller]
fn in_any_order(kept: &[usize], script: &str) {
    let scene = Scene::new(UNFOLLOWED);
    scene.replay_in_any_order(script);
    scene.keeps(kept);
}

/// Puts a message into this user's inbox, past the proxy.
fn append(scene: &Scene, user: &str, message: &[u8]) {
    let mut other = Wire::connect(&scene.lab, scene.direct);
    other.login(Kind::Imap, user);
    let tag = other.next_tag();
    other.send(format!("{tag} APPEND INBOX \"01-Jan-2024 12:00:00 +0000\" {{{}+}}\r\n", message.len()).as_bytes());
    other.send(&[message, b"\r\n"].concat());
    assert!(String::from_utf8_lossy(&other.imap_until(&tag)).contains(" OK "));
    other.imap_ok("LOGOUT");
}
