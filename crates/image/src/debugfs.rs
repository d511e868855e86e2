//! Commands for debugfs, which sets what mke2fs cannot: extended attributes without the labels of the host, and late times.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;
use sharedroot_format::base::BLOCK;

use super::count::Count;
use super::e2fsprogs::Tool;
use super::walk::Attributes;
use crate::error::MakeError;

/// The longest line, in bytes, that every debugfs reads as one. debugfs reads a script by lines of BUFSIZ bytes
/// (debugfs/debugfs.c, `source_file`). A longer line would be two commands, and an image would write the second. BUFSIZ is at
/// least this much with any C library: musl has 1,024.
const SURE_LINE: usize = 1000;
/// The longest line, in bytes, that a debugfs with glibc reads as one: there BUFSIZ is 8,192.
const LONGEST_LINE: usize = 8000;

/// Makes the commands that set the extended attributes of a tree, and the times that mke2fs cannot set. Long values go into
/// files in the directory `scratch`.
pub(super) fn set_attributes(count: &Count, scratch: &Path) -> Result<Vec<u8>, MakeError> {
    let mut script = Script::default();
    let mut values = Values::default();
    for (path, attributes) in &count.attributes {
        let bytes = room_for(attributes);
        if bytes > ATTRIBUTES {
            return Err(MakeError::Attributes { path: path.clone(), bytes, most: ATTRIBUTES });
        }
        for (name, value) in attributes {
            let (file, name) = (file_word(path)?, word(name, path)?);
            let short = short(value)
                .map(|value| [b"ea_set ", &*file, b" ", &*name, b" ", &*value, b"\n"].concat());
            let line = match short {
                Some(line) if script.takes(&line)? => line,
                _ => {
                    let from = values.file_of(value, scratch)?;
                    let from = word(from.as_os_str().as_bytes(), path)?;
                    [b"ea_set -f ", &*from, b" ", &*file, b" ", &*name, b"\n"].concat()
                }
            };
            script.add(line, path)?;
        }
    }
    for (path, seconds) in &count.late {
        let time = format!(" mtime @{seconds}\n").into_bytes();
        script.add([&b"sif "[..], &file_word(path)?, &time].concat(), path)?;
    }
    Ok(script.text)
}

/// Commands for debugfs: lines, none of which debugfs reads as two.
#[derive(Default)]
struct Script {
    text: Vec<u8>,
    /// The longest line, in bytes. The host's debugfs is asked when a line is longer than [`SURE_LINE`].
    longest: Option<usize>,
}

impl Script {
    /// Whether debugfs reads the line as one.
    fn takes(&mut self, line: &[u8]) -> Result<bool, MakeError> {
        if line.len() <= SURE_LINE {
            return Ok(true);
        }
        let longest = match self.longest {
            Some(longest) => longest,
            None if reads_lines_of(LONGEST_LINE)? => LONGEST_LINE,
            None => SURE_LINE,
        };
        self.longest = Some(longest);
        Ok(line.len() <= longest)
    }

    fn add(&mut self, line: Vec<u8>, path: &Path) -> Result<(), MakeError> {
        if !self.takes(&line)? {
            return Err(MakeError::NotForDebugfs { path: path.to_owned() });
        }
        self.text.extend(line);
        Ok(())
    }
}

/// Whether the debugfs of this host reads a line of `length` bytes as one. It gets a comment of that length: the rest of a
/// comment that is too long would be a command, and debugfs would complain that there is no such command.
fn reads_lines_of(length: usize) -> Result<bool, MakeError> {
    let comment = [&b"#"[..], &b"x".repeat(length.saturating_sub(2)), b"\n"].concat();
    let script = anonymous_file(&[&comment]).map_err(|source| MakeError::Scratch {
        step: "write commands for debugfs to the",
        path: "memfd".into(),
        source,
    })?;
    let mut debugfs = Tool::find("debugfs")?;
    debugfs.command.args(["-f", "-"]);
    let said = debugfs.output(script.into())?.stderr;
    Ok(said
        .split(|byte| *byte == b'\n')
        .all(|line| line.is_empty() || line.starts_with(b"debugfs ")))
}

