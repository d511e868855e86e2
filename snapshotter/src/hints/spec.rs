//! The container's configuration in containerd's record, and its runtime.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sharedroot_config::annotations::{MODE, SIZE};
use sharedroot_format::json;
use sharedroot_task::messages::containers::{Container, Runtime};
use sharedroot_task::messages::options::runc;

use super::{Facts, SHIM, Wish};

/// The name of our runtime's program, which containerd's shim of runc can execute.
const PROGRAM: &str = "sharedroot";
/// The largest configuration that is read.
const MOST: usize = 4 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    root: Option<Root>,
    annotations: Option<BTreeMap<String, String>>,
    linux: Option<Linux>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Root {
    readonly: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    mount_label: Option<String>,
    uid_mappings: Option<Vec<serde::de::IgnoredAny>>,
}

/// What the container of a record wants; none if the record cannot be read.
pub(super) fn wish(container: &Container) -> Option<Wish> {
    let text = &container.spec.as_ref()?.value;
    if text.len() > MOST {
        return None;
    }
    let Spec { root, annotations, linux } = json::parse(text).ok()?;
    let annotation = |key| annotations.as_ref()?.get(key).map(String::as_str);
    let linux = linux.unwrap_or_default();
    // A container with ID mappings of its own has its own root.
    let maps = linux.uid_mappings.is_some_and(|mappings| !mappings.is_empty());
    let facts = Facts {
        read_only: root.is_some_and(|root| root.readonly),
        ours: !maps && container.runtime.as_ref().is_some_and(is_ours),
        mode: annotation(MODE),
        size: annotation(SIZE),
        label: linux.mount_label.as_deref().filter(|label| !label.is_empty()),
    };
    Some(facts.wish())
}

fn is_ours(runtime: &Runtime) -> bool {
    if runtime.name.starts_with(SHIM) {
        return true;
    }
    let options = runtime.options.as_ref().and_then(|any| any.read::<runc::Options>().ok()?);
    let program = options.map(|options| options.binary_name);
    program
        .is_some_and(|program| Path::new(&program).file_name().is_some_and(|name| name == PROGRAM))
}

#[cfg(test)]
mod tests {
    use sharedroot_dm::Bytes;
    use sharedroot_task::messages::Any;

    use super::*;
    use crate::hints::Access;

    fn container(runtime: &str, program: &str, spec: &str) -> Container {
        let options = runc::Options { binary_name: program.to_owned(), ..runc::Options::default() };
        let options = Some(Any::of(&options));
        Container {
            runtime: Some(Runtime { name: runtime.to_owned(), options }),
            spec: Some(Any { value: spec.as_bytes().to_vec(), ..Any::default() }),
            ..Container::default()
        }
    }

    #[test]
    fn a_runtime_is_ours_by_its_shim_or_by_its_program() {
        let access = |runtime: &str, program: &str| {
            wish(&container(runtime, program, r#"{"root":{"readonly":true}}"#)).unwrap().access
        };
        assert_eq!(access("io.containerd.sharedroot.v2", ""), Access::Shared);
        assert_eq!(access("io.containerd.runc.v2", "/usr/local/bin/sharedroot"), Access::Shared);
        assert_eq!(access("io.containerd.runc.v2", "sharedroot"), Access::Shared);
        for program in ["", "runc", "/usr/bin/runc", "/opt/sharedroot/runc", "/usr/bin/crun"] {
            assert_eq!(access("io.containerd.runc.v2", program), Access::Writable, "{program}");
        }
        assert_eq!(access("io.containerd.kata.v2", ""), Access::Writable);
    }

    #[test]
    fn a_configuration_tells_what_a_container_wants() {
        let of = |spec: &str| wish(&container("io.containerd.sharedroot.v2", "", spec));
        let access = |spec: &str| of(spec).map(|wish| wish.access);
        assert_eq!(access(r#"{"root":{"readonly":true},"linux":{}}"#), Some(Access::Shared));
        for writable in [
            "{}",
            r#"{"root":null}"#,
            r#"{"root":{"path":"rootfs"}}"#,
            r#"{"root":{"readonly":true},"annotations":{"dev.sharedroot.mode":"private"}}"#,
            r#"{"root":{"readonly":true},"linux":{"uidMappings":[{"containerID":0}]}}"#,
        ] {
            assert_eq!(access(writable), Some(Access::Writable), "{writable}");
        }
        for nothing in ["", "{", "7", r#"{"root":{"readonly":"yes"}}"#] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(MOST));
        assert_eq!(of(&long), None);
        let size =
            r#"{"annotations":{"dev.sharedroot.size":"2G"},"linux":{"mountLabel":"a:b:c:s0"}}"#;
        let wish = of(size).unwrap();
        assert_eq!(
            (wish.size, wish.label.unwrap().to_string()),
            (Some(Bytes::gib(2)), "a:b:c:s0".into())
        );
    }
}
