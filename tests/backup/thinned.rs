//! Which snapshots go: the rule as such, and what is removed by it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::place::{JOE, Place, contents, stand_in};
use crate::support::client::run_with_input;

/// What the rule (last, daily, weekly, monthly, yearly) keeps of these, in their order.
fn kept(rule: &str, names: &[String]) -> Vec<String> {
    let script = "import datetime, sys; sys.path.insert(0, sys.argv[1]); from mailstore import snapshots as s\n\
                  rule = dict(zip(s.PERIODS, map(int, sys.argv[2].split(','))))\n\
                  print(*sorted(s.kept(sys.argv[3:], rule, datetime.datetime(2026, 1, 1))))";
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib");
    let mut args = vec!["-Bc", script, lib.to_str().unwrap(), rule];
    args.extend(names.iter().map(String::as_str));
    let said = run_with_input("/usr/bin/python3", &args, b"", Path::new("/")).ok().text();
    said.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_rule_keeps_the_newest_of_each_of_the_last_periods_that_have_one() {
    // A rule, snapshots (`month-day` of 2025 at noon, `Tnn` for another hour), and those that stay are marked by `*`.
    for (rule, snapshots) in [
        ("0,0,0,0,0", ""),
        ("0,0,0,0,0", "01-05 01-06*"),
        ("3,0,0,0,0", "01-05 01-06* 01-07T01* 01-07T02*"),
        ("9,0,0,0,0", "01-05* 01-06*"),
        // Days without a snapshot do not count.
        ("0,2,0,0,0", "01-02 01-03T01 01-03T02* 01-09T01 01-09T02 01-09T03*"),
        // A week begins on Monday; 2025-01-05 is a Sunday.
        ("0,0,2,0,0", "01-03 01-04 01-05* 01-06 01-07*"),
        ("0,0,3,0,0", "01-05* 01-06 01-12* 02-20*"),
        ("0,0,0,2,0", "01-30 01-31 02-01 02-28* 03-01 03-02*"),
        ("0,0,0,0,1", "01-01 06-01 12-31*"),
        // Together: what any of them keeps.
        ("1,2,2,2,0", "01-01 01-31* 02-08 02-09* 02-10* 02-11T01 02-11T02*"),
    ] {
        let full = |short: &str| {
            let (day, hour) = short.split_once('T').unwrap_or((short, "12"));
            format!("2025-{day}T{hour}0000")
        };
        let all: Vec<String> = snapshots.split_whitespace().map(|s| full(s.trim_end_matches('*'))).collect();
        let stay: Vec<String> = snapshots.split_whitespace().filter_map(|s| s.strip_suffix('*')).map(full).collect();
        assert_eq!(kept(rule, &all), stay, "{rule}: {snapshots}");
    }
    // Around New Year a week lies in two years.
    let years = ["2024-12-29T120000", "2024-12-30T120000", "2025-01-01T120000", "2025-01-05T120000"].map(str::to_owned);
    assert_eq!(kept("0,0,2,0,0", &years), [&*years[0], &*years[3]]);
    assert_eq!(kept("0,0,0,0,2", &years), [&*years[1], &*years[3]]);
}

/// Four hundred nights, thinned out after each as a timer does it: what is left is what the rule would keep of all.
#[test]
fn thinning_every_night_comes_to_the_same() {
    let script = "import sys, datetime; sys.path.insert(0, sys.argv[1]); from mailstore import snapshots as s\n\
                  night = datetime.datetime(2025, 1, 31, 2, 30)\n\
                  nights = [(night - datetime.timedelta(days=n)).strftime(s.FORM) for n in range(400, -1, -1)]\n\
                  there = []\n\
                  for name in nights: there = sorted(s.kept(there + [name], s.RULE, night))\n\
                  assert there == sorted(s.kept(nights, s.RULE, night))\n\
                  print(*(name[2:10] for name in there))";
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib");
    let said = run_with_input("/usr/bin/python3", &["-Bc", script, lib.to_str().unwrap()], b"", Path::new("/")).ok();
    assert_eq!(
        said.text().trim(),
        "24-02-29 24-03-31 24-04-30 24-05-31 24-06-30 24-07-31 24-08-31 24-09-30 24-10-31 24-11-30 24-12-15 24-12-22 \
         24-12-29 24-12-31 25-01-05 25-01-12 25-01-18 25-01-19 25-01-20 25-01-21 25-01-22 25-01-23 25-01-24 25-01-25 \
         25-01-26 25-01-27 25-01-28 25-01-29 25-01-30 25-01-31"
    );
}

/// The snapshot again, as one of this time.
fn dated(place: &Place, name: &str) {
    let first = place.snapshots().pop().expect("a snapshot");
    let status = Command::new("cp").arg("-al").args([&first, &place.dest.join(name)]).status().unwrap();
    assert!(status.success());
}

fn names(place: &Place) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(&place.dest).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".mailstore-backup" && name != "latest");
    names.sort();
    names
}

