//! The page in a real browser: its figures, its width on a phone, its colours, and that it asks nobody for anything.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// Measures a page in a frame of a given width: a window is not as narrow as a phone.
const MEASURE: &str = include_str!("../support/measure.html");

/// Has Chromium open a page, with more options; what it writes.
fn chromium(lab: &Lab, page: &Path, options: &[&str]) -> String {
    let profile = format!("--user-data-dir={}", lab.folder("chromium").display());
    let url = format!("file://{}", page.display());
    let fixed = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        // As on a phone, they take no room.
        "--hide-scrollbars",
        // A frame of ours may be looked into.
        "--allow-file-access-from-files",
        &profile,
        "--dump-dom",
    ];
    run_with_input("chromium", &[&fixed[..], options, &[&url]].concat(), b"", lab.path()).ok().text()
}

/// What is measured of a page in a window of this width.
fn measured(lab: &Lab, page: &Path, width: usize, options: &[&str]) -> Vec<(String, String)> {
    let around = page.with_extension("around.html");
    let name = page.file_name().unwrap().to_str().unwrap();
    fs::write(&around, MEASURE.replace("PAGE", name).replace("WIDTH", &width.to_string())).unwrap();
    let dom = chromium(lab, &around, &[&["--window-size=1300,900"], options].concat());
    let lines = dom.split("<pre id=\"measured\">").nth(1).unwrap_or_else(|| panic!("nothing was measured:\n{dom}"));
    let lines = lines.split("</pre>").next().unwrap();
    let lines = lines.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");
    lines.lines().map(|line| line.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap()).collect()
}

fn one<'a>(measured: &'a [(String, String)], name: &str) -> &'a str {
    let mut found = measured.iter().filter(|(other, _)| other == name);
    let value = &found.next().unwrap_or_else(|| panic!("no {name} in {measured:#?}")).1;
    assert!(found.next().is_none(), "{name}");
    value
}

fn all<'a>(measured: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    measured.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
}

/// WCAG's contrast of two colours, as the browser writes them: rgb(1, 2, 3).
fn contrast(one: &str, other: &str) -> f64 {
    let light = |color: &str| {
        let numbers: Vec<f64> = color
            .trim_start_matches("rgb(")
            .trim_end_matches(')')
            .split(", ")
            .map(|part| part.parse::<f64>().unwrap() / 255.0)
            .map(|part| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) })
            .collect();
        0.2126 * numbers[0] + 0.7152 * numbers[1] + 0.0722 * numbers[2] + 0.05
    };
    let (one, other) = (light(one), light(other));
    one.max(other) / one.min(other)
}

/// Makes a page of this spool and this log.
fn page(lab: &Lab, spool: &Filed, log: &str) -> PathBuf {
    let dir = lab.folder("page");
    fs::write(dir.join("log"), log).unwrap();
    let (file, log) = (dir.join("page.html"), dir.join("log"));
    let (root, html) = (spool.path().to_str().unwrap(), file.to_str().unwrap());
    report(lab, &["--spool", root, "--log", log.to_str().unwrap(), "--html", html]).ok();
    file
}

#[test]
fn in_a_browser_the_figures_are_right_and_nothing_overflows() {
    let lab = Lab::new();
    let mut spool = small(&lab);
    let nasty = "\u{202e}\u{1}é<b>&amp;\"'";
    spool.put(&format!("example.com/{}", nasty.replace('\u{1}', "")), "", Place::New, NOW, b"12345678");
    let page = page(&lab, &spool, &log());
    let mut backs = BTreeMap::new();
    for (width, options) in
        [(375, &[][..]), (320, &[]), (1200, &[]), (375, &["--force-dark-mode"]), (1200, &["--force-dark-mode"])]
    {
        let seen = measured(&lab, &page, width, options);
        assert_eq!(one(&seen, "window"), width.to_string());
        assert_eq!((one(&seen, "page"), one(&seen, "wide")), (width.to_string().as_str(), ""), "it scrolls sideways");
        assert_eq!((one(&seen, "scripts"), one(&seen, "images"), one(&seen, "loaded")), ("0", "0", "0"));
        assert_eq!(one(&seen, "title"), "MailStore: what is kept");
        for color in ["text", "dim", "bad"] {
            let contrast = contrast(one(&seen, color), one(&seen, "card"));
            assert!(contrast >= 4.5, "{color}: {contrast}");
        }
        backs.insert(one(&seen, "back").to_owned(), options.len());
        if width != 1200 {
            continue;
        }
        for (name, value) in [
            ("figure Owners", "7"),
            ("figure Messages in", "8"),
            ("figure Messages out", "3"),
            ("figure Size", "1.5 MB"),
            ("figure Last message", "now"),
            ("figure Silent for 14 d", "2"),
            ("figure Not kept in 30 d", "23"),
            (
                "named",
                "Messages a day: 8 messages in and 2 out in the last 30 days; the most on 2026-11-26: 3 in, 1 out. The table below has each day.",
            ),
            ("unnamed", "0"),
            ("day 2026-11-27", "2|1"),
            ("day 2026-11-26", "3|1"),
            ("day 2026-11-22", "2|0"),
            ("day 2026-11-07", "1|0"),
            ("day 2026-10-29", "0|0"),
            ("column 2026-11-26: 3 in, 1 out", "75,25"),
            ("column 2026-11-22: 2 in, 0 out", "50,0"),
            ("bar ann@example.com 1.5 MB", "100.00"),
            ("bar joe@example.com 3.6 KB", "0.50"),
        ] {
            assert_eq!(one(&seen, name), value, "{name}");
        }
        assert_eq!(seen.iter().filter(|(name, _)| name.starts_with("day ")).count(), 30);
        let rows = all(&seen, "row");
        assert_eq!(
            rows,
            [
                "owner|in|out|size|last|not kept",
                "<img src=http://evil.test/owner onerror=document.title=1>@example.com|1|0|300 bytes|5 d|0",
                "a-name-that-is-much-longer-than-any-column-of-the-table@example.com|0|1|7 bytes|now|0",
                "ann@example.com|1|1|1.5 MB|20 d|0",
                "joe@example.com|4|1|3.6 KB|1 min|4",
                "jürgen@example.com|0|0|0 bytes|never|4",
                "o'neil smith@example.com|1|0|100 bytes|5 d|13",
                "example.com/\\xe2\\x80\\xaeé<b>&amp;\"'|1|0|8 bytes|now|0",
                "<img\\x20src=http://evil.test/log>@example.com|-|-|-|-|1",
                "nobody known|-|-|-|-|1",
                "7 owners|8|3|1.5 MB|now|23",
            ]
        );
        let items = all(&seen, "item");
        assert!(
            items.contains(
                &"joe@example.comINBOX2 timeslast 2026-11-26 11:00it is larger than max_message_size (10 octets)"
            ),
            "{items:#?}"
        );
        assert!(items.contains(&"<img\\x20src=http://evil.test/log>@example.com1 timelast 2026-11-26 11:00<script>document.title=2</script>"), "{items:#?}");
        assert!(items.contains(&"ann@example.comlast 2026-11-07, 20 d ago"), "{items:#?}");
        assert!(items.iter().any(|item| item.starts_with("pop3:mainsessions 1,234, ")), "{items:#?}");
    }
    assert_eq!(backs.len(), 2, "light and dark look the same: {backs:?}");
}

