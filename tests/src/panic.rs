//! What a process with CAP_SYS_ADMIN can do to a file system of which it has a descriptor.

use std::fs::File;
use std::io::Read;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_string, fspick};

/// Chooses that the host panics at an error of the file system whose top is open (ext4(5), `errors`). Returns whether the kernel
/// took that.
pub fn choose_panic(top: &File) -> bool {
    let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
    let chosen = fspick(top, "", flags).and_then(|context| {
        fsconfig_set_string(&context, "errors", "panic")?;
        fsconfig_reconfigure(&context)
    });
    chosen.is_ok()
}

/// Reads directories and a file through the descriptor of a file system that has lost its disk.
///
/// # Panics
/// If the file can be read.
#[track_caller]
pub fn nothing_can_be_read(top: &File, file: &str) {
    // The kernel must read the disk for the names of a directory, and for the file.
    for dir in [".", "lib", "etc", "d"] {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = rustix::fs::openat(top, dir, flags, Mode::empty());
        let listed = opened.and_then(Dir::read_from).map(|names| names.filter_map(Result::ok));
        println!("{dir}: {:?}", listed.map(Iterator::count));
    }
    let opened = rustix::fs::openat(top, file, OFlags::RDONLY, Mode::empty());
    let read = opened.map(|opened| File::from(opened).read_to_end(&mut Vec::new()));
    assert!(!matches!(read, Ok(Ok(_))), "{file} can be read");
}
