//! From a bundle directory to a checked container configuration. Parsing is separate from reading, and this module
//! changes nothing on the host.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Spec;
use sharedroot_format::json::{self, JsonError};

use super::capabilities;
use crate::spec::validate::forbidden::{self, Forbidden};

/// An error in a bundle. Every message names the file or the field.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bundle directory or config.json cannot be read.
    #[error("read {path}: {cause}; a bundle holds a config.json, which `sharedroot spec` writes")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// Reading a FIFO could wait for ever, and reading a device could have no end.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than any real configuration.
    #[error("{path} is larger than 16 MiB; that is no container configuration")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The text is not JSON, is cut, or does not have the specification's form.
    #[error("{path} is not a valid config.json")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and at which place in the text.
        source: JsonError,
    },
    /// The configuration has another major version.
    #[error("ociVersion: {version:?} is not supported; this runtime knows 1.x")]
    Version {
        /// The version in the file.
        version: String,
    },
    /// A field that every Linux container needs is missing.
    #[error("{field} is missing")]
    Missing {
        /// The field's path in config.json.
        field: &'static str,
    },
    /// The specification forbids a value.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The directory of the root file system cannot be read.
    #[error("root.path: {path}")]
    Root {
        /// The resolved path.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// With a symbolic link, the image could choose a directory of the host.
    #[error(
        "root.path: {path} is or passes through a symbolic link (to {target}); give the real path"
    )]
    RootLink {
        /// `root.path` as the configuration has it.
        path: PathBuf,
        /// The link's target.
        target: PathBuf,
    },
    /// A relative path leads out of the bundle.
    #[error("root.path: {path} leads outside of the bundle")]
    RootOutside {
        /// `root.path` as the configuration has it.
        path: PathBuf,
    },
    /// The root file system is a file or a device, not a directory.
    #[error("root.path: {path} is not a directory")]
    RootNotDirectory {
        /// The resolved path.
        path: PathBuf,
    },
}

/// A bundle whose configuration was read and whose root was checked.
#[derive(Debug)]
pub struct Bundle {
    /// The real path of the directory.
    pub path: PathBuf,
    /// The configuration. `root.path` is absolute, without symbolic links.
    pub spec: Spec,
    /// `root.path`.
    pub root: PathBuf,
    /// `root.readonly`.
    pub readonly: bool,
}

impl Bundle {
    /// Reads and checks `<path>/config.json`, and the root that the file names.
    ///
    /// # Errors
    /// A [`BundleError`] that names the file or field.
    pub fn load(path: &Path) -> Result<Self, BundleError> {
        let path = path
            .canonicalize()
            .map_err(|cause| BundleError::Read { path: path.to_owned(), cause })?;
        let mut spec = read_config(&path.join("config.json"))?;
        let root = spec.root().as_ref().ok_or(BundleError::Missing { field: "root" })?;
        let readonly = root.readonly().unwrap_or(false);
        let real = check_root(&path, root.path())?;
        forbidden::look_at_joined_namespaces(&spec)?;
        forbidden::look_at_numbers(&spec)?;
        let mut root = root.clone();
        root.set_path(real.clone());
        spec.set_root(Some(root));
        Ok(Self { path, spec, root: real, readonly })
    }
}

/// Reads one config.json.
///
/// # Errors
/// A [`BundleError`] that names the file or field.
pub fn read_config(path: &Path) -> Result<Spec, BundleError> {
    let unreadable = |cause| BundleError::Read { path: path.to_owned(), cause };
    let nonblock = nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path);
    let file = file.map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(BundleError::NotAFile { path: path.to_owned() });
    }
    match json::read(file) {
        Ok(text) => parse_config(path, &text),
        Err(e) if e.kind() == ErrorKind::FileTooLarge => {
            Err(BundleError::TooLarge { path: path.to_owned() })
        }
        Err(source) => Err(unreadable(source)),
    }
}

/// Parses the text of the config.json at `path`.
///
/// # Errors
/// A [`BundleError`] that names the file or field.
pub fn parse_config(path: &Path, text: &[u8]) -> Result<Spec, BundleError> {
    let spec: Spec = capabilities::parse(text, "/process/capabilities")
        .map_err(|source| BundleError::Parse { path: path.to_owned(), source })?;
    if spec.version().split('.').next() != Some("1") {
        return Err(BundleError::Version { version: spec.version().clone() });
    }
    let process = spec.process().as_ref().ok_or(BundleError::Missing { field: "process" })?;
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(BundleError::Missing { field: "process.args" });
    }
    if spec.linux().is_none() {
        return Err(BundleError::Missing { field: "linux" });
    }
    forbidden::look_for_nul(text, "", &spec)?;
    forbidden::look_at(&spec)?;
    Ok(spec)
}