#[test]
fn only_what_it_made_is_removed_and_nothing_after_a_run_that_failed() {
    for mut place in Place::both("%d/%n") {
        let message = place.put(JOE, "new", b"a message");
        let first = place.snapshot(&[]);
        fs::rename(&first, place.dest.join("2020-01-01T000000")).unwrap();
        for name in ["2020-01-02T000000", "2020-01-03T000000", "2020-01-03T000001", "2020-01-04T000000"] {
            dated(&place, name);
        }
        // Not ours, or not any more.
        let dest = place.dest.clone();
        fs::create_dir_all(dest.join("2019-01-01T000000/mailSpool")).unwrap();
        fs::write(dest.join("2019-01-02T000000"), "a file").unwrap();
        symlink("2020-01-01T000000", dest.join("2019-01-03T000000")).unwrap();
        dated(&place, "2019-13-45T000000");
        dated(&place, "2019-01-05T000000-before-the-move");
        dated(&place, "2019-01-06T000000");
        fs::write(dest.join("2019-01-06T000000/why.txt"), "to be kept").unwrap();
        fs::create_dir(dest.join("other")).unwrap();
        fs::create_dir(dest.join("removing-the-old-ones")).unwrap();
        let foreign = [
            "2019-01-01T000000",
            "2019-01-02T000000",
            "2019-01-03T000000",
            "2019-01-05T000000-before-the-move",
            "2019-01-06T000000",
            "2019-13-45T000000",
        ];
        // What a run that was killed had begun to remove.
        dated(&place, "removing-2018-01-01T000000");
        let before = names(&place);

        // No run without a snapshot removes anything.
        let rule = ["--keep-daily", "2", "--keep-weekly", "0", "--keep-monthly", "0"];
        fs::rename(&place.spool, place.dir.join("away")).unwrap();
        assert_eq!(place.backup(&rule).code, Some(1));
        fs::create_dir(&place.spool).unwrap();
        assert_eq!(place.backup(&rule).code, Some(1));
        fs::remove_dir(&place.spool).unwrap();
        fs::rename(place.dir.join("away"), &place.spool).unwrap();
        stand_in(&mut place, "rsync", "echo 'rsync: it is broken' >&2; exit 12");
        let failed = place.backup(&rule);
        assert_eq!(failed.code, Some(1));
        assert!(failed.errors().contains("rsync: it is broken"), "{}", failed.errors());
        place.env.clear();
        assert_eq!(place.backup(&[&rule[..], &["--dry-run"]].concat()).code, Some(0));
        let mut after = names(&place);
        after.retain(|name| name != "unfinished");
        assert_eq!(after, before);

        let told = place.backup(&[&rule[..], &["--dry-run"]].concat()).ok().text();
        let away = "2020-01-01T000000, 2020-01-02T000000, 2020-01-03T000000, 2020-01-03T000001";
        assert!(told.ends_with(&format!("would be removed: {away}\n")), "{told}");
        let said = place.backup(&rule).ok().text();
        assert!(said.ends_with(&format!("; removed {away}\n")), "{said}");
        let mut left = foreign.map(str::to_owned).to_vec();
        left.extend(
            ["2020-01-04T000000", place.snapshots().pop().unwrap().file_name().unwrap().to_str().unwrap()]
                .map(str::to_owned),
        );
        left.extend(["other", "removing-the-old-ones"].map(str::to_owned));
        assert_eq!(names(&place), left);
        // What is left is whole, also what shares its files with what went.
        let whole = contents(&place.spool);
        for name in ["2020-01-04T000000", "2019-01-06T000000/", "2019-01-05T000000-before-the-move"] {
            assert_eq!(contents(&dest.join(name).join("mailSpool")), whole);
        }
        assert!(message.exists());
    }
}

#[test]
fn the_newest_stays_whatever_the_rule_and_the_clock() {
    let place = Place::new("%d/%n");
    place.put(JOE, "new", b"a message");
    place.snapshot(&[]);
    let none = ["--keep-last", "0", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0"];
    // A clock that was wrong has left one of the future.
    dated(&place, "2101-01-01T000000");
    let new = place.snapshot(&none);
    let left = place.snapshots();
    assert_eq!(left, [new, place.dest.join("2101-01-01T000000")]);

    // Many of them take nobody's place.
    for day in 2..9 {
        dated(&place, &format!("2101-01-0{day}T000000"));
    }
    let days: Vec<String> = (1..4).map(|day| format!("2020-01-0{day}T000000")).collect();
    days.iter().for_each(|day| dated(&place, day));
    let said = place.backup(&["--keep-daily", "3", "--keep-weekly", "0", "--keep-monthly", "0"]).ok().text();
    assert!(said.contains("; removed 2020-01-01T000000"), "{said}");
    assert!(days[1..].iter().any(|day| place.dest.join(day).exists()), "{:?}", names(&place));
    assert_eq!(names(&place).iter().filter(|name| name.starts_with("2101")).count(), 8);

    // What only looks like the rest of a snapshot is nobody's to remove.
    let others = place.dest.join("removing-2020-01-01T000000/mailSpool");
    fs::create_dir_all(&others).unwrap();
    place.backup(&[]).ok();
    assert!(others.exists());
}

#[test]
fn what_cannot_be_removed_is_told_and_the_rest_goes() {
    // For root everything can be removed.
    let place = Place::both("%d/%n").pop().unwrap();
    if !place.is_ordinary() {
        return eprintln!("skipped: there is nobody else to be");
    }
    place.put(JOE, "new", b"a message");
    place.snapshot(&[]);
    for name in ["2020-01-01T000000", "2020-01-02T000000"] {
        dated(&place, name);
        crate::support::dovecot::give_away(&place.dest.join(name));
    }
    use std::os::unix::fs::PermissionsExt;
    let closed = place.dest.join("2020-01-01T000000/mailSpool/example.com/joe/new");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let rule = ["--keep-daily", "1", "--keep-weekly", "1", "--keep-monthly", "1"];
    let output = place.backup(&rule);
    assert_eq!(output.code, Some(5), "{}", output.errors());
    assert!(output.errors().contains("cannot be removed: "), "{}", output.errors());
    assert!(output.text().contains("; removed 2020-01-02T000000, "), "{}", output.text());
    // It looks like a snapshot no more, and goes once it can.
    fs::set_permissions(
        place.dest.join("removing-2020-01-01T000000/mailSpool/example.com/joe/new"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    place.backup(&rule).ok();
    assert!(names(&place).iter().all(|name| !name.starts_with("removing-")));
}
