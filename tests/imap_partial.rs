//! What mail clients really send to list, preview and read mail, replayed with and without the proxy: each hears the same, the flags
//! are the same, and what was read is kept whole, whether it was read in one piece, in chunks or by parts. What was only listed or
//! previewed is not.

mod support;

use support::replay::{BIG, FORWARDED, LETTER, PARTS, SMALL, replay};

const THUNDERBIRD_LIST: &str = r#"
    SELECT "INBOX" (CONDSTORE)
    UID fetch 1:* (FLAGS)
    UID fetch 101:106 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])
"#;

#[test]
fn thunderbird_lists_and_previews() {
    let previews = "UID fetch 101:106 (UID BODY.PEEK[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] BODY.PEEK[TEXT]<0.2048>)";
    replay(&[], &format!("{THUNDERBIRD_LIST} {previews} \n IDLE \n NOOP"));
}

#[test]
fn thunderbird_reads() {
    let script = r#"
        UID fetch 101 (UID RFC822.SIZE BODY[])
        UID fetch 103 (UID RFC822.SIZE BODY[]<65536+8192..>)
        UID fetch 104 (UID RFC822.SIZE BODY[]<65536+8192..>)
        IDLE
    "#;
    replay(&[SMALL, PARTS, BIG], &format!("{THUNDERBIRD_LIST} {script}"));
}

#[test]
fn thunderbird_downloads_for_offline_use() {
    let script = "
        UID fetch 101,102,105 (UID RFC822.SIZE BODY.PEEK[])
        UID fetch 104 (UID RFC822.SIZE BODY.PEEK[]<81920+8192..>)
    ";
    replay(&[SMALL, LETTER, BIG, FORWARDED], &format!("{THUNDERBIRD_LIST} {script}"));
}

#[test]
fn thunderbird_stops_a_download_halfway() {
    let script = "
        UID fetch 104 (UID RFC822.SIZE BODY[]<0.65536>)
        UID fetch 104 (UID RFC822.SIZE BODY[]<65536.73728>)
        UID fetch 101 (UID RFC822.SIZE BODY[])
    ";
    replay(&[SMALL, BIG], &format!("{THUNDERBIRD_LIST} {script}"));
}

const K9_LIST: &str = r#"
    SELECT "INBOX"
    UID SEARCH 1:* NOT DELETED
    UID FETCH 106,105,104,103,102,101 (UID FLAGS)
    UID FETCH 106,105,104,103,102,101 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc reply-to message-id references in-reply-to list-unsubscribe sender X-K9mail-Identity X-Chat-Version)])
"#;

#[test]
fn k9_lists() {
    replay(&[], K9_LIST);
}

#[test]
fn k9_synchronises_small_messages() {
    replay(&[SMALL, LETTER, PARTS], &format!("{K9_LIST} UID FETCH 103,102,101 (UID BODY.PEEK[]) \n IDLE"));
}

#[test]
fn k9_synchronises_the_parts_of_large_messages() {
    let script = "
        UID FETCH 105,104,103 (UID BODYSTRUCTURE)
        UID FETCH 103 (UID BODY.PEEK[1.1])
        UID FETCH 103 (UID BODY.PEEK[1.2])
        UID FETCH 104 (UID BODY.PEEK[1])
        UID FETCH 104 (UID BODY.PEEK[2])
        IDLE
    ";
    replay(&[PARTS, BIG], &format!("{K9_LIST} {script}"));
}

#[test]
fn k9_takes_the_beginning_where_it_sees_no_structure() {
    let script = "
        UID FETCH 104 (UID BODY.PEEK[]<0.131072>)
        UID FETCH 103 (UID BODY.PEEK[TEXT]<0.131072>)
        UID FETCH 101 (UID BODY.PEEK[]<0.131072>)
        UID STORE 101,103,104 +FLAGS.SILENT (\\Seen)
    ";
    replay(&[SMALL, PARTS, BIG], &format!("{K9_LIST} {script}"));
}

const FAIREMAIL_LIST: &str = r#"
    SELECT INBOX
    FETCH 1:6 (ENVELOPE INTERNALDATE RFC822.SIZE FLAGS BODYSTRUCTURE UID BODY.PEEK[HEADER])
    UID FETCH 101:106 (FLAGS)
"#;

#[test]
fn fairemail_lists() {
    replay(&[], FAIREMAIL_LIST);
}

