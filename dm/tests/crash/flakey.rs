//! A disk that loses every write from one moment on, as a volatile cache does when the power fails. The whole state directory
//! lies on this disk, with store and loop files, so that all of them are left as they were at the same moment.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::mount::{MsFlags, mount};

use crate::crash::census::Census;
use crate::crash::recovered;
use crate::crash::site::{Failed, Site, tool, unmount};
use crate::crash::story::{STORY, Step, after_reboot, held_at};

/// Enough for the pool of the story, which may take 80 % of the free space.
const SECTORS: u64 = 400 << 11;

/// The disk and the file system on it.
pub(crate) struct Flakey {
    /// The pool's and the dm device's name.
    name: String,
    below: String,
    /// The first sector of this disk on the lab's spare disk.
    start: u64,
    mount: PathBuf,
}

impl Flakey {
    /// Uses a part of the lab's spare disk.
    pub(crate) fn new(lane: usize) -> Result<Self, Failed> {
        let below =
            std::env::var("LAB_DATA_DEV").map_err(|_| "needs `hack/lab run --pool device`")?;
        let name = format!("flakey{lane}");
        let mount = Path::new("/var/lib").join(&name);
        Ok(Self { name, below, start: SECTORS * lane as u64, mount })
    }

    fn table(&self, how: &str) -> String {
        match how {
            "loses" => {
                format!("0 {SECTORS} flakey {} {} 0 3600 1 drop_writes", self.below, self.start)
            }
            _ => format!("0 {SECTORS} linear {} {}", self.below, self.start),
        }
    }

    fn connect(&self) -> Result<PathBuf, Failed> {
        tool("dmsetup", &["create", &self.name, "--table", &self.table("keeps")])?;
        Ok(Path::new("/dev/mapper").join(&self.name))
    }

    fn attach(&self, node: &Path) -> Result<(), Failed> {
        std::fs::create_dir_all(&self.mount)?;
        mount(Some(node), &self.mount, Some("ext4"), MsFlags::empty(), None::<&str>)
            .map_err(|errno| format!("mount {}: {errno}", node.display()).into())
    }

    fn release(&self) -> Result<(), Failed> {
        unmount(&self.mount)
            .map_err(|errno| format!("umount {}: {errno}", self.mount.display()))?;
        tool("dmsetup", &["remove", "--retry", &self.name]).map(drop)
    }

    /// An empty file system, and a site on it.
    pub(crate) fn fresh(&self) -> Result<Site, Failed> {
        let node = self.connect()?;
        let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        tool("mke2fs", &["-q", "-F", "-t", "ext4", "-E", options, node.to_str().expect("text")])?;
        self.attach(&node)?;
        Ok(Site::new(&self.name, &self.mount))
    }

    /// Makes the disk lose every write from now on. Nothing is flushed before: the file system is not frozen, and no I/O is
    /// waited for.
    pub(crate) fn lose(&self) -> Result<(), Failed> {
        tool("dmsetup", &["load", &self.name, "--table", &self.table("loses")])?;
        tool("dmsetup", &["suspend", "--nolockfs", "--noflush", &self.name])?;
        tool("dmsetup", &["resume", &self.name]).map(drop)
    }

    /// Brings the power back: everything in memory is lost, and the disk keeps new writes again.
    pub(crate) fn restart(&self, site: &Site) -> Result<(), Failed> {
        site.detach()?;
        self.release()?;
        if site.config.run_dir.exists() {
            std::fs::remove_dir_all(&site.config.run_dir)?;
        }
        self.attach(&self.connect()?)
    }

    /// Removes the site and its file system, which must be sound.
    pub(crate) fn end(&self, site: &Site) -> Result<(), Failed> {
        site.detach()?;
        unmount(&self.mount)
            .map_err(|errno| format!("umount {}: {errno}", self.mount.display()))?;
        tool("e2fsck", &["-fn", &format!("/dev/mapper/{}", self.name)])?;
        tool("dmsetup", &["remove", "--retry", &self.name]).map(drop)
    }

    /// Loses all writes from `step` on. With `go_on` another process runs the story to its end meanwhile, and those writes are
    /// lost.
    pub(crate) fn at_step(
        &self,
        step: &Step,
        expected: &Census,
        go_on: bool,
    ) -> Result<Vec<String>, Failed> {
        let site = self.fresh()?;
        let (child, operation) = held_at(&site, step)?;
        self.lose()?;
        child.kill();
        if go_on {
            // The result does not matter, because the disk loses the writes of this process.
            let _ = site.child("child_story", &[]).end();
        }
        self.restart(&site)?;
        let differences = recovered(&site, after_reboot(operation), expected);
        self.end(&site)?;
        Ok(differences)
    }

    /// Loses all writes from `delay` after the story's beginning on, while the story's process goes on. Also returns the
    /// operation that the process was in.
    pub(crate) fn after(
        &self,
        delay: Duration,
        expected: &Census,
    ) -> Result<(usize, Vec<String>), Failed> {
        let site = self.fresh()?;
        let mut child = site.child("child_story", &[]);
        let done = AtomicUsize::new(0);
        let operation = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while let Some(line) = child.line() {
                    if line.starts_with("did ") {
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            std::thread::sleep(delay);
            // What was done before the writes were lost must exist.
            let operation = done.load(Ordering::SeqCst);
            let lost = self.lose();
            reader.join().expect("the reader of the child's lines");
            lost.map(|()| operation)
        })?;
        let _ = child.end();
        self.restart(&site)?;
        let from = after_reboot(operation.min(STORY.len()));
        let differences = recovered(&site, from, expected);
        self.end(&site)?;
        Ok((operation, differences))
    }
}
