//! The file system of a base: `mke2fs -d` from the merged tree straight onto the device.
//!
//! Nothing on the host decides what it looks like: the features are listed, mke2fs.conf is not
//! read, UUID and hash seed follow from the key, mke2fs takes names in alphabetical order, and the
//! times that a host leaves on its layers by extracting and reading them (change and access) are
//! overwritten. So equal layers make equal blocks, on any host with the same e2fsprogs.
//!
//! The device may hold old data wherever nothing was written (a thin pool that skips the zeroing
//! of blocks). ext4 never reads an inode table beyond its high-water mark nor a free block, and
//! the journal is written out, so that is safe; but a writable mount of a snapshot needs
//! `noinit_itable`, or the kernel starts to zero those tables.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{FileType, MemfdFlags};
use sharedroot_format::BaseKey;
use sharedroot_format::base::{BLOCK, BYTES_PER_INODE, FEATURES, FIXED_TIME, INODE, JOURNAL_MIB};

use super::walk::Attributes;
use crate::error::MakeError;
use crate::tree::{Tree, Usage};

/// Where e2fsprogs is; never the caller's PATH.
pub const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Makes the file system of a base of `size_bytes` on `device`, with everything that `tree` holds.
///
/// There is no `lost+found` in it unless the image has one.
///
/// # Errors
/// [`MakeError::TooLarge`], or what failed of e2fsprogs, with its own words. The device then holds
/// nothing of use.
pub fn make_filesystem(
    tree: &Tree,
    key: &BaseKey,
    device: &Path,
    size_bytes: u64,
) -> Result<(), MakeError> {
    let usage = tree.usage()?;
    let inodes = inode_count(usage, size_bytes);
    let needs = usage.bytes + inodes * INODE + (JOURNAL_MIB << 20);
    if needs > size_bytes {
        return Err(MakeError::TooLarge { device: device.to_owned(), needs, size: size_bytes });
    }

    // Before anything is written: an image that cannot be a base costs each of its containers no more than a walk.
    let attributes = set_attributes(tree)?;

    let owner = tree.top().owner;
    // 16 blocks of 4 KiB are one thin block; otherwise mke2fs takes what the device reports.
    let extended = format!(
        "lazy_itable_init=1,lazy_journal_init=0,nodiscard,no_copy_xattrs,num_backup_sb=0,\
         stride=16,stripe_width=16,hash_seed={},root_owner={}:{}",
        key.uuid("hash seed"),
        owner.uid,
        owner.gid,
    );
    let mut mke2fs = Tool::find("mke2fs")?;
    // The name of the type only picks a section of mke2fs.conf, and the empty one has just what
    // is built in for "ext2". The features make it ext4.
    mke2fs.command.env("MKE2FS_CONFIG", "/dev/null").args(["-q", "-t", "ext2", "-T", "default"]);
    mke2fs.command.args(["-O", FEATURES, "-E", &extended]);
    mke2fs.command.args(["-b", &BLOCK.to_string(), "-I", &INODE.to_string()]);
    mke2fs.command.args(["-N", &inodes.to_string(), "-m", "0"]);
    // At the front, or a snapshot that is made smaller would have to move it.
    mke2fs.command.args(["-J", &format!("size={JOURNAL_MIB},location=0")]);
    mke2fs.command.args(["-U", &key.uuid("file system"), "-o", "Linux"]);
    mke2fs.command.args(["-d", "/proc/self/fd/0"]).arg(device);
    mke2fs.command.arg((size_bytes / BLOCK).to_string());
    let top = tree.root().try_clone_to_owned().map_err(|source| MakeError::Walk {
        path: "/".into(),
        step: "open",
        source,
    })?;
    // The tree has no path. As standard input it reaches the child, and no other child.
    mke2fs.run(device, File::from(top).into(), |output| output.status.success())?;

    finish(device, tree, usage, &attributes)
}

/// debugfs reads a script by lines of BUFSIZ bytes (debugfs/debugfs.c, `source_file`), and what is longer would be two
/// commands, the second of which an image writes. With any C library BUFSIZ is at least this much: musl has 1,024.
const SURE_LINE: usize = 1000;
/// With glibc BUFSIZ is 8,192.
const LONGEST_LINE: usize = 8000;

