//! A script's lines, from text and to text: see the module above.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::protocol::{Farewell, Side};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Send(Side, Vec<u8>),
    Append(u32, Vec<u8>),
    Other(String),
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Input(Side, Vec<u8>),
    /// None: nothing.
    Expect(Option<Op>),
    Fail(String),
    Known(String),
    Rest,
    Tls(Side),
    Eof(Side),
    Outstanding(bool),
    Farewell(Farewell, Option<Vec<u8>>),
}

pub(super) fn parse(script: &str) -> Vec<Step> {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse_line(line).unwrap_or_else(|| panic!("not a line of a script: {line}"))).collect()
}

fn parse_line(line: &str) -> Option<Step> {
    if let Some((side, bytes)) = parse_bytes(line) {
        return Some(Step::Input(side, bytes));
    }
    if let Some(action) = line.strip_prefix("-> ") {
        let op = match (parse_bytes(action), action.strip_prefix("append ")) {
            (Some((side, bytes)), _) => Op::Send(side, bytes),
            (None, Some(append)) if !append.ends_with(" refused") => {
                let (draft, text) = append.split_once(' ').unwrap_or((append, ""));
                Op::Append(draft.parse().ok()?, unescape(text))
            }
            _ => Op::Other(action.trim_end().to_owned()),
        };
        return Some(Step::Expect((action != "nothing").then_some(op)));
    }
    if line.trim_end() == "rest" {
        return Some(Step::Rest);
    }
    let (verb, rest) = line.split_once(' ')?;
    Some(match verb {
        "known" => Step::Known(rest.trim_end().to_owned()),
        "fail" => Step::Fail(rest.to_owned()),
        "tls" => Step::Tls(parse_side(rest)?),
        "eof" => Step::Eof(parse_side(rest)?),
        "outstanding" => Step::Outstanding(rest == "yes"),
        "farewell" => {
            let (why, text) = rest.split_once(' ')?;
            let why = match why {
                "timeout" => Farewell::Timeout,
                "shutdown" => Farewell::Shutdown,
                "lost" => Farewell::Lost,
                "not_kept" => Farewell::NotKept,
                _ => return None,
            };
            Step::Farewell(why, (text != "none").then(|| unescape(text)))
        }
        _ => return None,
    })
}

fn parse_bytes(line: &str) -> Option<(Side, Vec<u8>)> {
    let (side, text) = line.split_once(':')?;
    Some((parse_side(side)?, unescape(text.strip_prefix(' ').unwrap_or(text))))
}

fn parse_side(side: &str) -> Option<Side> {
    match side {
        "C" => Some(Side::Client),
        "S" => Some(Side::Server),
        _ => None,
    }
}

/// The bytes of a script's text, its line end included unless it says that there is none.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let Some((&escaped, behind)) = rest.split_first() else { return bytes };
        rest = behind;
        bytes.push(match escaped {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let digits = std::str::from_utf8(rest.get(..2).expect("two digits")).expect("digits");
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
            }
            other => other,
        });
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// As a script would have it.
pub(super) fn show(line: &[u8]) -> String {
    let (text, ending) = match line.strip_suffix(b"\r\n") {
        Some(text) => (text, ""),
        None => (line, "\\"),
    };
    let mut shown = String::new();
    for &byte in text {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            b'\r' => shown.push_str("\\r"),
            b'\n' => shown.push_str("\\n"),
            b'\t' => shown.push_str("\\t"),
            0 => shown.push_str("\\0"),
            b' '..=b'~' => shown.push(byte as char),
            _ => write!(shown, "\\x{byte:02x}").expect("a String takes all"),
        }
    }
    shown + ending
}

pub(super) fn render(ops: &[Op]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut channels: BTreeMap<(u8, u32), Vec<u8>> = BTreeMap::new();
    for op in ops {
        match op {
            Op::Append(draft, bytes) => channels.entry((0, *draft)).or_default().extend(bytes),
            Op::Send(Side::Server, bytes) => channels.entry((1, 0)).or_default().extend(bytes),
            Op::Send(Side::Client, bytes) => channels.entry((2, 0)).or_default().extend(bytes),
            Op::Other(text) => {
                flush(&mut channels, &mut lines);
                lines.push(text.trim_end().to_owned());
            }
        }
    }
    flush(&mut channels, &mut lines);
    lines
}

fn flush(channels: &mut BTreeMap<(u8, u32), Vec<u8>>, lines: &mut Vec<String>) {
    for ((channel, draft), bytes) in std::mem::take(channels) {
        let label = match channel {
            0 => format!("append {draft}"),
            1 => "S:".to_owned(),
            _ => "C:".to_owned(),
        };
        lines.extend(bytes.split_inclusive(|&b| b == b'\n').map(|line| format!("{label} {}", show(line))));
    }
}
