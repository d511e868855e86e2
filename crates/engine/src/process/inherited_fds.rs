//! No descriptor of the host reaches a container.
//!
//! A directory that is open while the kernel resolves the path of the container's program leads out of the container: a
//! program, an interpreter or a working directory in `/proc/self/fd/N/..` is resolved before execve(2) closes any
//! descriptor (CVE-2024-21626). So none is open: this module closes what the runtime's caller left open, and the
//! runtime itself opens a directory only for the duration of one step.

use std::io;

/// Closes the descriptors that this process inherited, except the three standard streams and the `preserved`
/// descriptors from 3 on, which the caller passes to the container. Those of systemd's socket activation
/// (sd_listen_fds(3)) count as preserved.
///
/// An inherited descriptor has no close-on-exec flag; the descriptors that this process opened have the flag.
///
/// # Errors
/// `/proc/self` cannot be read.
pub fn close_inherited(preserved: i32) -> io::Result<()> {
    let activated = std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let first = 3_i32.saturating_add(preserved.max(0)).saturating_add(activated.max(0_i32));
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number: &i32| *number >= first) else { continue };
        if !closes_on_exec(&std::fs::read(entry.path())?) {
            nix::unistd::close(number)?;
        }
    }
    Ok(())
}

/// Whether the fdinfo text is that of a descriptor with the flag (proc_pid_fdinfo(5)). Some kinds of files have names there,
/// of any bytes.
fn closes_on_exec(fdinfo: &[u8]) -> bool {
    const O_CLOEXEC: u32 = 0o2_000_000;
    let mut lines = fdinfo.split(|byte| *byte == b'\n');
    let flags = lines.find_map(|line| line.strip_prefix(b"flags:"));
    let octal = flags.and_then(|octal| std::str::from_utf8(octal).ok());
    let flags = octal.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    flags.is_some_and(|flags| flags & O_CLOEXEC != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_read_of_both_kinds() {
        use std::os::fd::AsRawFd;
        let own = std::fs::File::open("/").unwrap();
        let info = |n: i32| std::fs::read(format!("/proc/self/fdinfo/{n}")).unwrap();
        assert!(closes_on_exec(&info(own.as_raw_fd())));
        assert!(!closes_on_exec(&info(0)), "standard input came from the caller");
        assert!(closes_on_exec(b"pos:\t0\nflags:\t02100002\niff:\t\xff\n"));
    }
}
