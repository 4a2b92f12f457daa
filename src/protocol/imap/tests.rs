//! Transcripts of whole IMAP sessions, each also split at every byte.

use std::sync::Arc;
use std::time::Duration;

use super::{FolderRules, Imap, Settings};
use crate::config::{ImapFolders, OnArchiveFailure, Shared, TlsMode};
use crate::protocol::testing::{Recorder, transcript};

pub(super) fn shared() -> Shared {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
    Shared {
        spool: "mailSpool".into(),
        maildir: "%d/%n".to_string(),
        default_domain: "localhost".to_string(),
        sent_folder: "Sent".to_string(),
        skip_folders: list(&["Drafts", "Junk", "Spam", "Trash"]),
        skip_special_use: true,
        imap_folders: ImapFolders::Mirror,
        on_archive_failure: OnArchiveFailure::Refuse,
        sync: true,
        max_sessions: 1000,
        max_sessions_per_client: 200,
        max_message_size: 100 << 20,
        login_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(1860),
        shutdown_grace: Duration::from_secs(30),
        user: None,
        group: None,
        log: log::LevelFilter::Info,
    }
}

fn run_with(listen_tls: TlsMode, upstream_tls: TlsMode, script: &str) -> Recorder {
    let make = || {
        let settings = Settings {
            listen_tls,
            upstream_tls,
            default_domain: "example.org".to_string(),
            folders: Arc::new(FolderRules::new(&shared())),
        };
        Box::new(Imap::new(settings)) as Box<dyn crate::protocol::Protocol>
    };
    transcript(make, script)
}

fn run(script: &str) -> Recorder {
    run_with(TlsMode::None, TlsMode::Implicit, script)
}

/// Logged in as joe, with INBOX selected.
const SELECTED: &str = r#"
    S: * OK ready
    -> C: * OK ready
    C: a LOGIN joe secret
    -> S: a LOGIN joe secret
    S: a OK in
    -> logged_in joe@example.org
    -> C: a OK in
    C: b SELECT INBOX
    -> S: b SELECT INBOX
    S: b OK selected
    -> C: b OK selected
"#;

fn selected(script: &str) -> Recorder {
    run(&format!("{SELECTED}{script}"))
}

#[test]
fn a_whole_message_is_kept_before_the_tagged_ok() {
    selected(
        r#"
        C: c UID FETCH 7 (UID BODY.PEEK[])
        -> S: c UID FETCH 7 (UID BODY.PEEK[])
        S: * 1 FETCH (UID 7 INTERNALDATE "01-Jan-2024 00:00:00 +0000" BODY[] {9}
        S: A: b\r\n\r\nx)
        -> begin 1 joe@example.org INBOX size=9
        -> append 1 A: b
        -> append 1 \r\n\
        -> append 1 x\
        -> date 1 1704067200
        -> finish 1
        -> C: * 1 FETCH (UID 7 INTERNALDATE "01-Jan-2024 00:00:00 +0000" BODY[] {9}
        -> C: A: b
        -> C: \
        -> C: x)
        S: c OK done
        -> settle
        -> C: c OK done
        "#,
    );
}
