//! Whether the loaded policy has sharedroot's rules, and whether sharedroot's files and the mounted bases have their
//! labels.

use std::fs;
use std::path::{Path, PathBuf};

use sharedroot_bases::{Mislabelled, RootfsError};
use sharedroot_label::{self as label, MountLabel};
use sharedroot_sys::chain::chain;

use super::check::Check;
use super::host::{Host, install};

/// The types of sharedroot's policy module (docs/selinux.md).
const STATE: &str = "sharedroot_state_t";
const RUNTIME: &str = "sharedroot_runtime_t";
const PROGRAM: &str = "sharedroot_exec_t";
/// The paths in the module's file contexts.
const PROGRAMS: [&str; 2] = ["/usr/local/bin/sharedroot", "/usr/bin/sharedroot"];
const STATE_DIR: &str = "/var/lib/sharedroot";
const RUN_DIR: &str = "/run/sharedroot";

/// Checks SELinux.
pub fn look(host: &Host) -> Vec<Check> {
    if !label::enabled() {
        return vec![Check::ok("selinux", "off")];
    }
    let enforces = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text == "1");
    let mode = if enforces { "enforcing" } else { "permissive: denials are recorded only" };
    let module = MountLabel::parse(&format!("system_u:object_r:{STATE}:s0"));
    let is_loaded = module.is_ok_and(|label| label.known().is_ok());
    let mut checks = vec![Check::ok("selinux", mode), policy_module(is_loaded, enforces)];
    if is_loaded {
        checks.push(labels(&files(host), enforces));
    }
    let bases = &host.bases;
    let shared = bases.labels().shared().map(|label| label.map(|label| label.to_string()));
    let is_usable = shared.is_ok();
    checks.push(shared_label(shared.map(Option::unwrap_or_default), host));
    if is_usable {
        checks.push(match bases.labels().mislabelled() {
            Ok(bases) => base_labels(&bases),
            Err(error) => Check::warning("base-labels", chain(&error), "sharedroot status"),
        });
    }
    checks
}

/// A file of sharedroot's.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// The type that its label should have.
    wanted: &'static str,
    /// Its label, or the reason why the label is unknown.
    found: Result<String, String>,
}

impl File {
    fn fits(&self) -> bool {
        self.found.as_ref().is_ok_and(|label| label.split(':').nth(2) == Some(self.wanted))
    }

    /// The `restorecon` command; for a path that the module does not contain, with the command that adds the path.
    fn remedy(&self) -> String {
        let path = self.path.display();
        let known =
            PROGRAMS.iter().chain(&[STATE_DIR, RUN_DIR]).any(|known| self.path == Path::new(known));
        let tell = match known {
            true => String::new(),
            false => format!("semanage fcontext -a -t {} '{path}(/.*)?' && ", self.wanted),
        };
        format!("{tell}restorecon -RF {path}")
    }
}

fn files(host: &Host) -> Vec<File> {
    let pool = &host.bases.config().pool;
    let mut all = vec![(pool.state_dir.clone(), STATE), (pool.run_dir.clone(), RUNTIME)];
    all.extend(PROGRAMS.map(|path| (path.into(), PROGRAM)));
    all.retain(|(path, _)| path.exists());
    let label =
        |path: &Path| MountLabel::of_file(path).map(|l| l.to_string()).map_err(|e| chain(&e));
    all.into_iter().map(|(path, wanted)| File { found: label(&path), path, wanted }).collect()
}

/// A problem if SELinux enforces, else a warning.
fn bad(name: &'static str, enforces: bool, found: String, remedy: String) -> Check {
    let judged = if enforces { Check::problem } else { Check::warning };
    judged(name, found, remedy)
}

fn policy_module(is_loaded: bool, enforces: bool) -> Check {
    const NAME: &str = "policy-module";
    if is_loaded {
        return Check::ok(NAME, "loaded");
    }
    let found = format!("the loaded policy does not know {STATE}: our module is not in it");
    let remedy = "make -C selinux-policy install (in sharedroot's sources)";
    bad(NAME, enforces, found, remedy.to_owned())
}

