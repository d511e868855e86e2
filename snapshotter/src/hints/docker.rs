//! Docker's files of a container: `containers/ID/hostconfig.json` and `config.v2.json` below the daemon's data directory. The
//! daemon writes the first one when it has made the container, and asks for its root before and after that.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sharedroot_config::annotations::{MODE, SIZE};
use sharedroot_format::json;

use super::{Facts, SHIM, Wish};
use crate::key::is_docker_id;

/// The runtime's name that `sharedroot install docker` gives.
const OURS: &str = "sharedroot";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct HostConfig {
    readonly_rootfs: bool,
    runtime: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    storage_opt: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Container {
    mount_label: Option<String>,
}

/// What the container `id` of the daemon wants; none if the daemon has no such container yet.
pub(super) fn wish(root: &Path, id: &str) -> Option<Wish> {
    if !is_docker_id(id) {
        return None;
    }
    let dir = root.join("containers").join(id);
    let host: HostConfig = read(&dir.join("hostconfig.json"))?;
    let container: Container = read(&dir.join("config.v2.json")).unwrap_or_default();
    let runtime = host.runtime.as_deref().unwrap_or_default();
    let annotation = |key| host.annotations.as_ref()?.get(key).map(String::as_str);
    let option = || host.storage_opt.as_ref()?.get("size").map(String::as_str);
    let facts = Facts {
        read_only: host.readonly_rootfs,
        ours: runtime == OURS || runtime.starts_with(SHIM),
        mode: annotation(MODE),
        size: annotation(SIZE).or_else(option),
        label: container.mount_label.as_deref().filter(|label| !label.is_empty()),
    };
    Some(facts.wish())
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut how = OpenOptions::new();
    let file = how.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let read = json::read(file).ok().and_then(|text| json::parse(&text).ok());
    if read.is_none() {
        tracing::warn!("{} cannot be read as Docker's file of a container", path.display());
    }
    read
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sharedroot_dm::Bytes;

    use super::*;
    use crate::hints::Access;

    fn wish_of(files: &[(&str, &str)]) -> Option<Wish> {
        let (root, id) = (tempfile::tempdir().unwrap(), "ab".repeat(32));
        let dir = root.path().join("containers").join(&id);
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
        wish(root.path(), &id)
    }

    #[test]
    fn files_of_docker_tell_what_a_container_wants() {
        let host = r#"{"ReadonlyRootfs":true,"Runtime":"sharedroot","Annotations":{"dev.sharedroot.size":"1G"},"CpuShares":0}"#;
        let label = "system_u:object_r:container_file_t:s0:c1,c2";
        let config = format!(r#"{{"MountLabel":"{label}","Config":{{}}}}"#);
        let wish = wish_of(&[("hostconfig.json", host), ("config.v2.json", &config)]).unwrap();
        assert_eq!((wish.access, wish.size), (Access::Shared, Some(Bytes::gib(1))));
        assert_eq!(wish.label.unwrap().to_string(), label);
        let access = |host: &str| wish_of(&[("hostconfig.json", host)]).map(|wish| wish.access);
        for (runtime, wanted) in [
            ("sharedroot", Access::Shared),
            ("io.containerd.sharedroot.v2", Access::Shared),
            ("runc", Access::Writable),
            ("io.containerd.runc.v2", Access::Writable),
            ("", Access::Writable),
        ] {
            let host = format!(r#"{{"ReadonlyRootfs":true,"Runtime":"{runtime}"}}"#);
            assert_eq!(access(&host), Some(wanted), "{runtime}");
        }
        let off = r#"{"ReadonlyRootfs":true,"Runtime":"sharedroot","Annotations":{"dev.sharedroot.mode":"off"}}"#;
        assert_eq!(access(off), Some(Access::Writable));
        assert_eq!(
            access(r#"{"Runtime":"sharedroot","Annotations":null}"#),
            Some(Access::Writable)
        );
        let option = wish_of(&[("hostconfig.json", r#"{"StorageOpt":{"size":"64M"}}"#)]);
        assert_eq!(option.unwrap().size, Some(Bytes::mib(64)));
    }

    #[test]
    fn what_is_missing_or_no_record_of_dockers_tells_nothing() {
        assert_eq!(wish_of(&[]), None);
        for text in ["", "{", "7", r#"{"ReadonlyRootfs":"yes"}"#] {
            assert_eq!(wish_of(&[("hostconfig.json", text)]), None, "{text}");
        }
        let root = tempfile::tempdir().unwrap();
        for id in ["..", "x", "", "../../etc"] {
            assert_eq!(wish(root.path(), id), None, "{id}");
        }
        let (dir, elsewhere) =
            (root.path().join("containers").join("ab".repeat(32)), root.path().join("f"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(&elsewhere, r#"{"ReadonlyRootfs":true,"Runtime":"sharedroot"}"#).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.join("hostconfig.json")).unwrap();
        assert_eq!(wish(root.path(), &"ab".repeat(32)), None, "a link is not followed");
    }
}
