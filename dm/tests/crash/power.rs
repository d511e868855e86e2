//! A power cut at every step. Each boot proves that what the last cut left can be recovered, and cuts at the next step.
//!
//! Files that must survive the cut but are no part of the test are in the directory of the host that the lab shares. That is
//! the working directory of this process: `part` ("0/2": the first of two sequences), `steps`, `expected`, `at`, `failures`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::crash::census::Census;
use crate::crash::site::{Failed, Site, say};
use crate::crash::story::{Step, after_reboot, held_at};
use crate::crash::{note, recovered, untroubled};

/// The file that makes `hack/lab run` kill the guest.
const CUT: &str = "/lab/power-cut";

/// Writes a file on the host and waits until the host has its content, because the guest caches these files, too.
pub(crate) fn tell_host(file: &str, text: &str) -> Result<(), Failed> {
    let mut file = File::create(file)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

pub(crate) fn told(file: &str) -> Result<String, Failed> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}").into())
}

/// Cuts the power. Does not return.
pub(crate) fn cut() -> ! {
    File::create(CUT).expect("the lab runs this with --disks");
    std::thread::sleep(Duration::from_secs(60));
    panic!("the power was not cut; boot this with `hack/lab run --disks`");
}

/// One boot of a sequence.
pub(crate) fn boot(disk: &Path) -> Result<Vec<String>, Failed> {
    let site = Site::new("power", disk);
    let (part, parts) = told("part")?
        .trim()
        .split_once('/')
        .and_then(|(part, parts)| Some((part.parse::<usize>().ok()?, parts.parse::<usize>().ok()?)))
        .ok_or("part is not like 0/2")?;
    if !Path::new("at").exists() {
        let (steps, expected) = untroubled(&site)?;
        tell_host("steps", &steps.iter().map(Step::line).collect::<Vec<_>>().join("\n"))?;
        tell_host("expected", &expected.0.join("\n"))?;
        tell_host("failures", "")?;
        return next(&site, &steps, part);
    }
    let steps = told("steps")?.lines().map(Step::parse).collect::<Result<Vec<_>, _>>()?;
    let expected = Census(told("expected")?.lines().map(str::to_owned).collect());
    let mut failures: Vec<_> = told("failures")?.lines().map(str::to_owned).collect();
    let at = told("at")?;
    let (number, operation) = at.trim().split_once(' ').ok_or("at is not like 3 1")?;
    let (number, operation) = (number.parse::<usize>()?, operation.parse()?);

    let step = steps.get(number).ok_or("no such step")?;
    let differences = recovered(&site, after_reboot(operation), &expected);
    note(&mut failures, &format!("power cut at {step}"), &differences);
    tell_host("failures", &failures.join("\n"))?;
    next(&site, &steps, number + parts)
}

/// Runs to the step `number` and cuts the power. If there is no such step, returns what failed.
fn next(site: &Site, steps: &[Step], number: usize) -> Result<Vec<String>, Failed> {
    site.clear()?;
    let Some(step) = steps.get(number) else {
        return Ok(told("failures")?.lines().map(str::to_owned).collect());
    };
    // Synced, so that the cut loses writes of the story and not those of the clean-up before.
    nix::unistd::sync();
    let (_held, operation) = held_at(site, step)?;
    tell_host("at", &format!("{number} {operation}"))?;
    say(&format!("cutting the power at {step}"));
    cut()
}
