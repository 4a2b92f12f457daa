//! What a soak has to tell: figures so far, and memory over the time.

use std::time::Duration;

use crate::log::Counters;
use crate::process::Sample;
use crate::verdict;
use crate::world::World;

/// At which parts of the time the idle process is shown, percent.
const SHOWN: [f64; 5] = [5.0, 25.0, 50.0, 75.0, 100.0];
/// Of the lines of one kind.
const LINES_MAX: usize = 30;

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) counters: Counters,
    /// The most of each that was seen while there was traffic.
    peak: Sample,
}

impl Figures {
    pub(crate) fn busy(&mut self, sample: Sample) {
        let Sample { rss, pss, threads, fds, cpu_s } = &mut self.peak;
        (*rss, *pss) = ((*rss).max(sample.rss), (*pss).max(sample.pss));
        (*threads, *fds, *cpu_s) = ((*threads).max(sample.threads), (*fds).max(sample.fds), cpu_s.max(sample.cpu_s));
    }
}

pub(crate) fn sample(sample: &Sample) -> String {
    let or_unknown = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    format!(
        "RSS {} KiB, PSS {} KiB, {} threads, {} file descriptors, {:.1} s of CPU",
        sample.rss,
        or_unknown(sample.pss),
        sample.threads,
        or_unknown(sample.fds),
        sample.cpu_s
    )
}

pub(crate) fn print(world: &World, time: Duration, figures: &Figures, idle: &[(f64, Sample)]) {
    let Counters { sessions, refused, kept, duplicates, not_kept, fetched, received, sent, .. } = figures.counters;
    let (seconds, notebook) = (time.as_secs_f64(), &world.notebook);
    say!("---- after {seconds:.0} s");
    say!(
        "sessions {sessions} ({:.1} a second), refused {refused}; kept {kept}, duplicates {duplicates}, not kept {not_kept}; \
         octets from clients {received}, to clients {sent}, fetched besides {fetched}",
        sessions as f64 / seconds.max(1.0)
    );
    say!("completions that had to be in the archive: {} checked", world.ledger.checked());
    for (title, prefix) in [
        ("completed, as clients saw it", "completed: "),
        ("clients' sessions", "session: "),
        ("what clients ran into", "client: "),
        ("not kept", "not kept: "),
        ("how sessions ended", "end: "),
        ("how faults ended", "end of a fault: "),
        ("warnings and errors besides", "log: "),
        ("done to it", "signals: "),
        ("done to it", "disturbances: "),
        ("the spool", "spool: "),
    ] {
        let mut lines = notebook.figures(prefix);
        lines.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
        if !lines.is_empty() {
            say!("{title}:");
        }
        lines.iter().take(LINES_MAX).for_each(|(name, count)| say!("  {count:>9}  {name}"));
        if lines.len() > LINES_MAX {
            say!("             and {} kinds more", lines.len() - LINES_MAX);
        }
    }
    say!("start_proxies, the most while busy: {}", sample(&figures.peak));
    if idle.iter().any(|(_, sample)| sample.fds.is_none()) {
        say!("(its file descriptors are hidden from this user: run the soak as root to have them counted)");
    }
    say!("start_proxies when no session is open:");
    let end = idle.last().map_or(0.0, |(at, _)| *at);
    for percent in SHOWN {
        // The first sample from there on; the last for the end.
        let shown = idle.iter().find(|(at, _)| *at >= end * percent / 100.0 - 0.001);
        shown.iter().for_each(|(at, one)| say!("  {percent:>3.0} %  {at:>6.0} s  {}", sample(one)));
    }
    let samples: Vec<Sample> = idle.iter().map(|(_, sample)| *sample).collect();
    match verdict::thirds(&samples) {
        Some((before, after)) => {
            say!(
                "  memory, the median of the second third: {before} KiB; of the last: {after} KiB; {} samples",
                samples.len()
            );
        }
        None => say!("  too few samples ({} of {}) to tell of growth", samples.len(), verdict::SAMPLES_MIN),
    }
    say!("findings so far: {}", notebook.findings().len());
}