/// `root.path` as an absolute path without `..`: relative paths begin at the bundle and must stay inside. No file is
/// read.
///
/// # Errors
/// [`BundleError::RootOutside`].
pub fn plain_root(bundle: &Path, given: &Path) -> Result<PathBuf, BundleError> {
    let mut plain = if given.is_absolute() { PathBuf::new() } else { bundle.to_owned() };
    for part in given.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    if given.is_relative() && !plain.starts_with(bundle) {
        return Err(BundleError::RootOutside { path: given.to_owned() });
    }
    Ok(plain)
}

/// Resolves `root.path` against the bundle, and refuses symbolic links, as runc does.
fn check_root(bundle: &Path, given: &Path) -> Result<PathBuf, BundleError> {
    let plain = plain_root(bundle, given)?;
    let unusable = |source| BundleError::Root { path: plain.clone(), source };
    let real = plain.canonicalize().map_err(unusable)?;
    if real != plain {
        return Err(BundleError::RootLink { path: plain, target: real });
    }
    if !real.is_dir() {
        return Err(BundleError::RootNotDirectory { path: real });
    }
    Ok(real)
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod fields;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_captured_config_parses() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let mut seen = 0;
        for folder in std::fs::read_dir(fixtures).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                if path.to_str().unwrap().ends_with(".config.json") {
                    let spec = read_config(&path).unwrap();
                    assert!(spec.root().as_ref().unwrap().path().ends_with("merged"));
                    seen += 1;
                }
            }
        }
        assert!(seen >= 10, "{seen} captured configurations");
    }

    #[test]
    fn broken_configs_are_refused_by_field() {
        let parse = |text: &str| parse_config(Path::new("c"), text.as_bytes()).unwrap_err();
        let version = r#"{"ociVersion":"2.0.0"}"#;
        assert!(parse(version).to_string().starts_with("ociVersion: \"2.0.0\""));
        assert!(matches!(parse("{\"ociVersion\":\"1."), BundleError::Parse { .. }));
        assert!(parse(r#"{"ociVersion":"1.2.0"}"#).to_string().contains("process"));
    }

    #[test]
    fn unknown_capabilities_are_left_out() {
        let config = |names: &str, more: &str| {
            format!(
                r#"{{"ociVersion":"1.2.0","root":{{"path":"r"}},"linux":{{}},"process":{{"cwd":"/",
                    "args":["x"],"user":{{"uid":0,"gid":0}}{more},
                    "capabilities":{{"bounding":[{names}]}}}}}}"#
            )
        };
        let parse = |text: String| parse_config(Path::new("c"), text.as_bytes());
        let spec = parse(config(r#""CAP_KILL","CAP_OF_THE_FUTURE","x""#, "")).unwrap();
        let process = spec.process().clone().unwrap();
        let bounding = process.capabilities().as_ref().unwrap().bounding().clone().unwrap();
        assert_eq!(bounding, [oci_spec::runtime::Capability::Kill].into());
        // Another error is reported in its own words.
        let wrong = parse(config(r#""CAP_OF_THE_FUTURE""#, r#","rlimits":[{"type":"NONE"}]"#));
        assert!(matches!(wrong, Err(BundleError::Parse { .. })));
    }

    #[test]
    fn root_path_stays_inside_and_is_no_link() {
        let dir = std::env::temp_dir().join(format!("sharedroot-bundle-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("rootfs")).unwrap();
        let dir = dir.canonicalize().unwrap();
        std::os::unix::fs::symlink("rootfs", dir.join("link")).unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        let check = |p: &str| check_root(&dir, Path::new(p));
        assert_eq!(check("rootfs").unwrap(), dir.join("rootfs"));
        assert_eq!(check("./rootfs/../rootfs/").unwrap(), dir.join("rootfs"));
        assert!(matches!(check("link"), Err(BundleError::RootLink { .. })));
        assert!(matches!(check("../../etc"), Err(BundleError::RootOutside { .. })));
        assert!(matches!(check("file"), Err(BundleError::RootNotDirectory { .. })));
        assert!(matches!(check("none"), Err(BundleError::Root { .. })));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
