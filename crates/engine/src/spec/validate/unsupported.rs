//! Refuses by field what the embedded engine would leave out silently. If an error of the engine's own would not name a
//! field, the check is made here before the engine runs.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Mount, Spec};
use sharedroot_sys::mount::Submounts;

use crate::mounts::{dev, propagation, tmpfs};
use crate::spec::error::SpecError;

/// Options of a file system's superblock, which the engine treats as a mount's and drops.
const OF_THE_SUPERBLOCK: [&str; 3] = ["sync", "dirsync", "mand"];

/// Refuses what the engine cannot honour.
///
/// # Errors
/// [`SpecError`] naming the field and the remedy.
pub fn check(spec: &Spec) -> Result<(), SpecError> {
    let linux = spec.linux().as_ref();
    let flags = linux.and_then(|linux| linux.personality().as_ref()?.flags().as_ref());
    if let Some(flag) = flags.and_then(|flags| flags.first()) {
        return Err(refusal(
            "linux.personality.flags",
            format!("{flag:?}"),
            "leave the flags out; no runtime knows any",
        ));
    }
    let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
    let mapped =
        namespaces.is_some_and(|all| all.iter().any(|one| one.typ() == LinuxNamespaceType::User));
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        check_mount(index, mount, mapped)?;
    }
    Ok(())
}

/// Refuses what cannot be honoured with a volume at `/dev`, also if a symbolic link of the image led the volume there.
/// A mount in a shared volume propagates to the host, also if it is removed later. A path that is masked there would be
/// masked in the engine's cover.
///
/// # Errors
/// [`SpecError`] naming the field and the remedy.
pub fn check_dev(spec: &Spec) -> Result<(), SpecError> {
    let Some((index, mount)) = dev::volume(spec) else { return Ok(()) };
    let linux = spec.linux().as_ref();
    let paths = |of: fn(&Linux) -> &Option<Vec<String>>| {
        linux.iter().flat_map(move |linux| of(linux).iter().flatten())
    };
    let hidden = paths(Linux::masked_paths).map(|path| ("linux.maskedPaths", path));
    let mut hidden =
        hidden.chain(paths(Linux::readonly_paths).map(|path| ("linux.readonlyPaths", path)));
    if let Some((field, path)) = hidden.find(|(_, path)| Path::new(path).starts_with("/dev")) {
        let remedy =
            "leave it out, or mount no volume at /dev, or run this container with runc or crun";
        return Err(refusal(field, format!("{path:?} with a volume at /dev"), remedy));
    }
    let root = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let own = mount.options().iter().flatten().map(String::as_str);
    let kinds = ["private", "slave", "shared", "unbindable"];
    let mut own = own.filter(|option| kinds.contains(&option.trim_start_matches('r')));
    match own.next_back().or(root) {
        Some(kind @ ("shared" | "rshared")) => Err(refusal(
            format!("mounts[{index}].options ({})", mount.destination().display()),
            format!("a volume at /dev that is {kind}"),
            "make it rslave or rprivate, or run this container with runc or crun",
        )),
        _ => Ok(()),
    }
}

fn refusal(field: impl Into<String>, value: String, remedy: &'static str) -> SpecError {
    SpecError::Unsupported { field: field.into(), value, remedy }
}

