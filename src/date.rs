//! Dates as mail has them: a month by its English name, a zone by its distance from UTC.

use chrono::NaiveDate;

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A number of ASCII digits; none at all is 0.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0_u32, |number, b| {
        let digit = b.is_ascii_digit().then(|| u32::from(b - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Unix time in seconds of `5`, `Mar`, `2024`, `10:20:30`, `+0000` (RFC 5322, section 3.3; RFC 9051, section 9). None for every other form, too: quicker than a
/// parser that takes them all, which is to be asked then.
pub(crate) fn unix_time(day: &[u8], month: &[u8], year: &[u8], time: &[u8], zone: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *time else { return None };
    let [sign @ (b'+' | b'-'), z1, z2, z3, z4] = *zone else { return None };
    let month = 1 + MONTHS.iter().position(|name| *name == month)? as u32;
    let (hours, minutes) = (digits(&[z1, z2])?, digits(&[z3, z4])?);
    if year.len() != 4 || !(1..=2).contains(&day.len()) || hours >= 24 || minutes >= 60 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(digits(year)?.cast_signed(), month, digits(day)?)?;
    let local = date.and_hms_opt(digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?)?.and_utc().timestamp();
    let east = i64::from(hours * 3600 + minutes * 60);
    Some(if sign == b'+' { local - east } else { local + east })
}
