//! Whether Docker's daemon may restart under running containers (its option `live-restore`).
//!
//! Such a daemon asks of each running container whether its root is mounted, and asks it by statfs(2): whether an overlay is
//! mounted there (moby: daemon/graphdriver/counter.go, `fsChecker`). A snapshot is ext4, so the daemon takes it for nothing,
//! gives the directory there the mode 0700, which is the container's `/`, and mounts its own overlay over it (overlay2,
//! `Get`); again for each `docker cp` and `diff`. Nothing but an overlay keeps it from that, and no runtime is called: so the
//! container's root is one (`bases/overlaid.rs`).

use std::fs;
use std::path::Path;

/// Where the daemon says which process it is.
const PID_FILE: &str = "/run/docker.pid";
/// Its configuration, if its command line names no other.
const CONFIG: &str = "/etc/docker/daemon.json";

/// Whether the host's Docker daemon is set so now.
#[must_use]
pub fn live_restore() -> bool {
    let pid = fs::read_to_string(PID_FILE).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let line = pid.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
    is_set(&line.unwrap_or_default(), |path| fs::read(path).ok())
}

/// The daemon refuses to start where flag and file both say it.
fn is_set(line: &[u8], read: impl Fn(&Path) -> Option<Vec<u8>>) -> bool {
    let words: Vec<_> = line.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    let mut config = CONFIG;
    for (at, word) in words.iter().enumerate() {
        let word = word.trim_start_matches('-');
        let next = words.get(at + 1).map(|next| &**next);
        match word.split_once('=') {
            None if word == "live-restore" => return true,
            Some(("live-restore", value)) => {
                return ["1", "t", "T", "true", "TRUE", "True"].contains(&value);
            }
            None if word == "config-file" => config = next.unwrap_or(CONFIG),
            Some(("config-file", path)) => config = path,
            _ => {}
        }
    }
    let text = read(Path::new(config)).unwrap_or_default();
    serde_json::from_slice::<serde_json::Value>(&text)
        .is_ok_and(|config| config["live-restore"] == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_flag_or_by_file() {
        let files = |path: &Path| match path.to_str() {
            Some(CONFIG) => None,
            Some("/on") => Some(br#"{"live-restore": true, "debug": false}"#.to_vec()),
            Some("/off") => Some(br#"{"live-restore": false}"#.to_vec()),
            _ => Some(b"{".to_vec()),
        };
        for (line, set) in [
            ("", false),
            ("dockerd", false),
            ("dockerd\0--debug\0--live-restore\0", true),
            ("dockerd\0-live-restore=1\0", true),
            ("dockerd\0--live-restore=false\0--config-file\0/on\0", false),
            ("dockerd\0--config-file\0/on\0", true),
            ("dockerd\0--config-file=/on\0", true),
            ("dockerd\0--config-file=/off\0", false),
            ("dockerd\0--config-file=/broken\0", false),
            ("dockerd\0--config-file", false),
        ] {
            assert_eq!(is_set(line.as_bytes(), files), set, "{line}");
        }
        assert!(is_set(b"", |_| files(Path::new("/on"))), "a daemon that is not known to run");
    }
}
