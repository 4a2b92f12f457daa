use super::super::addresses::{domain, listen_address, upstream};
use super::*;

use std::net::SocketAddr;

use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// Checks a parser against a table: `Ok` values by their `Debug` text, errors by their exact text.
fn table<T: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, String>, rows: &[(&str, Result<&str, &str>)]) {
    for (text, right) in rows {
        let got = parse(text).map(|value| format!("{value:?}"));
        assert_eq!(got.as_deref().map_err(String::as_str), *right, "for {text:?}");
    }
}

#[test]
fn booleans() {
    for word in ["yes", "true", "on", "YES", "True"] {
        assert_eq!(boolean(word), Ok(true), "{word}");
    }
    for word in ["no", "false", "off", "NO", "oFF"] {
        assert_eq!(boolean(word), Ok(false), "{word}");
    }
    table(boolean, &[("maybe", Err("\"maybe\" is neither yes nor no")), ("1", Err("\"1\" is neither yes nor no"))]);
}

#[test]
fn words() {
    table(
        |text| word(text, &[("none", 0), ("implicit", 1)]),
        &[
            ("none", Ok("0")),
            ("Implicit", Ok("1")),
            ("ssl", Err("\"ssl\" is none of the values it can have: none, implicit")),
        ],
    );
}

#[test]
fn counts() {
    table(
        count,
        &[
            ("1", Ok("1")),
            ("0200", Ok("200")),
            ("1000000", Ok("1000000")),
            ("0", Err("\"0\" is out of range; write a number from 1 to 1000000")),
            ("1000001", Err("\"1000001\" is out of range; write a number from 1 to 1000000")),
            (
                "99999999999999999999999",
                Err("\"99999999999999999999999\" is out of range; write a number from 1 to 1000000"),
            ),
            ("+1", Err("\"+1\" is not a number; write a number from 1 to 1000000")),
            ("-1", Err("\"-1\" is not a number; write a number from 1 to 1000000")),
            ("1k", Err("\"1k\" is not a number; write a number from 1 to 1000000")),
        ],
    );
}

#[test]
fn sizes() {
    table(
        size,
        &[
            ("1", Ok("1")),
            ("64K", Ok("65536")),
            ("100M", Ok("104857600")),
            ("100 m", Ok("104857600")),
            ("1g", Ok("1073741824")),
            ("2T", Ok("2199023255552")),
            ("10KB", Ok("10240")),
            ("10KiB", Ok("10240")),
            ("10B", Ok("10")),
            ("0", Err("\"0\" is out of range; write bytes, or a number with K, M or G, as 100M")),
            ("8388608T", Err("\"8388608T\" is out of range; write bytes, or a number with K, M or G, as 100M")),
            ("10iB", Err("\"10iB\" is not a size; write bytes, or a number with K, M or G, as 100M")),
            ("M", Err("\"M\" is not a size; write bytes, or a number with K, M or G, as 100M")),
            ("1.5M", Err("\"1.5M\" is not a size; write bytes, or a number with K, M or G, as 100M")),
            ("-1", Err("\"-1\" is not a size; write bytes, or a number with K, M or G, as 100M")),
        ],
    );
}

#[test]
fn durations() {
    table(
        |text| duration(text, SECOND),
        &[
            ("60s", Ok("60s")),
            ("60", Ok("60s")),
            ("31m", Ok("1860s")),
            ("2h", Ok("7200s")),
            ("1 D", Ok("86400s")),
            ("7d", Ok("604800s")),
            ("0s", Err("\"0s\" is out of range; write a time from 1s to 7d")),
            ("8d", Err("\"8d\" is out of range; write a time from 1s to 7d")),
            ("18446744073709551615d", Err("\"18446744073709551615d\" is out of range; write a time from 1s to 7d")),
            ("1h30m", Err("\"1h30m\" is not a time; write seconds, or a number with s, m, h or d, as 90s or 31m")),
            ("soon", Err("\"soon\" is not a time; write seconds, or a number with s, m, h or d, as 90s or 31m")),
            ("500ms", Err("\"500ms\" is not a time; write seconds, or a number with s, m, h or d, as 90s or 31m")),
        ],
    );
    assert_eq!(duration("0s", Duration::ZERO), Ok(Duration::ZERO));
}