#[test]
fn fairemail_reads_parts_by_sequence_number() {
    let script = "
        FETCH 3 (BODY.PEEK[1.1]<1048576..end>)
        FETCH 3 (BODY.PEEK[1.2]<1048576..end>)
        FETCH 3 (BODY.PEEK[3]<1048576..end>)
        FETCH 4 (BODY.PEEK[1]<1048576..end>)
        FETCH 4 (BODY.PEEK[2]<1048576..end>)
        IDLE
    ";
    replay(&[PARTS, BIG], &format!("{FAIREMAIL_LIST} {script}"));
}

#[test]
fn javamail_reads_parts_in_small_chunks_and_sets_seen() {
    let script = "
        FETCH 3 (BODY[2]<16384..end>)
        FETCH 4 (BODY[1]<16384..end>)
        STORE 1 +FLAGS (\\Flagged)
    ";
    replay(&[PARTS, BIG], &format!("{FAIREMAIL_LIST} {script}"));
}

#[test]
fn javamail_reads_whole_messages_in_chunks() {
    let script = "
        FETCH 1 (BODY[]<16384..>)
        FETCH 3 (BODY.PEEK[]<16384..>)
        FETCH 4 (BODY.PEEK[]<1048576..>)
        CLOSE
    ";
    replay(&[SMALL, PARTS, BIG], &format!("{FAIREMAIL_LIST} {script}"));
}

#[test]
fn javamail_reads_what_is_as_long_as_it_was_told() {
    // No chunk is short: only what comes next shows that this was all.
    let script = "
        FETCH 4 (BODY.PEEK[]<1048576..end>)
        FETCH 3 (BODY.PEEK[]<16384..end>)
    ";
    replay(&[PARTS, BIG], &format!("{FAIREMAIL_LIST} {script}"));
}

const EVOLUTION_LIST: &str = r#"
    ENABLE CONDSTORE QRESYNC
    NAMESPACE
    SELECT INBOX
    UID FETCH 1:* (UID FLAGS)
    UID FETCH 101:106 (RFC822.SIZE RFC822.HEADER FLAGS)
    STATUS Trash (UIDNEXT MESSAGES UNSEEN UIDVALIDITY HIGHESTMODSEQ)
"#;

#[test]
fn evolution_lists() {
    replay(&[], EVOLUTION_LIST);
}

#[test]
fn evolution_reads() {
    let script = "
        UID FETCH 102 (BODY.PEEK[])
        UID FETCH 103 (BODY.PEEK[]<262144..>)
        UID FETCH 104 (BODY.PEEK[]<262144..>)
        UID STORE 102:104 +FLAGS.SILENT (\\Seen)
        IDLE
    ";
    replay(&[LETTER, PARTS, BIG], &format!("{EVOLUTION_LIST} {script}"));
}

const GEARY_LIST: &str = r#"
    SELECT INBOX
    UID FETCH 101:106 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)
    & UID FETCH 101:106 (UID BODY.PEEK[HEADER.FIELDS (References Reply-To)])
    UID FETCH 101:106 (BODY.PEEK[1.MIME] BODY.PEEK[1]<0.256>)
"#;

#[test]
fn geary_lists_and_previews() {
    replay(&[], &format!("{GEARY_LIST} IDLE"));
}

#[test]
fn geary_reads_header_and_text_apart() {
    let script = "
        UID FETCH 103 BODY.PEEK[HEADER]
        UID FETCH 103 BODY.PEEK[TEXT]
        UID FETCH 101,104 RFC822.HEADER
        & UID FETCH 101,104 BODY.PEEK[TEXT]
        UID STORE 103 +FLAGS (\\Seen)
        IDLE
    ";
    replay(&[SMALL, PARTS, BIG], &format!("{GEARY_LIST} {script}"));
}

#[test]
fn geary_reads_only_the_text() {
    // The header came in another session.
    replay(&[LETTER, BIG], "SELECT INBOX \n UID FETCH 102 BODY.PEEK[TEXT] \n UID FETCH 104 BODY.PEEK[TEXT] \n IDLE");
}

#[test]
fn kmail_reads() {
    let script = "
        SELECT INBOX (CONDSTORE)
        UID FETCH 101:106 (UID FLAGS)
        UID FETCH 101:106 (RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER] FLAGS UID)
        UID FETCH 101:102 (RFC822.SIZE INTERNALDATE BODY.PEEK[] FLAGS UID)
        UID FETCH 104 (BODY.PEEK[] UID)
        UID FETCH 103 (BODY.PEEK[2.MIME] BODY.PEEK[2])
        UID STORE 104 +FLAGS (\\Seen)
    ";
    replay(&[SMALL, LETTER, PARTS, BIG], script);
}

const MUTT_LIST: &str = r#"
    SELECT "INBOX"
    FETCH 1:3 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO)])
    & FETCH 4:6 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO)])
    & STATUS "Work" (UIDNEXT UIDVALIDITY UNSEEN RECENT MESSAGES)
