//! The story: the operations of a pool from its creation to its end. Each operation can run again after its process died within
//! that operation.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use sharedroot_dm::{Bytes, Deleted, Error, Phase, Pool, VolumeName};

use crate::crash::site::{Failed, Running, Site, chain, tool, unmount};

/// One operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    act: fn(&Site) -> Result<(), Failed>,
}

/// The operations of the child, in this order. Each operation opens the pool, as each call of the runtime does.
pub(crate) const STORY: &[Operation] = &[
    Operation { name: "create pool", act: create_pool },
    Operation { name: "destroy pool", act: destroy_pool },
    Operation { name: "create pool again", act: create_pool },
    Operation { name: "make base", act: make_base },
    Operation { name: "activate base", act: activate_base },
    Operation { name: "snapshot, shrink, write, keep", act: snapshot_one },
    Operation { name: "snapshot of an active origin", act: snapshot_two },
    Operation { name: "deactivate", act: deactivate_two },
    Operation { name: "delete", act: delete_two },
    Operation { name: "delete in use", act: delete_in_use },
    Operation { name: "resize", act: resize },
    Operation { name: "grow", act: grow },
    Operation { name: "shut down", act: shut_down },
    Operation { name: REOPEN, act: reopen },
];

/// The operation that restores everything that a reboot removes.
const REOPEN: &str = "activate pool and volumes";

const FILE: &str = "known";
const WRITTEN: &str = "written";

pub(crate) fn volume(text: &str) -> VolumeName {
    text.parse().expect("a volume name")
}

/// The number of the operation that must run again after a reboot, if `from` is behind it.
pub(crate) fn after_reboot(from: usize) -> usize {
    let reopen = STORY.iter().position(|operation| operation.name == REOPEN);
    from.min(reopen.expect("it is part of the story"))
}

/// Runs the story from operation `from` to its end.
pub(crate) fn tell(site: &Site, from: usize, done: impl Fn(usize)) -> Result<(), Failed> {
    for (number, operation) in STORY.iter().enumerate().skip(from) {
        (operation.act)(site)
            .map_err(|error| format!("{}: {}", operation.name, chain(error.as_ref())))?;
        done(number);
    }
    Ok(())
}

/// A step at which a process can be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) number: usize,
    pub(crate) operation: String,
    pub(crate) name: String,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {} ({}: {})", self.number, self.operation, self.name)
    }
}

impl Step {
    /// The step as a line of a file.
    pub(crate) fn line(&self) -> String {
        format!("{}|{}|{}", self.number, self.operation, self.name)
    }

    pub(crate) fn parse(line: &str) -> Result<Self, Failed> {
        let mut parts = line.splitn(3, '|').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(number), Some(operation), Some(name)) => {
                Ok(Self { number: number.parse()?, operation, name })
            }
            _ => Err(format!("{line} is no step").into()),
        }
    }
}

/// The steps of the whole story, from a child that runs undisturbed.
pub(crate) fn trace(site: &Site) -> Result<Vec<Step>, Failed> {
    let mut child = site.child("child_story", &[("SHAREDROOT_HOLD_AT", "trace")]);
    let (mut steps, mut at) = (Vec::new(), 0);
    while let Some(line) = child.line() {
        if let Some(rest) = line.strip_prefix("step ") {
            let (number, name) = rest.split_once(' ').ok_or("a step without a name")?;
            let (number, operation) = (number.parse()?, STORY[at].name.to_owned());
            steps.push(Step { number, operation, name: name.to_owned() });
        } else if let Some(number) = line.strip_prefix("did ") {
            at = number.parse::<usize>()? + 1;
        }
    }
    child.end()?;
    if at != STORY.len() {
        return Err(format!("the untroubled story ended after {at} operations").into());
    }
    Ok(steps)
}

/// A child that is stopped at `step`, and the number of the operation that the child is in.
pub(crate) fn held_at(site: &Site, step: &Step) -> Result<(Running, usize), Failed> {
    let mut child = site.child("child_story", &[("SHAREDROOT_HOLD_AT", &step.number.to_string())]);
    let mut at = 0;
    while let Some(line) = child.line() {
        if let Some(rest) = line.strip_prefix("held ") {
            return match rest == format!("{} {}", step.number, step.name) {
                true => Ok((child, at)),
                false => Err(format!("{step} was not reached, but {rest}").into()),
            };
        }
        if let Some(number) = line.strip_prefix("did ") {
            at = number.parse::<usize>()? + 1;
        }
    }
    child.end()?;
    Err(format!("{step} was not reached").into())
}

/// The content of a base.
pub(crate) fn write_content(dir: &Path) -> std::io::Result<()> {
    fs::write(dir.join(FILE), content())
}

