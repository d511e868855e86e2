//! Everything that the story leaves in the kernel, the store and the directories, as lines, so that two runs can be compared.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sharedroot_dm::{Blocks, Pool, Reconcile};

use crate::crash::site::{Failed, Site, chain, tool};
use crate::crash::{mapper, story};

/// Sorted lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Census(pub(crate) Vec<String>);

impl Census {
    /// Takes the census at the end of the story: first with the pool active, and then, after a shutdown, of the disk.
    pub(crate) fn take(site: &Site) -> Result<Self, Failed> {
        let mut lines = Vec::new();
        let pool = Pool::open(&site.config)?;
        let again = pool.reconcile(Reconcile::DryRun)?;
        lines.push(format!("reconcile would do: {again}"));
        for volume in pool.volumes()? {
            lines.push(format!("store: {volume:?}"));
        }
        let status = pool.status()?;
        // Not the number of used blocks, which may be one transaction old. The mappings of each volume are read from the
        // metadata below, and so are leaked blocks.
        let total = |blocks: Option<Blocks>| blocks.map(|blocks| blocks.total);
        let (data, meta) = (total(status.data), total(status.metadata));
        lines.push(format!(
            "status: {:?}, needs check {}, data {data:?}, metadata {meta:?}, block {}, {} volumes",
            status.mode, status.needs_check, status.block, status.volumes
        ));
        kernel(site, "active", &mut lines)?;
        files(&site.config.state_dir, "active", &mut lines)?;
        files(&site.config.run_dir, "active", &mut lines)?;
        for (name, snapshot) in [("base", false), ("one", true)] {
            let device = pool.activate(&story::volume(name))?.device;
            story::check_content(site, &device, snapshot)
                .map_err(|error| format!("{name}: {}", chain(error.as_ref())))?;
            lines.push(format!("{name}: e2fsck is clean, its files are as written"));
        }
        pool.shut_down()?;

        kernel(site, "stopped", &mut lines)?;
        files(&site.config.state_dir, "stopped", &mut lines)?;
        lines.extend(metadata(site)?);
        lines.sort();
        Ok(Self(lines))
    }

    /// The lines that only this census has, and the lines that only `expected` has. Empty if both are equal.
    pub(crate) fn differences(&self, expected: &Self) -> Vec<String> {
        let more = self.0.iter().filter(|line| !expected.0.contains(line));
        let less = expected.0.iter().filter(|line| !self.0.contains(line));
        more.map(|line| format!("found    {line}"))
            .chain(less.map(|line| format!("expected {line}")))
            .collect()
    }
}

/// The metadata of a stopped pool: what thin_check says, for which leaked blocks are an error, and every thin id.
pub(crate) fn metadata(site: &Site) -> Result<Vec<String>, Failed> {
    let file = site.metadata();
    let file = file.to_str().expect("text");
    tool("thin_check", &["--quiet", file])?;
    // Not thin_ls, which takes half a second to count even a few blocks.
    let dump = tool("thin_dump", &[file])?;
    let devices = dump.lines().filter_map(|line| line.trim().strip_prefix("<device "));
    let line = |line: &str| {
        let words = line
            .split(' ')
            .filter(|word| ["dev_id=", "mapped"].iter().any(|key| word.starts_with(key)));
        format!("thin id: {}", words.collect::<Vec<_>>().join(" "))
    };
    Ok(devices.map(line).chain(["thin_check is clean".to_owned()]).collect())
}

/// dm devices, mounts, loop devices.
pub(crate) fn kernel(site: &Site, when: &str, lines: &mut Vec<String>) -> Result<(), Failed> {
    for device in site.dm_names()? {
        let (row, targets) = mapper::row(&device)?;
        lines.push(format!("{when}: dm {} {}", without_marker(&row), table(&targets)));
    }
    let ours = [&site.mount, &site.config.state_dir].map(|path| path.display().to_string());
    for mount in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        if ours.iter().any(|path| mount.contains(path)) {
            lines.push(format!("{when}: mount {mount}"));
        }
    }
    for row in site.loops()? {
        let row = row.split_once(' ').map_or("", |(_, rest)| rest);
        lines.push(format!("{when}: loop {row}"));
    }
    Ok(())
}

/// A line about a device without the eight digits that differ between two pools of the same name, and their volumes.
fn without_marker(row: &str) -> String {
    let is_marker = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = row.split_inclusive(['-', ':']).map(|part| {
        let (text, end) = part.split_at(part.trim_end_matches(['-', ':']).len());
        if is_marker(text) { format!("8 digits{end}") } else { part.to_owned() }
    });
    parts.collect()
}

/// A table without the device numbers, which depend on the other devices of the machine.
fn table(line: &str) -> String {
    let number = |word: &str| {
        word.split_once(':').is_some_and(|(major, minor)| {
            [major, minor].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    let words = line.split(' ').map(|word| if number(word) { "DEVICE" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Every file below `dir` with its size and mode.
pub(crate) fn files(dir: &Path, when: &str, lines: &mut Vec<String>) -> Result<(), Failed> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // The process that creates the store leaves this file, so the file may be there or not after a reboot.
        if path.ends_with("store.lock") {
            continue;
        }
        let found = fs::symlink_metadata(&path)?;
        lines.push(format!(
            "{when}: file {} {:o} {}",
            path.display(),
            found.mode(),
            size(&path, found.len())
        ));
        if found.is_dir() {
            files(&path, when, lines)?;
        }
    }
    Ok(())
}

/// A file's size. For a file of the store only whether it is empty: the number of its pages depends on SQLite.
fn size(path: &Path, bytes: u64) -> String {
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if name.starts_with("store.db") => "the store's".to_owned(),
        _ if path.is_dir() => "directory".to_owned(),
        _ => bytes.to_string(),
    }
}