"#;

#[test]
fn mutt_lists() {
    replay(&[], MUTT_LIST);
}

#[test]
fn mutt_reads() {
    let script = "
        UID FETCH 103 BODY.PEEK[]
        & UID STORE 103 +FLAGS.SILENT (\\Seen)
        & NOOP
        UID FETCH 104 BODY[]
        FETCH 1 RFC822
        IDLE
    ";
    replay(&[SMALL, PARTS, BIG], &format!("{MUTT_LIST} {script}"));
}

#[test]
fn mbsync_reads_in_a_pipeline() {
    let script = r#"
        LIST "" "*"
        SELECT "INBOX"
        UID FETCH 101:106 (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (X-TUID MESSAGE-ID)])
        UID FETCH 101 (FLAGS INTERNALDATE BODY.PEEK[])
        & UID FETCH 102 (FLAGS INTERNALDATE BODY.PEEK[])
        & UID FETCH 103 (BODY.PEEK[])
        & UID FETCH 104 (BODY.PEEK[])
        & UID FETCH 105 (BODY.PEEK[])
        CLOSE
    "#;
    replay(&[SMALL, LETTER, PARTS, BIG, FORWARDED], script);
}

#[test]
fn offlineimap_reads() {
    let script = r#"
        EXAMINE INBOX
        FETCH 1:6 (FLAGS UID INTERNALDATE)
        UID FETCH 101 (BODY.PEEK[])
        UID FETCH 104 (BODY.PEEK[])
        UNSELECT
    "#;
    replay(&[SMALL, BIG], script);
}

#[test]
fn getmail_reads() {
    let script = r#"
        SELECT INBOX
        FETCH 1:6 (UID RFC822.SIZE)
        UID FETCH 101 (BODY.PEEK[])
        UID FETCH 103 (BODY.PEEK[])
        UID FETCH 104 (RFC822)
        CLOSE
    "#;
    replay(&[SMALL, PARTS, BIG], script);
}

#[test]
fn fetchmail_reads_by_two_commands() {
    let script = r#"
        SELECT "INBOX"
        SEARCH UNSEEN
        FETCH 1:6 RFC822.SIZE
        FETCH 1 RFC822.HEADER
        FETCH 1 BODY.PEEK[TEXT]
        STORE 1 +FLAGS (\Seen)
        FETCH 3 RFC822.HEADER
        FETCH 4 RFC822.HEADER
        FETCH 4 BODY.PEEK[TEXT]
        STORE 4 +FLAGS (\Seen)
        FETCH 5 RFC822.HEADER
        FETCH 5 RFC822.TEXT
    "#;
    replay(&[SMALL, BIG, FORWARDED], script);
}

#[test]
fn sylpheed_reads() {
    let script = "
        SELECT INBOX
        UID FETCH 101:106 (UID FLAGS RFC822.SIZE RFC822.HEADER)
        UID FETCH 101 BODY.PEEK[]
        UID FETCH 104 BODY.PEEK[]
        UID STORE 101,104 +FLAGS.SILENT (\\Seen)
    ";
    replay(&[SMALL, BIG], script);
}

#[test]
fn claws_reads() {
    let script = "
        SELECT INBOX
        UID FETCH 101:* (UID FLAGS)
        UID FETCH 101:106 (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER])
        UID FETCH 103 BODY.PEEK[]
        UID FETCH 104 BODY.PEEK[]
    ";
    replay(&[PARTS, BIG], script);
}

#[test]
fn mailcore_reads() {
    let script = "
        SELECT INBOX
        UID FETCH 101:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (References)])
        UID FETCH 102 BODY.PEEK[]
        UID FETCH 103 BODY.PEEK[2]<32768..>
        UID FETCH 104 BODY.PEEK[2]<131072..end>
        IDLE
    ";
    replay(&[LETTER, PARTS, BIG], script);
}

const ALPINE_LIST: &str = r#"
    SELECT INBOX
    FETCH 1:6 (UID ENVELOPE BODY.PEEK[HEADER.FIELDS (Newsgroups Content-MD5 Content-Disposition Content-Language Content-Location Followup-To References)] INTERNALDATE RFC822.SIZE FLAGS)
"#;

#[test]
fn alpine_reads_parts() {
    let script = "
        UID FETCH 103 BODYSTRUCTURE
        UID FETCH 103 BODY[HEADER]
        UID FETCH 103 BODY[1.1]
        FETCH 5 (BODYSTRUCTURE FLAGS)
        FETCH 5 BODY[2.HEADER]
        FETCH 5 BODY[2.1]
        CHECK
    ";
    replay(&[PARTS, FORWARDED], &format!("{ALPINE_LIST} {script}"));
}

