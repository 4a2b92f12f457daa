//! The log: one line a fact on standard error, `2026-11-23T14:31:23Z INFO text`.
//!
//! [`init`] once, [`set_level`] when the configuration is read again. `RUST_LOG`, where it is set, decides alone what is
//! shown. Whatever a message holds, it stays one line: control characters are written `\xNN`. Peers' bytes are put
//! through [`escape`] before they get into a message, so that they cannot imitate its fields either.

mod seldom;

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use env_logger::Target;
use log::{Level, LevelFilter, Log, Metadata, Record};

pub use seldom::Seldom;

/// The target of the lines that scripts wait for (the listeners, `ready`): shown at `info` whatever the key `log` says.
pub const READY_TARGET: &str = "mailstore::ready";

/// The variable that overrides the key `log`.
const OVERRIDE: &str = "RUST_LOG";

/// So many bytes of a peer's are shown at most; the rest is `...`.
const ESCAPED_LEN_MAX: usize = 200;

/// Room for a line about a message.
const LINE_LEN: usize = 256;

thread_local! {
    static SECOND: RefCell<Second> = const { RefCell::new(Second { unix: 0, text: String::new() }) };
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts logging at this level. A second call only sets the level.
pub fn init(level: LevelFilter) {
    let logger = LOGGER.get_or_init(|| {
        let filters = std::env::var(OVERRIDE).ok().filter(|filters| !filters.trim().is_empty());
        Logger::new(filters.as_deref(), Target::Stderr)
    });
    // An error says that a logger was there before (ours, or a test's): then that one goes on.
    let _ = log::set_logger(logger);
    set_level(level);
}

/// Changes the level. Does nothing where `RUST_LOG` decides, or before [`init`].
pub fn set_level(level: LevelFilter) {
    if let Some(logger) = LOGGER.get() {
        logger.set_level(level);
        log::set_max_level(logger.max_level());
    }
}

/// Logs panics as one line of level error: where it happened, and its message if that is fixed text. A message made at run
/// time is withheld: it could hold bytes of a message or a password.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let text = panic_text(info);
        if LOGGER.get().is_some() {
            log::error!("{text}");
        } else {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }));
}

/// A peer's bytes as they may stand in a log line: printable ASCII stays, but for `\`, `"` and blanks; these and
/// everything else become `\xNN`. After 200 bytes the rest is `...`.
pub fn escape(bytes: &[u8]) -> String {
    escape_but(bytes, &[])
}

/// As [`escape`], for a text that is being formatted.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.len() <= ESCAPED_LEN_MAX && text.bytes().all(is_plain) => f.write_str(text),
            _ => f.write_str(&escape(self.0)),
        }
    }
}

/// A peer's sentence in double quotes, as [`escape`] but for blanks, which stay: for the end of a log line. No `=` stays: who searches the log
/// for ` owner=` finds what we said, and nobody else.
pub fn quote(text: &[u8]) -> String {
    format!("\"{}\"", escape_but(text.trim_ascii_end(), b" ").replace('=', "\\x3d"))
}

/// As [`escape`], however long: what is told apart by its text must not be cut. One word, never empty.
pub fn escape_whole(bytes: &[u8]) -> String {
    if bytes.is_empty() { "\\".to_owned() } else { escape_up_to(bytes.len(), bytes, &[]) }
}

fn escape_but(bytes: &[u8], plain: &[u8]) -> String {
    escape_up_to(ESCAPED_LEN_MAX, bytes, plain)
}

fn escape_up_to(len_max: usize, bytes: &[u8], plain: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(len_max)];
    let mut out = String::with_capacity(shown.len() + 3);
    for &byte in shown {
        if is_plain(byte) || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    if shown.len() < bytes.len() {
        out.push_str("...");
    }
    out
}

/// What needs no escape.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\' && byte != b'"'
}

