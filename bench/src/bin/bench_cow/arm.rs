//! A way to keep containers' roots, and `docker` for it.

use sharedroot_tests::command::Cmd;

/// The image of the first containers.
pub const BUSYBOX: &str = "busybox";
/// Bytes that each container writes.
pub const WRITTEN: i64 = 64 << 10;
/// The command that writes random data, which cannot be stored as a hole, and flushes it to the disk.
const WRITE: &str = "dd if=/dev/urandom of=/written bs=65536 count=1 conv=fsync 2> /dev/null";
/// The operation whose time every `docker` command includes: a call that only asks the daemon for its version.
pub const CALL: &str = "docker version";
/// The root as the engine gives it.
const NOT_SHARED: &str = "--annotation=dev.sharedroot.mode=off";

/// One arm.
pub struct Arm {
    pub name: &'static str,
    pub driver: Driver,
    host: Option<String>,
    /// Which runtime, for `docker run` and `docker create`.
    pub flags: Vec<String>,
}

/// The storage of a container's changes.
pub enum Driver {
    /// A thin snapshot above Docker's overlay2.
    Pool,
    Overlay2,
    /// With the mount point of its file system.
    Btrfs {
        mounted: String,
    },
}

/// Of the arms that are not ours; under sharedroot they differ from it by the root alone.
pub fn flags_of_peer(runtime: &str) -> Vec<String> {
    let mut flags = vec![format!("--runtime={runtime}")];
    if runtime == "sharedroot" {
        flags.push(NOT_SHARED.to_owned());
    }
    flags
}

impl Arm {
    /// An arm. Without a host it uses the lab's own daemon.
    pub fn new(
        name: &'static str,
        driver: Driver,
        host: Option<String>,
        flags: Vec<String>,
    ) -> Self {
        Self { name, driver, host, flags }
    }

    /// Runs `docker WORDS…`, which must succeed, and returns its output.
    pub fn docker(&self, words: &[&str]) -> String {
        let host = self.host.iter().flat_map(|host| ["--host", host]);
        Cmd::new("docker").args(&host.collect::<Vec<_>>()).args(words).run().ok()
    }

    /// A container that writes and then does `after`.
    pub fn container(&self, verb: &[&str], name: &str, image: &str, after: &str) {
        let script = format!("{WRITE} && {after}");
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        let what = ["--network=none", "--name", name, image, "sh", "-c", &script];
        // A runtime's own flags may stand between Docker's.
        let (between, rest) = what.split_at(3);
        self.docker(&[verb, &flags, between, rest].concat());
    }

    /// A container on the engine's root, so that no base is made yet.
    pub fn warm(&self) {
        let mut words = vec!["run", "--rm", "--network=none", NOT_SHARED];
        words.extend(self.flags.iter().map(String::as_str));
        words.extend([BUSYBOX, "true"]);
        self.docker(&words);
    }

    /// A container name that no other arm uses, because some arms share a daemon.
    pub fn name_of(&self, what: &str, number: usize) -> String {
        format!("{}-{what}-{number}", self.name)
    }
}

/// The arms in the order of a round. The order changes, so that no arm always follows the slowest one.
pub fn in_turn(arms: &[Arm], round: usize) -> Vec<&Arm> {
    let mut order: Vec<_> = arms.iter().collect();
    order.rotate_left(round % arms.len());
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