/// The longest value, in bytes, that is part of a command, where each byte takes four. A longer value goes through a file. So
/// the bound of all bytes of an image (`count::MOST_SPECIAL_BYTES`) bounds the number of these files, too.
const SHORT: usize = 1900;

/// A value as a word of a command, in octal numbers, which debugfs reads as C does (debugfs/xattrs.c, `parse_c_string`). None
/// for a value that is too long, and for an empty one, which would be no word.
fn short(value: &[u8]) -> Option<Vec<u8>> {
    let fits = (1..=SHORT).contains(&value.len());
    fits.then(|| value.iter().flat_map(|byte| format!("\\{byte:03o}").into_bytes()).collect())
}

/// Values that go through files. Each file takes a page of `/run`, so equal values share a file.
#[derive(Default)]
struct Values<'t>(HashMap<&'t [u8], PathBuf>);

impl<'t> Values<'t> {
    fn file_of(&mut self, value: &'t [u8], scratch: &Path) -> Result<PathBuf, MakeError> {
        if let Some(file) = self.0.get(value) {
            return Ok(file.clone());
        }
        let file = scratch.join(format!("attribute-{}", self.0.len()));
        fs::write(&file, value).map_err(|source| MakeError::Scratch {
            step: "write the value of an attribute to",
            path: file.clone(),
            source,
        })?;
        self.0.insert(value, file.clone());
        Ok(file)
    }
}

/// A path of the tree as a word of a command.
fn file_word(path: &Path) -> Result<Vec<u8>, MakeError> {
    word(&[b"/", path.as_os_str().as_bytes()].concat(), path)
}

/// The bytes that ext4 has for the attributes of one file: a block without its header and the end of its list
/// (fs/ext4/xattr.h). The little room in the inode comes on top; this bound does not count on it.
const ATTRIBUTES: usize = BLOCK as usize - 32 - 4;

/// How many of these bytes the attributes take: for each an entry, the name and the value, in steps of four.
fn room_for(attributes: &Attributes) -> usize {
    let steps = |bytes: usize| bytes.next_multiple_of(4);
    attributes.iter().map(|(name, value)| steps(16 + name.len()) + steps(value.len())).sum()
}

/// Quotes one word of a command, and doubles the quotes in the word (e2fsprogs, lib/ss/parse.c). A control character could end
/// the command.
fn word(text: &[u8], path: &Path) -> Result<Vec<u8>, MakeError> {
    if text.iter().any(u8::is_ascii_control) {
        return Err(MakeError::NotForDebugfs { path: path.to_owned() });
    }
    let mut quoted = vec![b'"'];
    for &byte in text {
        quoted.extend(if byte == b'"' { &b"\"\""[..] } else { std::slice::from_ref(&byte) });
    }
    quoted.push(b'"');
    Ok(quoted)
}

/// Runs commands on a file system. debugfs always ends with the exit code 0, so this reads what debugfs says.
pub(super) fn run_script(device: &Path, parts: &[&[u8]]) -> Result<(), MakeError> {
    let script = anonymous_file(parts).map_err(|source| MakeError::Scratch {
        step: "write commands for debugfs to the",
        path: "memfd".into(),
        source,
    })?;
    let mut debugfs = Tool::find("debugfs")?;
    debugfs.command.args(["-w", "-f", "-"]).arg(device);
    debugfs.run(device, script.into(), |output| {
        let said = String::from_utf8_lossy(&output.stderr);
        output.status.success() && said.lines().all(|line| line.starts_with("debugfs "))
    })
}

/// Makes a file without a name, open at its beginning. A pipe would not take a text of any length before debugfs reads it.
fn anonymous_file(parts: &[&[u8]]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("debugfs", MemfdFlags::CLOEXEC)?);
    for part in parts {
        file.write_all(part)?;
    }
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
#[path = "debugfs_tests.rs"]
mod tests;
