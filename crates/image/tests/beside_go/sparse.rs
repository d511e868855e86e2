//! Sparse files of every form, of whose maps some are odd.

use super::tars::{BLOCK, Random, header, octal, padded, record, set_checksum, special};

/// Records that contradict a map, or are of another version.
const ODD: [(&str, &str); 10] = [
    ("GNU.sparse.map", "0,4"),
    ("GNU.sparse.map", ""),
    ("GNU.sparse.major", "0"),
    ("GNU.sparse.minor", "1"),
    ("GNU.sparse.major", "7"),
    ("GNU.sparse.numblocks", "1"),
    ("GNU.sparse.size", "9"),
    ("GNU.sparse.realsize", "-1"),
    ("GNU.sparse.offset", "8"),
    ("GNU.sparse.name", ""),
];

/// Extents of a file, in order, and the length of the file.
fn extents(random: &mut Random) -> (Vec<(usize, usize)>, usize) {
    let (mut extents, mut end) = (Vec::new(), 0);
    for _ in 0..random.below(4) {
        let extent = (end + random.below(600), *random.of(&[0, 4, 512, 700]));
        end = extent.0 + extent.1;
        extents.push(extent);
    }
    (extents, end + *random.of(&[0, 0, 10, 1000]))
}

/// A sparse file of one of the forms of pax, of which something may be wrong.
pub fn pax_sparse(random: &mut Random) -> Vec<u8> {
    let (extents, size) = extents(random);
    let (mut records, mut content) = map(random, &extents);
    let key = *random.of(&["GNU.sparse.size", "GNU.sparse.realsize"]);
    records.push((key, size.to_string()));
    if random.once_in(2) {
        records.push(("GNU.sparse.name", "sparse".to_owned()));
    }
    if random.once_in(4) {
        let (key, value) = *random.of(&ODD);
        records.insert(random.below(records.len() + 1), (key, value.to_owned()));
    }
    if random.once_in(5) {
        records.remove(random.below(records.len()));
    }
    let stored: usize = extents.iter().map(|(_, length)| length).sum();
    content.extend(random.bytes(stored));
    let records = records.iter().flat_map(|(key, value)| record(key.as_bytes(), value.as_bytes()));
    let records: Vec<u8> = records.collect();
    let mut tar = special(random, b'x', records);
    let letter = *random.of(b"000007512\0");
    tar.extend(header(random, letter, content.len()));
    tar.extend(&content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar
}

/// The map in one of the forms of pax: its records, and what stands before the content.
fn map(random: &mut Random, extents: &[(usize, usize)]) -> (Vec<(&'static str, String)>, Vec<u8>) {
    let numbers = extents.iter().flat_map(|(offset, length)| [offset, length]);
    let numbers: Vec<String> = numbers.map(ToString::to_string).collect();
    let count = extents.len().to_string();
    let (mut records, mut content) = (Vec::new(), Vec::new());
    match random.below(3) {
        0 => {
            for pair in numbers.chunks(2) {
                records.push(("GNU.sparse.offset", pair[0].clone()));
                records.push(("GNU.sparse.numbytes", pair[1].clone()));
            }
            records.push(("GNU.sparse.numblocks", count));
        }
        1 => {
            records.push(("GNU.sparse.map", numbers.join(",")));
            records.push(("GNU.sparse.numblocks", count));
        }
        _ => {
            records.push(("GNU.sparse.major", "1".to_owned()));
            records.push(("GNU.sparse.minor", "0".to_owned()));
            content = format!("{count}\n").into_bytes();
            numbers.iter().for_each(|number| content.extend(format!("{number}\n").bytes()));
            content.resize(content.len().next_multiple_of(BLOCK), 0);
        }
    }
    (records, content)
}

/// A sparse file of GNU's old form.
pub fn old_sparse(random: &mut Random) -> Vec<u8> {
    let (extents, size) = extents(random);
    let stored: usize = extents.iter().map(|(_, length)| length).sum();
    let mut tar = header(random, b'S', stored).to_vec();
    tar[257..265].copy_from_slice(b"ustar  \0");
    tar[345..].fill(0);
    octal(&mut tar[483..495], size);
    let mut map = vec![0; 504];
    for (n, (offset, length)) in extents.iter().enumerate() {
        octal(&mut map[24 * n..24 * n + 12], *offset);
        octal(&mut map[24 * n + 12..24 * n + 24], *length);
    }
    if random.once_in(4) {
        // A hole in the map itself, an empty number, or one that is none.
        let at = *random.of(&[0, 12, 24, 36]);
        map[at] = *random.of(b"\0 8\x80");
    }
    if random.once_in(2) {
        tar[386..482].copy_from_slice(&map[..96]);
    } else {
        tar[482] = *random.of(&[1, 2, 0xff]);
        tar.extend(map);
        tar.extend([random.once_in(20).into(), 0, 0, 0, 0, 0, 0, 0]);
    }
    set_checksum(&mut tar[..BLOCK]);
    tar.extend(padded(random, stored));
    tar
}
