//! Taking what a page shows, and putting this machine's own things into it.

use std::fs;
use std::path::PathBuf;

use crate::support::dovecot::mail_names;
use crate::support::lab::is_root;
use crate::support::page::with;
use crate::support::*;

/// The blocks of this kind (the word behind the fence) on a page.
pub(crate) fn all_blocks<'a>(page: &'a str, kind: &str) -> Vec<&'a str> {
    let fence = format!("```{kind}\n");
    page.split(&*fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The only one in the part of a page below this heading.
#[track_caller]
pub(crate) fn block<'a>(page: &'a str, heading: &str, kind: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no {heading:?}"));
    let level = format!("\n{} ", heading.split(' ').next().unwrap());
    let part = &page[start + 1 + heading.len()..];
    let found = all_blocks(part.split(&*level).next().unwrap(), kind);
    assert_eq!(found.len(), 1, "blocks of {kind} below {heading}");
    found[0]
}

/// A `mailstore.ini` with the lab's certificate, free ports, its spool and the user that mail belongs to; in a folder of its own, which is given.
pub(crate) fn at_home(lab: &Lab, ini: &str) -> PathBuf {
    let dir = lab.folder("etc");
    let certificate = lab.certificate();
    let mut text = with(ini, &[("/var/lib/mailstore/mailSpool", "mailSpool")]);
    text = match is_root() {
        true => with(&text, &[("user = mailstore\n", &format!("user = {}\n", mail_names().0))]),
        false => with(&text, &[("user = mailstore\n", "")]),
    };
    text = text
        .replace("/etc/mailstore/cert.pem", certificate.chain.to_str().unwrap())
        .replace("/etc/mailstore/key.pem", certificate.key.to_str().unwrap())
        .lines()
        .map(|line| if line.starts_with("listen = ") { "listen = 127.0.0.1:0" } else { line })
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(dir.join("mailstore.ini"), text).unwrap();
    dir
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