fn labels(files: &[File], enforces: bool) -> Check {
    const NAME: &str = "labels";
    let wrong: Vec<_> = files.iter().filter(|file| !file.fits()).collect();
    if wrong.is_empty() {
        return Check::ok(NAME, format!("as the policy has them, of {} paths", files.len()));
    }
    let found = |file: &&File| {
        let (Ok(label) | Err(label)) = &file.found;
        format!("{}: {label}, not {}", file.path.display(), file.wanted)
    };
    let remedies: Vec<_> = wrong.iter().map(|file| file.remedy()).collect();
    let found: Vec<_> = wrong.iter().map(found).collect();
    bad(NAME, enforces, found.join("; "), remedies.join(" && "))
}

fn shared_label(label: Result<String, RootfsError>, host: &Host) -> Check {
    const NAME: &str = "shared-label";
    match label {
        Ok(label) => Check::ok(NAME, label),
        Err(error @ RootfsError::SharedLabel(_)) => {
            let remedy = format!("remove shared_label from {}", host.config_file.display());
            Check::problem(NAME, chain(&error), remedy)
        }
        Err(error) => Check::warning(
            NAME,
            chain(&error),
            install("selinux-policy-default", "container-selinux"),
        ),
    }
}

fn base_labels(bases: &[Mislabelled]) -> Check {
    const NAME: &str = "base-labels";
    if bases.is_empty() {
        return Check::ok(NAME, "every mounted base has the shared label");
    }
    let found =
        bases.iter().map(|base| format!("the base {} still has {}", base.key.short(), base.label));
    let found = found.collect::<Vec<_>>().join("; ");
    let used = bases.iter().any(|base| base.used);
    let first = if used { "stop the containers of these bases, then: " } else { "" };
    Check::warning(NAME, found, format!("{first}sharedroot gc"))
}

#[cfg(test)]
mod tests {
    use super::super::check::Severity::{Ok as Good, Problem, Warning};
    use super::*;

    fn file(path: &str, wanted: &'static str, found: &str) -> File {
        File { path: path.into(), wanted, found: Ok(found.to_owned()) }
    }

    #[test]
    fn what_would_be_denied_is_a_problem_where_selinux_enforces() {
        for (is_loaded, enforces, severity) in [
            (true, true, Good),
            (true, false, Good),
            (false, true, Problem),
            (false, false, Warning),
        ] {
            assert_eq!(policy_module(is_loaded, enforces).severity, severity);
        }
        let right = file(STATE_DIR, STATE, "system_u:object_r:sharedroot_state_t:s0");
        let wrong = file(STATE_DIR, STATE, "system_u:object_r:var_lib_t:s0");
        let other = file("/srv/pool", STATE, "system_u:object_r:var_t:s0");
        assert_eq!(labels(&[right], true).severity, Good);
        let line = labels(&[wrong, other], true).plain_line();
        assert!(
            line.starts_with("problem") && line.contains("var_lib_t:s0, not sharedroot_state_t"),
            "{line}"
        );
        let remedy = "remedy: restorecon -RF /var/lib/sharedroot && \
                      semanage fcontext -a -t sharedroot_state_t '/srv/pool(/.*)?' && restorecon -RF /srv/pool";
        assert!(line.ends_with(remedy), "{line}");
    }

    #[test]
    fn a_base_in_use_keeps_its_label_until_then() {
        let base = |used| Mislabelled {
            key: crate::testing::key(),
            label: MountLabel::parse("u:r:old_t:s0").unwrap(),
            used,
        };
        assert_eq!(base_labels(&[]).severity, Good);
        assert!(base_labels(&[base(false)]).plain_line().ends_with("remedy: sharedroot gc"));
        let line = base_labels(&[base(false), base(true)]).plain_line();
        assert!(line.starts_with("warning") && line.contains("stop the containers"), "{line}");
    }
}
