//! Opening hours: stretches of a week that repeat, on a clock that is a fixed time ahead of UTC.
//!
//! China has had one clock without summer time since 1991, so there is no database of time zones here.

use std::fmt;
use std::str::FromStr;

use crate::clock::UnixMillis;

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
/// Furthest that any clock is ahead of UTC, or behind it, in minutes.
const FURTHEST: u32 = 14 * 60;
/// 1970 began on a Thursday.
const FIRST_DAY: u32 = 3;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Why a text is no opening hours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HoursError {
    /// It is no offset.
    #[error("is no offset: write hours and minutes ahead of UTC or behind it, \"+08:00\" or \"-03:30\"")]
    Offset,
    /// It has not the parts of a stretch.
    #[error("is no opening hours: write days and times, \"Mon-Fri 09:00-18:00\" or \"Sat 10:00-14:00\"")]
    Shape,
    /// It names a day that there is not.
    #[error("names a day that is none: write Mon, Tue, Wed, Thu, Fri, Sat or Sun")]
    Day,
    /// It names a time that there is not.
    #[error("names a time that is none: write hours and minutes, 00:00 to 24:00")]
    Time,
    /// It ends when it begins.
    #[error("ends when it begins: write 00:00-24:00 for the whole day")]
    Nothing,
}

/// How far a clock is ahead of UTC, or behind it. Written `+08:00`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UtcOffset {
    minutes: i32,
}

impl UtcOffset {
    /// That of China.
    pub const CHINA: Self = Self { minutes: 8 * 60 };
}

/// Some hours on some days of each week. Written `Mon-Fri 09:00-18:00`; one that ends earlier than it begins ends on the
/// next day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// First and last day, 0 for Monday.
    days: (u32, u32),
    /// First minute of the day, and the one after the last.
    minutes: (u32, u32),
}

/// When there is somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpeningHours {
    /// By which clock.
    pub utc_offset: UtcOffset,
    /// When, each week.
    pub stretches: Vec<Stretch>,
}

impl OpeningHours {
    /// Whether there is somebody `at` that moment.
    #[must_use]
    pub fn is_open(&self, at: UnixMillis) -> bool {
        let minutes = at.0.div_euclid(60_000) + i64::from(self.utc_offset.minutes) + i64::from(FIRST_DAY * DAY);
        // Unwrap safety: what is left is less than a week.
        let minute = u32::try_from(minutes.rem_euclid(i64::from(WEEK))).expect("a minute of the week");
        self.stretches.iter().any(|stretch| stretch.contains(minute))
    }
}

impl Stretch {
    fn contains(&self, minute: u32) -> bool {
        let ((first, last), (from, to)) = (self.days, self.minutes);
        let length = if to > from { to - from } else { to + DAY - from };
        let days = (last + 7 - first) % 7;
        (0..=days).any(|day| {
            let begins = (first + day) * DAY + from;
            (minute + 2 * WEEK - begins) % WEEK < length
        })
    }
}

impl FromStr for UtcOffset {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let (sign, ahead) = match text.split_at_checked(1) {
            Some(("+", ahead)) => (1, ahead),
            Some(("-", behind)) => (-1, behind),
            _ => return Err(HoursError::Offset),
        };
        let minutes = time(ahead).filter(|minutes| *minutes <= FURTHEST);
        let minutes = minutes
            .and_then(|minutes| i32::try_from(minutes).ok())
            .ok_or(HoursError::Offset)?;
        Ok(Self {
            minutes: sign * minutes,
        })
    }
}

impl FromStr for Stretch {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let mut parts = text.split_whitespace();
        let (Some(days), Some(times), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HoursError::Shape);
        };
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let (from, to) = times.split_once('-').ok_or(HoursError::Shape)?;
        let days = (day(first)?, day(last)?);
        let (from, to) = (time(from).ok_or(HoursError::Time)?, time(to).ok_or(HoursError::Time)?);
        if from == DAY {
            return Err(HoursError::Time);
        }
        if from == to {
            return Err(HoursError::Nothing);
        }
        let minutes = (from, to);
        Ok(Self { days, minutes })
    }
}

fn day(name: &str) -> Result<u32, HoursError> {
    let days = (0..).zip(DAYS);
    let found = days.into_iter().find(|(_, day)| day.eq_ignore_ascii_case(name));
    found.map(|(number, _)| number).ok_or(HoursError::Day)
}

/// Minutes of a time from 0:00 to 24:00.
fn time(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str, most: u32| {
        let is_number = matches!(digits.len(), 1 | 2) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|number| is_number && *number <= most)
    };
    let hours: u32 = number(hours, 24)?;
    let minutes: u32 = number(minutes, 59).filter(|_| minutes.len() == 2)?;
    Some(hours * 60 + minutes).filter(|minutes| *minutes <= DAY)
}