#[test]
fn alpine_exports_header_and_text() {
    let script = "
        FETCH 3 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])
        UID FETCH 104 (BODY[HEADER] BODY[TEXT])
    ";
    replay(&[PARTS, BIG], &format!("{ALPINE_LIST} {script}"));
}

#[test]
fn alpine_for_old_servers() {
    let script = "
        ! FETCH 2 RFC822.TEXT.PEEK
        ! FETCH 3 RFC822.PEEK
        FETCH 6 BODY.PEEK[0]
        FETCH 1 RFC822.TEXT
        FETCH 4 RFC822
    ";
    // Of what was before IMAP4rev1 Dovecot does not take what would leave \Seen alone. Section 0 is the header.
    replay(&[SMALL, BIG], &format!("{ALPINE_LIST} {script}"));
}

const ROUNDCUBE_LIST: &str = r#"
    NAMESPACE
    SELECT INBOX
    UID SORT (ARRIVAL) US-ASCII ALL UNDELETED
    UID FETCH 101:106 (UID RFC822.SIZE FLAGS INTERNALDATE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT CONTENT-TYPE CC REPLY-TO LIST-POST DISPOSITION-NOTIFICATION-TO X-PRIORITY)])
"#;

#[test]
fn roundcube_lists() {
    replay(&[], ROUNDCUBE_LIST);
}

#[test]
fn roundcube_shows_messages_by_parts() {
    let script = "
        UID FETCH 103 (UID RFC822.SIZE FLAGS INTERNALDATE BODYSTRUCTURE BODY.PEEK[HEADER])
        UID FETCH 103 (BODY.PEEK[1.2])
        UID STORE 103 +FLAGS.SILENT (\\Seen)
        UID FETCH 105 (BODY.PEEK[2])
        UID FETCH 101 (BODY.PEEK[TEXT])
        CLOSE
    ";
    replay(&[SMALL, PARTS, FORWARDED], &format!("{ROUNDCUBE_LIST} {script}"));
}

#[test]
fn roundcube_downloads_attachments_and_sources() {
    let script = "
        UID FETCH 103 (BODY.PEEK[2])
        UID FETCH 104 (BODY.PEEK[])
        UID FETCH 105 (BODY.PEEK[]<0.2097152>)
        LOGOUT
    ";
    replay(&[PARTS, BIG, FORWARDED], &format!("{ROUNDCUBE_LIST} {script}"));
}

#[test]
fn parts_decoded_by_the_server() {
    // BINARY is not offered, and asked for nevertheless: what comes is not what is kept.
    let script = "
        UID FETCH 101:106 (UID BINARY.SIZE[1])
        UID FETCH 103 (BINARY.PEEK[2])
        FETCH 4 (UID BINARY.PEEK[2]<0.65536>)
        UID FETCH 105 (BINARY[1])
    ";
    replay(&[PARTS, BIG, FORWARDED], &format!("SELECT INBOX {script}"));
}

const IMAPFLOW_LIST: &str = r#"
    SELECT INBOX (CONDSTORE)
    FETCH 1:* (UID FLAGS MODSEQ ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (References)])
"#;

#[test]
fn imapflow_reads() {
    let script = "
        UID FETCH 103 (UID BODY.PEEK[])
        UID FETCH 104 (UID RFC822.SIZE BODY.PEEK[]<65536..>)
        IDLE
    ";
    replay(&[PARTS, BIG], &format!("{IMAPFLOW_LIST} {script}"));
}

#[test]
fn imapflow_downloads_parts() {
    let script = "
        UID FETCH 103 (UID BODYSTRUCTURE BODY.PEEK[2.MIME])
        UID FETCH 103 (UID BODY.PEEK[2]<65536..>)
        FETCH 4 (UID BODY.PEEK[2.MIME])
        FETCH 4 (UID BODY.PEEK[2]<65536..>)
        IDLE
    ";
    replay(&[PARTS, BIG], &format!("{IMAPFLOW_LIST} {script}"));
}

#[test]
fn aerc_reads() {
    let script = r#"
        SELECT "INBOX"
        UID SEARCH ALL
        UID FETCH 101:106 (BODYSTRUCTURE ENVELOPE INTERNALDATE FLAGS UID BODY.PEEK[HEADER])
        UID FETCH 103 (FLAGS UID BODY.PEEK[1.MIME] BODY.PEEK[1])
        UID FETCH 103 (FLAGS UID BODY.PEEK[1.2.MIME] BODY.PEEK[1.2])
        UID FETCH 101 (FLAGS UID BODY.PEEK[HEADER] BODY.PEEK[TEXT])
        UID FETCH 104 (ENVELOPE FLAGS UID BODY.PEEK[])
        UID STORE 103 +FLAGS (\Seen)
    "#;
    replay(&[SMALL, PARTS, BIG], script);
}

