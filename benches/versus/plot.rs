//! The figures as SVG: bars, one peer a line, narrow enough for a phone, in colours for light and for dark pages.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::report::{Results, median, number};

const WIDTH: f64 = 360.0;
/// Where bars begin, and how long the longest is.
const BARS_X: f64 = 88.0;
const BARS_WIDTH: f64 = 205.0;
const LINE: f64 = 18.0;
/// A peer that takes more than so many times what the others take would make their bars invisible: its bar is cut.
const CUT: f64 = 4.0;

/// A file: its name, what it shows, and of which rows, each with a figure and a heading.
struct Chart {
    file: &'static str,
    title: &'static str,
    /// Below the title.
    note: &'static str,
    parts: &'static [(&'static str, &'static str, &'static str)],
}

const LESS: &str = "less is better; mailstore, postfix, python keep a copy";

const CHARTS: &[Chart] = &[
    Chart {
        file: "cpu-4k.svg",
        title: "CPU seconds a 1,000 messages of 4 KiB",
        note: LESS,
        parts: &[
            ("smtp-4k", "cpu_1000", "SMTP"),
            ("pop3-4k", "cpu_1000", "POP3"),
            ("imap-4k", "cpu_1000", "IMAP, one FETCH"),
            ("smtp-4k-tls", "cpu_1000", "SMTP, TLS on both sides"),
            ("pop3-4k-tls", "cpu_1000", "POP3, TLS on both sides"),
            ("imap-4k-tls", "cpu_1000", "IMAP, one FETCH, TLS on both sides"),
        ],
    },
    Chart {
        file: "cpu-1m.svg",
        title: "CPU seconds a GB in messages of 1 MiB",
        note: LESS,
        parts: &[
            ("smtp-1m", "cpu_gb", "SMTP"),
            ("pop3-1m", "cpu_gb", "POP3"),
            ("imap-1m", "cpu_gb", "IMAP, one FETCH"),
            ("smtp-1m-tls", "cpu_gb", "SMTP, TLS on both sides"),
            ("pop3-1m-tls", "cpu_gb", "POP3, TLS on both sides"),
            ("imap-1m-tls", "cpu_gb", "IMAP, one FETCH, TLS on both sides"),
        ],
    },
    Chart {
        file: "rate.svg",
        title: "Messages a second, 4 clients",
        note: "more is better; mailstore, postfix, python keep a copy",
        parts: &[
            ("smtp-4k", "rate", "SMTP, 4 KiB"),
            ("pop3-4k", "rate", "POP3, 4 KiB"),
            ("smtp-1m", "rate", "SMTP, 1 MiB"),
            ("pop3-1m", "rate", "POP3, 1 MiB"),
            ("smtp-1m-tls", "rate", "SMTP, 1 MiB, TLS on both sides"),
            ("pop3-1m-tls", "rate", "POP3, 1 MiB, TLS on both sides"),
        ],
    },
    Chart {
        file: "durable.svg",
        title: "Messages a second, on disk for certain",
        note: "more is better; machine: files, without any mail",
        parts: &[
            ("sync-smtp-4k", "rate", "SMTP, 4 KiB"),
            ("sync-pop3-4k", "rate", "POP3, 4 KiB"),
            ("sync-imap-4k", "rate", "IMAP, 4 KiB, one FETCH"),
            ("sync-smtp-1m", "rate", "SMTP, 1 MiB"),
            ("sync-pop3-1m", "rate", "POP3, 1 MiB"),
            ("sync-imap-1m", "rate", "IMAP, 1 MiB, one FETCH"),
        ],
    },
    Chart {
        file: "sessions.svg",
        title: "Sessions",
        note: "less is better",
        parts: &[
            ("noop", "p50_us", "NOOP, µs, half of them faster"),
            ("noop-tls", "p50_us", "NOOP, µs, TLS on both sides"),
            ("logins", "cpu_1000", "1,000 logins, CPU s"),
            ("logins-tls", "cpu_1000", "1,000 logins, CPU s, TLS on both sides"),
            ("idle", "kib_1000", "KiB an idle session of 1,000"),
            ("idle-tls", "kib_1000", "KiB an idle session of 1,000, TLS on both sides"),
        ],
    },
];

