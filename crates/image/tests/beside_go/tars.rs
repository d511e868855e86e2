//! Tars that are nearly right: the checksums are, and here and there a field or a record is odd.

use super::sparse::{old_sparse, pax_sparse};

pub const BLOCK: usize = 512;
/// Where the checksum of a header is.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The same numbers on each run (Marsaglia's xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `most`.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % most.max(1)
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| *self.of(b"ab\n\0/057 \xff")).collect()
    }
}

/// A tar of a few entries.
pub fn tar(random: &mut Random) -> Vec<u8> {
    let mut tar = Vec::new();
    for _ in 0..=random.below(4) {
        let piece = match random.below(16) {
            0..=5 => entry(random),
            6..=8 => special(random, b'x', Vec::new()),
            9 => special(random, b'g', Vec::new()),
            10 | 11 => long_name(random),
            12 | 13 => pax_sparse(random),
            14 => old_sparse(random),
            _ if random.once_in(4) => random.bytes(BLOCK),
            _ => entry(random),
        };
        tar.extend(piece);
    }
    // Each of these is an end, or nearly one.
    tar.resize(tar.len() + BLOCK * *random.of(&[0, 1, 2, 2, 2, 2, 3]), 0);
    if random.once_in(10) {
        tar.truncate(random.below(tar.len() + 1));
    }
    tar
}

/// A seed in which bytes are changed and blocks are repeated, moved or cut. Most headers get a right checksum again.
pub fn damaged(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    let mut tar = seed.to_vec();
    for _ in 0..=random.below(3) {
        let blocks = tar.len() / BLOCK;
        let at = BLOCK * random.below(blocks);
        match random.below(8) {
            0..=4 if at + BLOCK <= tar.len() => {
                let field =
                    [0, 100, 108, 116, 124, 136, 156, 157, 257, 263, 329, 345, 386, 482, 508];
                let begin = at + random.of(&field) + random.below(4);
                let odd = [
                    b'0', b'1', b'7', b'9', b'x', b'g', b'L', b'S', 0, b' ', b'/', b'+', 0x80, 0xff,
                ];
                tar[begin] = *random.of(&odd);
                set_checksum(&mut tar[at..at + BLOCK]);
            }
            5 => drop(tar.drain(at..(at + BLOCK).min(tar.len()))),
            6 => {
                let copy = tar[at..(at + 2 * BLOCK).min(tar.len())].to_vec();
                let to = BLOCK * random.below(blocks);
                tar.splice(to..to, copy);
            }
            _ if random.once_in(4) => tar.truncate(random.below(tar.len())),
            _ => {
                let to = random.below(tar.len());
                if let Some(byte) = tar.get_mut(to) {
                    *byte = *random.of(b"\0\n =1,9z");
                }
            }
        }
    }
    tar
}

/// An ordinary entry of any type.
fn entry(random: &mut Random) -> Vec<u8> {
    let letter = *random.of(b"00000112345567SVDx\0\0\0");
    let size = *random.of(&[0, 0, 1, 5, 511, 512, 513, 1500]);
    let mut tar = header(random, letter, size).to_vec();
    // Some types have no content, whatever their header says.
    if !(b'1'..=b'6').contains(&letter) || random.once_in(20) {
        tar.extend(padded(random, size));
    }
    tar
}

/// A header that describes the next entry, with records of any kind in front of its own.
pub fn special(random: &mut Random, letter: u8, own: Vec<u8>) -> Vec<u8> {
    let mut records = Vec::new();
    let most = if own.is_empty() { 4 } else { 2 };
    for _ in 0..random.below(most) {
        records.extend(any_record(random));
    }
    records.extend(own);
    let mut tar = header(random, letter, records.len()).to_vec();
    tar.extend(&records);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar
}

fn long_name(random: &mut Random) -> Vec<u8> {
    let letter = *random.of(b"LLK");
    let names: [&[u8]; 7] = [b"", b"\0", b"gnu\0", b"gnu", b"gnu/\0", b"g\0nu", &[b'n'; 600]];
    let name = *random.of(&names);
    let mut tar = header(random, letter, name.len()).to_vec();
    tar.extend(name);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar
}

/// Content, and the rest of its last block.
pub fn padded(random: &mut Random, size: usize) -> Vec<u8> {
    let mut content = random.bytes(size);
    content.resize(size.next_multiple_of(BLOCK), 0);
    content
}

