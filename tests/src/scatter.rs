//! A root that is filled and emptied again and again, so that it has been written all over, and what it takes of the pool then.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::command::out;
use crate::pool::status;

/// What the pool has given out, on the disk.
#[must_use]
pub fn taken() -> u64 {
    out(&["sync"]);
    status()["data"]["used_bytes"].as_u64().expect("a number")
}

/// Small files until there is no more room, then one in sixteen stays: the next round finds its free blocks elsewhere.
#[track_caller]
pub fn scatter(top: &Path, round: usize) -> usize {
    let dir = top.join(format!("round-{round}"));
    fs::create_dir(&dir).expect("a directory");
    let full = |number: &usize| {
        let content = vec![b's'; 4096 * (1 + number % 3)];
        let file = File::create(dir.join(number.to_string()));
        file.and_then(|mut file| file.write_all(&content)).is_err()
    };
    let number = (0..20_000).find(full).expect("the root is full at last");
    out(&["sync", "--file-system", top.to_str().expect("text")]);
    for file in (0..=number).filter(|file| file % 16 > 0) {
        let _ = fs::remove_file(dir.join(file.to_string()));
    }
    out(&["sync", "--file-system", top.to_str().expect("text")]);
    number
}
