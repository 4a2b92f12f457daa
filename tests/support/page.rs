//! The pages in `docs/`, for tests that do what they say.

/// The lines of the first command that begin with this, and those that belong to it.
#[track_caller]
pub fn commands(page: &str, first: &str) -> String {
    let lines: Vec<&str> = page.lines().skip_while(|line| !line.starts_with(&format!("    {first}"))).collect();
    assert!(!lines.is_empty(), "no command begins with {first:?}");
    lines.into_iter().take_while(|line| line.starts_with("    ")).map(|line| format!("{}\n", &line[4..])).collect()
}
