//! Transcripts of whole sessions, by subject, and properties.

mod bdat;
mod data;
mod properties;
mod session;
mod tls;

use super::{Settings, Smtp};
use crate::archive::Folder;
use crate::config::{Keep, TlsMode};
use crate::protocol::Protocol;
use crate::protocol::testing::{Recorder, transcript};

fn settings() -> Settings {
    Settings {
        listen_tls: TlsMode::None,
        upstream_tls: TlsMode::None,
        default_domain: "home.example".into(),
        keep: Keep::Sender,
        local_domains: Vec::new(),
        sent_folder: Folder::inbox(),
        ehlo_name: "[127.0.0.1]".into(),
        max_message_size: 1000,
    }
}

fn make(settings: Settings) -> Box<dyn Protocol> {
    Box::new(Smtp::new(settings))
}

/// Plays a script with these settings.
fn play_with(settings: &Settings, script: &str) -> Recorder {
    transcript(|| make(settings.clone()), script)
}

/// Plays a script with the settings as they are, from behind the greeting.
fn play(script: &str) -> Recorder {
    play_with(&settings(), &format!("{GREETING}{script}"))
}

/// Plays a script from behind RCPT, with no reply outstanding.
fn play_mail(script: &str) -> Recorder {
    play(&format!("{MAIL}{script}"))
}

const GREETING: &str = "
    S: 220 mx.example ESMTP
    -> C: 220 mx.example ESMTP
";

const MAIL: &str = "
    C: MAIL FROM:<a@one.example>
    -> S: MAIL FROM:<a@one.example>
    S: 250 2.1.0 Ok
    -> C: 250 2.1.0 Ok
    C: RCPT TO:<b@two.example>
    -> S: RCPT TO:<b@two.example>
    S: 250 2.1.5 Ok
    -> C: 250 2.1.5 Ok
";