/// The inode of `lost+found`, the first that a file system gives away.
const LOST_FOUND: u64 = 11;

/// What mke2fs cannot do: gives the root directory its mode, takes `lost+found` away, which e2fsck
/// makes anew when it needs it, sets the extended attributes but not the labels of whatever host the
/// layers are on, and fixes the times that differ between hosts.
///
/// debugfs ends with 0 whatever happens, so its words are read, and the result is looked at.
fn finish(device: &Path, tree: &Tree, usage: Usage, attributes: &[u8]) -> Result<(), MakeError> {
    let has_own = tree.has("lost+found");
    let mode = FileType::Directory.as_raw_mode() | tree.top().mode;
    // How much was written depends on the holes that a host's layers have.
    let mut script = format!("ssv kbytes_written 0\nsif / mode 0{mode:o}\n");
    if !has_own {
        script.push_str("rmdir /lost+found\n");
    }
    let mut script = script.into_bytes();
    script.extend(attributes);
    // mke2fs numbers the files from the first free inode on, without a gap; `usage` counts the
    // top, too, which it made itself.
    let last = LOST_FOUND + usage.inodes - 1 - u64::from(has_own);
    for inode in LOST_FOUND + u64::from(!has_own)..=last {
        // No parts of a second: mke2fs leaves those out.
        for time in ["ctime", "atime"] {
            script.extend(format!("sif <{inode}> {time} @{FIXED_TIME}\n").bytes());
        }
    }
    let script = anonymous_file(&script).map_err(|source| MakeError::Scratch {
        step: "write a script for debugfs in place of a",
        path: "memfd".into(),
        source,
    })?;
    let mut change = Tool::find("debugfs")?;
    change.command.args(["-w", "-f", "-"]).arg(device);
    change.run(device, script.into(), |output| {
        let said = String::from_utf8_lossy(&output.stderr);
        output.status.success() && said.lines().all(|line| line.starts_with("debugfs "))
    })?;
    if has_own {
        return Ok(());
    }
    let mut look = Tool::find("debugfs")?;
    look.command.args(["-R", "stat /lost+found"]).arg(device);
    look.run(device, Stdio::null(), |output| {
        String::from_utf8_lossy(&output.stderr).contains("File not found by ext2_lookup")
    })
}

/// A script of debugfs's that sets the extended attributes of `tree`, and the times that mke2fs cannot.
fn set_attributes(tree: &Tree) -> Result<Vec<u8>, MakeError> {
    let mut script = Script::default();
    let mut values = Values::default();
    for (path, attributes) in tree.attributes()? {
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
                    let from = values.file_of(value, tree.scratch())?;
                    let from = word(from.as_os_str().as_bytes(), path)?;
                    [b"ea_set -f ", &*from, b" ", &*file, b" ", &*name, b"\n"].concat()
                }
            };
            script.add(line, path)?;
        }
    }
    for (path, seconds) in tree.late()? {
        let time = format!(" mtime @{seconds}\n").into_bytes();
        script.add([&b"sif "[..], &file_word(path)?, &time].concat(), path)?;
    }
    Ok(script.text)
}

/// Lines for debugfs, none of which it reads as two.
#[derive(Default)]
struct Script {
    text: Vec<u8>,
    /// Asked of this host's debugfs when a line is long enough to matter.
    longest: Option<usize>,
}

