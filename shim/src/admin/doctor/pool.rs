//! The pool's health, and how full the pool is. An inactive pool stays inactive.

use std::fs;

use sharedroot_bases::RootfsError;
use sharedroot_dm::{Backing, Blocks, Bytes, Pool, PoolMode, PoolName, PoolStatus};
use sharedroot_sys::chain::chain;

use super::check::Check;
use super::host::Host;

/// In percent. Above the second value, new snapshots and bases are refused; see docs/operation.md, "A full pool".
const NEARLY_FULL: u8 = 80;
const FULL: u8 = 90;

/// The store's file. It is only opened if the run directory exists, because opening would make that directory.
const STORE: &str = "store.db";

/// What is known of the configured pool.
pub enum Known<'h> {
    /// There is no pool.
    NotMade,
    /// There may be a pool, but no command has used it since the host started.
    NotUsed,
    /// The pool is not active in the kernel.
    Inactive,
    /// The pool is active in the kernel.
    Active(&'h Pool),
}

/// Asks the store and the kernel.
///
/// # Errors
/// The error, in words.
pub fn known(host: &Host) -> Result<Known<'_>, String> {
    let config = &host.bases.config().pool;
    if !config.run_dir.exists() {
        let made = config.state_dir.join(STORE).exists();
        return Ok(if made { Known::NotUsed } else { Known::NotMade });
    }
    let words = |error| chain(&RootfsError::from(error));
    match host.bases.known_pool_if_made().map_err(|error| chain(&error))? {
        None => Ok(Known::NotMade),
        Some(pool) if pool.is_active().map_err(words)? => Ok(Known::Active(pool)),
        Some(_) => Ok(Known::Inactive),
    }
}

/// Checks the pool.
pub fn look(host: &Host) -> Vec<Check> {
    let config = &host.bases.config().pool;
    let name = &config.name;
    let well = |found: &str| vec![Check::ok("pool", format!("{name}: {found}"))];
    let status = match known(host) {
        Ok(Known::NotMade) => {
            return vec![not_made(&config.backing, name, is_empty(host))];
        }
        Ok(Known::NotUsed) => return well("not used since the host started"),
        Ok(Known::Inactive) => return well("inactive; its first use activates it"),
        Ok(Known::Active(pool)) => pool.status().map_err(|error| chain(&RootfsError::from(error))),
        Err(why) => Err(why),
    };
    match status {
        Ok(status) => judged(&status, &config.backing),
        Err(why) => {
            vec![Check::problem(
                "pool",
                why,
                "correct what the message names, then: sharedroot pool status",
            )]
        }
    }
}

/// `lost+found` does not count: a state directory that is a file system of its own has one.
fn is_empty(host: &Host) -> bool {
    let entries = fs::read_dir(host.bases.state_dir()).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "data")).count() == 0
}

fn not_made(backing: &Backing, name: &PoolName, is_empty: bool) -> Check {
    const NAME: &str = "pool";
    match backing {
        _ if !is_empty => Check::problem(
            NAME,
            format!("{name}: its file is in the state directory, and the store does not know it"),
            "restore store.db, or move the file away",
        ),
        Backing::Loop { .. } => Check::ok(
            NAME,
            format!("{name}: not made yet; the first container makes it on loop files"),
        ),
        Backing::Devices { .. } | Backing::Lvm(_) => Check::problem(
            NAME,
            format!("{name}: not made yet, and no container makes one on devices"),
            "sharedroot pool create",
        ),
    }
}

/// The checks of an active pool.
fn judged(status: &PoolStatus, backing: &Backing) -> Vec<Check> {
    let mut checks = vec![health(status, backing)];
    for (name, blocks, block) in [
        ("pool-data", status.data, status.block),
        ("pool-metadata", status.metadata, status.metadata_block),
    ] {
        checks
            .extend(blocks.map(|blocks| fill(name, blocks, block, &growth(name, status, backing))));
    }
    checks
}

fn health(status: &PoolStatus, backing: &Backing) -> Check {
    const NAME: &str = "pool";
    const AGAIN: &str =
        "stop the containers, then: sharedroot pool deactivate && sharedroot pool activate";
    let (name, mode) = (&status.name, status.mode);
    match mode {
        PoolMode::OutOfDataSpace => {
            let found = format!("{name}: no room for data is left, writes fail");
            Check::problem(NAME, found, growth("pool-data", status, backing))
        }
        PoolMode::ReadOnly | PoolMode::Fail => {
            let found = format!("{name}: its mode is {mode}, the kernel met an error (see dmesg)");
            Check::problem(NAME, found, AGAIN)
        }
        PoolMode::ReadWrite if status.needs_check => {
            Check::problem(NAME, format!("{name}: its metadata needs a check"), AGAIN)
        }
        PoolMode::ReadWrite => {
            Check::ok(NAME, format!("{name}: active, with volumes: {}", status.volumes))
        }
    }
}

