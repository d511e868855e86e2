//! What engines keep of a container, from their files and answers to what is wished of a root: the functions that `Mounts` calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::Value;
use sharedroot_label::MountLabel;
use sharedroot_task::messages::containers::GetContainerResponse;

use crate::hints::{Access, Hints, Wish, size_of_label, wish_of_record};
use crate::key::{Key, Space};
use crate::labels::Labels;

/// Docker's two files of a container, and containerd's answer to the request for its record: three parts with a NUL between them,
/// and the last one has all further ones. The first part is also the label by which containerd's clients choose a size.
///
/// # Panics
/// If a promise is broken.
pub fn hints(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (host, config, answer) = (part(), part(), part());
    of_docker(host, config);
    of_containerd(answer);
    of_label(host);
}

fn of_docker(host: &[u8], config: &[u8]) {
    let (id, place) = ("0a".repeat(32), Place::new());
    let dir = place.0.join("containers").join(&id);
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("hostconfig.json"), host).expect("a file");
    fs::write(dir.join("config.v2.json"), config).expect("a file");
    let hints = Hints { docker: vec![place.0.clone()], containerd: None };
    let wish = |name: &str| hints.wish(&space(), &key(name));
    let told = wish(&format!("moby/7/{id}"));
    is_sound(&told);
    if told.access == Access::Shared
        && let Ok(host) = serde_json::from_slice::<Value>(host)
    {
        let runtime = host["Runtime"].as_str().unwrap_or_default();
        assert_eq!(host["ReadonlyRootfs"], true, "only a read-only container shares");
        assert!(runtime == "sharedroot" || runtime.starts_with("io.containerd.sharedroot."));
        is_shared_by(&host["Annotations"]);
    }
    // Nothing else is this container's root.
    for other in [format!("moby/7/{id}-init-key"), format!("moby/7/extract-1 {id}"), id.clone()] {
        assert_eq!(wish(&other), Wish::default(), "{other}");
    }
}

fn of_containerd(answer: &[u8]) {
    let Ok(GetContainerResponse { container: Some(record) }) = GetContainerResponse::decode(answer)
    else {
        return;
    };
    let (space, key) = (space(), key("default/7/c1"));
    let parts = key.parts().expect("a name of containerd's");
    let Some(wish) = wish_of_record(&record, &space, parts) else { return };
    is_sound(&wish);
    assert_eq!((record.snapshotter.as_str(), record.snapshot_key.as_str()), ("sharedroot", "c1"));
    let spec = record.spec.map(|spec| spec.value).unwrap_or_default();
    if wish.access == Access::Shared
        && let Ok(spec) = serde_json::from_slice::<Value>(&spec)
    {
        assert_eq!(spec["root"]["readonly"], true, "only a read-only container shares");
        let mappings = spec["linux"]["uidMappings"].as_array().map_or(0, Vec::len);
        assert_eq!(mappings, 0, "a container with ID mappings has its own root");
        is_shared_by(&spec["annotations"]);
    }
}

fn of_label(value: &[u8]) {
    let Ok(value) = std::str::from_utf8(value) else { return };
    let labels = [("containerd.io/snapshot/max-size".to_owned(), value.to_owned())];
    let Ok(labels) = Labels::try_from(BTreeMap::from(labels)) else { return };
    let size = size_of_label(&key("default/7/c1"), &labels);
    assert!(size.is_none_or(|size| size.0 > 0 && value.parse() == Ok(size.0)), "{value}: {size:?}");
    assert_eq!(size_of_label(&key("default/7/extract-1 x"), &labels), None);
}

fn is_shared_by(annotations: &Value) {
    let mode = &annotations["dev.sharedroot.mode"];
    assert!(mode.is_null() || mode == "shared", "{mode}");
}

/// A label is a mount option, and a size is that of a device.
fn is_sound(wish: &Wish) {
    assert!(wish.size.is_none_or(|size| size.0 > 0), "{wish:?}");
    if let Some(label) = &wish.label {
        let text = label.to_string();
        assert_eq!(MountLabel::parse(&text).ok().as_ref(), Some(label), "printed and read again");
        assert!(!text.contains(['"', '\\', '\n', '\0']), "{text:?}");
    }
}

fn space() -> Space {
    "sharedroot".parse().expect("a name")
}

fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

/// A directory of this input alone.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("hints-{}-{:?}", std::process::id(), std::thread::current().id());
        Self(Path::new(&std::env::temp_dir()).join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
