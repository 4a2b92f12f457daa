//! What the program can say, read out of its sources: the texts in the calls that log at WARN or ERROR, and in those that make reasons.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Calls whose texts get into the log at WARN, ERROR, or as a reason.
const CALLS: [&str; 17] = [
    "log::error!(",
    "log::warn!(",
    "log::log!(",
    "host.not_kept(",
    "host.not_kept_more(",
    "host.login_failed(",
    "host.refused(",
    "keeper.no_server(",
    "End::Fault(",
    "End::Orderly(",
    "self.fault(",
    "self.fail(",
    "self.missed(",
    "abandon_due(",
    "self.give_up(",
    "Rejected(",
    "Error::new(",
];

/// Functions that make texts for such calls elsewhere: all their texts count.
const MAKERS: [(&str, &str); 11] = [
    ("net/relay/waiting.rs", "fn end_by("),
    ("net/relay/waiting.rs", "fn idle_because("),
    ("net/relay/waiting.rs", "fn took_nothing("),
    ("net/tls.rs", "fn readable("),
    ("net/dial.rs", "pub fn dial("),
    ("server/limits.rs", "fn fmt("),
    ("server/tell.rs", "fn unbound("),
    ("server/tell.rs", "fn give_away("),
    ("server/session.rs", "fn unfit("),
    ("server/mod.rs", "pub fn start("),
    ("server/privileges.rs", "pub fn confine("),
];

/// Beginnings that stand for all that may come behind them, which is the peer's doing and for nobody to mend: the page explains each once.
pub(crate) const GROUPS: [&str; 6] = [
    "the server broke the protocol: ",
    "the client sent ",
    "client sent ",
    "server sent ",
    "server's ",
    "the server's ",
];

/// Calls in the same functions whose texts are no such lines: of lower levels, or for clients.
const QUIET: [&str; 9] = [
    "log::info!(",
    "log::debug!(",
    "log::trace!(",
    "host.note(",
    ".refusal(",
    "refuse(",
    "self.refuse_line(",
    ".name(",
    "env!(",
];

/// Texts that are left and are none either.
const NOT_LOGGED: [&str; 6] = [
    "the line is too long",
    "STLS is not available",
    "STLS has to come before a login",
    "this authentication mechanism is not available through MailStore",
    "error",
    ", error:",
];

/// A text in the sources: where, and its fixed parts.
pub(crate) struct Said {
    pub(crate) place: String,
    pub(crate) parts: Vec<String>,
}

/// The files of the program without its tests: their path below `src`, and their text up to their tests.
pub(crate) fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_stem().unwrap().to_str().unwrap();
            let test = name.ends_with("tests") || ["testing", "fuzzing"].contains(&name);
            match (test, entry.is_dir()) {
                (true, _) => {}
                (false, true) => todo.push(entry),
                (false, false) => found.push((below(&root, &entry), without_tests(&entry))),
            }
        }
    }
    found.sort();
    found
}

fn below(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

fn without_tests(file: &PathBuf) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    // What a comment quotes is not said.
    text.lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect()
}

pub(crate) fn all_said() -> Vec<Said> {
    let mut all = Vec::new();
    let mut add = |place: String, texts: Vec<String>| {
        let grouped = |text: &&String| GROUPS.iter().any(|group| text.starts_with(group));
        let parts: Vec<String> = texts
            .iter()
            .filter(|text| !grouped(text))
            .flat_map(|text| fixed_parts(text))
            .filter(|part| is_telling(part))
            .collect();
        if !parts.is_empty() {
            all.push(Said { place, parts });
        }
    };
    let sources = sources();
    for (file, text) in &sources {
        for call in CALLS {
            for (at, _) in text.match_indices(call) {
                let place = format!("src/{file}:{}", text[..at].lines().count());
                let arguments = balanced(&text[at + call.len() - 1..]);
                let mut texts = literals(arguments);
                texts.extend(constants(text, arguments));
                // The text was made in the lines before, or pieces of it were.
                let pieced = call.starts_with("log::") && texts.iter().any(|text| text.contains('{'));
                if texts.is_empty() || pieced {
                    texts.extend(
                        literals(&loud(function_around(text, at))).into_iter().filter(|text| text.contains(' ')),
                    );
                }
                add(place, texts);
            }
        }
    }
    for (file, function) in MAKERS {
        let (_, text) =
            sources.iter().find(|(name, _)| name == file).unwrap_or_else(|| panic!("src/{file} is not there"));
        let at = text.find(function).unwrap_or_else(|| panic!("src/{file} has no {function}"));
        add(format!("src/{file}: {function}"), literals(&loud(function_around(text, at + function.len()))));
    }
    all
}

