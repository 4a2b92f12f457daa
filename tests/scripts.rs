//! What all scripts have in common, those to come included: they tell how they are used, refuse what they do not know before they do anything, need
//! nothing but what the system has, and leave nothing behind in the sources.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::dovecot::entries;
use support::*;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0
}

/// What people call.
fn commands() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = entries(&scripts()).into_iter().filter(|path| is_executable(path)).collect();
    found.sort();
    assert!(["demo", "report", "test", "verify"].iter().all(|name| found.contains(&scripts().join(name))), "{found:?}");
    found
}

/// All files below scripts/.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![scripts()];
    while let Some(dir) = todo.pop() {
        for entry in entries(&dir) {
            if entry.is_dir() { todo.push(entry) } else { found.push(entry) }
        }
    }
    found.sort();
    found
}

/// The program that a script is for: `sh`, `bash`, `python3`; for a module its ending tells.
fn language(path: &Path) -> String {
    if path.extension().is_some_and(|ending| ending == "py") {
        return "python3".to_owned();
    }
    let bytes = fs::read(path).unwrap();
    let first = String::from_utf8_lossy(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    let program = first.strip_prefix("#!").and_then(|rest| rest.split(['/', ' ']).next_back());
    program.unwrap_or_default().to_owned()
}

fn of(languages: &[&str]) -> Vec<PathBuf> {
    files().into_iter().filter(|path| languages.contains(&language(path).as_str())).collect()
}

/// A folder of programs that do nothing but tell that they were called: what a script would build, install or change something with.
const TELLTALES: &[&str] = &[
    "apt-get",
    "apt",
    "cargo",
    "npm",
    "rustc",
    "c++",
    "sudo",
    "useradd",
    "adduser",
    "groupadd",
    "install",
    "systemctl",
    "dpkg",
    "rsync",
    "mbsync",
    "doveadm",
    "doveconf",
    "dovecot",
    "journalctl",
    "rm",
    "mv",
    "cp",
    "chown",
    "chmod",
    "mktemp",
    "mkdir",
    "ln",
    "touch",
    "tee",
];

/// Runs a command with one option in an empty folder, by what is in force for nobody else. What it says, and what it called.
fn with_option(lab: &Lab, command: &Path, option: &str) -> (Output, Vec<PathBuf>) {
    let (bin, home, called) = (lab.folder("bin"), lab.folder("home"), lab.folder("called"));
    for name in TELLTALES {
        let file = bin.join(name);
        fs::write(&file, format!("#!/bin/sh\n: >'{}/{name}'\nexit 0\n", called.display())).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(command)
        .arg(option)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("HOME", &home)
        .env("TMPDIR", &home)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(&home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let output = Output { code: output.status.code(), stdout: output.stdout, stderr: output.stderr };
    (output, [entries(&called), entries(&home)].concat())
}

#[test]
fn each_tells_how_it_is_used() {
    let lab = Lab::new();
    for command in commands() {
        let name = command.file_name().unwrap().to_str().unwrap();
        for option in ["--help", "-h"] {
            let (output, called) = with_option(&lab, &command, option);
            let text = output.text();
            assert_eq!(output.code, Some(0), "{name} {option}: {text}{}", output.errors());
            assert_eq!(output.errors(), "", "{name} {option}");
            assert!(text.contains(&format!("scripts/{name}")), "{name} {option} does not show its usage: {text}");
            assert!(
                text.to_lowercase().contains("exit status"),
                "{name} {option} does not tell its exit statuses: {text}"
            );
            assert_eq!(called, [""; 0].map(PathBuf::from), "{name} {option} does something");
        }
    }
}

#[test]
fn each_refuses_what_it_does_not_know() {
    let lab = Lab::new();
    for command in commands() {
        let name = command.file_name().unwrap().to_str().unwrap();
        let (output, called) = with_option(&lab, &command, "--frobnicate");
        assert_eq!(output.code, Some(2), "{name}: {}{}", output.text(), output.errors());
        assert_eq!(output.text(), "", "{name}");
        // Where a command has subcommands, or needs an argument, it may be that which it misses first.
        let errors = output.errors();
        assert!(errors.contains(&format!("scripts/{name}: ")) && errors.lines().count() <= 3, "{name}: {errors}");
        assert!(errors.contains("--frobnicate") || errors.contains("required"), "{name}: {errors}");
        assert_eq!(called, [""; 0].map(PathBuf::from), "{name} does something");
    }
}

#[test]
fn what_is_for_a_shell_is_clean() {
    let found = of(&["sh", "bash", "dash"]);
    assert!(found.len() >= 5, "{found:?}");
    for file in found {
        // What it reads is named from the root of the sources.
        let output =
            client::run_with_input("shellcheck", &["-x", file.to_str().unwrap()], b"", scripts().parent().unwrap());
        assert_eq!(output.code, Some(0), "{}\n{}", output.text(), output.errors());
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            !is_executable(&file) || text.contains("\nset -e"),
            "{}: goes on after a failure: set -e",
            file.display()
        );
    }
}

/// Each file: its syntax, as old as Python 3.9 has it, without a warning; and what it imports.
const CHECK: &str = r##"
import ast, sys, warnings
warnings.simplefilter("error")
gone = set("aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp mailcap msilib nis nntplib ossaudiodev pipes smtpd "
           "sndhdr spwd sunau telnetlib uu xdrlib".split())
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    compile(text, path, "exec", dont_inherit=True)
    tree = ast.parse(text, path, feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [] if node.level else [node.module]
        elif isinstance(node, ast.Match if hasattr(ast, "Match") else ()):
            sys.exit(f"{path}:{node.lineno}: match is newer than Python 3.9")
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            if top != "mailstore" and top not in sys.stdlib_module_names:
                sys.exit(f"{path}:{node.lineno}: {name} is not of Python's standard library")
            if top in gone:
                sys.exit(f"{path}:{node.lineno}: {name} is gone in Python 3.13")
    if not path.endswith(".py"):
        lines = text.split("\n")
        if lines[0] != "#!/usr/bin/python3":
            sys.exit(f"{path}: begins with {lines[0]}, not with #!/usr/bin/python3")
        if "\nsys.dont_write_bytecode = True\n" not in text.split("from mailstore import")[0]:
            sys.exit(f"{path}: leaves __pycache__ behind: sys.dont_write_bytecode = True before it imports mailstore")
        if not ast.get_docstring(tree):
            sys.exit(f"{path}: has no docstring")
"##;

#[test]
fn what_is_for_python_needs_nothing_but_python() {
    let found = of(&["python3"]);
    assert!(found.len() >= 10, "{found:?}");
    let paths: Vec<&str> = found.iter().map(|path| path.to_str().unwrap()).collect();
    let output = run("/usr/bin/python3", &[&["-W", "error", "-I", "-B", "-c", CHECK], &paths[..]].concat());
    assert_eq!((output.code, output.errors().as_str()), (Some(0), ""));
}

#[test]
fn nothing_is_left_in_the_sources() {
    let lab = Lab::new();
    for command in commands().iter().filter(|path| language(path) == "python3") {
        with_option(&lab, command, "--help");
    }
    let left: Vec<PathBuf> =
        files().into_iter().filter(|path| path.to_str().unwrap().contains("__pycache__")).collect();
    assert_eq!(left, [""; 0].map(PathBuf::from));
    // Each is of a language that is looked at here, or a page or pattern that nobody runs.
    for path in files().iter().filter(|path| is_executable(path)) {
        let known = ["sh", "bash", "python3"];
        assert!(known.contains(&language(path).as_str()), "{}: {}", path.display(), language(path));
    }
}
