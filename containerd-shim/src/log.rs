//! Messages in containerd's log. `log` in a bundle is a FIFO that containerd reads and passes on.

use std::fmt::Arguments;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use sharedroot_sys::chain::readable;

/// Opens the FIFO of a bundle. None if nobody reads the FIFO: containerd is away. A write never waits.
pub fn of_bundle(bundle: &Path) -> Option<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let mut options = File::options();
    options.append(true).custom_flags(flags.bits().cast_signed());
    options.open(bundle.join("log")).ok()
}

/// Writes one line. A line for which the FIFO has no room is lost.
pub fn warn(log: Option<&File>, text: Arguments<'_>) {
    let Some(mut log) = log else { return };
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    let text = readable(&text.to_string());
    let _ = log.write_all(format!("time={now:?} level=warning msg={text:?}\n").as_bytes());
}
