//! `date-time` of RFC 9051, section 9, as INTERNALDATE and APPEND have it: `17-Jul-1996 02:44:25 -0700`.

use chrono::DateTime;

use crate::date::unix_time;

/// Unix time, seconds.
pub(super) fn internal_date(text: &[u8]) -> Option<i64> {
    usual(text).or_else(|| {
        let text = std::str::from_utf8(text).ok()?.trim();
        DateTime::parse_from_str(text, "%d-%b-%Y %H:%M:%S %z").ok().map(|date| date.timestamp())
    })
}

/// The same as all servers write it. One stands in every response of a FETCH that asks for it, and reading a format takes longer than all the rest
/// of the response.
fn usual(text: &[u8]) -> Option<i64> {
    let text: &[u8; 26] = text.try_into().ok()?;
    let marks = [(2, b'-'), (6, b'-'), (11, b' '), (20, b' ')];
    let day = if text[0] == b' ' { &text[1..2] } else { &text[..2] };
    let marked = marks.iter().all(|(at, mark)| text[*at] == *mark);
    marked.then(|| unix_time(day, &text[3..6], &text[7..11], &text[12..20], &text[21..])).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("17-Jul-1996 02:44:25 -0700", 837_596_665),
            (" 1-Jan-1970 00:00:00 +0000", 0),
            ("01-Jan-1970 01:00:00 +0100", 0),
            ("1-jan-1970 00:00:01 +0000", 1),
            ("31-Dec-1969 23:59:59 -0000", -1),
        ] {
            assert_eq!(internal_date(text.as_bytes()), Some(seconds), "{text}");
        }
        for text in ["", "30-Feb-2020 00:00:00 +0000", "17-Jul-1996 02:44:25", "17-Jul-1996 24:44:25 -0700", "\u{661}"]
        {
            assert_eq!(internal_date(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_usual_form_is_read_as_any_other(
            day in 0u32..40, month in "Jan|Feb|jun|Dec|Foo", year in "[0-9 ]{4}", time in "[0-2][0-9]:[0-6][0-9]:[0-6][0-9]", zone in "[-+ ][0-3][0-9][0-6][0-9]"
        ) {
            for text in [format!("{day:02}-{month}-{year} {time} {zone}"), format!("{day:2}-{month}-{year} {time} {zone}")] {
                if let Some(seconds) = usual(text.as_bytes()) {
                    let other = DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").map(|date| date.timestamp());
                    prop_assert_eq!(other, Ok(seconds), "{}", text);
                }
            }
        }
    }
}