fn fill(name: &'static str, blocks: Blocks, block: Bytes, remedy: &str) -> Check {
    let [used, total] = [blocks.used, blocks.total].map(|n| Bytes(n * block.0));
    let percent = blocks.percent();
    let found = format!("{used} of {total} ({percent} %)");
    match percent {
        FULL.. => {
            let found = format!("{found}: new snapshots and bases are refused above {FULL} %");
            Check::problem(name, found, remedy)
        }
        NEARLY_FULL.. => Check::warning(name, found, remedy),
        _ => Check::ok(name, found),
    }
}

/// The command that makes the pool's data or metadata larger.
fn growth(name: &str, status: &PoolStatus, backing: &Backing) -> String {
    let of_data = name == "pool-data";
    let device = if of_data { &status.data_path } else { &status.metadata_path };
    match backing {
        _ if status.on_loop && of_data => "sharedroot pool grow".to_owned(),
        _ if status.on_loop => {
            let now = status.metadata.map_or(0, |blocks| blocks.total * status.metadata_block.0);
            format!("sharedroot pool grow --metadata {}M", (now >> 20).max(1) * 2)
        }
        Backing::Lvm(lv) if of_data => format!("lvextend --size +10G {lv}"),
        Backing::Lvm(lv) => format!("lvextend --poolmetadatasize +1G {lv}"),
        _ => format!("enlarge {}, then: sharedroot pool grow", device.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Severity::{Ok as Good, Problem, Warning};
    use super::*;

    fn status(mode: PoolMode, needs_check: bool, percent: [u64; 2]) -> PoolStatus {
        let blocks = percent.map(|used| Some(Blocks { used: used * 100, total: 10_000 }));
        PoolStatus {
            name: "default".parse().unwrap(),
            mode,
            needs_check,
            data: blocks[0],
            metadata: blocks[1],
            block: Bytes::kib(64),
            metadata_block: Bytes::kib(4),
            transaction_id: Some(1),
            volumes: 2,
            data_path: "/dev/data".into(),
            metadata_path: "/dev/metadata".into(),
            on_loop: true,
        }
    }

    #[test]
    fn a_pool_is_judged_by_its_mode_and_fill() {
        use PoolMode::{Fail, OutOfDataSpace, ReadOnly, ReadWrite};
        for (mode, needs_check, percent, severities) in [
            (ReadWrite, false, [0, 1], [Good, Good, Good]),
            (ReadWrite, false, [79, 79], [Good, Good, Good]),
            (ReadWrite, false, [80, 89], [Good, Warning, Warning]),
            (ReadWrite, false, [90, 100], [Good, Problem, Problem]),
            (ReadWrite, true, [0, 0], [Problem, Good, Good]),
            (ReadOnly, false, [0, 0], [Problem, Good, Good]),
            (OutOfDataSpace, false, [100, 0], [Problem, Problem, Good]),
        ] {
            let checks = judged(&status(mode, needs_check, percent), &Backing::default_loop());
            let found: Vec<_> = checks.iter().map(|check| check.severity).collect();
            assert_eq!(found, severities, "{mode} {needs_check} {percent:?}");
        }
        let broken = PoolStatus { data: None, metadata: None, ..status(Fail, true, [0, 0]) };
        let checks = judged(&broken, &Backing::default_loop());
        assert!(checks.len() == 1 && checks[0].severity == Problem, "{checks:?}");
    }

    #[test]
    fn the_remedy_is_that_of_the_kind_of_pool() {
        let on_loop = status(PoolMode::ReadWrite, false, [95, 95]);
        let other = PoolStatus { on_loop: false, ..on_loop.clone() };
        let lvm = Backing::Lvm("vg/lv".parse().unwrap());
        let devices =
            Backing::Devices { data: "/dev/data".into(), metadata: "/dev/metadata".into() };
        for (name, status, backing, remedy) in [
            ("pool-data", &on_loop, &Backing::default_loop(), "sharedroot pool grow"),
            ("pool-metadata", &on_loop, &lvm, "sharedroot pool grow --metadata 78M"),
            ("pool-data", &other, &lvm, "lvextend --size +10G vg/lv"),
            ("pool-metadata", &other, &lvm, "lvextend --poolmetadatasize +1G vg/lv"),
            ("pool-data", &other, &devices, "enlarge /dev/data, then: sharedroot pool grow"),
            (
                "pool-metadata",
                &other,
                &devices,
                "enlarge /dev/metadata, then: sharedroot pool grow",
            ),
        ] {
            assert_eq!(growth(name, status, backing), remedy);
        }
    }

    #[test]
    fn only_loop_files_are_made_by_a_container() {
        let lvm = Backing::Lvm("vg/lv".parse().unwrap());
        let name = "p".parse().unwrap();
        assert_eq!(not_made(&Backing::default_loop(), &name, true).severity, Good);
        assert_eq!(not_made(&Backing::default_loop(), &name, false).severity, Problem);
        assert!(
            not_made(&lvm, &name, true).plain_line().ends_with("remedy: sharedroot pool create")
        );
    }
}
