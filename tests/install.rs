//! `scripts/install` for one user, without root, and into a folder for a packager; the newer version over the older one; and taken away again.
//! What the installed program is asked to do it does. For a whole machine: `install_machine.rs`.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::client::{curl, run_command};
use support::lab::{is_root, program};
use support::sources::Sources;
use support::spool::{hash, received};
use support::*;

const JOE: &str = "joe@example.com";
/// Who installs for himself, where the test is root.
const NOBODY: u32 = 65534;

/// Every file below a folder by its path, with what it is.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let what = if meta.is_dir() {
                "folder".to_owned()
            } else if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                format!("{:o} {}", meta.mode() & 0o777, hash(&fs::read(&path).unwrap()))
            };
            if meta.is_dir() {
                todo.push(path);
            }
            found.insert(name, what);
        }
    }
    found
}

/// A user with a home of his own, who is not root: the one who runs the test, or else nobody.
struct Person {
    home: PathBuf,
}

impl Person {
    fn new(lab: &Lab) -> Person {
        let home = lab.folder("home");
        if is_root() {
            std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Person { home }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("env"));
        if is_root() {
            let id = NOBODY.to_string();
            command = Command::new(program("setpriv"));
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
        }
        command.args(words).current_dir(&self.home).env("HOME", &self.home).env("LC_ALL", "C.UTF-8");
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        run_command(self.command(words), b"")
    }