fn content() -> Vec<u8> {
    (0..300_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn create_pool(site: &Site) -> Result<(), Failed> {
    match Pool::create(&site.config) {
        // The process that died has completed this operation.
        Ok(_) | Err(Error::PoolExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn destroy_pool(site: &Site) -> Result<(), Failed> {
    // The next creation removes what a half-destroyed pool leaves.
    if Pool::exists(&site.config)? {
        Pool::open(&site.config)?.destroy()?;
    }
    Ok(())
}

fn ready(pool: &Pool, name: &str) -> Result<bool, Error> {
    Ok(pool.volume(&volume(name))?.is_some_and(|volume| volume.phase == Phase::Ready))
}

/// Makes a file system on a new volume, each time of the same tree and with the same UUID.
pub(crate) fn fill_base(site: &Site, device: &Path) -> Result<(), Failed> {
    let seed = "5eed5eed-5eed-5eed-5eed-5eed5eed5eed";
    let mut options =
        OsString::from("root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,hash_seed=");
    options.push(seed);
    let made = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-m", "0", "-U", seed, "-J", "size=1", "-E"])
        .arg(options)
        .arg("-d")
        .args([&site.content, device])
        .env("SOURCE_DATE_EPOCH", "1")
        .env("E2FSPROGS_FAKE_TIME", "1")
        .output()?;
    match made.status.success() {
        true => Ok(()),
        false => Err(format!("mke2fs: {}", String::from_utf8_lossy(&made.stderr).trim()).into()),
    }
}

fn make_base(site: &Site) -> Result<(), Failed> {
    let pool = Pool::open(&site.config)?;
    if !ready(&pool, "base")? {
        let new = pool.create_volume(&volume("base"), Bytes::mib(16))?;
        fill_base(site, new.device())?;
        new.seal()?;
    }
    Ok(())
}

fn activate_base(site: &Site) -> Result<(), Failed> {
    Pool::open(&site.config)?.activate(&volume("base"))?;
    Ok(())
}

/// Mounts a volume's file system, runs `act` in it, and unmounts it.
pub(crate) fn mounted<T>(
    site: &Site,
    device: &Path,
    read_only: bool,
    act: impl FnOnce(&Path) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let (flags, data) = match read_only {
        true => (MsFlags::MS_RDONLY, Some("noload")),
        false => (MsFlags::empty(), None),
    };
    mount(Some(device), &site.mount, Some("ext4"), flags, data)
        .map_err(|errno| format!("mount {}: {errno}", device.display()))?;
    let value = act(&site.mount);
    unmount(&site.mount).map_err(|errno| format!("umount: {errno}"))?;
    value
}

/// Writes the file that makes a snapshot differ from its base.
pub(crate) fn write_marker(root: &Path) -> Result<(), Failed> {
    Ok(fs::write(root.join(WRITTEN), WRITTEN)?)
}

fn snapshot_one(site: &Site) -> Result<(), Failed> {
    site.unmount();
    let pool = Pool::open(&site.config)?;
    if !ready(&pool, "one")? {
        let mut new = pool.snapshot(&volume("base"), &volume("one"))?;
        tool("resize2fs", &["-f", new.device().to_str().expect("text"), "12M"])?;
        new.shrink(Bytes::mib(12))?;
        mounted(site, new.device(), false, write_marker)?;
        new.keep()?;
    }
    Ok(())
}

fn snapshot_two(site: &Site) -> Result<(), Failed> {
    let pool = Pool::open(&site.config)?;
    if !ready(&pool, "two")? {
        pool.activate(&volume("one"))?;
        pool.snapshot(&volume("one"), &volume("two"))?.keep()?;
    }
    Ok(())
}

fn deactivate_two(site: &Site) -> Result<(), Failed> {
    Ok(Pool::open(&site.config)?.deactivate(&volume("two"))?)
}

fn delete_two(site: &Site) -> Result<(), Failed> {
    Pool::open(&site.config)?.delete(&volume("two"))?;
    Ok(())
}

/// Deletes a mounted volume. The volume loses its name at once. The rest is deleted when the volume is unmounted and the pool
/// is used again.
fn delete_in_use(site: &Site) -> Result<(), Failed> {
    site.unmount();
    let pool = Pool::open(&site.config)?;
    if !ready(&pool, "three")? {
        pool.snapshot(&volume("base"), &volume("three"))?.keep()?;
    }
    let device = pool.activate(&volume("three"))?.device;
    mounted(site, &device, false, |_| match pool.delete_when_idle(&volume("three"), None)? {
        Deleted::Deferred => Ok(()),
        other => Err(format!("a mounted volume is {other:?}").into()),
    })?;
    // The kernel removes the device a moment later, from a work queue. Wait, so that each run has the same steps.
    let end = Instant::now() + Duration::from_secs(60);
    while site.dm_names()?.iter().any(|name| name.contains("deleted.")) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    Pool::open(&site.config)?;
    Ok(())
}

fn resize(site: &Site) -> Result<(), Failed> {
    Pool::open(&site.config)?.resize(&volume("one"), Bytes::mib(24))?;
    Ok(())
}

fn grow(site: &Site) -> Result<(), Failed> {
    Ok(Pool::open(&site.config)?.grow(Some(Bytes::mib(96)), Some(Bytes::mib(8)))?)
}

fn shut_down(site: &Site) -> Result<(), Failed> {
    Ok(Pool::open(&site.config)?.shut_down()?)
}

fn reopen(site: &Site) -> Result<(), Failed> {
    let pool = Pool::open(&site.config)?;
    pool.activate(&volume("base"))?;
    pool.activate(&volume("one"))?;
    Ok(())
}

/// Checks the content of the base, and of a snapshot that the story wrote. The error says what is missing.
pub(crate) fn check_content(site: &Site, device: &Path, snapshot: bool) -> Result<(), Failed> {
    tool("e2fsck", &["-fn", device.to_str().expect("text")])?;
    mounted(site, device, true, |root| {
        if fs::read(root.join(FILE))? != content() {
            return Err(format!("{FILE} has other content").into());
        }
        if snapshot && fs::read(root.join(WRITTEN))? != WRITTEN.as_bytes() {
            return Err(format!("{WRITTEN} has other content").into());
        }
        Ok(())
    })
}
