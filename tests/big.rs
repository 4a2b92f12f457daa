//! A message of 100 MB passes in constant memory, on every path.

mod support;

use support::corpus::sized;
use support::proxy::section;
use support::spool::{received, sent};
use support::wire::literals;
use support::*;

/// What the program may grow by, in KiB, while 100 MB pass: its buffers, not the message.
const GROWTH_MAX_KIB: u64 = 24 * 1024;

const SIZE: usize = 100_000_000;

fn peak_kib(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_hundred_megabytes_pass_in_constant_memory() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let fetched = sized("fetched", SIZE);
    dovecot.mailbox("big@example.org").put("INBOX", Place::New, &fetched);
    let sections = [
        section(&lab, "big", Tls::None, dovecot.endpoint(Kind::Pop3, Tls::None), ""),
        section(&lab, "big", Tls::None, dovecot.endpoint(Kind::Imap, Tls::Implicit), ""),
        section(&lab, "big", Tls::None, postfix.endpoint(Tls::None), ""),
    ];
    let proxy = Proxy::start(&lab, &sections.concat());
    // One small session of each kind first: what is loaded once does not count.
    for kind in [Kind::Pop3, Kind::Imap, Kind::Smtp] {
        Wire::connect(&lab, proxy.endpoint(kind, "big", Tls::None)).login(kind, "small@example.org");
    }
    let before = peak_kib(&proxy);

    let mut pop3 = Wire::connect(&lab, proxy.endpoint(Kind::Pop3, "big", Tls::None));
    pop3.login(Kind::Pop3, "big@example.org");
    assert!(pop3.pop3("RETR 1").starts_with("+OK"));
    assert!(pop3.pop3_lines() == [&dot_stuffed(&fetched)[..], b".\r\n"].concat(), "RETR");

    let mut imap = Wire::connect(&lab, proxy.endpoint(Kind::Imap, "big", Tls::None));
    imap.login(Kind::Imap, "big@example.org");
    imap.imap_ok("SELECT INBOX");
    assert!(literals(&imap.imap_ok("FETCH 1 BODY.PEEK[]")) == [fetched.clone()], "FETCH");
    let appended = sized("appended", SIZE);
    let tag = imap.next_tag();
    imap.send(format!("{tag} APPEND Sent (\\Seen) {{{}}}\r\n", appended.len()).as_bytes());
    assert!(imap.line().starts_with(b"+"));
    imap.send(&appended);
    imap.send(b"\r\n");
    let answer = imap.imap_until(&tag);
    assert!(answer.windows(4).any(|w| w == b" OK "), "APPEND: {}", answer.escape_ascii());

    let submitted = sized("submitted", SIZE);
    let mut smtp = Wire::connect(&lab, proxy.endpoint(Kind::Smtp, "big", Tls::None));
    smtp.login(Kind::Smtp, "big@example.org");
    smtp.smtp("MAIL FROM:<big@example.org>");
    smtp.smtp("RCPT TO:<other@example.org>");
    assert!(smtp.smtp("DATA").starts_with("354"));
    smtp.send(&dot_stuffed(&submitted));
    smtp.send(b".\r\n");
    assert!(smtp.smtp_reply().starts_with(b"250"));

    let grown = peak_kib(&proxy) - before;
    assert!(grown < GROWTH_MAX_KIB, "it grew by {grown} KiB");
    proxy.spool().holds(&[
        received("big@example.org", "", &fetched),
        sent("big@example.org", &appended),
        sent("big@example.org", &submitted),
    ]);
}

fn dot_stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed
}
