//! docs/README.md leads to every page, and every link of these pages leads somewhere.

use std::fs;
use std::path::Path;

use crate::support::dovecot::entries;

const PAGES: [&str; 6] = ["README.md", "clients.md", "fail2ban.md", "hosts.md", "quickstart.md", "troubleshooting.md"];

#[test]
fn every_page_is_in_the_index() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let index = fs::read_to_string(docs.join("README.md")).unwrap();
    let pages = entries(&docs).into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    let mut count = 0;
    for page in pages {
        let name = page.file_name().unwrap().to_str().unwrap().to_owned();
        count += 1;
        assert!(
            name == "README.md" || index.contains(&format!("| [{name}]({name}) |")),
            "docs/README.md has no line for {name}"
        );
    }
    assert!(count > PAGES.len());
}

#[test]
fn every_link_leads_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut count = 0;
    for page in PAGES {
        let text = fs::read_to_string(docs.join(page)).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { docs.join(page) } else { docs.join(file) };
            assert!(target.exists(), "{link} in docs/{page}");
            assert!(
                part.is_empty() || has_heading(&fs::read_to_string(target).unwrap(), part),
                "{link} in docs/{page}"
            );
            count += 1;
        }
    }
    assert!(count > 40, "{count} links");
}

/// Whether the page has a heading that this link leads to, as they are made of headings: in lower case, blanks as hyphens, no other signs.
fn has_heading(page: &str, part: &str) -> bool {
    page.lines().filter_map(|line| line.strip_prefix('#')).any(|title| {
        let title = title.trim_start_matches('#').trim().to_lowercase();
        let kept: String = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-'].contains(c)).collect();
        kept.replace(' ', "-") == part
    })
}