#[test]
fn lists() {
    table(
        |text| list(text).map(|items| items.join("|")),
        &[
            ("", Ok("\"\"")),
            ("a", Ok("\"a\"")),
            ("a ,b c,  d", Ok("\"a|b c|d\"")),
            ("a,,b", Err("\"a,,b\" has a comma too many")),
            ("a,", Err("\"a,\" has a comma too many")),
            (",", Err("\",\" has a comma too many")),
        ],
    );
    table(
        |text| each(text, boolean),
        &[
            ("yes, no", Ok("[true, false]")),
            ("yes, x, y", Err("\"x\" is neither yes nor no; \"y\" is neither yes nor no")),
        ],
    );
}

#[test]
fn listen_addresses() {
    table(
        listen_address,
        &[
            ("127.0.0.1:1110", Ok("127.0.0.1:1110")),
            ("0.0.0.0:0", Ok("0.0.0.0:0")),
            ("[::1]:1110", Ok("[::1]:1110")),
            ("[::]:65535", Ok("[::]:65535")),
            ("127.0.0.1", Err("\"127.0.0.1\" has no port; write address:port, as 127.0.0.1:1110")),
            ("::1", Err("\"::1\" has no port; write address:port, as [::1]:1110")),
            ("1110", Err("\"1110\" has no port; write address:port, as 127.0.0.1:1110 or [::1]:1110")),
            (
                "2001:db8:0:0:0:0:0:1:25",
                Err("\"2001:db8:0:0:0:0:0:1:25\" is an IPv6 address without brackets; write [2001:db8:0:0:0:0:0:1]:25"),
            ),
            ("*:25", Err("\"*:25\" names no address; write 0.0.0.0:25 for every IPv4 address, [::]:25 for IPv6")),
            (":25", Err("\":25\" names no address; write 0.0.0.0:25 for every IPv4 address, [::]:25 for IPv6")),
            ("localhost:25", Err("\"localhost:25\" is a name; write the address, 127.0.0.1:25 or [::1]:25")),
            (
                "mail.example.com:25",
                Err(
                    "\"mail.example.com:25\" does not begin with an IP address; write address:port, as 127.0.0.1:1110 or [::1]:1110",
                ),
            ),
            (
                "127.0.0.1:65536",
                Err(
                    "the port of \"127.0.0.1:65536\" is not a number from 0 to 65535; write address:port, as 127.0.0.1:1110 or [::1]:1110",
                ),
            ),
            (
                "127.0.0.1:pop3",
                Err(
                    "the port of \"127.0.0.1:pop3\" is not a number from 0 to 65535; write address:port, as 127.0.0.1:1110 or [::1]:1110",
                ),
            ),
        ],
    );
}

