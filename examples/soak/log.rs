//! The log of `start_proxies`, read line by line as it comes: counters, how sessions ended, and what may not be in it.
//!
//! A copy lies in the soak's folder, in two files of bounded size.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::messages::PASSWORD;
use crate::notebook::Notebook;

/// Octets of the copy's file, before it becomes the older one.
const FILE_LEN_MAX: usize = 64 << 20;
/// Of a reason's text, in the figures.
const REASON_LEN_MAX: usize = 90;

/// A line of SIGUSR1's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) open: u64,
    pub(crate) sessions: u64,
    pub(crate) refused: u64,
    pub(crate) kept: u64,
    pub(crate) duplicates: u64,
    pub(crate) not_kept: u64,
    pub(crate) fetched: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// What was read so far.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) counters: Counters,
    /// How often the counters came.
    pub(crate) told: u64,
    pub(crate) ready: u64,
    pub(crate) reloaded: u64,
    pub(crate) not_applied: u64,
    /// Name of the listener and its address.
    pub(crate) listeners: Vec<(String, String)>,
    over: bool,
}

pub(crate) struct Log {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Log {
    /// Reads to the end of the stream in a thread of its own.
    pub(crate) fn follow(stream: impl Read + Send + 'static, copy: PathBuf, notebook: Arc<Notebook>) -> Arc<Log> {
        let log = Arc::new(Log { seen: Mutex::default(), changed: Condvar::new() });
        let reader = Arc::clone(&log);
        thread::spawn(move || {
            let mut lines = Lines { copy: Copy::new(copy), notebook, not_kept: HashMap::new() };
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                lines.copy.write(&line);
                reader.change(|seen| lines.read(&line, seen));
            }
            lines.over();
            reader.change(|seen| seen.over = true);
        });
        log
    }

    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Waits until it is so (true), or until this time or the log is over.
    pub(crate) fn wait(&self, limit: Duration, is_so: impl Fn(&Seen) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut seen = self.lock();
        while !is_so(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.over {
                return false;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits until all was read.
    pub(crate) fn wait_for_end(&self, limit: Duration) -> bool {
        self.wait(limit, |seen| seen.over) || self.seen().over
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lines {
    copy: Copy,
    notebook: Arc<Notebook>,
    /// Lines `not kept` of sessions that are still open, by the session's id: whose they were tells their last line.
    not_kept: HashMap<String, Vec<(Instant, String)>>,
}

impl Lines {
    fn read(&mut self, line: &str, seen: &mut Seen) {
        let mut words = line.splitn(3, ' ');
        let (Some(_time), Some(level), Some(text)) = (words.next(), words.next(), words.next()) else {
            return self.notebook.finding(format_args!("a line that is none of the log's: {line}"));
        };
        if text.contains("panic") || text.contains("a bug of MailStore") || text.contains(PASSWORD) {
            self.notebook.finding(format_args!("the log says what it never may: {line}"));
        }
        match text.split_once(' ') {
            Some(("counters", rest)) if rest.starts_with("open=") => {
                seen.counters = counters(rest);
                seen.told += 1;
            }
            Some(("reloaded", _)) => seen.reloaded += 1,
            None if text == "ready" => seen.ready += 1,
            _ if text.contains(" is not applied") => seen.not_applied += 1,
            _ => {
                if let Some((name, rest)) = text.split_once(" listening on ") {
                    let address = rest.split(" -> ").next().unwrap_or_default();
                    seen.listeners.push((name.to_owned(), address.to_owned()));
                }
            }
        }
        let mut words = text.splitn(3, ' ');
        let (Some(id), Some(_proxy), Some(event)) = (words.next(), words.next(), words.next()) else { return };
        if event.starts_with("not kept ") {
            self.notebook.tell_not_kept(field(event, "owner="));
            self.not_kept.entry(id.to_owned()).or_default().push((Instant::now(), line.to_owned()));
        } else if event.starts_with("closed ") {
            self.closed(id, event);
        } else if level == "ERROR" || level == "WARN" {
            self.notebook.count(format_args!("log: {level} {}", shape(event)));
        }
    }

    fn closed(&mut self, id: &str, event: &str) {
        let port = field(event, "client=").rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        let seconds = field(event, " time=").trim_end_matches('s').parse().unwrap_or_default();
        let begun = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap_or_else(Instant::now);
        let connection = self.notebook.connection(port, begun);
        let reason = event.split_once("reason=").map_or("", |(_, reason)| reason);
        let has_left = reason.starts_with("client closed");
        let kind = if connection.is_some_and(|one| !one.is_fault) { "end" } else { "end of a fault" };
        self.notebook.count(format_args!("{kind}: {}", shape(reason)));
        for (at, line) in self.not_kept.remove(id).unwrap_or_default() {
            let reason = line.split_once("reason=").map_or("", |(_, reason)| reason);
            self.notebook.count(format_args!("not kept: {}", shape(reason)));
            // The soak empties a mailbox at the host once its client has left, also where the proxy is still fetching what was due.
            let is_provoked = reason.contains("max_message_size")
                || reason.starts_with("somebody else expunged it")
                || has_left && reason.starts_with("the server says OK and does not give it")
                || match reason.starts_with("cannot ") {
                    // No client can provoke that.
                    true => self.notebook.is_disk_disturbed(at),
                    false => self.notebook.is_disturbed(at, at) || connection.is_some_and(|one| one.is_fault),
                };
            if !is_provoked {
                let scenario = connection.map_or("of an unknown client", |one| one.scenario);
                self.notebook.finding(format_args!("not kept, and nothing provoked it ({scenario}): {line}"));
            }
        }
    }

    fn over(self) {
        for (_, line) in self.not_kept.into_values().flatten() {
            self.notebook.finding(format_args!("not kept, in a session that did not end: {line}"));
        }
    }
}

fn counters(text: &str) -> Counters {
    let number = |name| field(text, name).parse().unwrap_or_default();
    Counters {
        open: number("open="),
        sessions: number("sessions="),
        refused: number("refused="),
        kept: number(" kept="),
        duplicates: number("duplicates="),
        not_kept: number("not_kept="),
        fetched: number("fetched="),
        received: number("received="),
        sent: number("sent="),
    }
}

/// The word behind this name.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.split_once(name).and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default()
}

/// A text with what is different each time left out.
pub(crate) fn shape(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(' ') {
        let blank = if out.is_empty() { "" } else { " " };
        let word = if word.contains('/') || word.contains('@') { "…" } else { word };
        out.push_str(blank);
        for char in word.chars() {
            match char {
                '0'..='9' if out.ends_with('#') => {}
                '0'..='9' => out.push('#'),
                _ => out.push(char),
            }
        }
    }
    match out.char_indices().nth(REASON_LEN_MAX) {
        Some((at, _)) => out[..at].to_owned() + "…",
        None => out,
    }
}

/// The last lines, on disk.
struct Copy {
    path: PathBuf,
    file: io::Result<File>,
    len: usize,
}

impl Copy {
    fn new(path: PathBuf) -> Copy {
        Copy { file: File::options().create(true).append(true).open(&path), path, len: 0 }
    }

    fn write(&mut self, line: &str) {
        if self.len > FILE_LEN_MAX {
            let _ = fs::rename(&self.path, self.path.with_extension("older"));
            *self = Copy::new(self.path.clone());
        }
        self.len += line.len() + 1;
        // Where there is no room for it the soak goes on without.
        if let Ok(file) = &mut self.file {
            let _ = writeln!(file, "{line}");
        }
    }
}
