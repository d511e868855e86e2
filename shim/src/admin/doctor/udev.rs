//! If udevd runs, whether it leaves the devices of containers alone.

use std::fs;
use std::path::Path;

use super::check::Check;
use super::host::{Host, install};

/// The directories of rules (udev(7)). The first is the administrator's.
const RULES: [&str; 4] =
    ["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"];
/// The socket of udevd.
const CONTROL: &str = "/run/udev/control";
/// The name of the rule's file, after its number.
const OURS: &str = "dm-sharedroot.rules";
/// A rule of the package that contains dmsetup. Without this rule every wait for udevd would last for ever.
const NOTIFY: &str = "95-dm-notify.rules";
/// The file of device-mapper's rules in Debian; other distributions have them in 10-dm.rules.
const DEBIAN: &str = "55-dm.rules";

/// Checks udev.
pub fn look(_: &Host) -> Vec<Check> {
    let names = |dir: &&str| fs::read_dir(dir).ok();
    let files = RULES.iter().filter_map(names).flatten().flatten().map(|entry| entry.file_name());
    let rules: Vec<String> = files.filter_map(|name| name.into_string().ok()).collect();
    vec![judged(Path::new(CONTROL).exists(), &rules)]
}

fn judged(runs: bool, rules: &[String]) -> Check {
    const NAME: &str = "udev";
    let has = |name: &str| rules.iter().any(|rule| rule == name);
    if !runs {
        return Check::ok(NAME, "udevd does not run: no rule is needed");
    }
    if !has(NOTIFY) {
        let found = format!("udevd runs without {NOTIFY}: no volume can be activated");
        return Check::problem(NAME, found, install("dmsetup", "device-mapper"));
    }
    if let Some(rule) = rules.iter().find(|rule| rule.ends_with(OURS)) {
        return Check::ok(NAME, rule);
    }
    let number = if has(DEBIAN) { 56 } else { 11 };
    Check::warning(
        NAME,
        "no rule for the devices of containers: every new one is scanned, and may be mounted by a desktop",
        format!(
            "install -m 644 dm/{OURS} /etc/udev/rules.d/{number}-{OURS} && \
             udevadm control --reload (in sharedroot's sources)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::check::Severity::{Ok as Good, Problem, Warning};
    use super::*;

    #[test]
    fn a_rule_is_needed_where_udevd_runs() {
        let rules =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let debian = rules(&["55-dm.rules", "95-dm-notify.rules"]);
        let fedora = rules(&["10-dm.rules", "95-dm-notify.rules"]);
        let ours = rules(&["95-dm-notify.rules", "56-dm-sharedroot.rules"]);
        for (runs, rules, severity) in [
            (false, &rules(&[]), Good),
            (true, &rules(&[]), Problem),
            (true, &debian, Warning),
            (true, &fedora, Warning),
            (true, &ours, Good),
        ] {
            assert_eq!(judged(runs, rules).severity, severity, "{runs} {rules:?}");
        }
        assert!(judged(true, &debian).plain_line().contains("rules.d/56-dm-sharedroot.rules"));
        assert!(judged(true, &fedora).plain_line().contains("rules.d/11-dm-sharedroot.rules"));
    }
}
