//! The units and the line for cron, as they are installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::place::{JOE, Place, contents, stand_in};
use crate::support::client::run_with_input;
use crate::support::lab::is_root;

const SERVICE: &str = include_str!("../../docs/mailstore-backup.service");
const TIMER: &str = include_str!("../../docs/mailstore-backup.timer");
const CRON: &str = include_str!("../../docs/mailstore.cron");
const INSTALLED: &str = "/usr/local/bin/mailstore-backup";
const DEST: &str = "/var/backups/mailstore";

/// The values of a key of the service.
fn values(key: &str) -> Vec<&'static str> {
    SERVICE.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn systemd_understands_the_units_and_finds_them_closed() {
    let place = Place::new("%d/%n");
    let dir = place.lab.folder("units");
    let service = SERVICE.replace(INSTALLED, place.tool("backup").to_str().unwrap());
    fs::write(dir.join("mailstore-backup.service"), service).unwrap();
    fs::write(dir.join("mailstore-backup.timer"), TIMER).unwrap();
    let units = ["mailstore-backup.service", "mailstore-backup.timer"].map(|unit| dir.join(unit));
    let units = units.each_ref().map(|unit| unit.to_str().unwrap());
    let verified = run_with_input("systemd-analyze", &["verify", units[0], units[1]], b"", &dir).ok();
    // It speaks of the machine's other units too.
    let ours: Vec<String> =
        verified.errors().lines().filter(|line| line.contains("mailstore-backup")).map(str::to_owned).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    let calendar = TIMER.lines().find_map(|line| line.strip_prefix("OnCalendar=")).unwrap();
    run_with_input("systemd-analyze", &["calendar", calendar], b"", &dir).ok();
    let secure =
        run_with_input("systemd-analyze", &["security", "--offline=true", "--threshold=20", units[0]], b"", &dir);
    assert_eq!(secure.code, Some(0), "{}", secure.text());
    assert_eq!(values("ExecStart"), [format!("{INSTALLED} --no-init {DEST}")]);
}

/// As the unit has it: root with these capabilities only, and nothing to be written to but the one folder.
#[test]
fn the_rights_that_the_unit_leaves_suffice() {
    if !is_root() {
        return eprintln!("skipped: the unit runs as root");
    }
    let mut place = Place::new("%d/%n");
    let file = place.put(JOE, "new", b"a message of somebody else");
    // The service's user owns the spool, and nobody else may look into it.
    crate::support::dovecot::give_away(&place.spool);
    for dir in
        [&place.spool, &place.spool.join("example.com"), &place.spool.join(JOE), &place.spool.join(JOE).join("new")]
    {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let capabilities: Vec<String> = values("CapabilityBoundingSet")[0]
        .split(' ')
        .map(|name| format!("+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()))
        .collect();
    assert!(values("ProtectSystem") == ["strict"] && values("ReadWritePaths") == [format!("-{DEST}")]);
    let dest = place.dest.to_str().unwrap();
    let closed = format!(
        "mount --bind '{dest}' '{dest}' && mount -o remount,bind,ro / && mount -t tmpfs none /tmp/. 2>/dev/null; \
         ! touch '{}/written' 2>/dev/null || exit 77; \
         exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,{} \"$@\"",
        place.dir.display(),
        capabilities.join(",")
    );
    let closed = closed.replace("&& mount -t tmpfs none /tmp/. 2>/dev/null", "");
    place.by =
        ["unshare", "--mount", "--net", "--propagation=private", "sh", "-c", &closed, "sh"].map(str::to_owned).to_vec();
    let first = place.backup(&["--verify"]);
    if first.errors().starts_with("unshare: ") {
        return eprintln!("skipped: no mount namespace is to be had here");
    }
    assert_eq!(first.code, Some(0), "{}{}", first.text(), first.errors());
    // Links to files that are somebody else's, and removing.
    let second = place.backup(&["--verify", "--keep-last", "1"]).ok().text();
    assert!(second.contains(" 0 bytes new") && second.contains("; removed "), "{second}");
    let snapshot = place.snapshots().pop().unwrap();
    assert_eq!(contents(&snapshot.join("mailSpool")), contents(&place.spool));
    use std::os::unix::fs::MetadataExt;
    let saved = fs::metadata(place.in_snapshot(&snapshot, &file)).unwrap();
    assert_eq!((saved.uid(), saved.mode() & 0o7777), (65534, 0o600));
}

/// Every system call that a run makes passes the unit's filter.
#[test]
fn the_system_calls_that_the_unit_allows_suffice() {
    let mut place = Place::new("%d/%n");
    place.put(JOE, "new", b"a message");
    place.snapshot(&[]);
    let trace = place.dir.join("trace");
    place.by = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()].map(str::to_owned).to_vec();
    let run = place.backup(&["--verify", "--quiet", "--keep-last", "1"]);
    if run.code != Some(0) && run.errors().contains("ptrace") {
        return eprintln!("skipped: nobody may be traced here");
    }
    run.ok();
    let sets = run_with_input("systemd-analyze", &["syscall-filter", "--no-pager"], b"", &place.dir).ok().text();
    let members = |set: &str| -> Vec<String> {
        let lines = sets.lines().skip_while(|line| line.trim_end() != set).skip(1);
        let lines = lines.take_while(|line| line.starts_with(' ')).map(str::trim).filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    fn expand(set: &str, members: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
        let inner = members(set).into_iter();
        inner.flat_map(|name| if name.starts_with('@') { expand(&name, members) } else { vec![name] }).collect()
    }
    assert_eq!(values("SystemCallFilter"), ["@system-service", "~@resources"]);
    let (allowed, forbidden) = (expand("@system-service", &members), expand("@resources", &members));
    let traced = fs::read_to_string(&trace).unwrap();
    let mut calls: Vec<&str> = traced
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .collect();
    calls.sort();
    calls.dedup();
    assert!(calls.len() > 30 && calls.contains(&"flock") && calls.contains(&"syncfs"), "{calls:?}");
    for call in calls {
        assert!(allowed.iter().any(|name| name == call) && !forbidden.iter().any(|name| name == call), "{call}");
    }
}

#[test]
fn cron_makes_the_snapshot_where_no_timer_does() {
    let mut place = Place::new("%d/%n");
    place.put(JOE, "new", b"a message");
    let line = CRON.lines().find(|line| !line.starts_with('#') && line.contains(INSTALLED)).expect("a line for cron");
    let (time, command) = line.split_once("  root  ").expect("a time, then root, then the command");
    assert_eq!(time.split_whitespace().count(), 5);
    assert!(!command.contains('%'), "that is a new line for cron");
    let tool = format!("{} -c {}/mailstore.ini", place.tool("backup").display(), place.dir.display());
    let command = command.replace(INSTALLED, &tool).replace(DEST, place.dest.to_str().unwrap());
    for (status, made) in [(0, 0), (1, 1), (127, 2)] {
        stand_in(
            &mut place,
            "systemctl",
            &format!("[ \"$*\" = '-q is-enabled mailstore-backup.timer' ] || exit 0; exit {status}"),
        );
        let path = place.env.pop().unwrap().1;
        let output =
            run_with_input("/bin/sh", &["-c", &format!("PATH='{path}'; {command} --keep-last 9")], b"", &place.dir)
                .ok();
        assert_eq!((output.text(), output.errors()), (String::new(), String::new()), "cron would send a mail");
        assert_eq!(place.snapshots().len(), made);
    }
}
