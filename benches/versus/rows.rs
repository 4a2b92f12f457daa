//! The rows of the table: what is measured.

use crate::load::Work;
use crate::{Kind, Outcome};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Messages that pass: of so many octets.
    Pass(Work, usize),
    Noop,
    Logins,
    Idle,
    /// What the goals are set against.
    Machine,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) kind: Kind,
    /// On both sides.
    pub(crate) tls: bool,
    pub(crate) sync: bool,
}

impl Row {
    /// Whether a page tells this figure of it: small messages go by the thousand, large ones by their octets.
    pub(crate) fn is_told_in(&self, figure: &str) -> bool {
        match (self.what, figure) {
            (What::Pass(_, size), "cpu_1000") => size < MIB,
            (What::Pass(_, size), "cpu_gb" | "mb_s") => size >= MIB,
            _ => true,
        }
    }
}

pub(crate) fn all() -> Vec<Row> {
    let machine = Row { name: "machine".to_owned(), what: What::Machine, kind: Kind::Imap, tls: false, sync: false };
    let mut rows = vec![machine];
    for tls in [false, true] {
        let end = if tls { "-tls" } else { "" };
        for (size, name) in [(4 * KIB, "4k"), (MIB, "1m"), (25 * MIB, "25m")] {
            for kind in Kind::ALL {
                let work = if kind == Kind::Imap { Work::All } else { Work::Each };
                let name = format!("{}-{name}{end}", kind.name());
                rows.push(Row { name, what: What::Pass(work, size), kind, tls, sync: false });
            }
            if size <= MIB {
                let name = format!("imap-each-{name}{end}");
                rows.push(Row { name, what: What::Pass(Work::Each, size), kind: Kind::Imap, tls, sync: false });
            }
        }
        for kind in Kind::ALL {
            let name = if kind == Kind::Imap { format!("noop{end}") } else { format!("noop-{}{end}", kind.name()) };
            rows.push(Row { name, what: What::Noop, kind, tls, sync: false });
        }
        rows.push(Row { name: format!("logins{end}"), what: What::Logins, kind: Kind::Imap, tls, sync: false });
        rows.push(Row { name: format!("idle{end}"), what: What::Idle, kind: Kind::Imap, tls, sync: false });
    }
    for (size, name) in [(4 * KIB, "4k"), (MIB, "1m")] {
        for kind in Kind::ALL {
            let work = if kind == Kind::Imap { Work::All } else { Work::Each };
            let name = format!("sync-{}-{name}", kind.name());
            rows.push(Row { name, what: What::Pass(work, size), kind, tls: false, sync: true });
        }
    }
    rows
}

/// Those with these names, or with all words of one of them in theirs, and always the machine itself; without names all.
pub(crate) fn chosen(names: &[String], quick: bool) -> Outcome<Vec<Row>> {
    let all = all();
    if names.is_empty() {
        // What the goals name, but for the largest.
        let beside = |row: &Row| ["25m", "each", "noop-smtp", "noop-pop3"].iter().any(|word| row.name.contains(word));
        return Ok(all.into_iter().filter(|row| !quick || !beside(row)).collect());
    }
    let fits = |row: &Row, name: &str| {
        if all.iter().any(|row| row.name == name) {
            return row.name == name;
        }
        let words: Vec<&str> = row.name.split('-').collect();
        name.split('-').all(|word| words.contains(&word))
    };
    for name in names {
        if !all.iter().any(|row| fits(row, name)) {
            return Err(format!("unknown row: {name} (--list tells which there are)").into());
        }
    }
    let wanted = |row: &&Row| row.what == What::Machine || names.iter().any(|name| fits(row, name));
    Ok(all.iter().filter(wanted).cloned().collect())
}
