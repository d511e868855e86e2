//! What the policy denies.
//!
//! A test that provokes denials calls [`denials`] or [`only_selinux_denies`] for that. Both read the kernel's records of the
//! denials and clear the kernel log. So every denial that is in the log at the end of a guest is unexpected.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::str::FromStr;

use super::{Context, ENFORCE, enforcing};
use crate::command::{Output, out, run, unique_name};
use crate::lab::{TempDir, wait_for};

/// SELinux in permissive mode, which records denials and allows the access, until this value is dropped.
#[derive(Debug)]
struct Permissive(());

impl Permissive {
    /// `setenforce 0`
    #[track_caller]
    fn begin() -> Self {
        enforcing();
        fs::write(ENFORCE, "0").unwrap_or_else(|e| panic!("write {ENFORCE}: {e}"));
        Self(())
    }
}

impl Drop for Permissive {
    fn drop(&mut self) {
        // If this fails, the tests after this one would prove nothing. `enforcing` makes them fail.
        if let Err(error) = fs::write(ENFORCE, "1") {
            eprintln!("write {ENFORCE}: {error}");
        }
    }
}

/// One record of the access vector cache: what the policy did not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Avc {
    /// The label of the process.
    pub source: Context,
    /// The label of the object.
    pub target: Context,
    /// The class of the object.
    pub class: String,
    /// The permissions that were denied.
    pub permissions: Vec<String>,
    /// The access was allowed, because SELinux was permissive.
    pub permissive: bool,
    /// The name of the process.
    pub command: Option<String>,
    /// The path of the object, or only its name, if the kernel knew it.
    pub object: Option<String>,
}

impl FromStr for Avc {
    type Err = String;

    /// Parses a line of the kernel log (security/selinux/avc.c, `avc_audit_pre_callback` and `avc_audit_post_callback`). No
    /// value contains a blank, because the kernel writes such a text in hexadecimal digits.
    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("no {what} in the record: {line}");
        let (_, record) = line.split_once("avc:  denied  { ").ok_or_else(|| wrong("denial"))?;
        let (permissions, rest) = record.split_once(" } for ").ok_or_else(|| wrong("}"))?;
        let value = |key: &str| {
            let mut pairs = rest.split_whitespace().filter_map(|word| word.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value.trim_matches('"'))
        };
        let wanted = |key: &str| value(key).ok_or_else(|| wrong(key));
        Ok(Self {
            source: wanted("scontext")?.parse()?,
            target: wanted("tcontext")?.parse()?,
            class: wanted("tclass")?.to_owned(),
            permissions: permissions.split(' ').map(str::to_owned).collect(),
            permissive: wanted("permissive")? == "1",
            command: value("comm").map(str::to_owned),
            object: value("path").or_else(|| value("name")).map(str::to_owned),
        })
    }
}

/// A denial that a test expects.
#[derive(Debug, Clone, Copy)]
pub struct Denial<'a> {
    /// The label of the process.
    pub source: &'a Context,
    /// The label of the object.
    pub target: &'a Context,
    /// The class of the object.
    pub class: &'a str,
    /// The permission that is denied.
    pub permission: &'a str,
}

impl Denial<'_> {
    fn is_of(&self, avc: &Avc) -> bool {
        let Self { source, target, class, permission } = *self;
        (&avc.source, &avc.target, &*avc.class) == (source, target, class)
            && avc.permissions.iter().any(|found| found == permission)
    }
}

/// Proves that SELinux, and nothing else, prevents `attack`. With SELinux enforcing the attack fails, and the denials are
/// exactly `wanted`. With SELinux permissive the attack succeeds.
///
/// # Panics
/// If the result is different; the message has the difference.
#[track_caller]
pub fn only_selinux_denies(wanted: Denial<'_>, attack: impl Fn() -> Output) {
    enforcing();
    let (output, found) = denials(&attack);
    assert_ne!(output.status, 0, "{wanted:?} was not denied: {output}");
    let exact = !found.is_empty() && found.iter().all(|avc| wanted.is_of(avc) && !avc.permissive);
    assert!(exact, "to be denied: {wanted:#?}\ndenied: {found:#?}\n{output}");
    let output = permissive(attack);
    assert_eq!(output.status, 0, "not only SELinux denies {wanted:?}: {output}");
}

