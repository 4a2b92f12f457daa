//! The pages in `docs/`, for tests that do what they say.

/// The lines of the first command that begin with this, and those that belong to it.
#[track_caller]
pub fn commands(page: &str, first: &str) -> String {
    let lines: Vec<&str> = page.lines().skip_while(|line| !line.starts_with(&format!("    {first}"))).collect();
    assert!(!lines.is_empty(), "no command begins with {first:?}");
    lines.into_iter().take_while(|line| line.starts_with("    ")).map(|line| format!("{}\n", &line[4..])).collect()
}

/// Each of these stands in the text, and is replaced; what took its place (a port, by chance) is not looked at again.
#[track_caller]
pub fn with(text: &str, replaced: &[(&str, &str)]) -> String {
    for (from, _) in replaced {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = replaced.iter().find(|(from, _)| rest.starts_with(from));
        let len = found.map_or(first.len_utf8(), |(from, _)| from.len());
        out.push_str(found.map_or(&rest[..len], |(_, to)| to));
        rest = &rest[len..];
    }
    out
}
