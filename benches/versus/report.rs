//! The table of what was measured: the median of the rounds, and how far they were apart.

use std::collections::BTreeMap;

use crate::goals::{Verdict, verdicts};
use crate::measure::Figures;
use crate::rows::Row;
use crate::write::unit;

/// All rounds' figures of a peer in a row.
pub(crate) type Rounds = BTreeMap<&'static str, Vec<f64>>;

#[derive(Default)]
pub(crate) struct Results {
    /// By row, in their order: by peer, in theirs.
    pub(crate) rows: Vec<(Row, Vec<(String, Rounds)>)>,
}

impl Results {
    pub(crate) fn add(&mut self, row: &Row, peer: &str, figures: Figures) {
        let at = self.rows.iter().position(|(known, _)| known == row).unwrap_or_else(|| {
            self.rows.push((row.clone(), Vec::new()));
            self.rows.len() - 1
        });
        let peers = &mut self.rows[at].1;
        let at = peers.iter().position(|(known, _)| known == peer).unwrap_or_else(|| {
            peers.push((peer.to_owned(), Rounds::new()));
            peers.len() - 1
        });
        for (name, value) in figures {
            peers[at].1.entry(name).or_default().push(value);
        }
    }
}

impl Results {
    pub(crate) fn rounds(&self, row: &str, peer: &str) -> Option<&Rounds> {
        let peers = &self.rows.iter().find(|(known, _)| known.name == row)?.1;
        peers.iter().find(|(known, _)| known == peer).map(|(_, rounds)| rounds)
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// How far apart the rounds were, in percent of the median: half of them are within. (One that something else disturbed does not count so.)
pub(crate) fn spread(values: &[f64]) -> f64 {
    let middle = median(values);
    let apart: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    median(&apart) * 100.0 / middle
}

/// Names and units of the figures, in the order of the columns.
pub(crate) const COLUMNS: &[(&str, &str)] = &[
    ("cpu_1000", "CPU s a 1,000"),
    ("cpu_gb", "CPU s a GB"),
    ("rate", "a second"),
    ("mb_s", "MB/s"),
    ("p50_us", "p50, µs"),
    ("p99_us", "p99, µs"),
    ("kib_200", "KiB a session of 200"),
    ("kib_1000", "KiB a session of 1,000"),
    ("kib_5000", "KiB a session of 5,000"),
    ("s_gb", "hashing, CPU s a GB"),
    ("file_us", "a file, CPU µs"),
];

pub(crate) fn table(row: &Row, peers: &[(String, Rounds)]) -> String {
    let columns: Vec<_> =
        COLUMNS.iter().filter(|(name, _)| peers.iter().any(|(_, rounds)| rounds.contains_key(name))).collect();
    let mut text = format!("{:<18}", row.name);
    for (_, unit) in &columns {
        text += &format!(" {unit:>22}");
    }
    text.push('\n');
    for (peer, rounds) in peers {
        text += &format!("  {peer:<16}");
        for (name, _) in &columns {
            let cell = rounds.get(name).map_or_else(String::new, |values| {
                let spread = if values.len() > 1 { format!(" ±{:.0}%", spread(values)) } else { String::new() };
                format!("{}{spread}", number(median(values)))
            });
            text += &format!(" {cell:>22}");
        }
        text.push('\n');
    }
    text
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v if v >= 0.1 => format!("{v:.3}"),
        v => format!("{v:.4}"),
    }
}

/// How far each build is from what is asked of it.
pub(crate) fn goals(results: &Results, rows: &[Row], label: &str) -> String {
    let verdicts = verdicts(results, rows, label);
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text = format!("{:<14} {:<24} {:>10}  {:<24} goal\n", label, "", "measured", "");
    for Verdict { row, figure, goal, measured, text: verdict, .. } in verdicts {
        let measured = measured.map_or(String::new(), number);
        text += &format!("{row:<14} {:<24} {measured:>10}  {verdict:<24} {goal}\n", unit(figure));
    }
    text
}
