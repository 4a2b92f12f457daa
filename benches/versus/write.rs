//! What was measured, for machines (JSON) and for a page (Markdown).

use std::fmt::Write;

use crate::goals::{Verdict, verdicts};
use crate::options::PEERS;
use crate::report::{COLUMNS, Results, median, number, spread};
use crate::rows::Row;

type About = [(&'static str, String)];

pub(crate) fn json(about: &About, results: &Results, labels: &[&str], rows: &[Row]) -> String {
    let mut text = "{\n".to_owned();
    for (name, value) in about {
        let _ = writeln!(text, " {}: {},", quoted(name), quoted(value));
    }
    text += " \"figures\": [";
    let mut comma = "\n";
    for (row, peers) in &results.rows {
        for (peer, rounds) in peers {
            let figures: Vec<String> = rounds
                .iter()
                .map(|(name, values)| {
                    let values: Vec<String> = values.iter().map(f64::to_string).collect();
                    format!("{}: [{}]", quoted(name), values.join(", "))
                })
                .collect();
            let (row, peer) = (quoted(&row.name), quoted(peer));
            let _ = write!(text, "{comma}  {{\"row\": {row}, \"peer\": {peer}, {}}}", figures.join(", "));
            comma = ",\n";
        }
    }
    text += "\n ],\n \"goals\": [";
    comma = "\n";
    for label in labels {
        for verdict in verdicts(results, rows, label) {
            let measured = verdict.measured.map_or("null".to_owned(), |value| value.to_string());
            let met = verdict.met.map_or("null".to_owned(), |met| met.to_string());
            let _ = write!(
                text,
                "{comma}  {{\"row\": {}, \"figure\": {}, \"program\": {}, \"goal\": {}, \"measured\": {measured}, \"met\": {met}}}",
                quoted(verdict.row),
                quoted(verdict.figure),
                quoted(label),
                quoted(&verdict.goal)
            );
            comma = ",\n";
        }
    }
    text + "\n ]\n}\n"
}

fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push(' '),
            c => out.push(c),
        }
    }
    out + "\""
}

pub(crate) fn markdown(about: &About, results: &Results, labels: &[&str], rows: &[Row]) -> String {
    let mut text = "| | |\n| --- | --- |\n".to_owned();
    for (name, value) in about {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    for label in labels {
        let _ = write!(text, "\nGoals{}:\n\n", if labels.len() > 1 { format!(", {label}") } else { String::new() });
        text += "| row | figure | measured | goal | |\n| --- | --- | ---: | --- | --- |\n";
        for Verdict { row, figure, goal, measured, text: verdict, .. } in verdicts(results, rows, label) {
            let measured = measured.map_or(String::new(), number);
            let _ = writeln!(text, "| {row} | {} | {measured} | {goal} | {verdict} |", unit(figure));
        }
    }
    for (name, unit) in COLUMNS {
        let with = results.rows.iter().filter(|(_, peers)| peers.iter().any(|(_, rounds)| rounds.contains_key(name)));
        // Small messages in thousands, large ones in gigabytes.
        let with: Vec<_> = with.filter(|(row, _)| row.is_told_in(name)).collect();
        if with.is_empty() || with.iter().all(|(row, _)| row.name == "machine") {
            continue;
        }
        let mut peers: Vec<&str> = Vec::new();
        for (peer, rounds) in with.iter().flat_map(|(_, peers)| peers) {
            if rounds.contains_key(name) && !peers.contains(&peer.as_str()) {
                peers.push(peer);
            }
        }
        let place = |peer: &&str| PEERS.iter().position(|known| known == peer).unwrap_or(PEERS.len());
        peers.sort_by_key(place);
        let _ =
            write!(text, "\n{unit}:\n\n| row | {} |\n| --- |{}\n", peers.join(" | "), " ---: |".repeat(peers.len()));
        for (row, _) in with {
            let cells: Vec<String> = peers
                .iter()
                .map(|peer| {
                    let values = results.rounds(&row.name, peer).and_then(|rounds| rounds.get(name));
                    values.map_or(String::new(), |values| match values.len() {
                        1 => number(values[0]),
                        _ => format!("{} ±{:.0}%", number(median(values)), spread(values)),
                    })
                })
                .collect();
            let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
        }
    }
    text
}

/// What a figure's name means, and its unit.
pub(crate) fn unit(figure: &str) -> &'static str {
    COLUMNS.iter().find(|(name, _)| *name == figure).map_or("", |(_, unit)| unit)
}
