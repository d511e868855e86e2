//! Which containers have one server: the configuration says whether one container, the containers of a pod, or all containers
//! of a containerd namespace.
//!
//! The pod is in the annotations of config.json, as for containerd's own shim (`cmd/containerd-shim-runc-v2/manager`). CRI
//! writes the annotation of the sandbox itself, after all annotations that a pod may pass on, so a pod cannot name another one.
//! The annotation `io.containerd.runc.v2.group` can come from whoever makes the container, so it counts only without the other
//! one, and it never names a server of a sandbox or of a single container.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;
use sharedroot::verbs::Group as Grouping;
use sharedroot_format::{Digest, json};
use sharedroot_task::Id;

/// The containers that one server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// This container.
    Container(Id),
    /// The pod with this sandbox.
    Sandbox(String),
    /// All containers with this value of `io.containerd.runc.v2.group`.
    Label(String),
    /// All.
    Namespace,
}

/// The part of config.json that says to which pod a container belongs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.sandbox-id")]
    sandbox: String,
    #[serde(rename = "io.containerd.runc.v2.group")]
    label: String,
}

impl Group {
    /// The group of the container in `bundle`.
    ///
    /// # Errors
    /// The bundle's config.json cannot be read.
    pub fn of(grouping: Grouping, container: &Id, bundle: &Path) -> io::Result<Self> {
        Ok(match grouping {
            Grouping::Container => Self::Container(container.clone()),
            Grouping::Host => Self::Namespace,
            Grouping::Pod => {
                let text = json::read(File::open(bundle.join("config.json"))?)?;
                // What is wrong with the file is told by `Create`, which reads it, too.
                let config: Config = serde_json::from_slice(&text).unwrap_or_default();
                Self::of_annotations(config.annotations, container)
            }
        })
    }

    fn of_annotations(annotations: Annotations, container: &Id) -> Self {
        let Annotations { sandbox, label } = annotations;
        match (sandbox.is_empty(), label.is_empty()) {
            (false, _) => Self::Sandbox(sandbox),
            (true, false) => Self::Label(label),
            (true, true) => Self::Container(container.clone()),
        }
    }

    fn parts(&self) -> [&str; 2] {
        match self {
            Self::Container(id) => ["container", id.as_str()],
            Self::Sandbox(id) => ["sandbox", id],
            Self::Label(name) => ["label", name],
            Self::Namespace => ["namespace", ""],
        }
    }
}

/// What the containers of one server have in common.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// The socket of their containerd.
    pub containerd: &'a str,
    /// Their namespace.
    pub namespace: &'a Id,
    /// Their state root.
    pub state_root: &'a Path,
    /// The program that serves them, so that a new version of the program serves new containers.
    pub program: &'a Program,
}

impl Common<'_> {
    /// The name of the server of a group. It is a digest, because a socket's address has room for 107 bytes only (unix(7)).
    pub fn server(&self, group: &Group) -> String {
        let [kind, name] = group.parts();
        let state_root = self.state_root.display().to_string();
        let program = format!("{:?}", self.program);
        // Only the last part can have a NUL.
        let parts = [self.containerd, self.namespace.as_str(), &state_root, &program, kind, name];
        let name = Digest::of(parts.join("\0").as_bytes()).hex();
        name[..32].to_owned()
    }
}

/// A file with a program, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Program {
    /// This program.
    ///
    /// # Errors
    /// stat(2)'s.
    pub fn own() -> io::Result<Self> {
        let found = fs::metadata("/proc/self/exe")?;
        let changed = (found.mtime(), found.mtime_nsec());
        Ok(Self { device: found.dev(), inode: found.ino(), changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    fn of(annotations: &str) -> Group {
        let config = format!("{{\"annotations\": {annotations}}}");
        let config: Config = serde_json::from_str(&config).unwrap();
        Group::of_annotations(config.annotations, &id("c1"))
    }

    #[test]
    fn the_sandbox_counts_before_the_label() {
        let sandbox = r#""io.kubernetes.cri.sandbox-id": "s""#;
        let label = r#""io.containerd.runc.v2.group": "g""#;
        let own = Group::Container(id("c1"));
        assert_eq!(of(&format!("{{{sandbox}, {label}}}")), Group::Sandbox("s".to_owned()));
        assert_eq!(of(&format!("{{{label}, \"other\": \"x\"}}")), Group::Label("g".to_owned()));
        assert_eq!(of("{}"), own);
        assert_eq!(of(r#"{"io.kubernetes.cri.sandbox-id": ""}"#), own);
    }

    #[test]
    fn only_a_pod_is_looked_for_in_the_bundle() {
        let nowhere = Path::new("/no/such/bundle");
        let of = |grouping| Group::of(grouping, &id("c1"), nowhere);
        assert_eq!(of(Grouping::Container).unwrap(), Group::Container(id("c1")));
        assert_eq!(of(Grouping::Host).unwrap(), Group::Namespace);
        assert!(of(Grouping::Pod).is_err());
    }

    #[test]
    fn whatever_differs_has_another_server() {
        let program = Program { device: 1, inode: 2, changed: (3, 4) };
        let newer = Program { inode: 3, ..program.clone() };
        let (default, moby) = (id("default"), id("moby"));
        let common = Common {
            containerd: "/run/c.sock",
            namespace: &default,
            state_root: Path::new("/run/r"),
            program: &program,
        };
        let group = Group::Container(id("c1"));
        let servers = [
            common.server(&group),
            Common { containerd: "/run/d.sock", ..common }.server(&group),
            Common { namespace: &moby, ..common }.server(&group),
            Common { state_root: Path::new("/run/q"), ..common }.server(&group),
            Common { program: &newer, ..common }.server(&group),
            common.server(&Group::Container(id("c2"))),
            common.server(&Group::Sandbox("c1".to_owned())),
            common.server(&Group::Label("c1".to_owned())),
            common.server(&Group::Namespace),
        ];
        for (at, server) in servers.iter().enumerate() {
            assert!(!servers[..at].contains(server), "{servers:?}");
            assert_eq!(server.len(), 32);
        }
        assert_eq!(servers[0], common.server(&group));
    }
}