#[test]
fn upstreams() {
    let long = format!("{}.example.com:25", "a".repeat(64));
    let long_fault =
        format!("the host of \"{long}\" has a part longer than 63 bytes; write host:port, as mail.example.com:995");
    table(
        upstream,
        &[
            ("Mail.Example.com:995", Ok("(\"mail.example.com\", 995)")),
            ("localhost:1", Ok("(\"localhost\", 1)")),
            ("192.0.2.1:25", Ok("(\"192.0.2.1\", 25)")),
            ("[::1]:995", Ok("(\"::1\", 995)")),
            ("mail_1:25", Ok("(\"mail_1\", 25)")),
            ("mail.example.com", Err("\"mail.example.com\" has no port; write host:port, as mail.example.com:995")),
            ("[::1]", Err("\"[::1]\" has no port; write host:port, as mail.example.com:995")),
            ("::1", Err("\"::1\" is an IPv6 address without brackets; write [address]:port, as [::1]:995")),
            (
                "2001:db8:0:0:0:0:0:1:25",
                Err(
                    "the host of \"2001:db8:0:0:0:0:0:1:25\" has a colon; an IPv6 address stands in brackets, as [::1]:995; write host:port, as mail.example.com:995",
                ),
            ),
            (
                "[mail]:25",
                Err("\"[mail]:25\" holds no IPv6 address in its brackets; write host:port, as mail.example.com:995"),
            ),
            (
                "mail:0",
                Err("the port of \"mail:0\" is not a number from 1 to 65535; write host:port, as mail.example.com:995"),
            ),
            (
                "mail:",
                Err("the port of \"mail:\" is not a number from 1 to 65535; write host:port, as mail.example.com:995"),
            ),
            (":25", Err("the host of \":25\" is empty; write host:port, as mail.example.com:995")),
            ("a..b:25", Err("the host of \"a..b:25\" has two dots together; write host:port, as mail.example.com:995")),
            ("a.b.:25", Err("the host of \"a.b.:25\" has a dot at its end; write host:port, as mail.example.com:995")),
            (
                "-a:25",
                Err(
                    "the host of \"-a:25\" has a hyphen at the end of a part; write host:port, as mail.example.com:995",
                ),
            ),
            (
                "https://mail.example.com:993/",
                Err(
                    "\"https://mail.example.com:993/\" is a URL, and only host:port is wanted; write \"mail.example.com:993\"",
                ),
            ),
            (
                "pop3://joe@mail.example.com",
                Err(
                    "\"pop3://joe@mail.example.com\" is a URL, and only host:port is wanted; write \"mail.example.com:PORT\"",
                ),
            ),
            ("a/b:25", Err("the host of \"a/b:25\" has a \"/\" in it; write host:port, as mail.example.com:995")),
            (
                "300.1.1.1:25",
                Err(
                    "the host of \"300.1.1.1:25\" is neither a name nor an IP address; write host:port, as mail.example.com:995",
                ),
            ),
            (
                "bücher.example:25",
                Err(
                    "the host of \"bücher.example:25\" is not ASCII; write such a name in its ASCII form (xn--...); write host:port, as mail.example.com:995",
                ),
            ),
            (&long, Err(&long_fault)),
        ],
    );
}

#[test]
fn domains() {
    table(
        domain,
        &[
            ("Example.COM", Ok("\"example.com\"")),
            ("localhost", Ok("\"localhost\"")),
            ("Bücher.example", Ok("\"bücher.example\"")),
            (
                "@example.com",
                Err("\"@example.com\" is no domain; write only what stands behind the @: \"example.com\""),
            ),
            ("*.example.com", Err("\"*.example.com\" is no domain; each subdomain has to be named itself")),
            ("example com", Err("\"example com\" has a \" \" in it; write a domain, as example.com")),
            ("../etc", Err("\"../etc\" is no domain; each subdomain has to be named itself")),
        ],
    );
    let long = vec!["a"; 128].join(".");
    assert!(domain(&long).unwrap_err().ends_with(" is longer than 253 bytes; write a domain, as example.com"));
}

#[test]
fn paths() {
    table(
        |text| path(text, Path::new("/etc/mailstore")),
        &[
            ("/srv/mail", Ok("\"/srv/mail\"")),
            ("mail #2", Ok("\"/etc/mailstore/mail #2\"")),
            ("~/mail", Err("\"~/mail\" begins with ~, which only a shell understands; write the whole path")),
        ],
    );
    assert_eq!(path("mailSpool", Path::new("")), Ok(PathBuf::from("mailSpool")));
}

#[test]
fn readable_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.pem"), "").unwrap();
    assert_eq!(readable_file("a.pem", folder.path()), Ok(folder.path().join("a.pem")));
    let base = folder.path().display();
    assert_eq!(
        readable_file("b.pem", folder.path()),
        Err(format!(
            "\"{base}/b.pem\" cannot be read: No such file or directory (os error 2); name a PEM file that can be"
        ))
    );
    assert_eq!(readable_file(".", folder.path()), Err(format!("\"{base}/.\" is not a file; name a PEM file")));
}

