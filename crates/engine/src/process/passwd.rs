//! The home directory of a process's user, from the container's own `/etc/passwd`.
//!
//! This does not use getpwuid(3), which the engine would call for a process without HOME: getpwuid(3) loads the modules
//! that the image's `/etc/nsswitch.conf` names. So code of the image would run in the runtime's process, with all
//! descriptors that the process has open on the host.

use std::io::{BufRead, BufReader, Read};

use rustix::fs::{FileType, Mode, OFlags};
use sharedroot_sys::resolve::Resolve;

/// At most so many bytes of the file are read.
const MOST: u64 = 1 << 20;

/// The home directory of `uid`; `/` if the file does not name one, as with runc.
///
/// This is called inside the container. The file comes from the image: it may be a FIFO, or a link to one.
#[must_use]
pub fn of_user(uid: u32) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let home = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .and_then(|top| Resolve::Root.open(top, "etc/passwd", flags))
        .ok()
        .filter(|file| {
            let stat = rustix::fs::fstat(file);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
        })
        .and_then(|file| find(BufReader::new(std::fs::File::from(file).take(MOST)), uid));
    home.unwrap_or_else(|| "/".to_owned())
}

/// passwd(5): `name:password:UID:GID:comment:home:shell`. The image wrote the file, and its comments may be of any encoding. A
/// home directory that is not UTF-8 is left out, because the engine's environment has text only.
fn find(passwd: impl BufRead, uid: u32) -> Option<String> {
    passwd.split(b'\n').map_while(Result::ok).find_map(|line| {
        let fields = line.split(|byte| *byte == b':').map(|field| str::from_utf8(field).ok());
        let mut fields = fields.skip(2);
        let found = fields.next()??.parse::<u32>().ok()?;
        let home = fields.nth(2)??.trim_end_matches('\r');
        (found == uid && !home.is_empty()).then(|| home.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_users_line_is_found() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n# no line\nshort:x:7\nx:x:seven:0::/x:\n\
                    seven:x:7:7::/home/seven\nother:x:7:7::/other:\nempty:x:8:8:::\n";
        let home = |uid| find(text.as_bytes(), uid);
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(7).as_deref(), Some("/home/seven"));
        assert_eq!(home(8), None);
        assert_eq!(home(9), None);
        let other = b"\xff:x:7:7:J\xfcrgen:/a:\nseven:x:7:7::/b:\neight:x:8:8::/\xff:\n";
        let home = |uid| find(&other[..], uid);
        assert_eq!((home(7).as_deref(), home(8)), (Some("/a"), None));
        assert_eq!(find(&b"x:x:1:1::/\xff:\ny:x:2:2::/y:\n"[..], 2).as_deref(), Some("/y"));
    }
}
