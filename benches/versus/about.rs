//! What was measured, on what, and when: without it figures say nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::options::Options;
use crate::report::Results;

/// Pairs of a word and what there is to say.
pub(crate) fn lines(options: &Options, spool: &Path, results: &Results) -> Vec<(&'static str, String)> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok();
        // nginx tells its version as an error.
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    };
    let first = |program: &str, arguments: &[&str]| {
        said(program, arguments).lines().next().unwrap_or("unknown").trim().to_owned()
    };
    let commit = first("git", &["log", "-1", "--format=%h of %cs"]);
    let mut changed = Command::new("git");
    changed.args(["diff", "--quiet", "HEAD", "--", "src", "Cargo.toml", "Cargo.lock"]);
    let changed = changed.current_dir(env!("CARGO_MANIFEST_DIR")).status().is_ok_and(|status| status.code() == Some(1));
    let programs: Vec<String> =
        options.programs.iter().map(|program| format!("{} ({})", program.label, size(&program.file))).collect();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of_cpu = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value).to_owned()
    };
    let sha = if of_cpu("flags").split(' ').any(|flag| flag == "sha_ni") { "with" } else { "without" };
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let gib = memory.unwrap_or(0.0) / (1024.0 * 1024.0);
    let versions: Vec<String> = [
        ("haproxy", "haproxy", &["-v"][..]),
        ("nginx", "nginx", &["-v"]),
        ("stunnel", "stunnel4", &["-version"]),
        ("dovecot", "dovecot", &["--version"]),
        ("postfix", "postconf", &["-d", "-h", "mail_version"]),
        ("python", "/usr/bin/python3", &["--version"]),
    ]
    .into_iter()
    .filter(|(peer, ..)| results.rows.iter().any(|(_, peers)| peers.iter().any(|(known, _)| known == peer)))
    .map(|(peer, program, arguments)| {
        let said = said(program, arguments);
        // The first word with a dot between digits is the version.
        let version = said
            .split([' ', '/', '\n', '-'])
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
        format!("{peer} {}", version.unwrap_or("unknown"))
    })
    .collect();
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    vec![
        ("commit", format!("{commit}{}", if changed { ", with changes" } else { "" })),
        (
            "measured",
            format!(
                "{} ({} rounds{})",
                first("date", &["+%F %H:%M"]),
                options.rounds,
                if options.quick { ", quick" } else { "" }
            ),
        ),
        ("builds", programs.join(", ")),
        ("machine", format!("{cores} x {}, {sha} SHA instructions, {gib:.0} GiB", of_cpu("model name"))),
        ("load at the end", loads.split(' ').next().unwrap_or_default().to_owned()),
        ("system", format!("Linux {}, {}", first("uname", &["-r"]), first("openssl", &["version"]))),
        ("disk", first("findmnt", &["-n", "-o", "FSTYPE,OPTIONS", "-T", &spool.to_string_lossy()])),
        ("peers", versions.join(", ")),
    ]
}

fn size(file: &Path) -> String {
    let bytes = fs::metadata(file).map_or(0, |of| of.len());
    format!("{:.1} MB", bytes as f64 / 1e6)
}
