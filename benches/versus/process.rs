//! What /proc tells of a process and all below it.

use std::collections::HashMap;
use std::time::Duration;
use std::{fs, thread};

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::Outcome;

/// Ticks a second of cutime and cstime: fixed for user space, whatever the kernel's own is.
const TICKS_S: f64 = 100.0;

/// The process and all that came of it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(parent) = field(pid, 1)
        {
            children.entry(parent as u32).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        found.extend(children.remove(&found[next]).into_iter().flatten());
        next += 1;
    }
    found
}

/// A number of /proc/PID/stat, counted from the one behind the name (0: the state).
fn field(pid: u32, number: usize) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the parentheses may hold anything.
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(number)?.parse().ok()
}

/// CPU time so far, s: of all that live, to the nanosecond, ended threads included; and of ended children, in ticks.
pub(crate) fn cpu_s(root: u32) -> f64 {
    let of = |pid: u32| -> f64 {
        let alive = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
            .and_then(|clock| clock.now())
            .map_or(0.0, |spent| Duration::from(spent).as_secs_f64());
        let ended = (13..15).filter_map(|number| field(pid, number)).sum::<f64>() / TICKS_S;
        alive + ended
    };
    tree(root).into_iter().map(of).sum()
}

/// Memory, KiB: each page divided by the number of processes that share it.
pub(crate) fn pss_kib(root: u32) -> Outcome<u64> {
    let mut sum = 0;
    for pid in tree(root) {
        // One that just ended has none.
        let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss in smaps_rollup")?;
        sum += line.split_whitespace().next().ok_or("an empty Pss")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// The same once it stands still: after this pause, for who gives memory back does so after a while, and when three samples in a row differ by less than half
/// a percent. Of what never does, the last sample: pages that others share, and leave, count differently each time.
pub(crate) fn settled_pss_kib(root: u32, pause: Duration) -> Outcome<u64> {
    thread::sleep(pause);
    let mut last = pss_kib(root)?;
    let mut still = 0;
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(50));
        let now = pss_kib(root)?;
        still = if now.abs_diff(last) * 200 <= last { still + 1 } else { 0 };
        last = now;
        if still == 3 {
            break;
        }
    }
    Ok(last)
}
