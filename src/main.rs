//! `start_proxies`: the command line, and what it asks for.

use std::alloc::System;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mailstore::cli::{self, Command};
use mailstore::{config, logging, server, signals};
use zeroizing_alloc::ZeroAlloc;

/// Whatever memory is given back is overwritten: a credential may have been in it, and there would be no end of places to think of.
#[global_allocator]
static OVERWRITING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    logging::install_panic_hook();
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run { config }) => with_file(config, |file| signals::run(file.to_owned())),
        Ok(Command::Test { config }) => with_file(config, test),
        Ok(Command::Help(text) | Command::Version(text)) => print(&text),
        Err(why) => complain(&why, ExitCode::from(2)),
    }
}

fn with_file(given: Option<PathBuf>, run: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    match cli::config_file(given) {
        Ok(file) => run(&file),
        Err(why) => complain(&why, ExitCode::FAILURE),
    }
}

fn test(file: &Path) -> ExitCode {
    server::confine();
    let tried = config::load(file).and_then(|config| server::check::test(&config).map(|doubts| (config, doubts)));
    match tried {
        Ok((config, doubts)) => {
            for doubt in &doubts {
                let _ = writeln!(io::stderr(), "warning: {doubt}");
            }
            // Standard output has one line a proxy, for scripts.
            let _ = writeln!(io::stderr(), "{}", config.shared);
            print(&config.proxies.iter().map(|proxy| format!("{proxy}\n")).collect::<String>())
        }
        Err(faults) => {
            complain(&faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), ExitCode::FAILURE)
        }
    }
}

/// Somebody who does not listen (`| head`) is no fault.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(text: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(io::stderr(), "{text}");
    code
}
