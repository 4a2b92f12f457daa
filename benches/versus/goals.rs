//! What is asked of MailStore, as ratios to others in the same run, and how far it is from it.
//!
//! The goals were set on a machine that hashes a gigabyte in one CPU second. What this machine takes longer, measured beside each figure, is added to those that have
//! hashing in them, and said: to CPU seconds whole, to the time between two messages as if all processors did nothing else at the same time.

use std::thread;

use crate::measure::{CLIENTS, HASHING};
use crate::report::{Results, Rounds, median, number};
use crate::rows::{Row, What};

/// CPU s a GB of SHA-256 where the goals were set.
const HASH_S_GB: f64 = 1.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// So many times another peer's figure, and so much more.
    Of(&'static str, f64, f64),
    Fixed(f64),
    /// So many times MailStore's own other figure.
    Own(&'static str, f64),
}

struct Goal {
    row: &'static str,
    figure: &'static str,
    /// Else at least.
    at_most: bool,
    limit: Limit,
}

impl Goal {
    /// The share of a gigabyte that its unit hashes; of a rate, one message. Beside the machine, which writes and does not hash, nothing is added.
    fn hashed_gb(&self, row: &Row) -> f64 {
        match (row.what, self.figure) {
            (What::Pass(_, size), "cpu_1000") => size as f64 * 1000.0 / 1e9,
            (What::Pass(..), "cpu_gb") => 1.0,
            (What::Pass(_, size), "rate") if !row.sync => size as f64 / 1e9,
            _ => 0.0,
        }
    }
}

/// How it came out for one build.
pub(crate) struct Verdict {
    pub(crate) row: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) goal: String,
    pub(crate) measured: Option<f64>,
    pub(crate) met: Option<bool>,
    pub(crate) text: String,
}

fn goals() -> Vec<Goal> {
    use Limit::{Fixed, Of, Own};
    let at_most = |row, figure, limit| Goal { row, figure, at_most: true, limit };
    let cpu = |row, limit| at_most(row, "cpu_1000", limit);
    let large = |row, limit| at_most(row, "cpu_gb", limit);
    let rate = |row, limit| Goal { row, figure: "rate", at_most: false, limit };
    vec![
        cpu("smtp-4k", Of("haproxy", 1.5, 0.0)),
        rate("smtp-4k", Of("haproxy", 0.75, 0.0)),
        cpu("pop3-4k", Of("haproxy", 2.7, 0.0)),
        rate("pop3-4k", Of("haproxy", 0.5, 0.0)),
        cpu("imap-4k", Fixed(0.042)),
        rate("imap-4k", Fixed(35_000.0)),
        large("smtp-1m", Fixed(2.5)),
        rate("smtp-1m", Of("haproxy", 0.3, 0.0)),
        large("pop3-1m", Fixed(2.5)),
        rate("pop3-1m", Of("haproxy", 0.3, 0.0)),
        large("imap-1m", Fixed(2.5)),
        rate("imap-1m", Of("haproxy", 0.3, 0.0)),
        large("smtp-1m-tls", Of("haproxy", 1.0, 2.0)),
        rate("smtp-1m-tls", Of("haproxy", 0.5, 0.0)),
        large("pop3-1m-tls", Of("haproxy", 1.0, 2.0)),
        rate("pop3-1m-tls", Of("haproxy", 0.5, 0.0)),
        large("imap-1m-tls", Of("haproxy", 1.0, 2.0)),
        rate("imap-1m-tls", Of("haproxy", 0.5, 0.0)),
        cpu("smtp-4k-tls", Of("haproxy", 1.0, 0.04)),
        rate("smtp-4k-tls", Of("haproxy", 0.6, 0.0)),
        cpu("pop3-4k-tls", Of("haproxy", 1.0, 0.04)),
        rate("pop3-4k-tls", Of("haproxy", 0.6, 0.0)),
        cpu("imap-4k-tls", Of("haproxy", 1.0, 0.04)),
        at_most("noop", "p50_us", Of("nginx", 1.1, 0.0)),
        at_most("noop-tls", "p50_us", Of("haproxy", 1.0, 0.0)),
        rate("logins", Of("haproxy", 0.85, 0.0)),
        at_most("logins", "cpu_1000", Fixed(0.25)),
        rate("logins-tls", Of("haproxy", 0.85, 0.0)),
        at_most("logins-tls", "cpu_1000", Fixed(2.0)),
        at_most("idle", "kib_1000", Fixed(14.0)),
        at_most("idle", "kib_5000", Fixed(14.0)),
        at_most("idle", "kib_5000", Own("kib_1000", 1.05)),
        at_most("idle-tls", "kib_1000", Fixed(50.0)),
        at_most("idle-tls", "kib_5000", Fixed(50.0)),
        at_most("idle-tls", "kib_5000", Own("kib_1000", 1.05)),
        rate("sync-smtp-4k", Of("machine", 0.8, 0.0)),
        rate("sync-smtp-4k", Of("postfix", 6.0, 0.0)),
        rate("sync-pop3-4k", Of("machine", 0.8, 0.0)),
        rate("sync-imap-4k", Of("machine", 3.0, 0.0)),
        rate("sync-smtp-1m", Of("machine", 0.8, 0.0)),
        rate("sync-smtp-1m", Of("machine+hash", 0.8, 0.0)),
        rate("sync-pop3-1m", Of("machine", 0.8, 0.0)),
        rate("sync-pop3-1m", Of("machine+hash", 0.8, 0.0)),
        rate("sync-imap-1m", Of("machine", 0.8, 0.0)),
        rate("sync-imap-1m", Of("machine+hash", 0.8, 0.0)),
    ]
}