/// Runs `act` with SELinux permissive, and returns its result. The records of denials are not returned, because they are not
/// complete: if the kernel first makes a check without a record, such as that of a capability when it counts memory, the later
/// check of the same permission has no record either.
#[track_caller]
pub fn permissive<T>(act: impl FnOnce() -> T) -> T {
    let both = || {
        let _permissive = Permissive::begin();
        act()
    };
    denials(both).0
}

/// What the policy denied on the whole machine while `act` ran. Clears the kernel log.
///
/// # Panics
/// If something was denied before, because that record would be lost.
#[track_caller]
pub fn denials<T>(act: impl FnOnce() -> T) -> (T, Vec<Avc>) {
    let before = Log::now().0;
    assert!(before.is_empty(), "denied before this: {before:#?}");
    let _cleared = Cleared;
    let done = act();
    (done, Log::settled().0)
}

/// Dropping this value clears the kernel log, also in a panic, because the test has failed then.
struct Cleared;

impl Drop for Cleared {
    fn drop(&mut self) {
        run(&["dmesg", "--clear"]);
    }
}

/// The records in the kernel log.
struct Log(Vec<Avc>);

impl Log {
    fn now() -> Self {
        let text = out(&["dmesg"]);
        let records = text.lines().filter(|line| line.contains("avc:  denied"));
        Self(records.map(|line| line.parse().unwrap_or_else(|e| panic!("{e}"))).collect())
    }

    /// All denials until now. A kernel thread writes the records later, in their order. So this function provokes a denial, an
    /// execve that a container's domain must not do, and waits for its record.
    #[track_caller]
    fn settled() -> Self {
        let dir = TempDir::new("fence");
        let fence = format!("{}/{}", dir.str(), unique_name("fence"));
        fs::write(&fence, "#!/bin/false\n").expect("write a file");
        fs::set_permissions(&fence, fs::Permissions::from_mode(0o755)).expect("chmod a file");
        let is_it = |avc: &Avc| avc.object.as_deref() == Some(&*fence);
        run(&["runcon", "system_u:system_r:container_t:s0", &fence]);
        let mut log = wait_for("the record of our own denial", || {
            let log = Self::now();
            log.0.iter().any(is_it).then_some(log)
        });
        log.0.retain(|avc| !is_it(avc));
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "[   20.104938] audit: type=1400 audit(1763765432.120:27): avc:  denied  { read open } for  \
        pid=611 comm=\"cat\" path=\"/etc/passwd\" dev=\"dm-4\" ino=77 scontext=system_u:system_r:container_t:s0:c1,c2 \
        tcontext=system_u:object_r:container_file_t:s0:c3,c4 tclass=file permissive=0";

    #[test]
    fn a_record_is_read_by_its_fields() {
        let avc: Avc = LINE.parse().unwrap();
        assert_eq!(avc.permissions, ["read", "open"]);
        assert_eq!(avc.source.to_string(), "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!((avc.target.kind(), avc.target.level()), ("container_file_t", "s0:c3,c4"));
        assert_eq!((&*avc.class, avc.permissive), ("file", false));
        let (command, object) = (avc.command.as_deref(), avc.object.as_deref());
        assert_eq!((command, object), (Some("cat"), Some("/etc/passwd")));
        let named = LINE.replace("path=\"/etc/passwd\"", "name=\"passwd\"").replace("ve=0", "ve=1");
        let avc: Avc = named.parse().unwrap();
        assert_eq!((avc.object.as_deref(), avc.permissive), (Some("passwd"), true));
    }

    #[test]
    fn no_record_is_half_read() {
        for lost in ["avc:  denied", " } for", "scontext=", "tcontext=", "tclass=", "permissive="] {
            assert!(LINE.replace(lost, "lost").parse::<Avc>().is_err(), "{lost}");
        }
        assert!("a:b:c".parse::<Context>().is_err() && "a:b::s0".parse::<Context>().is_err());
    }

    #[test]
    fn a_denial_is_compared_in_all_its_parts() {
        let avc: Avc = LINE.parse().unwrap();
        let (source, target) = (avc.source.clone(), avc.target.clone());
        let same = Denial { source: &source, target: &target, class: "file", permission: "open" };
        assert!(same.is_of(&avc));
        for other in [
            Denial { source: &target, ..same },
            Denial { target: &source, ..same },
            Denial { class: "dir", ..same },
            Denial { permission: "write", ..same },
        ] {
            assert!(!other.is_of(&avc), "{other:?}");
        }
    }
}
