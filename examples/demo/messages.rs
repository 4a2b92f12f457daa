//! The mail of the demo: legal, and awkward on purpose.

/// What goes by SMTP: lines that begin with dots, a line that is nothing but a dot, text in 8 bits, a line as long as SMTP allows.
pub(crate) fn letter() -> Vec<u8> {
    let mut text = header("Bob <bob@example.com>", "The plans", 1);
    text.extend(b"Dear Bob,\r\n\r\n.this line begins with a dot\r\n..this one with two, and the next is nothing but one:\r\n.\r\n");
    text.extend(b"Gr\xfc\xdfe aus M\xfcnchen (8 bits a letter)\r\n");
    text.extend([b'x'; 998]);
    text.extend(b"\r\nFrom here on there is an empty line, and the end.\r\n\r\n");
    text
}

/// What only IMAP can carry: the last line has no end. Its text looks like IMAP.
pub(crate) fn note() -> Vec<u8> {
    let mut text = header("Alice <alice@example.com>", "A note to myself", 2);
    text.extend(b"* 1 FETCH (BODY[] {20000}\r\na2 OK done\r\n+ go on {5}\r\nand no end of the last line");
    text
}

/// A folder's messages: a short one, one without any text, a large one.
pub(crate) fn project() -> Vec<Vec<u8>> {
    let mut short = header("Alice <alice@example.com>", "Thursday", 3);
    short.extend("Ten o'clock, as ever. \u{1f4c5}\r\n)\r\n.\r\n".bytes());
    let empty = header("Alice <alice@example.com>", "(nothing in it)", 4);
    let mut large = header("Alice <alice@example.com>", "The figures", 5);
    for line in 1..=6000 {
        large.extend(format!("{line};{};{}\r\n", line * 37 % 1009, line * 91 % 2003).bytes());
    }
    vec![short, empty, large]
}

/// A header and the empty line behind it.
fn header(to: &str, subject: &str, number: u32) -> Vec<u8> {
    let text = format!(
        "From: Alice <alice@example.com>\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Mon, 2 Mar 2026 10:0{number}:00 +0100\r\n\
         Message-ID: <demo-{number}@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n"
    );
    text.into_bytes()
}

/// Longer than anybody reads.
pub(crate) fn report() -> Vec<u8> {
    let header = "From: Carol <carol@example.net>\r\nTo: alice@example.com\r\nSubject: The report\r\nDate: Tue, 10 Feb 2026 09:00:00 +0000\r\n\r\n";
    header.bytes().chain("A line of the report, which has many of them.\r\n".repeat(2000).into_bytes()).collect()
}

/// Deleted unread.
pub(crate) fn offer() -> Vec<u8> {
    b"From: Dave <dave@example.net>\r\nTo: alice@example.com\r\nSubject: An offer\r\n\r\nOur offer, which nobody opened.\r\n".to_vec()
}