/// Of the rows that were asked for.
pub(crate) fn verdicts(results: &Results, rows: &[Row], label: &str) -> Vec<Verdict> {
    let asked = goals().into_iter().filter_map(|goal| Some((rows.iter().find(|row| row.name == goal.row)?, goal)));
    asked.map(|(row, goal)| verdict(&goal, goal.hashed_gb(row), results, label)).collect()
}

fn verdict(goal: &Goal, hashed_gb: f64, results: &Results, label: &str) -> Verdict {
    let figure = |peer: &str, name: &str| -> Option<Vec<f64>> {
        results.rounds(goal.row, peer).and_then(|rounds: &Rounds| rounds.get(name)).cloned()
    };
    // Round by round: what changed for all in between does not count.
    let own = figure(label, goal.figure);
    let rounds = own.as_ref().map_or(0, Vec::len);
    let hash = figure(label, HASHING).unwrap_or_default();
    let at_once = thread::available_parallelism().map_or(1, usize::from).min(CLIENTS) as f64;
    let more = |round: usize| hash.get(round).map_or(0.0, |hash| (hash - HASH_S_GB).max(0.0) * hashed_gb);
    let adjusted = |(round, limit): (usize, f64)| match goal.at_most {
        true => limit + more(round),
        false => 1.0 / (1.0 / limit + more(round) / at_once),
    };
    let (limits, mut text) = match goal.limit {
        Limit::Fixed(limit) => (Some(vec![limit; rounds]), number(limit)),
        Limit::Of(peer, times, plus) => {
            let limits = figure(peer, goal.figure)
                .map(|theirs| theirs.iter().map(|value| value * times + plus).collect::<Vec<_>>());
            let times = if times == 1.0 { peer.to_owned() } else { format!("{times} x {peer}") };
            (limits, if plus > 0.0 { format!("{times} + {plus}") } else { times })
        }
        Limit::Own(name, times) => {
            let limits = figure(label, name).map(|values| values.iter().map(|value| value * times).collect::<Vec<_>>());
            (limits, format!("{times} x its own at fewer"))
        }
    };
    let limits: Option<Vec<f64>> =
        limits.map(|limits| limits.into_iter().enumerate().map(adjusted).collect()).filter(|_| rounds > 0);
    let added: Vec<f64> = (0..rounds).map(more).filter(|more| *more > 0.0).collect();
    if !added.is_empty() {
        let added = match goal.at_most {
            true => format!("+{}", number(median(&added))),
            false => format!("+{} ms a message", number(median(&added) / at_once * 1e3)),
        };
        text += &format!(" ({added}: a GB was hashed in {} s)", number(median(&hash)));
    }
    if let Some(limits) = limits.as_ref().filter(|_| !matches!(goal.limit, Limit::Fixed(_)) || !added.is_empty()) {
        text += &format!(" = {}", number(median(limits)));
    }
    let goal_text = format!("{} {text}", if goal.at_most { "<=" } else { ">=" });
    let measured = own.as_deref().map(median);
    let ratio = own
        .zip(limits)
        .map(|(own, limits)| median(&own.iter().zip(&limits).map(|(own, limit)| own / limit).collect::<Vec<_>>()));
    let met = ratio.map(|ratio| if goal.at_most { ratio <= 1.0 } else { ratio >= 1.0 });
    let text = match (ratio, met) {
        (Some(ratio), Some(true)) => format!("met ({ratio:.2} x)"),
        (Some(ratio), _) => format!("missed: {ratio:.2} x"),
        _ => "not measured".to_owned(),
    };
    Verdict { row: goal.row, figure: goal.figure, goal: goal_text, measured, met, text }
}