/// Writes a time of day.
fn write_time(f: &mut fmt::Formatter<'_>, minutes: u32) -> fmt::Result {
    write!(f, "{:02}:{:02}", minutes / 60, minutes % 60)
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.minutes < 0 { "-" } else { "+" })?;
        write_time(f, self.minutes.unsigned_abs())
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((first, last), (from, to)) = (self.days, self.minutes);
        f.write_str(DAYS[first as usize])?;
        if first != last {
            write!(f, "-{}", DAYS[last as usize])?;
        }
        f.write_str(" ")?;
        write_time(f, from)?;
        f.write_str("-")?;
        write_time(f, to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether `stretches` are open `minutes` after Monday the 23rd of November 2026 began, by the clock of `offset`.
    fn is_open(stretches: &[&str], offset: &str, minutes: i64) -> bool {
        let utc_offset: UtcOffset = offset.parse().unwrap();
        let monday = 1_795_392_000 - i64::from(utc_offset.minutes) * 60;
        let hours = OpeningHours {
            utc_offset,
            stretches: stretches.iter().map(|text| text.parse().unwrap()).collect(),
        };
        hours.is_open(UnixMillis((monday + minutes * 60) * 1000))
    }

    /// Minutes since the week began.
    fn at(day: i64, hour: i64, minute: i64) -> i64 {
        (day * 24 + hour) * 60 + minute
    }

    #[test]
    fn a_stretch_holds_its_first_minute_and_not_its_last() {
        for offset in ["+08:00", "+00:00", "-03:30", "+14:00"] {
            let open = |minutes| is_open(&["Mon-Fri 09:00-18:00"], offset, minutes);
            for day in 0..5 {
                assert!(!open(at(day, 8, 59)) && open(at(day, 9, 0)), "day {day} {offset}");
                assert!(open(at(day, 17, 59)) && !open(at(day, 18, 0)), "day {day} {offset}");
            }
            assert!(!open(at(5, 12, 0)) && !open(at(6, 12, 0)), "{offset}");
        }
    }

    #[test]
    fn several_stretches_leave_a_lunch_break() {
        let open = |minutes| is_open(&["Mon-Sun 09:00-12:00", "mon-sun 13:30-18:00"], "+08:00", minutes);
        assert!(open(at(2, 11, 59)) && !open(at(2, 12, 0)) && !open(at(2, 13, 29)) && open(at(2, 13, 30)));
    }

    #[test]
    fn a_night_and_a_week_may_be_passed() {
        let night = |minutes| is_open(&["Fri-Sun 22:00-02:00"], "+08:00", minutes);
        assert!(night(at(4, 22, 0)) && night(at(5, 1, 59)) && !night(at(5, 2, 0)));
        assert!(night(at(0, 1, 0)), "Sunday's night ends on Monday");
        assert!(!night(at(1, 1, 0)) && !night(at(4, 1, 0)));
        let weekend = |minutes| is_open(&["Sat-Mon 00:00-24:00"], "+08:00", minutes);
        assert!(weekend(at(5, 0, 0)) && weekend(at(6, 23, 59)) && weekend(at(0, 23, 59)) && !weekend(at(1, 0, 0)));
    }

    #[test]
    fn what_is_no_opening_hours_is_told_apart() {
        for (text, error) in [
            ("", HoursError::Shape),
            ("Mon-Fri", HoursError::Shape),
            ("Mon-Fri 09:00", HoursError::Shape),
            ("Mon - Fri 09:00-18:00", HoursError::Shape),
            ("Mon-Fry 09:00-18:00", HoursError::Day),
            ("周一-周五 09:00-18:00", HoursError::Day),
            ("Mon-Fri 09:00-25:00", HoursError::Time),
            ("Mon-Fri 09:00-24:01", HoursError::Time),
            ("Mon-Fri 9-18", HoursError::Time),
            ("Mon-Fri 09:60-18:00", HoursError::Time),
            ("Mon-Fri +9:00-18:00", HoursError::Time),
            ("Mon-Fri 24:00-06:00", HoursError::Time),
            ("Mon-Fri 09:00-09:00", HoursError::Nothing),
        ] {
            assert_eq!(text.parse::<Stretch>(), Err(error), "{text}");
        }
        for text in ["", "8", "08:00", "+8", "+14:01", "+08:60", "Asia/Shanghai", "＋08:00"] {
            assert_eq!(text.parse::<UtcOffset>(), Err(HoursError::Offset), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(first in 0u32..7, last in 0u32..7, from in 0..DAY, to in 1..=DAY) {
            prop_assume!(from != to);
            let stretch = Stretch { days: (first, last), minutes: (from, to) };
            prop_assert_eq!(stretch.to_string().parse(), Ok(stretch));
        }

        #[test]
        fn an_offset_reads_back(minutes in -14 * 60..=14 * 60) {
            let offset = UtcOffset { minutes };
            prop_assert_eq!(offset.to_string().parse(), Ok(offset));
        }

        #[test]
        fn every_moment_has_its_minute(millis: i64) {
            let whole_week = OpeningHours {
                utc_offset: UtcOffset::CHINA,
                stretches: vec!["Mon-Sun 00:00-24:00".parse().unwrap()],
            };
            prop_assert!(whole_week.is_open(UnixMillis(millis)));
        }
    }
}
