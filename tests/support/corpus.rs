//! Messages that are legal and awkward: each has broken some mail program.

/// One message, CRLF line ends unless it is about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Sample {
    fn new(name: &'static str, bytes: impl Into<Vec<u8>>) -> Sample {
        Sample { name, bytes: bytes.into() }
    }

    /// RFC 5322 mail by POP3 and by SMTP's DATA consists of whole lines.
    pub fn ends_with_newline(&self) -> bool {
        self.bytes.ends_with(b"\r\n")
    }

    /// Dovecot's POP3 (2.3.19) does not stuff a dot that is the first octet of a message, and so loses its place.
    pub fn starts_with_dot(&self) -> bool {
        self.bytes.starts_with(b".")
    }

    /// The message as a text of lines transfers it: ending with a line's end.
    pub fn as_lines(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if !self.ends_with_newline() {
            bytes.extend(b"\r\n");
        }
        bytes
    }
}

/// Two ordinary messages, for tests that are about something else.
pub fn small_corpus() -> Vec<Sample> {
    vec![
        Sample::new("plain", message("Plain", "Hello.\r\n")),
        Sample::new("dots", message("Dots", ".\r\n..\r\n...\r\n.a\r\n..b\r\n \r\n.\r\n")),
    ]
}

/// All but the big one. Every message is another one, so that none is a duplicate.
pub fn corpus() -> Vec<Sample> {
    let eight_bit: Vec<u8> = (0x80..=0xff).collect();
    let mut all = small_corpus();
    all.extend([
        Sample::new("first line is a dot", ".\r\nX: y\r\n\r\nfirst line is a dot\r\n"),
        Sample::new("all dots", ".\r\n.\r\n.\r\n"),
        Sample::new("no last newline", message("No last newline", "first line\r\nlast line")),
        Sample::new("ends with a dot", message("Ends with a dot, no newline", "line\r\n.")),
        Sample::new("ends with a cr", message("Ends with CR", "line\r\nlast\r")),
        Sample::new("header only", "From: a@example.org\r\nSubject: Only a header\r\n"),
        Sample::new("header and blank line", message("Header and blank line", "")),
        Sample::new("body only", "\r\nno header at all\r\n"),
        Sample::new("blank lines", "\r\n\r\n\r\n\r\n"),
        Sample::new("one octet", "x"),
        Sample::new("8-bit", [message("8-bit \u{e9}\u{1f4e7}", "").as_bytes(), &eight_bit, b"\r\n"].concat()),
        Sample::new("control characters", message("Control", "\u{1}\u{2}\u{7}\u{8}\t\u{b}\u{c}\u{1b}[2J\u{7f}\r\n")),
        Sample::new("998-character lines", message("Long lines", &format!("{}\r\n", "x".repeat(998)).repeat(20))),
        Sample::new("a line of dots", message("A line of dots", &format!("{}\r\n", ".".repeat(998)))),
        Sample::new("a very long line", message("A very long line", &format!("{}\r\n", "y".repeat(100_000)))),
        Sample::new("bare cr", message("Bare CR", "a\rb\r\rc\r\r\nd\r\n")),
        Sample::new("long header", long_header()),
        Sample::new("looks like imap", message("Like IMAP", LIKE_IMAP)),
        Sample::new("literal at the end", message("* 1 FETCH (BODY[] {3}", "abc)\r\n* 2 FETCH (BODY[] {100}\r\n")),
        Sample::new("looks like pop3", message("Like POP3", "+OK\r\n-ERR no\r\n.\r\n+OK 5 octets\r\n.\r\nQUIT\r\n")),
        Sample::new("looks like smtp", message("Like SMTP", LIKE_SMTP)),
        Sample::new("mime", MIME),
        Sample::new("300 kB", message("300 kB", &lines(300_000))),
    ]);
    all
}

/// 25 MB of lines.
pub fn big() -> Sample {
    Sample::new("25 MB", message("25 MB", &lines(25_000_000)))
}

/// An ordinary message of its own.
pub fn numbered(number: usize) -> Vec<u8> {
    message(&format!("Number {number}"), &format!("This is message {number}.\r\n.\r\nBye.\r\n")).into_bytes()
}

/// A message of about this size.
pub fn sized(subject: &str, size: usize) -> Vec<u8> {
    message(subject, &lines(size)).into_bytes()
}

fn message(subject: &str, body: &str) -> String {
    format!(
        "Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.org\r\n\
         Subject: {subject}\r\nMessage-ID: <{:x}@example.org>\r\n\r\n{body}",
        subject.len() * 7919 + body.len()
    )
}

fn lines(size: usize) -> String {
    let line = "Some text that fills a line of seventy-six characters, and again, and again.\r\n";
    let mut text = String::with_capacity(size + 100);
    let mut number = 0;
    while text.len() < size {
        // Here and there a line that has to be stuffed.
        if number % 50 == 0 {
            text.push('.');
        }
        text.push_str(line);
        number += 1;
    }
    text
}

fn long_header() -> String {
    let references: String = (0..2000).map(|n| format!(" <{n:06}.long.header@example.org>\r\n")).collect();
    format!("From: a@example.org\r\nSubject: Long header\r\nReferences:\r\n{references}\r\nbody\r\n")
}

const LIKE_IMAP: &str = "* 1 FETCH (BODY[] {5}\r\nhello)\r\na OK done\r\na1 OK FETCH completed\r\n+ go ahead\r\n* BYE\r\n)\r\n\
                         A1 OK Fetch completed (0.001 + 0.000 secs).\r\n* 99 EXISTS\r\na2 LOGOUT {7+}\r\n";

const LIKE_SMTP: &str =
    "354 go on\r\n..\r\n.\r\n250 2.0.0 OK\r\nMAIL FROM:<x@example.org>\r\nDATA\r\n.\r\nQUIT\r\n221 Bye\r\n";

const MIME: &str = "From: a@example.org\r\nSubject: =?utf-8?q?Two_parts?=\r\nMIME-Version: 1.0\r\n\
                    Content-Type: multipart/mixed; boundary=\"=-b\"\r\n\r\npreamble\r\n--=-b\r\nContent-Type: text/plain\r\n\r\n\
                    text\r\n--=-b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nLg0KLg0K\r\n\
                    --=-b--\r\n";
