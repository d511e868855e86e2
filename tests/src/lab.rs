//! Where a test may run; waiting; files that a test changes and restores.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::command::run;

/// How long the kernel or a daemon may take for work of its own. A container at its memory limit may thrash for long before the
/// kernel kills one of its processes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The runtime's state directory. Tests use it, so they run only on a throw-away machine.
pub const STATE_DIR: &str = "/var/lib/sharedroot";
/// See [`STATE_DIR`].
pub const RUN_DIR: &str = "/run/sharedroot";

/// Checks that the test runs in a guest of the lab. This is the first line of every test, because tests use whole directories,
/// daemons and modules of the machine.
///
/// # Panics
/// On every other machine; the message names the script to run.
#[track_caller]
pub fn only_in_lab() {
    let lab = std::env::var_os("SHAREDROOT_LAB_POOL").is_some();
    assert!(
        lab,
        "this test takes a whole machine with root, device-mapper and Docker: run it by hack/test"
    );
}

/// Calls `ready` until it returns a value.
///
/// # Panics
/// If `ready` does not return a value in time; the message has `what`. The state of the machine is printed before, because
/// later it is gone.
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut nap = Duration::from_millis(1);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        if Instant::now() >= end {
            eprintln!(
                "{}",
                run(&["ps", "-eo", "pid,ppid,stat,etimes,time,wchan:24,args", "--forest"])
            );
            eprintln!("{}", run(&["sh", "-c", "dmesg | tail -n 60"]));
            panic!("not within {PATIENCE:?}: {what}");
        }
        sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(50));
    }
}

/// A file with other content. Dropping this value restores the old content.
#[derive(Debug)]
pub struct Replaced {
    path: PathBuf,
    before: Option<Vec<u8>>,
}

impl Replaced {
    /// Writes `text` to `path`, which may not exist.
    #[track_caller]
    pub fn with(path: impl AsRef<Path>, text: &str) -> Self {
        let path = path.as_ref().to_owned();
        let before = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => panic!("read {}: {e}", path.display()),
        };
        fs::create_dir_all(path.parent().expect("an absolute path")).expect("make a directory");
        fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        Self { path, before }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        let undone = match &self.before {
            Some(bytes) => fs::write(&self.path, bytes),
            None => fs::remove_file(&self.path),
        };
        if let Err(error) = undone {
            eprintln!("put {} back: {error}", self.path.display());
        }
    }
}

/// A directory for one test. Dropping this value removes the directory.
#[derive(Debug)]
pub struct TempDir(pub PathBuf);

impl TempDir {
    /// An empty directory.
    pub fn new(what: &str) -> Self {
        Self::at(crate::command::unique_path(what))
    }

    /// An empty directory beside programs. A daemon executes files there without a change of its SELinux domain.
    pub fn of_programs(what: &str) -> Self {
        Self::at(Path::new("/usr/local/bin").join(crate::command::unique_name(what)))
    }

    fn at(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        Self(path)
    }

    /// The directory's path as text.
    pub fn str(&self) -> &str {
        self.0.to_str().expect("a path of ASCII")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("remove {}: {error}", self.0.display());
        }
    }
}
