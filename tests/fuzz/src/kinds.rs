//! The three protocols with the settings that a byte stands for, and a login with a planted password.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use mailstore::archive::Folder;
use mailstore::config::{self, Follow, Keep, Shared, TlsMode};
use mailstore::protocol::Protocol;
use mailstore::protocol::imap::{self, FolderRules, Imap};
use mailstore::protocol::pop3::{self, Pop3};
use mailstore::protocol::smtp::{self, Smtp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pop3,
    Imap,
    Smtp,
}

/// Whether `on_archive_failure = refuse`.
pub fn refuses(settings: u8) -> bool {
    settings & 1 == 0
}

pub fn make(kind: Kind, settings: u8) -> Box<dyn Protocol> {
    let bit = |at: u8| settings >> at & 1 == 1;
    let listen_tls = if bit(1) { TlsMode::StartTls } else { TlsMode::None };
    let upstream_tls = if bit(2) { TlsMode::StartTls } else { TlsMode::Implicit };
    let default_domain = "example.com".to_owned();
    match kind {
        Kind::Pop3 => Box::new(Pop3::new(pop3::Settings { listen_tls, upstream_tls, default_domain })),
        Kind::Imap => Box::new(Imap::new(imap::Settings {
            listen_tls,
            upstream_tls,
            default_domain,
            folders: Arc::new(FolderRules::new(shared())),
            follow: [Follow::No, Follow::Inbox, Follow::All, Follow::All][usize::from(settings >> 3 & 3)],
            trouble: Arc::default(),
            own_tag: "X".to_owned(),
        })),
        Kind::Smtp => Box::new(Smtp::new(smtp::Settings {
            listen_tls,
            upstream_tls,
            default_domain,
            keep: [Keep::Sender, Keep::Recipients, Keep::Both, Keep::Both][usize::from(settings >> 3 & 3)],
            local_domains: if bit(5) { vec!["two.example".to_owned()] } else { Vec::new() },
            sent_folder: Folder::parse("Sent"),
            ehlo_name: "[127.0.0.1]".to_owned(),
            max_message_size: if bit(6) { 20 } else { 1000 },
        })),
    }
}

/// The configuration as it is where nothing is said.
fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("mailstore-fuzz-{}.ini", std::process::id()));
        let text = b"[mailstore]\n[imap]\nlisten = 127.0.0.1:0\nupstream = 127.0.0.1:1\nupstream_tls = none\n";
        std::fs::File::create(&path).and_then(|mut file| file.write_all(text)).expect("a temporary file");
        let config = config::load(&path);
        let _ = std::fs::remove_file(&path);
        config.expect("a configuration").shared
    })
}

/// The planted password: another one for each input, so that nothing else in an input can be it.
fn password(seed: u64) -> String {
    format!("{:016x}{seed:016x}", seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// What no text for the log may hold.
pub fn secrets(seed: u64) -> Vec<Vec<u8>> {
    let password = password(seed);
    let word = base64(password.as_bytes());
    let plain = base64(format!("\0me\0{password}").as_bytes());
    vec![password.into_bytes(), word.into_bytes(), plain.into_bytes()]
}

/// A login of the client's, well formed or not.
pub fn login(kind: Kind, way: u8, seed: u64) -> Vec<u8> {
    let password = password(seed);
    let word = base64(password.as_bytes());
    let plain = base64(format!("\0me\0{password}").as_bytes());
    let token = base64(format!("user=me\x01auth=Bearer {password}\x01\x01").as_bytes());
    let line = match (kind, way % 10) {
        (Kind::Pop3, 0) => format!("PASS {password}"),
        (Kind::Pop3, 1) => format!("APOP me {password}"),
        (Kind::Pop3, 2) => format!("USER {password}"),
        (Kind::Imap, 0) => format!("p LOGIN me {password}"),
        (Kind::Imap, 1) => format!("p LOGIN me \"{password}"),
        (Kind::Imap, 2) => format!("p LOGIN {password}"),
        (Kind::Imap, 3) => format!("p LOGIN {{2}}\r\nme {{{}}}\r\n{password}", password.len()),
        (Kind::Imap, 4) => format!("{password} LOGIN me"),
        (Kind::Smtp, 0..=2) | (_, 5) => format!("AUTH PLAIN {plain}"),
        (_, 6) => format!("AUTH PLAIN {password}!"),
        (_, 7) => format!("AUTH LOGIN {word}"),
        (_, 8) => format!("AUTH XOAUTH2 {token}"),
        // Within an exchange.
        (_, 3) => plain,
        (_, 4) => password,
        _ => word,
    };
    let tag = if kind == Kind::Imap && line.starts_with("AUTH ") { "p AUTHENTICATE" } else { "" };
    let line = if tag.is_empty() { line } else { line.replacen("AUTH", tag, 1) };
    (line + "\r\n").into_bytes()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let six = bits >> (18 - 6 * at) & 63;
            text.push(if at <= three.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    text
}
