//! What is wrong with the file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong: `FILE: [section] key: what is wrong and what would be right (line 12)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As it was given.
    pub file: PathBuf,
    pub section: Option<String>,
    pub key: Option<String>,
    /// Counted from 1.
    pub line: Option<usize>,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match (&self.section, &self.key) {
            (Some(section), Some(key)) => write!(f, "[{section}] {key}: ")?,
            (Some(section), None) => write!(f, "[{section}]: ")?,
            (None, Some(key)) => write!(f, "{key}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.text)?;
        self.line.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// All faults of one file.
pub(super) struct Faults {
    file: PathBuf,
    list: Vec<Fault>,
}

impl Faults {
    pub(super) fn new(file: &Path) -> Faults {
        Faults { file: file.to_owned(), list: Vec::new() }
    }

    pub(super) fn add(&mut self, section: Option<&str>, key: Option<&str>, line: Option<usize>, text: String) {
        self.list.push(Fault {
            file: self.file.clone(),
            section: section.map(visible),
            key: key.map(visible),
            line,
            text,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order of the file; those without a line (it does not exist, or nothing of it does) come first.
    pub(super) fn into_list(mut self) -> Vec<Fault> {
        self.list.sort_by_key(|fault| fault.line);
        self.list
    }
}

/// A name out of the file, safe to print.
fn visible(name: &str) -> String {
    const SHOWN_LEN_MAX: usize = 80;
    name.chars()
        .take(SHOWN_LEN_MAX)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}
