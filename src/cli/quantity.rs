//! Numbers as people read them.

use std::time::Duration;

/// Bytes, in powers of 1024.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A count, its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A duration.
pub(super) fn time(seconds: f64) -> String {
    if seconds < 0.0995 {
        format!("{:.1} ms", seconds * 1000.0)
    } else if seconds < 100.0 {
        format!("{seconds:.2} s")
    } else {
        match Duration::try_from_secs_f64(seconds.round()) {
            Ok(whole) => humantime::format_duration(whole).to_string(),
            // Written by hand: nothing takes so long.
            Err(_) => format!("{seconds:e} s"),
        }
    }
}

/// A duration as people write it on the command line.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a number with its unit, such as `10s` or `500ms`".to_owned()),
    }
}

/// A number with four digits, or all of those before its point.
pub(super) fn significant(value: f64) -> String {
    match value.abs() {
        huge if huge >= 999.5 => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
            let whole = grouped(huge.round() as u64);
            format!("{}{whole}", if value < 0.0 { "-" } else { "" })
        }
        hundreds if hundreds >= 99.95 => format!("{value:.1}"),
        tens if tens >= 9.995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The unit in which a time of so many milliseconds has few digits, and how many of it are in a
/// millisecond.
pub(super) fn time_unit(milliseconds: f64) -> (&'static str, f64) {
    match milliseconds {
        short if short < 1.0 => ("µs", 1e3),
        long if long >= 1000.0 => ("s", 1e-3),
        _ => ("ms", 1.0),
    }
}

/// A measured time.
pub(super) fn measured(milliseconds: f64) -> String {
    let (unit, per_millisecond) = time_unit(milliseconds);
    format!("{} {unit}", significant(milliseconds * per_millisecond))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_any_length_can_be_told() {
        let cases =
            [(0.05, "50.0 ms"), (99.0, "99.00 s"), (3661.2, "1h 1m 1s"), (1e308, "1e308 s")];
        for (seconds, text) in cases {
            assert_eq!(time(seconds), text);
        }
        assert_eq!(time(f64::NAN), "NaN s");
    }

    #[test]
    fn measured_times_have_four_digits_and_a_unit_that_fits() {
        let cases = [
            (0.0, "0.000 µs"),
            (0.037_14, "37.14 µs"),
            (0.999, "999.0 µs"),
            (1.0, "1.000 ms"),
            (9.9996, "10.00 ms"),
            (99.96, "100.0 ms"),
            (12_345.6, "12.35 s"),
            (12_345_678.0, "12 346 s"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(measured(milliseconds), text);
        }
        assert_eq!(significant(-1234.0), "-1 234");
    }
}