#[test]
fn users_and_groups() {
    assert_eq!(user("root"), Ok("root".to_owned()));
    assert_eq!(group("root"), Ok("root".to_owned()));
    let nobody = "no-such-name-here";
    assert_eq!(
        user(nobody),
        Err("there is no user \"no-such-name-here\" on this machine; name one that is there".to_owned())
    );
    assert_eq!(
        group(nobody),
        Err("there is no group \"no-such-name-here\" on this machine; name one that is there".to_owned())
    );
}

#[test]
fn maildir_templates() {
    for good in ["%d/%n", "%u", "%n@%d", "%d@%n", "users/%d/Maildir-%n", "%d/x-%n/Maildir", "%u/%d", "é/%u"] {
        assert_eq!(maildir_template(good), Ok(good.to_owned()));
    }
    for (bad, why) in [
        ("/srv/%u", "is an absolute path, but lies below the spool"),
        ("../%u", "has an empty level, or one that begins with a dot, in it"),
        ("%d//%n", "has an empty level, or one that begins with a dot, in it"),
        ("%u/", "has an empty level, or one that begins with a dot, in it"),
        ("%u/%x", "has a % that is not %u, %n or %d"),
        ("%u%", "has a % that is not %u, %n or %d"),
        ("%u%é", "has a % that is not %u, %n or %d"),
        ("%n", "would give two owners the same Maildir"),
        ("%d", "would give two owners the same Maildir"),
        ("mail", "would give two owners the same Maildir"),
        ("%d%n", "would give two owners the same Maildir"),
        ("%n-%d", "would give two owners the same Maildir"),
    ] {
        let right = format!("\"{bad}\" {why}; write %u, or %n and %d with a / or @ between, as %d/%n");
        assert_eq!(maildir_template(bad), Err(right));
    }
}

#[test]
fn folders() {
    table(
        folder,
        &[
            ("", Ok("\"\"")),
            ("Sent", Ok("\"Sent\"")),
            ("Sent Items", Ok("\"Sent Items\"")),
            ("Archive/Sent", Ok("\"Archive/Sent\"")),
            (".Sent", Ok("\".Sent\"")),
            ("Sent/", Err("\"Sent/\" has an empty level; write a folder's name, as Sent or Archive/Sent")),
            (".", Err("\".\" has an empty level; write a folder's name, as Sent or Archive/Sent")),
            ("../Sent", Err("\"../Sent\" has an empty level; write a folder's name, as Sent or Archive/Sent")),
        ],
    );
}

#[test]
fn what_is_shown_is_short_and_plain() {
    assert_eq!(show("a\"b\\c'd"), "\"a\"b\\c'd\"");
    assert_eq!(show("a\u{1b}[2J"), "\"a\\u{1b}[2J\"");
    assert_eq!(show(&"ä".repeat(81)), format!("\"{}...\"", "ä".repeat(80)));
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,80}") {
        let base = Path::new("/nowhere");
        let _ = (boolean(&text), count(&text), size(&text), duration(&text, SECOND), list(&text));
        let _ = (each(&text, listen_address), upstream(&text), domain(&text), path(&text, base));
        let _ = (maildir_template(&text), folder(&text), show(&text));
    }

    #[test]
    fn likely_text_makes_no_parser_panic(text in "[0-9%und/@:.*\\[\\]KMGsmhdé-]{0,20}") {
        let _ = (size(&text), duration(&text, SECOND), listen_address(&text), upstream(&text));
        let _ = (domain(&text), maildir_template(&text), folder(&text));
    }

    #[test]
    fn every_address_is_understood(address in any::<SocketAddr>()) {
        // A flow label is not part of the text.
        let address = SocketAddr::new(address.ip(), address.port());
        prop_assert_eq!(listen_address(&address.to_string()), Ok(address));
    }
}