impl Script {
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

/// Whether this host's debugfs reads a line of so many bytes as one: of a comment that is too long, the rest would be a command,
/// and none that there is.
fn reads_lines_of(length: usize) -> Result<bool, MakeError> {
    let comment = [&b"#"[..], &b"x".repeat(length.saturating_sub(2)), b"\n"].concat();
    let script = anonymous_file(&comment).map_err(|source| MakeError::Scratch {
        step: "write a script for debugfs in place of a",
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

/// The longest value that is part of a command, where each byte takes four. What goes through a file has at least so many bytes
/// with its path, so the bound of all bytes is one of the files, too.
const SHORT: usize = 1900;

/// A value as a word of a command: debugfs reads octal numbers in it as C does (debugfs/xattrs.c, `parse_c_string`). An empty
/// word would be none.
fn short(value: &[u8]) -> Option<Vec<u8>> {
    let fits = (1..=SHORT).contains(&value.len());
    fits.then(|| value.iter().flat_map(|byte| format!("\\{byte:03o}").into_bytes()).collect())
}

/// Values that go through files, each of which takes a page of `/run`: equal ones share a file.
#[derive(Default)]
struct Values<'t>(HashMap<&'t [u8], PathBuf>);

impl<'t> Values<'t> {
    fn file_of(&mut self, value: &'t [u8], scratch: &Path) -> Result<PathBuf, MakeError> {
        if let Some(file) = self.0.get(value) {
            return Ok(file.clone());
        }
        let file = scratch.join(format!("attribute-{}", self.0.len()));
        fs::write(&file, value).map_err(|source| MakeError::Scratch {
            step: "write an attribute's value in the",
            path: file.clone(),
            source,
        })?;
        self.0.insert(value, file.clone());
        Ok(file)
    }
}

/// A path of the tree as debugfs takes it.
fn file_word(path: &Path) -> Result<Vec<u8>, MakeError> {
    word(&[b"/", path.as_os_str().as_bytes()].concat(), path)
}

/// The bytes that ext4 has for the attributes of one file: a block without its header and the end of its list
/// (fs/ext4/xattr.h). The little that fits into an inode comes on top, and is not counted on.
const ATTRIBUTES: usize = BLOCK as usize - 32 - 4;

/// The bytes that these attributes take of that: for each an entry, its name and its value, in steps of four.
fn room_for(attributes: &Attributes) -> usize {
    let steps = |bytes: usize| bytes.next_multiple_of(4);
    attributes.iter().map(|(name, value)| steps(16 + name.len()) + steps(value.len())).sum()
}

/// One word of a command of debugfs's, which is a line: quoted, and a quote twice (e2fsprogs, lib/ss/parse.c).
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

/// Looks through all metadata of a base, whose blocks carry checksums; changes nothing.
///
/// # Errors
/// [`MakeError::Tool`] with e2fsck's own words.
pub fn check_filesystem(device: &Path) -> Result<(), MakeError> {
    let mut e2fsck = Tool::find("e2fsck")?;
    e2fsck.command.arg("-fn").arg(device);
    e2fsck.run(device, Stdio::null(), |output| output.status.success())
}

/// A file without a name: unlike a pipe it takes any length before somebody reads.
fn anonymous_file(text: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("debugfs", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file)
}

/// As many inodes as mke2fs would give to a device of this size, and a quarter more than the tree
/// has if that is more: a snapshot wants to make files, too.
fn inode_count(usage: Usage, size_bytes: u64) -> u64 {
    (size_bytes / BYTES_PER_INODE).max(usage.inodes + usage.inodes / 4 + 64)
}

/// A program of e2fsprogs with nothing of the caller's environment.
pub(super) struct Tool {
    program: PathBuf,
    pub(super) command: Command,
}

impl Tool {
    pub(super) fn find(program: &'static str) -> Result<Self, MakeError> {
        let program = PLACES
            .iter()
            .map(|place| Path::new(place).join(program))
            .find(|path| path.is_file())
            .ok_or_else(|| MakeError::NoTool { program, places: PLACES.join(", ") })?;
        let mut command = Command::new(&program);
        command.env_clear().env("LC_ALL", "C").env("E2FSPROGS_FAKE_TIME", FIXED_TIME.to_string());
        command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self { program, command })
    }

    fn output(&mut self, stdin: Stdio) -> Result<Output, MakeError> {
        let child = self.command.stdin(stdin).spawn().and_then(|child| child.wait_with_output());
        child.map_err(|source| MakeError::Start { program: self.program.clone(), source })
    }

    pub(super) fn run(
        mut self,
        device: &Path,
        stdin: Stdio,
        succeeded: impl FnOnce(&Output) -> bool,
    ) -> Result<(), MakeError> {
        let output = self.output(stdin)?;
        if succeeded(&output) {
            return Ok(());
        }
        Err(MakeError::Tool {
            program: self.program,
            device: device.to_owned(),
            status: output.status.to_string(),
            stderr: first_lines(&output.stderr),
        })
    }
}

/// The first five lines that say something, on one.
fn first_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take(5).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
#[path = "ext4_tests.rs"]
mod tests;