/// Without the arguments of the quiet calls.
fn loud(text: &str) -> String {
    let mut text = text.to_owned();
    for call in QUIET {
        let mut from = 0;
        while let Some(at) = text[from..].find(call).map(|at| from + at + call.len()) {
            let len = balanced(&text[at - 1..]).len();
            text.replace_range(at..at - 1 + len, "");
            from = at;
        }
    }
    text
}

/// From the opening parenthesis at the start to the one that closes it.
fn balanced(text: &str) -> &str {
    let (mut depth, mut inside) = (0, Scan::default());
    for (at, c) in text.char_indices() {
        if !inside.step(c) {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                return &text[..at];
            }
        }
    }
    text
}

/// From the line that begins the function to the one that ends it, as rustfmt lays them out.
fn function_around(text: &str, at: usize) -> &str {
    let is_start = |line: &str| {
        let line = line.trim_start();
        ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn "].iter().any(|start| line.starts_with(start))
            || line.starts_with("pub(in ") && line.contains(" fn ")
    };
    let mut start = 0;
    let mut begun = 0;
    for line in text.split_inclusive('\n') {
        if begun > at {
            break;
        }
        if is_start(line) {
            start = begun;
        }
        begun += line.len();
    }
    let indent = text[start..].len() - text[start..].trim_start_matches(' ').len();
    let end = format!("\n{}}}\n", " ".repeat(indent));
    text[start..].find(&end).map_or(&text[start..], |end| &text[start..start + end])
}

/// What the constants say that are named here.
fn constants(text: &str, arguments: &str) -> Vec<String> {
    let words = arguments.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let names: BTreeSet<&str> = words.filter(|word| word.len() > 3).collect();
    let said = |name: &&str| {
        let at = text.find(&format!("const {name}: &str ="))?;
        literals(text[at..].split(";\n").next()?).pop()
    };
    names.iter().filter_map(said).collect()
}

/// The string literals, as they are in the running program.
pub(crate) fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut scan = Scan::default();
    let mut begun = None;
    for (at, c) in text.char_indices() {
        let was = scan.string;
        scan.step(c);
        match (was, scan.string) {
            (false, true) => begun = Some(at + 1),
            (true, false) => found.push(unescaped(&text[begun.take().unwrap()..at])),
            _ => {}
        }
    }
    found
}

/// Whether a character is in a string literal. (Raw ones there are none; characters like `'"'` are known.)
#[derive(Default)]
struct Scan {
    string: bool,
    escaped: bool,
    before: [char; 2],
}

impl Scan {
    fn step(&mut self, c: char) -> bool {
        let was = self.string;
        if self.string {
            match (self.escaped, c) {
                (true, _) => self.escaped = false,
                (false, '\\') => self.escaped = true,
                (false, '"') => self.string = false,
                _ => {}
            }
        } else if c == '"' && self.before[1] != '\'' && self.before != ['\'', '\\'] {
            self.string = true;
        }
        self.before = [self.before[1], c];
        was || self.string
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some(_)) => out.push(match rest.next().unwrap() {
                'r' | 'n' | 't' => ' ',
                other => other,
            }),
            _ => out.push(c),
        }
    }
    out
}

/// The parts of a format string that are always there, as they stand on the page.
pub(crate) fn fixed_parts(text: &str) -> Vec<String> {
    if NOT_LOGGED.contains(&text) || is_said_to_a_peer(text) {
        return Vec::new();
    }
    let mut parts = vec![String::new()];
    let mut inside = false;
    for c in text.chars() {
        match c {
            '{' => {
                inside = true;
                parts.push(String::new());
            }
            '}' => inside = false,
            _ if inside => {}
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    parts.iter().map(|part| plain(part)).filter(|part| !part.is_empty()).collect()
}

/// Not too short to be told from anything else.
pub(crate) fn is_telling(part: &str) -> bool {
    part.chars().filter(|c| c.is_alphabetic()).count() > 3
}

/// `501 …`, `NO …`: an answer, which stands in a function beside what is logged.
fn is_said_to_a_peer(text: &str) -> bool {
    let code = text.split(' ').next().unwrap();
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()) || ["NO", "BAD", "OK", "BYE"].contains(&code)
}

/// Without what only lays it out: line ends, and the marks of Markdown.
pub(crate) fn plain(text: &str) -> String {
    text.replace(['`', '*'], "").replace("\\|", "|").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether this is a row of such texts, one filled into the other.
pub(crate) fn is_made_of(line: &str, parts: &BTreeSet<String>) -> bool {
    let line = line.trim_start();
    line.is_empty()
        || line
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .any(|end| parts.contains(line[..end].trim_end()) && is_made_of(&line[end..], parts))
}
