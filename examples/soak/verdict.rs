//! Whether the idle process stayed what it was: nothing but arithmetic, so that a test can see it fail.

use crate::process::Sample;

/// What an idle process may grow by, from the second third of the time to the last: what is remembered of messages has its limits, and
/// the allocator its ways.
const GROWTH_PERCENT: u64 = 10;
const GROWTH_KIB: u64 = 4 * 1024;
/// Fewer idle samples say nothing of growth.
pub(crate) const SAMPLES_MIN: usize = 6;

/// What is wrong with these samples, taken when no session was open, in order of time. The first is the measure for file descriptors and threads.
pub(crate) fn faults(idle: &[Sample]) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(first) = idle.first() else { return vec!["the proxies were never seen idle".to_owned()] };
    for (number, sample) in idle.iter().enumerate() {
        if sample.fds != first.fds {
            let count = |fds: Option<u64>| fds.map_or_else(|| "unknown".to_owned(), |fds| fds.to_string());
            let (now, before) = (count(sample.fds), count(first.fds));
            faults.push(format!("idle sample {number}: {now} open file descriptors instead of {before}"));
        }
        if sample.threads != first.threads {
            faults.push(format!("idle sample {number}: {} threads instead of {}", sample.threads, first.threads));
        }
    }
    if let Some((before, after)) = thirds(idle)
        && after > before + before * GROWTH_PERCENT / 100 + GROWTH_KIB
    {
        faults.push(format!(
            "memory grows: {after} KiB when idle in the last third of the time, {before} KiB in the second"
        ));
    }
    faults
}

/// The median resident memory of the second and of the last third, KiB; none where there are too few samples.
pub(crate) fn thirds(idle: &[Sample]) -> Option<(u64, u64)> {
    if idle.len() < SAMPLES_MIN {
        return None;
    }
    let third = idle.len() / 3;
    let rest = &idle[idle.len() - 2 * third..];
    Some((median(&rest[..third]), median(&rest[third..])))
}

fn median(samples: &[Sample]) -> u64 {
    let mut rss: Vec<u64> = samples.iter().map(|sample| sample.rss).collect();
    rss.sort_unstable();
    rss[rss.len() / 2]
}
