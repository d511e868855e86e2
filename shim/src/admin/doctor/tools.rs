//! The programs of other packages that sharedroot runs. They are searched in fixed directories, never in the caller's
//! PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sharedroot_image::PLACES;

use super::check::Check;
use super::host::{Host, install, program};

/// The directories also of the programs that check and read a pool: dm/src/tools.rs uses the same.
const THIN: [&str; 3] = ["thin_check", "thin_ls", "thin_repair"];
/// The oldest version with `-E no_copy_xattrs,num_backup_sb` and with what image/ext4.rs relies on.
const OLDEST: (u32, u32) = (1, 47);
/// The directories in which `top` searches fincore.
const FINCORE: [&str; 2] = ["/usr/bin", "/bin"];

/// Checks the programs.
pub fn look(_: &Host) -> Vec<Check> {
    let missing = |names: &[&'static str]| -> Vec<&'static str> {
        names.iter().copied().filter(|name| program(name, &PLACES).is_none()).collect()
    };
    let version = program("mke2fs", &PLACES).map(|mke2fs| said_version(&mke2fs));
    vec![
        e2fsprogs(
            &missing(&["mke2fs", "debugfs", "resize2fs"]),
            version.unwrap_or_default().as_deref(),
        ),
        thin_tools(&missing(&THIN)),
        fincore(program("fincore", &FINCORE).map(|fincore| counts(&fincore))),
    ]
}

/// The first line that the program prints about its version; mke2fs prints to standard error.
fn said_version(mke2fs: &PathBuf) -> Option<String> {
    let said = Command::new(mke2fs).arg("-V").env_clear().stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&said.stderr).lines().next()?.to_owned())
}

/// Whether fincore can do what `top` needs, tried with fincore's own file.
fn counts(fincore: &Path) -> bool {
    let mut command = Command::new(fincore);
    command.args(["--bytes", "--noheadings", "--output", "RES,EVICTED_PAGES", "--"]).arg(fincore);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn e2fsprogs(missing: &[&str], version: Option<&str>) -> Check {
    const NAME: &str = "e2fsprogs";
    let (major, minor) = OLDEST;
    let remedy = || install(NAME, NAME);
    if !missing.is_empty() {
        let found = format!("{} missing: no base can be made", missing.join(" and "));
        return Check::problem(NAME, found, remedy());
    }
    let said = version.unwrap_or("nothing");
    match parsed(said) {
        Some(found) if found >= OLDEST => Check::ok(NAME, said),
        Some(_) => Check::problem(
            NAME,
            format!("{said}, older than {major}.{minor}: no base can be made"),
            remedy(),
        ),
        None => Check::problem(NAME, format!("mke2fs -V says {said}"), remedy()),
    }
}

/// `mke2fs 1.47.2 (1-Jan-2025)`
fn parsed(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("mke2fs ")?.split(['.', '-', ' ']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn thin_tools(missing: &[&str]) -> Check {
    const NAME: &str = "thin-tools";
    if missing.is_empty() {
        return Check::ok(NAME, THIN.join(", "));
    }
    let found = format!(
        "{} missing: a pool that was not deactivated is refused, and `gc` cannot look into one",
        missing.join(", ")
    );
    let remedy = install("thin-provisioning-tools", "device-mapper-persistent-data");
    Check::problem(NAME, found, remedy)
}

/// `None` if there is no fincore; else whether it can count.
fn fincore(counts: Option<bool>) -> Check {
    const NAME: &str = "fincore";
    let remedy = || install("util-linux-extra", "util-linux");
    match counts {
        Some(true) => Check::ok(NAME, "there, for `sharedroot top`"),
        Some(false) => Check::warning(
            NAME,
            "too old for `sharedroot top`, which does not show what is in memory then: it takes \
             util-linux 2.40 and Linux 6.5",
            "upgrade util-linux to 2.40 or newer, and Linux to 6.5 or newer",
        ),
        None => Check::warning(
            NAME,
            "missing: `sharedroot top` does not show what is in memory",
            remedy(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Severity::{Ok as Good, Problem, Warning};
    use super::*;

    #[test]
    fn a_base_takes_e2fsprogs_of_1_47() {
        for (said, severity) in [
            ("mke2fs 1.47.0 (5-Feb-2023)", Good),
            ("mke2fs 1.47.2 (1-Jan-2025)", Good),
            ("mke2fs 1.50-WIP (1-Jan-2027)", Good),
            ("mke2fs 2.0", Good),
            ("mke2fs 1.46.5 (30-Dec-2021)", Problem),
            ("mke2fs one", Problem),
            ("mkfs.ext4 from busybox", Problem),
        ] {
            assert_eq!(e2fsprogs(&[], Some(said)).severity, severity, "{said}");
        }
        assert_eq!(e2fsprogs(&[], None).severity, Problem);
        let line = e2fsprogs(&["debugfs"], Some("mke2fs 1.47.0")).plain_line();
        assert!(line.contains("debugfs missing") && line.contains("install e2fsprogs"), "{line}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert_eq!(thin_tools(&[]).severity, Good);
        let line = thin_tools(&["thin_check"]).plain_line();
        assert!(line.starts_with("problem") && line.contains("thin_check missing"), "{line}");
        for (counts, severity) in [(Some(true), Good), (Some(false), Warning), (None, Warning)] {
            assert_eq!(fincore(counts).severity, severity, "{counts:?}");
        }
    }
}
