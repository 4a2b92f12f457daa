//! Inputs to begin with, and words, for the parsers beside the protocols.

use std::path::Path;

use crate::seeds::{word, write_files};

/// Where `MAILSTORE_FUZZ_SEEDS` names a folder: writes the seeds there, and beside it the dictionary, and exits.
pub fn write_for(part: &str) {
    if let Some(folder) = std::env::var_os("MAILSTORE_FUZZ_SEEDS") {
        let (seeds, words) = of_part(part);
        let dictionary: String = words.iter().map(|one| word(one)).collect();
        write_files(Path::new(&folder), &seeds, &dictionary).expect("the seeds can be written");
        std::process::exit(0);
    }
}

fn of_part(part: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (seeds, words): (&[&[u8]], &[&[u8]]) = match part {
        "dot" => (
            &[b"\x00a\r\n..b\r\n.\r\n", b"\x07.\r\n", b"\x01a\n.\r\nb\r\n.\r\n", b"\x02\r\n.\rx\r\n.\n\0.\r"],
            &[b"\r\n.\r\n", b"\r\n.", b"\n.\n", b"\r.\r", b"\r\r\n", b"\n\r", b"\0", b"\r\n..\r\n"],
        ),
        "sasl" => (
            &[
                b"\x00=AG1lAHNlY3JldA==",
                b"\x01<Username:\n>bWU=\n<Password:\n>c2VjcmV0",
                b"\x02<PDE+\n>dGltIGI5MTNh",
                b"\x03=biwsbj11c2VyLHI9YWJj\n<cj1hYmM=\n>Yz1iaXdzLHI9YWJj",
                b"\x04=dXNlcj1tZQFhdXRoPUJlYXJlciB4AQE=\n<e30=\n>AQ==",
                b"\x05=bixhPW1lLAFhdXRoPUJlYXJlciB4AQE=\n<e30=\n>*",
            ],
            &[b"Username:", b"Password:", b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6", b"bWU=", b"AG1lAHNlY3JldA==", b"*", b"=", b"\n>", b"\n<"],
        ),
        "received" => (
            &[
                b"\x05Received: from a (b; c) by d\r\n\tfor <e>; Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nx",
                b"\x01Subject: x\r\nreceived : by x (y \\) \"z;\") ; 1 Jan 70 0:0 EST (x)\r\n",
            ],
            &[b"Received:", b"Mon, ", b"1 Jan 2024 ", b"00:00:00 ", b"+0000", b"23:59:60", b"GMT", b"EST", b"(", b")", b"\\", b"\"", b";", b"\r\n\t", b"\r\n\r\n", b"-2359"],
        ),
        "names" => (
            &[
                b"Me@Example.COM\nme\nexample.com\n%d/%n",
                b"../x@..\n.%2Fx@%2e\n\nmail/%u/x",
                b"INBOX/a.b\ninbox\n@\n%n@%d",
                b"&AOk-/x\nJ\xdcRGEN*master@a\nlocalhost\n%u",
            ],
            &[b"%u", b"%n", b"%d", b"%%", b"%~", b"%empty", b"%2F", b"INBOX", b"..", b"/", b"@", b"*", b"&AOk-", b"\xe2\x80\x8b", b"\xc4\xb0", b"localhost"],
        ),
        "config" => (
            &[
                include_bytes!("../../../mailstore.ini"),
                b"[mailstore]\nspool = /tmp/x\nmaildir = %u\nlog = debug\n\n[pop3:office]\nlisten = 127.0.0.1:0, [::1]:0\nupstream = h:1\nupstream_tls = none\n",
            ],
            &[
                b"[mailstore]\n", b"[pop3]\n", b"[imap:x]\n", b"[smtp:mx]\n", b"listen = ", b"listen_tls = starttls", b"certificate = /etc/passwd",
                b"private_key = ", b"upstream = h:1\n", b"upstream_tls = none\n", b"upstream_ca = ", b"default_domain = ", b"keep = both", b"local_domains = a.b, c.d",
                b"follow = inbox", b"max_message_size = 100M", b"idle_timeout = 31m", b"user = root", b"group = root", b"sent_folder = ", b"skip_folders = ",
                b"on_archive_failure = pass", b"imap_folders = flat", b"max_sessions = 1", b"sync = no", b"\"", b";", b"#", b"\xef\xbb\xbf", b"\r\n",
            ],
        ),
        "notes" => (
            &[b"# header\n\xff0\xff1\xff2\xff3", b"\xff1 \xff2\n\xff0\r\n\xff3", b"x\xff0"],
            &[b"\xff0", b"\xff1", b"\xff2", b"\xff3", b"\n", b"host:993 imap INBOX 7 1"],
        ),
        "recover" => (
            &[
                b"1700000000.M5P4194304Q2.\xfe\nhalf",
                b"1700000000.M5P4194304Q2.\xff\nwhole",
                b"1700000000.M5P4194304Q2.\xff:2,S\nsent",
                b"1700000000.M5P4194304Q2.\xfe,S=5\nother",
            ],
            &[b"\xff", b":2,S", b",S=", b",H=", b".M", b"P4194304", b"Q", b"\xfe"],
        ),
        _ => (&[], &[]),
    };
    (seeds.iter().map(|seed| seed.to_vec()).collect(), words.iter().map(|word| word.to_vec()).collect())
}