/// `1 session`, `2 sessions`.
pub fn counted(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// `env_logger` with a level that can change while it runs, which its own filters cannot.
struct Logger {
    inner: env_logger::Logger,
    /// `RUST_LOG` is set: its filters, which `inner` holds, decide alone.
    overridden: bool,
    /// A [`LevelFilter`] as a number.
    level: AtomicUsize,
}

impl Logger {
    fn new(filters: Option<&str>, target: Target) -> Logger {
        let mut builder = env_logger::Builder::new();
        match filters {
            Some(filters) => builder.parse_filters(filters),
            None => builder.filter_level(LevelFilter::Trace),
        };
        builder.target(target).format(|out, record| {
            let mut text = String::with_capacity(LINE_LEN);
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{}", record.args());
            // Nearly all are.
            if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                text = one_line(&text);
            }
            let level = record.level();
            SECOND.with_borrow_mut(|second| writeln!(out, "{} {level} {text}", second.now()))
        });
        Logger {
            inner: builder.build(),
            overridden: filters.is_some(),
            level: AtomicUsize::new(LevelFilter::Info as usize),
        }
    }

    fn set_level(&self, level: LevelFilter) {
        self.level.store(level as usize, Ordering::Relaxed);
    }

    /// What the `log` macros have to let through to [`Log::enabled`]: the lines of [`READY_TARGET`] always.
    fn max_level(&self) -> LevelFilter {
        if self.overridden {
            return self.inner.filter();
        }
        let level = self.level.load(Ordering::Relaxed);
        LevelFilter::iter().find(|filter| *filter as usize == level).unwrap_or(LevelFilter::Info).max(LevelFilter::Info)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if self.overridden {
            return self.inner.enabled(metadata);
        }
        let wanted = metadata.level() as usize <= self.level.load(Ordering::Relaxed);
        wanted || (metadata.target() == READY_TARGET && metadata.level() <= Level::Info)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.inner.log(record);
        }
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

/// The time as a line begins with it, made once a second.
struct Second {
    unix: u64,
    text: String,
}

impl Second {
    fn now(&mut self) -> &str {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if unix != self.unix || self.text.is_empty() {
            self.unix = unix;
            let time = i64::try_from(unix).ok().and_then(|unix| DateTime::from_timestamp(unix, 0)).unwrap_or_default();
            self.text = time.to_rfc3339_opts(SecondsFormat::Secs, true);
        }
        &self.text
    }
}

/// The text with nothing in it that could end the line, move a terminal's cursor, or turn the reading direction.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn panic_text(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    // Only a literal is a `&'static str`; what `format!` made is a `String`.
    let message = info
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("its message is not shown: it may hold private text");
    format!("panic in the thread {thread} at {place}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logger(filters: Option<&str>) -> (Logger, Sink) {
        let sink = Sink::default();
        (Logger::new(filters, Target::Pipe(Box::new(sink.clone()))), sink)
    }

    fn log(logger: &Logger, target: &str, level: Level, text: &str) {
        logger.log(&Record::builder().target(target).level(level).args(format_args!("{text}")).build());
    }

    fn shown(sink: &Sink) -> String {
        String::from_utf8(std::mem::take(&mut sink.0.lock().unwrap())).unwrap()
    }

    #[test]
    fn a_line_is_time_level_text() {
        let (logger, sink) = logger(None);
        log(&logger, "mailstore::server", Level::Info, "7f3a pop3 kept");
        let line = shown(&sink);
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(rest, "INFO 7f3a pop3 kept\n");
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999-99-99T99:99:99Z");
    }

    #[test]
    fn the_level_changes_while_it_runs() {
        let (logger, sink) = logger(None);
        for (level, max) in [(LevelFilter::Error, LevelFilter::Info), (LevelFilter::Debug, LevelFilter::Debug)] {
            logger.set_level(level);
            assert_eq!(logger.max_level(), max);
            for record in Level::iter() {
                log(&logger, "mailstore", record, "text");
                assert_eq!(!shown(&sink).is_empty(), record <= level, "{record} at {level}");
            }
        }
    }

    #[test]
    fn ready_is_shown_whatever_the_level() {
        let (logger, sink) = logger(None);
        logger.set_level(LevelFilter::Error);
        log(&logger, READY_TARGET, Level::Info, "ready");
        assert!(shown(&sink).ends_with(" INFO ready\n"));
        log(&logger, READY_TARGET, Level::Debug, "detail");
        assert_eq!(shown(&sink), "");
    }

    #[test]
    fn rust_log_decides_alone() {
        let (logger, sink) = logger(Some("warn,mailstore::server=trace"));
        logger.set_level(LevelFilter::Error);
        assert_eq!(logger.max_level(), LevelFilter::Trace);
        log(&logger, READY_TARGET, Level::Info, "ready");
        assert_eq!(shown(&sink), "");
        log(&logger, "mailstore::archive", Level::Warn, "text");
        assert!(shown(&sink).ends_with(" WARN text\n"));
        log(&logger, "mailstore::server", Level::Trace, "text");
        assert!(shown(&sink).ends_with(" TRACE text\n"));
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let (logger, sink) = logger(None);
        log(&logger, "mailstore", Level::Warn, "a\r\n2026-11-23T14:31:23Z INFO kept\u{1b}[2J\u{85}\u{2028}\u{202e}ü\\");
        let line = shown(&sink);
        assert!(
            line.ends_with(" WARN a\\x0d\\x0a2026-11-23T14:31:23Z INFO kept\\x1b[2J\\x85\\u{2028}\\u{202e}ü\\\n"),
            "{line}"
        );
    }

    #[test]
    fn escape_keeps_only_plain_ascii() {
        assert_eq!(escape(b""), "");
        assert_eq!(escape(b"user@example.com"), "user@example.com");
        assert_eq!(escape(b"a b\tc\\\"d\r\n\x00\x7f\xff"), "a\\x20b\\x09c\\x5c\\x22d\\x0d\\x0a\\x00\\x7f\\xff");
        assert_eq!(escape(&[b'a'; 200]), "a".repeat(200));
        assert_eq!(escape(&[b'a'; 201]), format!("{}...", "a".repeat(200)));
    }

    #[test]
    fn one_is_one() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "session")), ["0 sessions", "1 session", "2 sessions"]);
    }

    #[test]
    fn a_panic_is_told_without_private_text() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let before = std::panic::take_hook();
        let (sink, me) = (Arc::clone(&told), std::thread::current().id());
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == me {
                sink.lock().unwrap().push(panic_text(info));
            } else {
                // Another test's failure, at the same moment.
                eprintln!("{info}");
            }
        }));
        let secret = "hunter2";
        let _ = std::panic::catch_unwind(|| panic!("a fixed text"));
        let _ = std::panic::catch_unwind(|| panic!("password {secret}"));
        std::panic::set_hook(before);
        let told = told.lock().unwrap();
        assert!(told[0].contains("src/logging.rs:") && told[0].ends_with(": a fixed text"), "{}", told[0]);
        assert!(
            told[1].contains("src/logging.rs:")
                && told[1].ends_with(": its message is not shown: it may hold private text")
        );
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_plain(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = escape(&bytes);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
            prop_assert!(text.len() <= 4 * ESCAPED_LEN_MAX + 3);
        }

        #[test]
        fn a_line_stays_one(text in any::<String>()) {
            prop_assert!(!one_line(&text).chars().any(char::is_control));
        }
    }

    #[test]
    fn a_quoted_sentence_stays_readable_and_forges_nothing() {
        assert_eq!(quote(b"* BYE go \"away\"\r\nINFO forged\r\n"), "\"* BYE go \\x22away\\x22\\x0d\\x0aINFO forged\"");
    }

    #[test]
    fn a_quoted_sentence_has_no_fields() {
        assert_eq!(quote(b"7f3a imap kept owner=eve@example.org"), "\"7f3a imap kept owner\\x3deve@example.org\"");
    }
}
