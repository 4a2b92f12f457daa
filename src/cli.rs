//! The command line: what was typed becomes a [`Command`], or a sentence about what is wrong with it (exit status 2).
//!
//! Nothing is read or printed here, but for the look which of the usual configuration files exists.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use getopts::{Fail, Options};

/// Where the configuration is looked for when no file was named, in this order.
pub const USUAL_FILES: [&str; 2] = ["./mailstore.ini", "/etc/mailstore/mailstore.ini"];

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start the proxies. `config` is the file named with `-c`; see [`config_file`].
    Run { config: Option<PathBuf> },
    /// Check and tell, as `-t` asks.
    Test { config: Option<PathBuf> },
    /// Print this text and exit 0.
    Help(String),
    /// Print this text and exit 0.
    Version(String),
}

/// Understands the arguments (without the program's name). An error is wrong usage: one line for the user; exit status 2.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let args = args.into_iter().map(into_utf8).collect::<Result<Vec<_>, _>>().map_err(with_hint)?;
    let options = options();
    let given = options.parse(&args).map_err(|fault| with_hint(explain(&fault)))?;
    if let Some(operand) = given.free.first() {
        return Err(with_hint(format!("{operand:?} is an operand, and there are none; a file is named with -c FILE")));
    }
    let config = given.opt_str("config");
    if config.as_deref() == Some("") {
        return Err(with_hint("the name of the file after -c is empty".to_owned()));
    }
    let config = config.map(PathBuf::from);
    Ok(if given.opt_present("help") {
        Command::Help(help(&options))
    } else if given.opt_present("version") {
        Command::Version(format!("start_proxies (MailStore) {}\n", env!("CARGO_PKG_VERSION")))
    } else if given.opt_present("test") {
        Command::Test { config }
    } else {
        Command::Run { config }
    })
}

/// The file to read: the one given, else the first of [`USUAL_FILES`] that is there. An error names both (exit status 1).
pub fn config_file(given: Option<PathBuf>) -> Result<PathBuf, String> {
    match given {
        Some(file) => Ok(file),
        None => first_of(&USUAL_FILES.map(Path::new)).ok_or_else(|| {
            let [here, system] = USUAL_FILES;
            format!("there is no configuration: neither {here} nor {system} exists; name a file with -c FILE")
        }),
    }
}

/// The first of these that is there. One that cannot be looked at (no permission) counts: reading it gives the reason.
fn first_of(files: &[&Path]) -> Option<PathBuf> {
    files.iter().find(|file| file.try_exists().unwrap_or(true)).map(|file| file.to_path_buf())
}

fn options() -> Options {
    let mut options = Options::new();
    options.optopt("c", "config", "the INI file to read", "FILE");
    options.optflag(
        "t",
        "test",
        "check the file, the certificates, the spool and the addresses, tell what was understood, and exit",
    );
    options.optflag("h", "help", "print this and exit");
    options.optflag("V", "version", "print the version and exit");
    options
}

fn help(options: &Options) -> String {
    let [here, system] = USUAL_FILES;
    let text = options.usage(
        "Usage: start_proxies [-c FILE] [-t] [-h] [-V]\n\n\
         Relays POP3, IMAP4 and SMTP to the real mail servers and keeps every message that passes in plain Maildirs.",
    );
    format!(
        "{text}\n\
         Without -c: {here}, then {system}.\n\
         SIGTERM, SIGINT and SIGQUIT stop, SIGHUP reads the configuration again, SIGUSR1 logs the counters.\n\
         Exit status: 0 stopped as asked, 1 the configuration or the machine is at fault, 2 wrong usage.\n"
    )
}

/// `getopts` would call such an argument an unknown option.
fn into_utf8(arg: OsString) -> Result<String, String> {
    arg.into_string().map_err(|arg: OsString| format!("the argument {:?} is not UTF-8", OsStr::new(&arg)))
}

