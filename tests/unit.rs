//! The systemd units in `docs/`: systemd finds nothing wrong with them, and thinks of the service's as the pages say.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::*;

/// The highest exposure level that the unit may get.
const EXPOSURE_MAX: f64 = 2.0;
/// The figure in the pages is that of this version: others weigh differently.
const SYSTEMD: &str = "systemd 252 ";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The units and timers in `docs/`.
fn units() -> Vec<PathBuf> {
    let all = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|kind| kind == "service" || kind == "timer")).collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let lab = Lab::new();
    let dir = lab.folder("units");
    let program = dir.join("bin");
    fs::create_dir(&program).unwrap();
    for name in ["start_proxies", "mailstore-backup"] {
        fs::copy(env!("CARGO_BIN_EXE_start_proxies"), program.join(name)).unwrap();
    }
    // Where programs are looked for.
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap().replace("/usr/local/bin", program.to_str().unwrap());
        fs::write(dir.join(unit.file_name().unwrap()), text).unwrap();
    }
    let names: Vec<String> =
        units().iter().map(|unit| unit.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(
        names.contains(&"mailstore.service".to_owned()) && names.contains(&"mailstore-user.service".to_owned()),
        "{names:?}"
    );
    for name in names {
        // A user's manager needs a folder of his, which not every machine has for those who run tests.
        let output = run("systemd-analyze", &["verify", "--man=no", dir.join(&name).to_str().unwrap()]);
        let said = output.text() + &output.errors();
        let about_it: Vec<&str> = said.lines().filter(|line| line.contains(&name)).collect();
        assert!(output.code == Some(0) && about_it.is_empty(), "{name}: {said}");
    }
    // That it can find something is seen here.
    let broken = dir.join("broken.service");
    fs::write(&broken, "[Service]\nExecStart=/nowhere/start_proxies\nProtectSistem=strict\n").unwrap();
    let output = run("systemd-analyze", &["verify", "--man=no", broken.to_str().unwrap()]);
    assert!(output.errors().contains("ProtectSistem"), "{}", output.errors());
}

#[test]
fn the_service_is_as_little_exposed_as_the_pages_say() {
    let unit = root().join("docs/mailstore.service");
    let said =
        run("systemd-analyze", &["security", "--offline=true", "--no-pager", unit.to_str().unwrap()]).ok().text();
    let level = said
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for mailstore.service: "))
        .expect("the level")
        .1;
    let level = level.split(' ').next().unwrap();
    assert!(level.parse::<f64>().unwrap() <= EXPOSURE_MAX, "{said}");
    let version = run("systemd-analyze", &["--version"]).ok().text();
    let mut quoted = 0;
    for page in ["README.md", "SECURITY.md", "docs/setup.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap().replace('\n', " ");
        for figure in text.split("exposure level ").skip(1).map(|rest| rest.split([' ', ',']).next().unwrap()) {
            quoted += 1;
            if version.starts_with(SYSTEMD) {
                assert_eq!(figure, level, "{page}");
            }
        }
    }
    assert!(quoted > 0, "no page says it");
    if !version.starts_with(SYSTEMD) {
        eprintln!("skipped: the pages' figure is that of {SYSTEMD}, this is {}", version.lines().next().unwrap());
    }
}

/// What the user's unit shares with the machine's is the same in both.
#[test]
fn both_units_say_the_same_where_they_can() {
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(root().join("docs").join(name)).unwrap();
        text.lines().filter(|line| line.contains('=') && !line.starts_with('#')).map(str::to_owned).collect()
    };
    let machine = lines("mailstore.service");
    for line in lines("mailstore-user.service") {
        assert!(machine.contains(&line) || line == "WantedBy=default.target", "{line}");
    }
}
