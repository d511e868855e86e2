//! Whether Docker's daemon may restart under running containers (its option `live-restore`).
//!
//! When such a daemon starts, it checks for each running container that the root is mounted: it calls statfs(2) and looks for an
//! overlay (moby: daemon/graphdriver/counter.go, `fsChecker`). The file system of a snapshot is ext4, which the daemon does not
//! take for a mounted root. It sets the mode of the directory, which is the container's `/`, to 0700, and mounts its own overlay
//! over the directory (overlay2, `Get`). It does so again for each `docker cp` and `docker diff`. The daemon calls no runtime
//! for this, and only an overlay prevents it. So under such a daemon the root of a container is an overlay
//! (`bases/overlaid.rs`).

use std::fs;
use std::path::Path;

/// The file with the PID of the daemon.
const PID_FILE: &str = "/run/docker.pid";
/// The configuration of the daemon, if its command line names no other file.
const CONFIG: &str = "/etc/docker/daemon.json";

/// Whether the Docker daemon of this host has `live-restore` on, by its command line or by its configuration file.
#[must_use]
pub fn live_restore() -> bool {
    let pid = fs::read_to_string(PID_FILE).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let line = pid.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
    is_set(&line.unwrap_or_default(), |path| fs::read(path).ok())
}

/// Whether the command line `line` or the configuration has the option. The daemon does not start if both have it.
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