#[test]
fn the_page_asks_nobody_for_anything() {
    let lab = Lab::new();
    let page = page(&lab, &small(&lab), &log());
    // Whatever name is asked for, it is this.
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    let rules = format!("--host-resolver-rules=MAP * 127.0.0.1:{}", trap.local_addr().unwrap().port());
    let heard = Arc::new(Mutex::new(String::new()));
    let copy = Arc::clone(&heard);
    thread::spawn(move || {
        for mut client in trap.incoming().flatten() {
            let copy = Arc::clone(&copy);
            thread::spawn(move || {
                let mut said = [0; 2000];
                if let Ok(count) = client.read(&mut said) {
                    *copy.lock().unwrap() += &String::from_utf8_lossy(&said[..count]);
                }
                let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            });
        }
    });
    // A page is loaded when its images are, or are not to be had: all has been asked for then.
    let asked = |page: &Path| {
        chromium(&lab, page, &[&rules]);
        std::mem::take(&mut *heard.lock().unwrap())
    };
    let told = asked(&page);
    assert!(!told.contains("evil.test"), "{told}");
    // Such a trap catches: were a name not escaped, and the policy not there.
    let open = page.with_extension("open.html");
    let text = fs::read_to_string(&page).unwrap();
    let text = text.replace("&lt;img\\x20", "<img ").replace("log&gt;", "log>");
    fs::write(&open, text.replace("http-equiv=\"Content-Security-Policy\"", "name=\"nothing\"")).unwrap();
    assert!(asked(&open).contains("GET /log"));
    // The policy alone keeps it in.
    fs::write(&open, text).unwrap();
    assert!(!asked(&open).contains("GET /log"));
}

#[test]
fn nobody_one_and_five_thousand() {
    let lab = Lab::new();
    let empty = Filed::new(&lab);
    let text = report(&lab, &["--spool", empty.path().to_str().unwrap()]).ok().text();
    assert!(text.contains("\n0 owners                                 0        0   0 bytes    never\n"), "{text}");
    let seen = measured(&lab, &page(&lab, &empty, ""), 375, &[]);
    assert_eq!(
        (one(&seen, "figure Owners"), one(&seen, "page"), one(&seen, "figure Last message")),
        ("0", "375", "never")
    );

    let mut single = Filed::new(&lab);
    kept(&mut single, "example.com/joe", "", 0, 5);
    let seen = measured(&lab, &page(&lab, &single, ""), 375, &[]);
    assert_eq!((one(&seen, "bar joe@example.com 5 bytes"), one(&seen, "page")), ("100.00", "375"));

    let many = Filed::new(&lab);
    make(&many.path().join("example.com"));
    for n in 0..5000 {
        let maildir = many.path().join(format!("example.com/user{n:04}"));
        make(&maildir);
        make(&maildir.join("new"));
        write(&maildir.join(format!("new/{}.M1P1.host,S={}", NOW - n % 40 * DAY, 1000 + n)), b"", NOW);
    }
    let page = page(&lab, &many, "");
    assert!(fs::metadata(&page).unwrap().len() < 3_000_000);
    let seen = measured(&lab, &page, 375, &[]);
    assert_eq!((one(&seen, "figure Owners"), one(&seen, "page"), one(&seen, "wide")), ("5,000", "375", ""));
    assert_eq!(all(&seen, "row").len(), 5002);
    assert_eq!(seen.iter().filter(|(name, _)| name.starts_with("bar ")).count(), 21);
    assert!(one(&seen, "bar 4,980 other owners 17.4 MB") == "100.00");
    // 26 of 40 days are silence; not all are shown.
    assert_eq!((one(&seen, "figure Silent for 14 d"), all(&seen, "item").len()), ("3,250", 200));
}
