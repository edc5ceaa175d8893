//! Figures as people read them: thousands apart, times and sizes in a unit that fits.

use std::time::Duration;

pub(crate) use reports::grouped;

/// A rate: whole from 10 on, with up to two decimals below.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 10.0 || per_second.fract() == 0.0 {
        return grouped(per_second.max(0.0).round() as u64);
    }
    let text = format!("{per_second:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How long a device or a phase took: milliseconds, from ten seconds on seconds.
pub(crate) fn latency(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1_000.0;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.2} ms"),
        10.0..100.0 => format!("{milliseconds:.1} ms"),
        100.0..10_000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{} s", rate(time.as_secs_f64())),
    }
}

/// How long something lasts: `12 s`, `2 min 5 s`, `3 h 20 min`, `2 d 4 h`.
pub(crate) fn span(time: Duration) -> String {
    let (all, seconds) = (time.as_secs(), time.as_secs() % 60);
    let (days, hours, minutes) = (all / 86_400, all / 3_600 % 24, all / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if all < 10 => {
            let text = format!("{:.1}", time.as_secs_f64());
            format!("{} s", text.trim_end_matches(".0"))
        }
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => two(minutes, "min", seconds, "s"),
        (0, _, _) => two(hours, "h", minutes, "min"),
        _ => two(days, "d", hours, "h"),
    }
}

/// A moment by which something is over, never too early: as [`span`], rounded up.
pub(crate) fn by(time: Duration) -> String {
    let unit = if time < Duration::from_secs(10) { 100_000_000 } else { 1_000_000_000 };
    let nanos = time.as_nanos().div_ceil(unit).saturating_mul(unit);
    span(u64::try_from(nanos).map_or(time, Duration::from_nanos))
}

fn two(large: u64, unit: &str, small: u64, smaller: &str) -> String {
    match small {
        0 => format!("{} {unit}", grouped(large)),
        _ => format!("{} {unit} {small} {smaller}", grouped(large)),
    }
}

/// A size in memory.
pub(crate) fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match bytes {
        ..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes.div_ceil(KIB)),
        MIB..GIB => format!("{} MiB", bytes.div_ceil(MIB)),
        _ => format!("{:.1} GiB", bytes as f64 / GIB as f64),
    }
}

/// A share as per cent: whole, or with one decimal below ten.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        ..=0.0 => "0 %".to_owned(),
        ..9.95 if percent.fract() != 0.0 => format!("{percent:.1} %"),
        _ => format!("{} %", grouped(percent.round() as u64)),
    }
}

/// One or many of a thing.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// Text from outside on a line of at most `width` columns: without what moves the cursor, and cut with dots. What is
/// not ASCII may take two columns.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let columns = |c: char| if c.is_ascii() { 1 } else { 2 };
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let all: usize = plain.clone().map(columns).sum();
    if all <= width {
        return plain.collect();
    }
    let mut left = width.saturating_sub(3);
    let fits = plain.take_while(|&c| {
        let room = left >= columns(c);
        left = left.saturating_sub(columns(c));
        room
    });
    let mut out: String = fits.collect();
    out.push_str(&"..."[..width.min(3)]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_a_unit_that_fits() {
        let ms = Duration::from_micros;
        for (shown, expected) in [
            (grouped(0), "0"),
            (grouped(999), "999"),
            (grouped(1_234_567), "1,234,567"),
            (rate(0.25), "0.25"),
            (rate(2.5), "2.5"),
            (rate(3.0), "3"),
            (rate(1_234.6), "1,235"),
            (latency(ms(123)), "0.12 ms"),
            (latency(ms(12_345)), "12.3 ms"),
            (latency(ms(1_234_567)), "1235 ms"),
            (latency(ms(12_345_678)), "12 s"),
            (latency(ms(12_345_678_000)), "12,346 s"),
            (span(ms(1_500_000)), "1.5 s"),
            (span(ms(9_996_000)), "10 s"),
            (span(Duration::ZERO), "0 s"),
            (span(Duration::from_secs(12)), "12 s"),
            (span(Duration::from_secs(125)), "2 min 5 s"),
            (span(Duration::from_secs(3_600)), "1 h"),
            (span(Duration::from_secs(12_000)), "3 h 20 min"),
            (span(Duration::from_secs(187_200)), "2 d 4 h"),
            (by(Duration::from_millis(11_990)), "12 s"),
            (by(Duration::from_secs(12)), "12 s"),
            (by(Duration::from_millis(3_990)), "4 s"),
            (by(Duration::from_millis(310)), "0.4 s"),
            (by(Duration::ZERO), "0 s"),
            (size(470), "470 bytes"),
            (size(16_896), "17 KiB"),
            (size(63 << 20), "63 MiB"),
            (size(3 << 29), "1.5 GiB"),
            (percent(0.0), "0 %"),
            (percent(0.015), "1.5 %"),
            (percent(12.0), "1,200 %"),
            (counted(1, "device"), "1 device"),
            (counted(2_000, "device"), "2,000 devices"),
        ] {
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn text_from_outside_stays_on_its_line() {
        for (text, width, expected) in [
            ("fits", 4, "fits"),
            ("is too long", 8, "is to..."),
            ("a\u{1b}[2J\nb", 10, "a [2J b"),
            ("müsli", 5, "m..."),
            ("müsli", 6, "müsli"),
            ("abcdef", 2, ".."),
        ] {
            assert_eq!(cut(text, width), expected, "{text:?} in {width}");
        }
    }
}