fn explain(fault: &Fail) -> String {
    match fault {
        Fail::ArgumentMissing(name) => {
            format!("the option {} needs a value: -c FILE", dashed(name))
        }
        Fail::UnrecognizedOption(name) => format!("there is no option {}", dashed(name)),
        Fail::OptionDuplicated(name) => format!("the option {} is given twice", dashed(name)),
        Fail::UnexpectedArgument(name) => format!("the option {} takes no value", dashed(name)),
        Fail::OptionMissing(name) => format!("the option {} is missing", dashed(name)),
    }
}

/// The option as it is typed, its odd characters made visible.
fn dashed(name: &str) -> String {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    format!("{dashes}{}", name.escape_debug())
}

fn with_hint(text: String) -> String {
    format!("{text} (-h tells the usage)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn typed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn file(name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name))
    }

    #[test]
    fn every_form_of_each_option_is_understood() {
        assert_eq!(typed(""), Ok(Command::Run { config: None }));
        for line in ["-c a.ini", "-ca.ini", "--config a.ini", "--config=a.ini"] {
            assert_eq!(typed(line), Ok(Command::Run { config: file("a.ini") }), "{line}");
        }
        for line in ["-t", "--test"] {
            assert_eq!(typed(line), Ok(Command::Test { config: None }), "{line}");
        }
        for line in ["-t -c a.ini", "-tc a.ini", "--config a.ini --test"] {
            assert_eq!(typed(line), Ok(Command::Test { config: file("a.ini") }), "{line}");
        }
    }

    #[test]
    fn help_and_version_come_before_all_else() {
        for line in ["-h", "--help", "-h -t -c a.ini", "-V -h"] {
            let Ok(Command::Help(text)) = typed(line) else { panic!("{line}: not the help") };
            for needed in
                ["-c, --config FILE", "-t, --test", "-h, --help", "-V, --version", USUAL_FILES[0], USUAL_FILES[1]]
            {
                assert!(text.contains(needed), "{needed} is missing in {text}");
            }
        }
        for line in ["-V", "--version", "-tV"] {
            let text = format!("start_proxies (MailStore) {}\n", env!("CARGO_PKG_VERSION"));
            assert_eq!(typed(line), Ok(Command::Version(text)), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_named() {
        for (line, text) in [
            ("-x", "there is no option -x"),
            ("--frobnicate", "there is no option --frobnicate"),
            ("-t -t", "the option --test is given twice"),
            ("-t --test", "the option --test is given twice"),
            ("-c a -c b", "the option --config is given twice"),
            ("-c", "the option -c needs a value: -c FILE"),
            ("--test=yes", "the option --test takes no value"),
            ("--config=", "the name of the file after -c is empty"),
            ("a.ini", "\"a.ini\" is an operand, and there are none; a file is named with -c FILE"),
            ("-h a.ini", "\"a.ini\" is an operand, and there are none; a file is named with -c FILE"),
            ("-- -t", "\"-t\" is an operand, and there are none; a file is named with -c FILE"),
        ] {
            assert_eq!(typed(line), Err(with_hint(text.to_owned())), "{line}");
        }
        let odd = parse([OsString::from_vec(b"-c\xff".to_vec())]);
        assert_eq!(odd, Err(with_hint("the argument \"-c\\xFF\" is not UTF-8".to_owned())));
    }

    #[test]
    fn the_first_usual_file_that_exists_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let both = [first.as_path(), second.as_path()];
        assert_eq!(first_of(&both), None);
        std::fs::write(&second, "").unwrap();
        assert_eq!(first_of(&both), Some(second.clone()));
        std::fs::write(&first, "").unwrap();
        assert_eq!(first_of(&both), Some(first.clone()));
    }

    #[test]
    fn a_given_file_is_not_looked_at() {
        assert_eq!(config_file(file("nowhere/at/all.ini")), Ok(PathBuf::from("nowhere/at/all.ini")));
    }
}
