//! The users of a container with a user namespace, by their IDs on this host.

use oci_spec::runtime::{LinuxIdMapping, Spec};

/// The ID on this host of user `uid` of the container. `None` if the container joins a user namespace, because only
/// that namespace has the mapping.
pub fn host_uid(spec: &Spec, uid: u32) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let mapped = linux
        .namespaces()
        .iter()
        .flatten()
        .any(|namespace| namespace.typ() == oci_spec::runtime::LinuxNamespaceType::User);
    if !mapped {
        return Some(uid);
    }
    let within =
        |m: &&LinuxIdMapping| (m.container_id()..).take(m.size() as usize).any(|id| id == uid);
    let mapping = linux.uid_mappings().as_ref()?.iter().find(within)?;
    Some(mapping.host_id() + (uid - mapping.container_id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_mapped_to_the_hosts() {
        let spec = |linux: &str| -> Spec {
            serde_json::from_str(&format!(r#"{{"ociVersion":"1.2.0","linux":{linux}}}"#)).unwrap()
        };
        assert_eq!(host_uid(&spec("{}"), 7), Some(7));
        let mapped = spec(
            r#"{"namespaces":[{"type":"user"}],
                "uidMappings":[{"containerID":0,"hostID":1000,"size":1},
                               {"containerID":1,"hostID":100000,"size":65535}]}"#,
        );
        assert_eq!(host_uid(&mapped, 0), Some(1000));
        assert_eq!(host_uid(&mapped, 65535), Some(165_534));
        assert_eq!(host_uid(&mapped, 65536), None);
        let joined = spec(r#"{"namespaces":[{"type":"user","path":"/proc/1/ns/user"}]}"#);
        assert_eq!(host_uid(&joined, 0), None);
    }
}
