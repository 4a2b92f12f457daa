//! What Linux's /proc tells of a process.

use std::fs;
use std::io;

/// Ticks a second of utime and stime: fixed for user space, whatever the kernel's own is.
const TICKS_S: f64 = 100.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Resident, KiB.
    pub(crate) rss: u64,
    /// The process's share of it, KiB; none where we may not look.
    pub(crate) pss: Option<u64>,
    pub(crate) threads: u64,
    /// Open file descriptors; none where we may not look.
    pub(crate) fds: Option<u64>,
    /// User and system time so far, s.
    pub(crate) cpu_s: f64,
}

impl Sample {
    pub(crate) fn of(pid: u32) -> io::Result<Sample> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let number = |text: &str, name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "/proc says nothing of memory and threads");
        Ok(Sample {
            rss: number(&status, "VmRSS").ok_or_else(unknown)?,
            pss: number(&rollup, "Pss"),
            threads: number(&status, "Threads").ok_or_else(unknown)?,
            fds: fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|all| all.count() as u64),
            cpu_s: cpu_s(&fs::read_to_string(format!("/proc/{pid}/stat"))?).unwrap_or_default(),
        })
    }
}

/// The name in the line's parentheses may hold anything, so the fields are counted from behind it.
fn cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS_S)
}