    fn ini(&self) -> PathBuf {
        self.home.join(".config/mailstore/mailstore.ini")
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn one_user_installs_uses_upgrades_and_removes_it_without_root() {
    let lab = Lab::new();
    let (sources, person) = (Sources::new(&lab), Person::new(&lab));
    let (script, binary) = (sources.script(), sources.binary());
    let install = |more: &[&str]| {
        let words = [&[script.to_str().unwrap(), "--user", "--binary", binary.to_str().unwrap()], more].concat();
        person.run(&words)
    };
    let before = tree(&person.home);

    let said = install(&["--dry-run"]).ok().text();
    assert!(said.contains("would have: installed ") && said.contains("/.local/bin/start_proxies\n"), "{said}");
    assert_eq!(tree(&person.home), before, "a dry run changed something");

    let said = install(&[]).ok().text();
    let home = person.home.display();
    for line in [
        format!("installed {home}/.local/bin/start_proxies\n"),
        format!("installed {home}/.config/systemd/user/mailstore.service\n"),
        format!("installed {home}/.config/mailstore/mailstore.ini: the servers have to be named in it\n"),
        format!("made {home}/.local/share/mailstore/mailSpool\n"),
        format!("  {home}/.local/bin/start_proxies -t -c {home}/.config/mailstore/mailstore.ini\n"),
    ] {
        assert!(said.contains(&line), "{line:?} is missing in\n{said}");
    }
    let mode = |path: &str| fs::metadata(person.home.join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode(".local/share/mailstore"), mode(".local/share/mailstore/mailSpool")), (0o750, 0o700));
    let unit = text(&person.home.join(".config/systemd/user/mailstore.service"));
    let start = format!("ExecStart={home}/.local/bin/start_proxies -c {home}/.config/mailstore/mailstore.ini\n");
    assert!(unit.contains(&start) && !unit.contains("\nUser="), "{unit}");
    let installed = tree(&person.home);
    let said = install(&[]).ok().text();
    assert!(said.contains("all files of this version are there already"), "{said}");
    assert_eq!(tree(&person.home), installed, "the same again changed something");

    // Told which server, it is ready; the tools find their way.
    let tested = |code| {
        let output =
            person.run(&[&format!("{home}/.local/bin/start_proxies"), "-t", "-c", person.ini().to_str().unwrap()]);
        assert_eq!(output.code, Some(code), "{}", output.errors());
        output.text() + &output.errors()
    };
    assert!(tested(1).contains("[pop3] upstream: is missing"));
    let provider = Dovecot::start(&lab);
    let upstream =
        format!("upstream = localhost:{}\nupstream_tls = none\n", provider.endpoint(Kind::Pop3, Tls::None).port);
    let ini = text(&person.ini())
        .replace("#upstream = mail.example.com:995\n", &upstream)
        .replace("127.0.0.1:1110", "127.0.0.1:0");
    fs::write(person.ini(), &ini).unwrap();
    assert!(tested(0).starts_with("pop3: "));
    let check = person.run(&[&format!("{home}/.local/bin/mailstore-check"), "-c", person.ini().to_str().unwrap()]);
    assert!(check.ok().text().starts_with("pop3: "));

    let mut kept = Vec::new();
    let mut mail_passes = || {
        let command = person.command(&[&format!("{home}/.local/bin/start_proxies")]);
        let proxy = Proxy::start_by(command, person.ini().parent().unwrap());
        let message = corpus::numbered(kept.len() + 1);
        provider.mailbox(JOE).put("INBOX", Place::New, &message);
        let at = Endpoint { kind: Kind::Pop3, port: proxy.port("pop3"), tls: Tls::None };
        assert_eq!(curl(&lab, at, JOE, &format!("/{}", kept.len() + 1), &[]).ok().stdout, message);
        kept.push(received(JOE, "", &message));
        let spool = Spool::at(&person.home.join(".local/share/mailstore/mailSpool"));
        spool.holds(&kept);
        proxy.stop();
    };
    mail_passes();

    // The newer version: what was edited stays, what is ours and new comes, what is gone goes. A tool edited by hand is not lost.
    sources.renew();
    let tool = person.home.join(".local/lib/mailstore/lib/mailstore/cli.py");
    fs::write(&tool, "# mine\n").unwrap();
    fs::write(person.home.join(".local/lib/mailstore/mine"), "mine").unwrap();
    let said = install(&[]).ok().text();
    assert!(said.contains("what this version would have given you lies beside it as mailstore.ini.dist"), "{said}");
    assert!(
        said.contains("cli.py.old\n") && said.contains("removed ") && said.contains("/mailstore-check\n"),
        "{said}"
    );
    assert_eq!(text(&person.ini()), ini);
    assert!(text(&person.ini().with_extension("ini.dist")).ends_with("# Another example.\n"));
    assert_eq!(text(&tool.with_extension("py.old")), "# mine\n");
    assert!(text(&person.home.join(".config/systemd/user/mailstore.service")).contains("RestartSec=6"));
    let now = tree(&person.home);
    assert!(now.contains_key(".local/bin/mailstore-again") && !now.contains_key(".local/bin/mailstore-check"));
    assert!(now.contains_key(".local/lib/mailstore/again") && !now.contains_key(".local/lib/mailstore/check"));
    assert!(fs::read(person.home.join(".local/bin/start_proxies")).unwrap().ends_with(b"newer"));
    mail_passes();
    let said = install(&[]).ok().text();
    assert!(!said.contains("lies beside it"), "told twice of the same: {said}");

    // Taken away: what is left is the mail, the configuration, and what this script did not make.
    let page = person.home.join(".local/share/doc/mailstore/docs/setup.md");
    fs::write(&page, "my notes").unwrap();
    let said = person.run(&[script.to_str().unwrap(), "--user", "--uninstall"]).ok().text();
    assert!(said.contains(&format!("left {}: it was changed since it was installed\n", page.display())), "{said}");
    assert!(said.contains(&format!("  rm -r {home}/.config/mailstore {home}/.local/share/mailstore")), "{said}");
    let left: Vec<String> =
        tree(&person.home).into_iter().filter(|(_, what)| what != "folder").map(|(name, _)| name).collect();
    let spool = ".local/share/mailstore/mailSpool/";
    let (mail, rest): (Vec<String>, Vec<String>) = left.into_iter().partition(|name| name.starts_with(spool));
    assert_eq!(mail.iter().filter(|name| name.contains(",S=")).count(), 2, "{mail:?}");
    let expected = [
        ".config/mailstore/mailstore.ini",
        ".local/lib/mailstore/lib/mailstore/cli.py.old",
        ".local/lib/mailstore/mine",
        ".local/share/doc/mailstore/docs/setup.md",
    ];
    assert_eq!(rest, expected);
    assert!(!person.home.join(".local/bin").exists() && !person.home.join(".config/systemd").exists());
    let again = person.run(&[script.to_str().unwrap(), "--user", "--uninstall"]);
    assert!(
        again.code == Some(1) && again.errors().contains("nothing that this script installed is below"),
        "{}",
        again.errors()
    );
}

#[test]
fn what_cannot_be_meant_is_refused_and_says_what_would_be_right() {
    let lab = Lab::new();
    let (sources, person) = (Sources::new(&lab), Person::new(&lab));
    let script = sources.script();
    let (script, binary) = (script.to_str().unwrap(), sources.binary());
    let binary = binary.to_str().unwrap();
    let before = tree(&person.home);
    for (words, code, told) in [
        (&["--frobnicate"][..], 2, "there is no option --frobnicate; see scripts/install --help"),
        (&["operand"], 2, "there is no option operand"),
        (&["--prefix"], 2, "--prefix needs a value"),
        (&["--user", "--prefix", "below/here"], 2, "below/here is not an absolute path"),
        (&["--user", "--user", "mail"], 2, "--user is either alone or has a name"),
        (&["--user", "--prefix", "/tmp/a b", "--dry-run"], 1, "blanks, quotes and the characters"),
        (&["--user=root"], 1, "the service never runs as root"),
        (&["--user=A b"], 1, "the user's name 'A b' may hold"),
        (
            &["--binary", binary],
            1,
            "installing for the whole machine takes root: sudo scripts/install; for yourself alone, without root: scripts/install --user",
        ),
        (&["--user", "--binary", "/bin/true"], 1, "/bin/true is not start_proxies"),
        (&["--user", "--binary", "/nowhere"], 1, "/nowhere does not run here"),
    ] {
        let output = person.run(&[&[script], words].concat());
        assert_eq!(output.code, Some(code), "{words:?}: {}{}", output.text(), output.errors());
        assert!(output.errors().contains(told), "{words:?}: {}", output.errors());
    }
    assert_eq!(tree(&person.home), before);
    let help = person.run(&[script, "--help"]).ok().text();
    for option in [
        "--prefix DIR",
        "--user [NAME]",
        "--destdir DIR",
        "--binary FILE",
        "--backup DEST",
        "--uninstall",
        "--dry-run",
        "exit status: 0",
    ] {
        assert!(help.contains(option), "{option} is missing in\n{help}");
    }
    // A run that is at work keeps others out.
    let lib = person.home.join(".local/lib/mailstore");
    assert_eq!(person.run(&["mkdir", "-p", lib.to_str().unwrap()]).code, Some(0));
    let held = format!("exec 8<'{}'; flock 8; '{script}' --user --binary '{binary}'", lib.display());
    let output = person.run(&["sh", "-c", &held]);
    assert!(output.code == Some(1) && output.errors().contains("another run is at work"), "{}", output.errors());
}

#[test]
fn a_run_that_was_cut_short_is_finished_by_the_next_and_taken_away_whole() {
    let lab = Lab::new();
    let (sources, person) = (Sources::new(&lab), Person::new(&lab));
    let (script, binary) = (sources.script(), sources.binary());
    let words = [script.to_str().unwrap(), "--user", "--binary", binary.to_str().unwrap()];
    // The disk is full in the middle: nothing can be made in this folder.
    let page = person.home.join(".local/share/doc/mailstore/docs");
    assert_eq!(
        person.run(&["sh", "-c", &format!("mkdir -p '{}'; chmod 500 '{}'", page.display(), page.display())]).code,
        Some(0)
    );
    let output = person.run(&words);
    assert_ne!(output.code, Some(0), "{}", output.text());
    assert!(person.home.join(".local/bin/start_proxies").exists());
    fs::set_permissions(&page, fs::Permissions::from_mode(0o755)).unwrap();
    let uninstalled = person.run(&[words[0], "--user", "--uninstall"]).ok();
    assert!(!person.home.join(".local/bin").exists(), "{}", uninstalled.text());
    person.run(&words).ok();
    person.run(&[words[0], "--user", "--uninstall"]).ok();
    let left: Vec<String> =
        tree(&person.home).into_iter().filter(|(_, what)| what != "folder").map(|(name, _)| name).collect();
    assert_eq!(left, [".config/mailstore/mailstore.ini"]);
}

#[test]
fn a_packager_gets_everything_below_his_folder_and_nothing_elsewhere() {
    let lab = Lab::new();
    let (sources, person) = (Sources::new(&lab), Person::new(&lab));
    let (script, binary) = (sources.script(), sources.binary());
    let dest = person.home.join("it's here");
    let words =
        ["--destdir", dest.to_str().unwrap(), "--prefix", "/opt/mailstore", "--user", "mail-keeper", "--binary"];
    let run = |more: &[&str]| person.run(&[&[script.to_str().unwrap()], &words[..], more].concat()).ok().text();
    run(&[binary.to_str().unwrap()]);
    let unit = text(&dest.join("etc/systemd/system/mailstore.service"));
    for line in [
        "ExecStart=/opt/mailstore/bin/start_proxies -c /etc/mailstore/mailstore.ini\n",
        "User=mail-keeper\nGroup=mail-keeper\n",
        "Documentation=file:///opt/mailstore/share/doc/mailstore/docs/setup.md\n",
    ] {
        assert!(unit.contains(line), "{line:?} is missing in\n{unit}");
    }
    let ini = text(&dest.join("etc/mailstore/mailstore.ini"));
    assert!(
        ini.contains("\nuser = mail-keeper\n") && ini.contains("\nspool = /var/lib/mailstore/mailSpool\n"),
        "{ini}"
    );
    let names: Vec<String> = tree(&person.home).into_keys().filter(|name| !name.starts_with("it's here")).collect();
    assert!(names.is_empty(), "{names:?}");
    run(&[binary.to_str().unwrap(), "--uninstall"]);
    let left: Vec<String> =
        tree(&dest).into_iter().filter(|(_, what)| what != "folder").map(|(name, _)| name).collect();
    assert_eq!(left, ["etc/mailstore/mailstore.ini"]);
    // No mention of where it was built.
    let mention = |text: &str| assert!(!text.contains(lab.path().to_str().unwrap()), "{text}");
    mention(&unit);
    mention(&ini);
}

/// Of a program that only root has a cargo for: whose the sources are has his own, and builds what he can build again.
#[test]
fn what_is_not_built_is_built_by_whom_the_sources_belong_to() {
    let lab = Lab::new();
    let (sources, person) = (Sources::new(&lab), Person::new(&lab));
    let dest = person.home.join("dest");
    let script = sources.script();
    let words = [script.to_str().unwrap(), "--destdir", dest.to_str().unwrap()];
    for name in ["src", "target"] {
        fs::create_dir(sources.dir.join(name)).unwrap();
    }
    fs::write(sources.dir.join("src/main.rs"), "").unwrap();
    fs::write(sources.dir.join("Cargo.lock"), "").unwrap();
    // A cargo that says by whom it was asked, and has the program ready.
    let bin = lab.folder("bin");
    let cargo = format!(
        "#!/bin/sh\necho \"$(id -u) $*\" >>target/asked\nmkdir -p target/release\ncp '{}' target/release/start_proxies\n",
        sources.binary().display()
    );
    fs::write(bin.join("cargo"), cargo).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let mine = if is_root() { NOBODY } else { nix::unistd::geteuid().as_raw() };
    run("chown", &["-R", &mine.to_string(), sources.dir.to_str().unwrap()]).ok();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    let install = |path: &str| {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env("PATH", path)
            .env_remove("CARGO_HOME")
            .env_remove("CARGO_TARGET_DIR")
            .env("HOME", &person.home);
        run_command(command, b"")
    };
    let asked = || fs::read_to_string(sources.dir.join("target/asked")).unwrap_or_default();

    let output = install("/usr/sbin:/usr/bin:/sbin:/bin");
    assert!(
        output.code == Some(1) && output.errors().contains("cargo is missing: install Rust "),
        "{}",
        output.errors()
    );
    assert!(!dest.exists());
    install(&path).ok();
    assert_eq!(asked(), format!("{mine} build --release --locked --quiet --bin start_proxies\n"));
    assert!(dest.join("usr/local/bin/start_proxies").exists());
    // It is there, and nothing changed.
    install(&path).ok();
    assert_eq!(asked().lines().count(), 1);
    // A change in the sources.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
    fs::File::options().write(true).open(sources.dir.join("src/main.rs")).unwrap().set_modified(later).unwrap();
    install(&path).ok();
    assert_eq!(asked().lines().count(), 2);
}

#[test]
fn the_scripts_are_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<String> = ["scripts", "scripts/packaging", "docs", "tests/support"]
        .iter()
        .flat_map(|dir| fs::read_dir(root.join(dir)).unwrap().flatten())
        .filter(|entry| {
            fs::read(entry.path())
                .is_ok_and(|text| text.starts_with(b"#!/bin/sh\n") || text.starts_with(b"#!/bin/bash\n"))
        })
        .map(|entry| entry.path().display().to_string())
        .collect();
    files.sort();
    assert!(files.len() > 6, "{files:?}");
    let output = run(
        "shellcheck",
        &[["-x", "-S", "warning", "-P", root.to_str().unwrap()].map(str::to_owned).to_vec(), files].concat(),
    );
    assert_eq!(output.code, Some(0), "{}", output.text());
}