#[test]
fn himalaya_reads() {
    let script = r#"
        SELECT INBOX
        FETCH 1:6 (UID FLAGS ENVELOPE BODYSTRUCTURE)
        UID FETCH 103 BODY.PEEK[]
        UID FETCH 101,104 BODY[]
    "#;
    replay(&[SMALL, PARTS, BIG], script);
}

const MAILKIT_LIST: &str = r#"
    SELECT INBOX (CONDSTORE)
    UID FETCH 101:106 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (REFERENCES)])
    UID FETCH 101:106 (BODY.PEEK[TEXT]<0.512>)
"#;

#[test]
fn mailkit_lists_and_previews() {
    replay(&[], MAILKIT_LIST);
}

#[test]
fn mailkit_reads() {
    let script = "
        UID FETCH 103 (BODY.PEEK[1.1.MIME] BODY.PEEK[1.1])
        UID FETCH 103 (BODY.PEEK[3.MIME] BODY.PEEK[3])
        UID FETCH 101 (BODY.PEEK[1.MIME] BODY.PEEK[1])
        UID FETCH 105 (BODY.PEEK[])
        UID FETCH 104 (BODY.PEEK[]<4096..>)
        IDLE
    ";
    replay(&[SMALL, PARTS, BIG, FORWARDED], &format!("{MAILKIT_LIST} {script}"));
}

#[test]
fn outlook_classic_reads() {
    let script = "
        SELECT INBOX
        UID FETCH 101:* (UID FLAGS)
        UID FETCH 101:106 (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER] INTERNALDATE)
        UID FETCH 101 (UID FLAGS RFC822.SIZE BODY.PEEK[] INTERNALDATE)
        UID FETCH 104 (UID FLAGS RFC822.SIZE BODY.PEEK[] INTERNALDATE)
        UID STORE 101,104 +FLAGS (\\Seen)
        IDLE
    ";
    replay(&[SMALL, BIG], script);
}

#[test]
fn the_new_outlook_reads_parts() {
    let script = "
        SELECT INBOX
        UID FETCH 101:106 (UID FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID)])
        UID FETCH 102 (UID BODY.PEEK[2])
        UID FETCH 104 (UID BODY.PEEK[2])
        UID FETCH 103 (UID BODY.PEEK[])
    ";
    replay(&[LETTER, PARTS, BIG], script);
}

#[test]
fn windows_mail_reads() {
    let script = "
        SELECT INBOX
        UID FETCH 101:106 (UID FLAGS INTERNALDATE RFC822.SIZE RFC822.HEADER)
        UID FETCH 102 (UID RFC822)
        FETCH 4 (RFC822 FLAGS)
    ";
    replay(&[LETTER, BIG], script);
}

const APPLE_LIST: &str = r#"
    SELECT INBOX
    UID FETCH 101:106 (INTERNALDATE UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (date subject from to cc message-id in-reply-to references content-type x-priority x-uniform-type-identifier x-universally-unique-identifier list-id list-unsubscribe bimi-indicator bimi-location x-bimi-indicator-hash authentication-results dkim-signature)])
    UID FETCH 101:106 (BODYSTRUCTURE UID)
"#;

#[test]
fn apple_lists() {
    replay(&[], &format!("{APPLE_LIST} IDLE"));
}

#[test]
fn ios_reads() {
    let script = "
        UID FETCH 102 (BODY.PEEK[]<0.393216> UID)
        UID FETCH 103 (BODY.PEEK[]<0.393216> UID)
        UID FETCH 104 (BODY.PEEK[]<393216..> UID)
        UID STORE 104 +FLAGS.SILENT (\\Seen)
        IDLE
    ";
    replay(&[LETTER, PARTS, BIG], &format!("{APPLE_LIST} {script}"));
}

#[test]
fn macos_reads() {
    let script = "
        UID FETCH 103 (BODY.PEEK[1.2] UID)
        UID FETCH 101 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])
        UID FETCH 104 BODY.PEEK[1]
        UID FETCH 104 BODY.PEEK[2]<262144..>
        UID FETCH 105 BODY.PEEK[]
        IDLE
    ";
    replay(&[SMALL, PARTS, BIG, FORWARDED], &format!("{APPLE_LIST} {script}"));
}
