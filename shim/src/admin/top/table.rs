//! The table for people.

use std::time::Duration;

use sharedroot_dm::Bytes;

use super::latency::Latencies;
use super::look::{Image, Look};
use super::resident::Uncounted;

const HEAD: [&str; 8] =
    ["IMAGE", "SHARED", "PRIVATE", "RESIDENT", "SAVED", "STARTS/h", "P50", "P99"];
/// Characters of the longest name that is not cut.
const LONGEST_NAME: usize = 40;

type Row = [String; HEAD.len()];

/// The lines, without their ends.
pub fn lines(look: &Look) -> Vec<String> {
    let [shared, private, given] = [look.users.shared, look.users.private, look.as_given];
    let mut lines = vec![
        format!("pool   {}", look.pool.fill()),
        format!("roots  {shared} shared, {private} private, {given} as given"),
        format!("saved  {} of memory", Bytes(look.saved())),
    ];
    // What an administrator can mend; one reason will do.
    let reason = |image: &Image| match &image.resident {
        Ok(_) | Err(Uncounted::NotMounted | Uncounted::NoContainer) => None,
        Err(error) => Some(format!("not counted: {}: {error}", image.key.short())),
    };
    lines.extend(look.images.iter().find_map(reason));
    lines.push(String::new());

    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(look.images.iter().map(row));
    if look.given_starts.count() > 0 || look.as_given > 0 {
        let [count, p50, p99] = starts(&look.given_starts);
        let [first, none] = ["(as given)", "-"].map(str::to_owned);
        rows.push([first, none.clone(), none.clone(), none.clone(), none, count, p50, p99]);
    }
    lines.extend(aligned(&rows));
    lines
}

fn row(image: &Image) -> Row {
    let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |n| Bytes(n).to_string());
    let [count, p50, p99] = starts(&image.starts);
    [
        name(image),
        image.users.shared.to_string(),
        image.users.private.to_string(),
        bytes(image.resident.as_ref().ok().copied()),
        bytes(image.saved()),
        count,
        p50,
        p99,
    ]
}

/// The names that people gave, else the beginning of the key.
fn name(image: &Image) -> String {
    let mut name = image.names.join(", ");
    if name.is_empty() {
        return image.key.short();
    }
    // Names are ASCII.
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME - 1);
        name.push('…');
    }
    name
}

fn starts(starts: &Latencies) -> [String; 3] {
    let time = |percent| starts.percentile(percent).map_or("-".to_owned(), duration);
    [starts.count().to_string(), time(50), time(99)]
}

fn duration(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{:.1} ms", took.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}

/// The first column to the left, figures to the right.
fn aligned(rows: &[Row]) -> impl Iterator<Item = String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter().map(move |row| {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_for_people() {
        let lines = lines(&Look::example());
        let expected = [
            "pool   default: not made yet",
            "roots  4 shared, 3 private, 1 as given",
            "saved  10 MiB of memory",
            "not counted: cccccccccccc: fincore is in none of /usr/bin, /bin: install util-linux \
             (Debian: util-linux-extra)",
            "",
            "IMAGE          SHARED  PRIVATE  RESIDENT   SAVED  STARTS/h      P50      P99",
            "lab/debian:12       3        1     5 MiB  10 MiB         2  12.0 ms   1.25 s",
            "bbbbbbbbbbbb        0        2         -       -         0        -        -",
            "cccccccccccc        1        0         -       -         0        -        -",
            "(as given)          -        -         -       -         1  90.0 ms  90.0 ms",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_long_name_is_cut() {
        let mut image = Look::example().images.swap_remove(0);
        image.names = vec!["a".repeat(30), "b".repeat(30)];
        assert_eq!(name(&image), format!("{}, bbbbbbb…", "a".repeat(30)));
        image.names = vec!["a".repeat(40)];
        assert_eq!(name(&image), "a".repeat(40));
    }
}