fn check_mount(index: usize, mount: &Mount, mapped: bool) -> Result<(), SpecError> {
    let at = mount.destination().display();
    let options = mount.options().as_deref().unwrap_or_default();
    let refuse = |option: &str, remedy| {
        Err(refusal(format!("mounts[{index}].options ({at})"), format!("{option:?}"), remedy))
    };
    for (field, given) in
        [("uidMappings", mount.uid_mappings()), ("gidMappings", mount.gid_mappings())]
    {
        if given.is_some() {
            return Err(refusal(
                format!("mounts[{index}].{field} ({at})"),
                "an ID-mapped mount".to_owned(),
                "leave it out, or run this container with runc or crun",
            ));
        }
    }
    let bind = propagation::bind(mount);
    for option in options {
        match &**option {
            "idmap" | "ridmap" => {
                return refuse(option, "leave it out, or run this container with runc or crun");
            }
            "nosymfollow" | "symfollow" if bind == Some(Submounts::Included) => {
                return refuse(option, "give rnosymfollow, rsymfollow, or bind instead of rbind");
            }
            known if bind.is_none() && OF_THE_SUPERBLOCK.contains(&known) => {
                return refuse(option, "leave it out, or mount it on the host and bind it");
            }
            _ => {}
        }
    }
    let owned = options.iter().find(|o| o.starts_with("uid=") || o.starts_with("gid="));
    if let Some(owned) = owned.filter(|_| mapped && tmpfs::is_copy(mount)) {
        return refuse(owned, "leave it out; tmpcopyup takes the image's owner");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(mount: &str, linux: &str) -> Result<(), String> {
        let text = format!(
            r#"{{"ociVersion":"1.2.0","mounts":[{{"destination":"/d","source":"s",{mount}}}],
                "linux":{linux}}}"#
        );
        check(&serde_json::from_str(&text).unwrap()).map_err(|e| e.to_string())
    }

    #[track_caller]
    fn refused(mount: &str, linux: &str, words: &[&str]) {
        let said = checked(mount, linux).unwrap_err();
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }

    #[test]
    fn each_refusal_names_its_field() {
        let mapping = r#"[{"containerID":0,"hostID":0,"size":1}]"#;
        let bind = r#""options":["rbind"]"#;
        refused(
            &format!(r#"{bind},"uidMappings":{mapping}"#),
            "{}",
            &["mounts[0].uidMappings", "/d"],
        );
        refused(&format!(r#"{bind},"gidMappings":{mapping}"#), "{}", &["mounts[0].gidMappings"]);
        for option in ["idmap", "ridmap", "nosymfollow"] {
            let options = format!(r#""options":["rbind","{option}"]"#);
            refused(&options, "{}", &["mounts[0].options (/d)", option]);
        }
        for option in OF_THE_SUPERBLOCK {
            let memory = format!(r#""type":"tmpfs","options":["{option}"]"#);
            refused(&memory, "{}", &["mounts[0].options (/d)", option]);
        }
        let flags = r#"{"personality":{"domain":"LINUX","flags":["ADDR_NO_RANDOMIZE"]}}"#;
        refused(bind, flags, &["linux.personality.flags"]);
        let user = r#"{"namespaces":[{"type":"user"}]}"#;
        let owned = r#""type":"tmpfs","options":["tmpcopyup","uid=5"]"#;
        refused(owned, user, &["uid=5"]);
        assert_eq!(checked(owned, "{}"), Ok(()));
    }

    #[test]
    fn a_shared_volume_at_dev_is_refused() {
        for (options, root, refused) in [
            (r#""rbind","rshared""#, "rprivate", true),
            (r#""rbind""#, "shared", true),
            (r#""rbind","rprivate""#, "rshared", false),
            (r#""rbind","shared","rslave""#, "rslave", false),
            (r#""bind""#, "private", false),
        ] {
            let text = format!(
                r#"{{"ociVersion":"1.2.0","mounts":[{{"destination":"/dev","source":"/dev","options":[{options}]}}],
                    "linux":{{"rootfsPropagation":"{root}"}}}}"#
            );
            let said = check_dev(&serde_json::from_str(&text).unwrap());
            assert_eq!(said.is_err(), refused, "{options} {root}: {said:?}");
        }
    }

    #[test]
    fn nothing_is_masked_in_a_volume_at_dev() {
        for (field, path, refused) in [
            ("maskedPaths", "/dev/mem", true),
            ("readonlyPaths", "/dev/x", true),
            ("maskedPaths", "/proc/kcore", false),
        ] {
            let text = format!(
                r#"{{"ociVersion":"1.2.0","mounts":[{{"destination":"/dev","source":"/dev","options":["rbind"]}}],
                    "linux":{{"{field}":["{path}"]}}}}"#
            );
            let said = check_dev(&serde_json::from_str(&text).unwrap()).map_err(|e| e.to_string());
            assert_eq!(said.is_err(), refused, "{said:?}");
            assert!(said.is_ok() || said.unwrap_err().contains(field));
        }
    }

    #[test]
    fn what_can_be_honoured_passes() {
        for mount in [
            r#""type":"tmpfs","options":["nosuid","nosymfollow","lazytime","size=1m"]"#,
            r#""options":["bind","nosymfollow","sync"]"#,
            r#""options":["rbind","rnosymfollow","rprivate"]"#,
        ] {
            let linux = r#"{"personality":{"domain":"LINUX32"}}"#;
            assert_eq!(checked(mount, linux), Ok(()), "{mount}");
        }
    }
}
