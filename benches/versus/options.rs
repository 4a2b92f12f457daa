//! The command line, which `scripts/bench` hands over and explains.

use std::path::PathBuf;

use crate::Outcome;
use crate::rows::{self, Row};

/// A build of MailStore to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) label: String,
    pub(crate) file: PathBuf,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    /// For the tests: hardly any work at all.
    pub(crate) least: bool,
    pub(crate) list: bool,
    /// What was kept stays: deleting it would slow down the next run.
    pub(crate) keep: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) peers: Vec<String>,
    pub(crate) programs: Vec<Program>,
    pub(crate) rounds: usize,
    pub(crate) spool: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) plot: Option<PathBuf>,
}

/// In the order of the table.
pub(crate) const PEERS: &[&str] =
    &["direct", "haproxy", "nginx", "stunnel", "dovecot", "postfix", "python", "mailstore"];

pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Outcome<Options> {
    let mut options = Options {
        quick: false,
        least: false,
        list: false,
        keep: false,
        rows: Vec::new(),
        peers: PEERS.iter().map(|name| (*name).to_owned()).collect(),
        programs: Vec::new(),
        rounds: 0,
        spool: None,
        json: None,
        markdown: None,
        plot: None,
    };
    let mut only = Vec::new();
    let mut arguments = arguments.filter(|argument| argument != "--bench");
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--quick" => options.quick = true,
            "--least" => (options.quick, options.least) = (true, true),
            "--list" => options.list = true,
            "--keep" => options.keep = true,
            _ => {
                let value = arguments.next().ok_or_else(|| format!("{option} needs a value, or is unknown"))?;
                let words = || value.split(',').filter(|word| !word.is_empty()).map(str::to_owned);
                match option.as_str() {
                    "--only" => only.extend(words()),
                    "--peers" => {
                        options.peers = words().collect();
                        if let Some(unknown) = options.peers.iter().find(|peer| !PEERS.contains(&peer.as_str())) {
                            return Err(format!("unknown peer: {unknown} (there are {})", PEERS.join(", ")).into());
                        }
                    }
                    "--program" => {
                        let (label, file) = value.split_once('=').unwrap_or(("mailstore", &value));
                        options.programs.push(Program { label: label.to_owned(), file: file.into() });
                    }
                    "--rounds" => {
                        let rounds = value.parse().ok().filter(|rounds| *rounds > 0);
                        options.rounds = rounds.ok_or_else(|| format!("--rounds {value}: not a number from 1 on"))?;
                    }
                    "--spool" => options.spool = Some(value.into()),
                    "--json" => options.json = Some(value.into()),
                    "--markdown" => options.markdown = Some(value.into()),
                    "--plot" => options.plot = Some(value.into()),
                    _ => return Err(format!("unknown: {option}").into()),
                }
            }
        }
    }
    if options.programs.is_empty() {
        let file = std::env::var_os("MAILSTORE_BENCH_BIN").unwrap_or(env!("CARGO_BIN_EXE_start_proxies").into());
        options.programs.push(Program { label: "mailstore".to_owned(), file: file.into() });
    }
    if let Some(missing) = options.programs.iter().find(|program| !program.file.is_file()) {
        return Err(format!("--program {}: there is no such file", missing.file.display()).into());
    }
    if options.rounds == 0 {
        options.rounds = if options.quick { 1 } else { 5 };
    }
    options.rows = rows::chosen(&only, options.quick)?;
    Ok(options)
}