/// Writes those for which there are figures; how many.
pub(crate) fn write(results: &Results, ours: &[&str], dir: &Path) -> io::Result<usize> {
    fs::create_dir_all(dir)?;
    let drawn = CHARTS.iter().filter_map(|chart| Some((chart.file, draw(chart, results, ours)?)));
    drawn.map(|(file, svg)| fs::write(dir.join(file), svg)).collect::<io::Result<Vec<()>>>().map(|all| all.len())
}

fn draw(chart: &Chart, results: &Results, ours: &[&str]) -> Option<String> {
    let mut body = String::new();
    let mut y = 0.0;
    for &(row, figure, heading) in chart.parts {
        let Some((_, peers)) = results.rows.iter().find(|(known, _)| known.name == row) else { continue };
        let bars: Vec<(&str, f64)> = peers
            .iter()
            // Directly there is nothing that would cost, and nothing that would slow down: another scale.
            .filter(|(peer, _)| peer != "direct" || figure.ends_with("_us"))
            .filter_map(|(peer, rounds)| Some((peer.as_str(), median(rounds.get(figure)?))))
            .collect();
        if bars.is_empty() {
            continue;
        }
        let longest = scale(&bars, ours, figure);
        y += LINE * 1.6;
        let _ = writeln!(body, "<text class=\"part\" x=\"8\" y=\"{y:.0}\">{}</text>", escaped(heading));
        for (peer, value) in bars {
            y += LINE;
            let class = match peer {
                peer if ours.contains(&peer) => "ours",
                "direct" | "machine" | "machine+hash" => "floor",
                _ => "peer",
            };
            let cut = value > longest;
            let width = (value.min(longest) / longest * BARS_WIDTH).max(1.0);
            let (top, middle) = (y - LINE * 0.7, y - LINE * 0.2);
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{middle:.1}\" class=\"name\">{}</text>",
                BARS_X - 6.0,
                escaped(peer)
            );
            let _ = writeln!(
                body,
                "<rect class=\"{class}\" x=\"{BARS_X}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\"/>",
                LINE * 0.66
            );
            if cut {
                // A gap in the bar: it is longer than it is drawn.
                let x = BARS_X + BARS_WIDTH * 0.9;
                let _ = writeln!(
                    body,
                    "<path class=\"gap\" d=\"M{x:.0} {:.1}l8 -{h:.1}\"/>",
                    top + LINE * 0.75,
                    h = LINE * 0.9
                );
            }
            let _ =
                writeln!(body, "<text x=\"{:.1}\" y=\"{middle:.1}\">{}</text>", BARS_X + width + 5.0, number(value));
        }
    }
    if body.is_empty() {
        return None;
    }
    let height = y + LINE * 3.0;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>\n\
         svg {{ background: #fff; font: 12px system-ui, sans-serif; }}\n\
         text {{ fill: #222; }} .title {{ font-weight: 600; font-size: 13px; }} .part {{ font-weight: 600; }} .name {{ text-anchor: end; }}\n\
         .ours {{ fill: #c2410c; }} .peer {{ fill: #64748b; }} .floor {{ fill: #94a3b8; }} .gap {{ stroke: #fff; stroke-width: 3; }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         svg {{ background: #16181d; }} text {{ fill: #e5e7eb; }} .ours {{ fill: #fb923c; }} .peer {{ fill: #8b9bb4; }}\n\
         .floor {{ fill: #566179; }} .gap {{ stroke: #16181d; }}\n\
         }}\n\
         </style>\n\
         <text class=\"title\" x=\"8\" y=\"20\">{title}</text>\n<text x=\"8\" y=\"36\">{note}</text>\n<g transform=\"translate(0 34)\">\n{body}</g>\n</svg>\n",
        title = escaped(chart.title),
        note = escaped(chart.note),
    ))
}

/// The value of a bar of full length.
fn scale(bars: &[(&str, f64)], ours: &[&str], figure: &str) -> f64 {
    let most = |among: &dyn Fn(&str) -> bool| {
        bars.iter().filter(|(peer, _)| among(peer)).map(|(_, value)| *value).fold(0.0_f64, f64::max)
    };
    let all = most(&|_| true);
    // Rates are all drawn whole: a long bar is the good one there.
    if figure == "rate" {
        return all;
    }
    let usual = most(&|peer| ours.contains(&peer) || peer == "haproxy");
    if usual > 0.0 { all.min(usual * CUT) } else { all }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
