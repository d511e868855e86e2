//! The figures as a table for people.

use std::time::Duration;

use sharedroot_dm::Bytes;
use sharedroot_sys::chain::chain;

use super::latency::Latencies;
use super::look::{Image, Look};
use super::resident::Uncounted;
use crate::admin::image::called;
use crate::admin::screen::{Column, Line, Screen, table};

const COLUMNS: [Column; 8] = [
    Column::Text("IMAGE"),
    Column::Figure("SHARED"),
    Column::Figure("PRIVATE"),
    Column::Figure("RESIDENT"),
    Column::Figure("SAVED"),
    Column::Figure("STARTS/h"),
    Column::Figure("P50"),
    Column::Figure("P99"),
];
type Row = [String; COLUMNS.len()];

/// All lines.
pub fn lines(look: &Look, screen: Screen) -> Vec<Line> {
    let [shared, private, given] = [look.users.shared, look.users.private, look.not_shared];
    let mut lines = vec![
        look.pool.fill("pool   ", screen),
        Line::plain(format!("roots  {shared} shared, {private} private, {given} not shared")),
        Line::plain(format!("saved  {} of memory", Bytes(look.saved()))),
    ];
    lines.extend(look.shims.words().map(|words| Line::plain(format!("shims  {words}"))));
    lines.extend(look.snapshots.words().map(|words| Line::plain(format!("snaps  {words}"))));
    // The first reason why pages were not counted, because an administrator can correct it.
    let reason = |image: &Image| match &image.resident {
        Ok(_) | Err(Uncounted::NotMounted | Uncounted::NoContainer) => None,
        Err(error) => Some(format!("not counted: {}: {}", image.key.short(), chain(error))),
    };
    lines.extend(look.images.iter().find_map(reason).map(Line::plain));
    lines.push(Line::plain(""));

    let mut rows: Vec<_> = look.images.iter().map(row).collect();
    if look.given_starts.count() > 0 || look.not_shared > 0 {
        let [count, p50, p99] = starts(&look.given_starts);
        let [first, none] = ["(not shared)", "-"].map(str::to_owned);
        rows.push([first, none.clone(), none.clone(), none.clone(), none, count, p50, p99]);
    }
    lines.extend(table(COLUMNS, &rows));
    lines
}

fn row(image: &Image) -> Row {
    let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |n| Bytes(n).to_string());
    let [count, p50, p99] = starts(&image.starts);
    [
        called(&image.names, &image.tags, &image.key),
        image.users.shared.to_string(),
        image.users.private.to_string(),
        bytes(image.resident.as_ref().ok().copied()),
        bytes(image.saved()),
        count,
        p50,
        p99,
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_for_people() {
        let lines = lines(&Look::example(), Screen::NONE);
        let lines: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        let expected = [
            "pool   default: not made yet",
            "roots  4 shared, 3 private, 1 not shared",
            "saved  10 MiB of memory",
            "shims  2 of containerd, with 3 MiB of memory",
            "snaps  3 layers with 2 MiB, 1 active with 64 KiB, 0 views",
            "not counted: cccccccccccc: fincore is in none of /usr/bin, /bin: install util-linux \
             (Debian: util-linux-extra)",
            "",
            "IMAGE          SHARED  PRIVATE  RESIDENT   SAVED  STARTS/h      P50      P99",
            "lab/debian:12       3        1     5 MiB  10 MiB         2  12.0 ms   1.25 s",
            "bbbbbbbbbbbb        0        2         -       -         0        -        -",
            "cccccccccccc        1        0         -       -         0        -        -",
            "(not shared)        -        -         -       -         1  90.0 ms  90.0 ms",
        ];
        assert_eq!(lines, expected);
    }
}
