//! The value of the `Date` field: IMF-fixdate, RFC 9110 §5.6.7. Pure; uses nothing.

const DAY_S: u64 = 86_400;
/// 9999-12-31 23:59:59, the last moment with a year of four digits.
const LAST_S: u64 = 253_402_300_799;
const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A moment as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. Made at most twice a second and used by every
/// answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpDate([u8; 29]);

impl HttpDate {
    /// The moment `seconds` after 1970-01-01 00:00:00 UTC, or the end of the year 9999 if that is earlier.
    #[must_use]
    pub fn from_unix(seconds: u64) -> HttpDate {
        let seconds = seconds.min(LAST_S);
        let (days, of_day) = (seconds / DAY_S, seconds % DAY_S);
        let (year, month, day) = civil_from_days(days);
        let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
        text[0..3].copy_from_slice(DAYS[index(days % 7)]);
        two_digits(&mut text, 5, day);
        text[8..11].copy_from_slice(MONTHS[index(month - 1)]);
        two_digits(&mut text, 12, year / 100);
        two_digits(&mut text, 14, year % 100);
        two_digits(&mut text, 17, of_day / 3600);
        two_digits(&mut text, 20, of_day / 60 % 60);
        two_digits(&mut text, 23, of_day % 60);
        HttpDate(text)
    }

    /// The 29 bytes of its text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 29] {
        &self.0
    }
}

/// The proleptic Gregorian date this many days after 1970-01-01: (year, month from 1, day from 1). Counts in
/// years that begin in March, so that the leap day is the last of its year, and in eras of 400 years, which
/// are all alike.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    // 1970-01-01 is day 719,468 counted from 0000-03-01.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn two_digits(text: &mut [u8; 29], at: usize, number: u64) {
    let number = u8::try_from(number).expect("a part of a date within the year 9999 is below 100");
    text[at] = b'0' + number / 10;
    text[at + 1] = b'0' + number % 10;
}

fn index(small: u64) -> usize {
    usize::try_from(small).expect("a weekday or month fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8(HttpDate::from_unix(seconds).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_moment_is_written_as_rfc_9110_writes_it() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(text(seconds), expected);
        }
    }

    #[test]
    fn a_moment_after_the_year_9999_is_written_as_its_end() {
        assert_eq!(text(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn each_day_of_800_years_follows_the_one_before() {
        let leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_194 {
            assert_eq!(civil_from_days(days), (year, month, day));
            let last = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (day == last, month == 12) {
                (false, _) => (year, month, day + 1),
                (true, false) => (year, month + 1, 1),
                (true, true) => (year + 1, 1, 1),
            };
        }
    }
}