const KEYS: [&[u8]; 22] = [
    b"path",
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"atime",
    b"ctime",
    b"uname",
    b"SCHILY.xattr.user.a",
    b"SCHILY.xattr.user.b",
    b"SCHILY.xattr.",
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.name",
    b"GNU.sparse.map",
    b"GNU.sparse.offset",
    b"GNU.sparse.numbytes",
    b"comment",
    b"c\0mment",
    b"",
];
const VALUES: [&[u8]; 20] = [
    b"",
    b"",
    b"0",
    b"1",
    b"5",
    b"512",
    b"-1",
    b"+7",
    b"0007",
    b"4294967295",
    b"4294967296",
    b"1.5",
    b"-0.25",
    b"12.",
    b"soon",
    b"a/b",
    b"dir/",
    b"n\0l",
    b"0,4",
    b"x=y\nz",
];
const LIKELY: [(&[u8], &[u8]); 6] = [
    (b"path", b"from/pax"),
    (b"linkpath", b"from/pax"),
    (b"uid", b"70000"),
    (b"mtime", b"1234.5"),
    (b"SCHILY.xattr.user.a", b"value\n"),
    (b"path", b""),
];

fn any_record(random: &mut Random) -> Vec<u8> {
    let (key, value) = match random.once_in(3) {
        true => (*random.of(&KEYS), *random.of(&VALUES)),
        false => *random.of(&LIKELY),
    };
    let mut record = record(key, value);
    if random.once_in(40) {
        let at = random.below(record.len());
        record[at] = *random.of(b"+0 =\n\0");
    }
    if random.once_in(30) {
        let prefix = random.of(b"0+- 1");
        record.insert(0, *prefix);
    }
    record
}

/// A record of a pax header.
pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..).find(|n| n.to_string().len() + rest == *n).expect("a length");
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A header with fields of all forms.
pub fn header(random: &mut Random, letter: u8, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let names: [&[u8]; 9] =
        [b"file", b"dir/", b"a/b", b"./x", b"/abs", b"../up", b"", b"n\0junk", &[b'l'; 100]];
    let text = random.of(&names);
    put(&mut header[..100], text);
    let links: [&[u8]; 4] = [b"target", b"a/b", b"", &[b'k'; 100]];
    let text = random.of(&links);
    put(&mut header[157..257], text);
    let numbers = [(100, 0o4755), (108, 1000), (116, 0), (329, 1), (337, 3)];
    for (at, value) in numbers {
        number(random, &mut header[at..at + 8], value);
    }
    number(random, &mut header[124..136], size);
    number(random, &mut header[136..148], 1_500_000_000);
    header[156] = letter;
    let magics: [&[u8; 8]; 8] = [
        b"ustar\x0000",
        b"ustar\x0000",
        b"ustar\x0000",
        b"ustar\0 \0",
        b"ustar\0\0\0",
        b"ustar  \0",
        b"ustar  \0",
        b"\0\0\0\0\0\0\0\0",
    ];
    let magic = *random.of(&magics);
    header[257..265].copy_from_slice(magic);
    let prefixes: [&[u8]; 8] =
        [b"", b"", b"", b"prefix", b"p/q", b"\xc3\xa9", b"14713302577", &[b'p'; 155]];
    let text = random.of(&prefixes);
    put(&mut header[345..500], text);
    if random.once_in(6) {
        header[508..].copy_from_slice(b"tar\0");
    }
    if random.once_in(12) {
        // Schily's prefix, with times behind it.
        header[345..476].fill(b's');
        header[476..500].copy_from_slice(b"14713302577\x0014713302577\0");
    }
    if random.once_in(25) {
        let at = random.below(BLOCK);
        header[at] = *random.of(b"\0 079+/\x80\xff");
    }
    set_checksum(&mut header);
    if random.once_in(40) {
        let at = CHECKSUM.start + random.below(8);
        header[at] = *random.of(b"\0 0+8");
    }
    header
}

/// A number in one of its forms, of which some are none.
fn number(random: &mut Random, field: &mut [u8], value: usize) {
    octal(field, value);
    let last = field.len() - 1;
    match random.below(60) {
        0 => field[0] = b' ',
        1 => field[last] = b' ',
        2 => field[0] = 0,
        3 => field[0] = b'+',
        4 => field[last] = b'8',
        5 => field[0] = b'\t',
        6 => field.fill(0),
        7 => field.fill(b' '),
        8 => field.fill(0xff),
        9 | 10 => {
            field.fill(0);
            field[last - 3..].copy_from_slice(&u32::try_from(value).expect("small").to_be_bytes());
            field[0] = 0x80;
        }
        11 => {
            field.fill(0);
            field[0] = *random.of(&[0x80, 0xbf, 0xc0]);
            field[1] = *random.of(&[0, 0x7f, 0xff]);
        }
        _ => {}
    }
}

pub fn octal(field: &mut [u8], value: usize) {
    let digits = format!("{value:0width$o}\0", width = field.len() - 1);
    field.copy_from_slice(digits.as_bytes());
}

fn put(field: &mut [u8], text: &[u8]) {
    field[..text.len()].copy_from_slice(text);
}

pub fn set_checksum(header: &mut [u8]) {
    header[CHECKSUM].fill(b' ');
    let sum: usize = header.iter().map(|byte| usize::from(*byte)).sum();
    octal(&mut header[CHECKSUM.start..CHECKSUM.end - 1], sum);
}
