//! The configuration: `/etc/sharedroot/config.toml`, and variables of the environment that win over it. Every key has a
//! default. An unknown key is an error.

pub mod annotations;
mod bases;
mod keys;
mod layers;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use keys::{Key, default_file};
pub use layers::{Layers, Origin};

/// The configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists and cannot be read.
    #[error("read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a wrong value.
    #[error("configuration {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// The file has a key that does not exist.
    #[error(
        "configuration {path}: there is no key `{key}`; the nearest one is `{nearest}` (`sharedroot config default` explains all)"
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The existing key that is most like it.
        nearest: &'static str,
    },
    /// The value of a variable of the environment is no value of its key.
    #[error(
        "{variable}: {value:?} is not a value of `{key}`; write a value such as {example}, or unset the variable"
    )]
    Variable {
        /// The variable.
        variable: String,
        /// The value of the variable.
        value: std::ffi::OsString,
        /// The key that the variable sets.
        key: &'static str,
        /// A value that would be right.
        example: &'static str,
    },
    /// The file is right alone, and wrong together with the environment.
    #[error("configuration {path} with {variables}")]
    Together {
        /// The file.
        path: PathBuf,
        /// The variables.
        variables: String,
        /// What and where.
        source: Box<toml::de::Error>,
    },
}

/// A number of bytes, written as a number or as text with K, M, G or T (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size; write a number and K, M, G or T, like 32G");
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KIB" => 10,
            "M" | "MIB" => 20,
            "G" | "GIB" => 30,
            "T" | "TIB" => 40,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).filter(|n| *n > 0).map(Size).ok_or_else(wrong)
    }
}

/// The whole configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `engine`: what starts the processes of new containers, unless the command line or the environment names it.
    pub engine: Option<String>,
    /// `[pool]`
    pub pool: Pool,
    /// `[base]`
    pub base: Base,
    /// `[selinux]`
    pub selinux: Selinux,
    /// `[shim]`
    pub shim: Shim,
}

/// `[pool]`: where the thin pool is.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "PoolKeys")]
pub struct Pool {
    /// The name of the pool, which is a part of device names.
    pub name: String,
    /// The state directory: loop files and the store.
    pub state_dir: PathBuf,
    /// The run directory: locks, mount points of bases, records.
    pub run_dir: PathBuf,
    /// What the pool is made of.
    pub media: Media,
}

/// What a pool is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// Sparse files, made on first use. The file for data has this size.
    Loop(Option<Size>),
    /// Two block devices.
    Devices {
        /// For data.
        data: PathBuf,
        /// For metadata.
        metadata: PathBuf,
    },
    /// A thin pool of LVM, `VG/LV`.
    Lvm(String),
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            state_dir: "/var/lib/sharedroot".into(),
            run_dir: "/run/sharedroot".into(),
            media: Media::Loop(None),
        }
    }
}

/// `[pool]` as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolKeys {
    name: Option<String>,
    state_dir: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    loop_size: Option<Size>,
    data_dev: Option<PathBuf>,
    metadata_dev: Option<PathBuf>,
    lvm: Option<String>,
}

impl TryFrom<PoolKeys> for Pool {
    type Error = &'static str;

    fn try_from(keys: PoolKeys) -> Result<Self, Self::Error> {
        let media = match (keys.loop_size, keys.data_dev, keys.metadata_dev, keys.lvm) {
            (size, None, None, None) => Media::Loop(size),
            (None, Some(data), Some(metadata), None) => Media::Devices { data, metadata },
            (None, None, None, Some(name)) => Media::Lvm(name),
            (None, Some(_), None, None) => return Err("data_dev needs metadata_dev"),
            (None, None, Some(_), None) => return Err("metadata_dev needs data_dev"),
            _ => {
                return Err(
                    "a pool has one kind of backing: give either loop_size, or data_dev and \
                     metadata_dev, or lvm",
                );
            }
        };
        let default = Self::default();
        Ok(Self {
            name: keys.name.unwrap_or(default.name),
            state_dir: keys.state_dir.unwrap_or(default.state_dir),
            run_dir: keys.run_dir.unwrap_or(default.run_dir),
            media,
        })
    }
}

/// `[base]`: how bases are made.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Base {
    /// The size of the file system of a base, and so of every private rootfs.
    pub size: Size,
    /// Whether a container waits for a base that another container is making. If not, the container runs on the engine's
    /// rootfs, not shared.
    pub wait: bool,
}

impl Default for Base {
    fn default() -> Self {
        Self { size: Size(10 << 30), wait: true }
    }
}

/// `[selinux]`: labels on hosts with SELinux.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selinux {
    /// The label of bases. Without this key the policy names the label.
    pub shared_label: Option<String>,
}

/// `[shim]`: containerd's shim.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shim {
    /// Which containers one server serves.
    pub group: Group,
}

/// Which containers one server of containerd's shim serves. A server that dies takes all its containers with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// One container.
    Container,
    /// The containers of a pod.
    #[default]
    Pod,
    /// The containers of one containerd namespace.
    Host,
}

impl Config {
    /// Reads the file and the environment. A file that does not exist is no error: the defaults count.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Layers::read(path, |variable| std::env::var_os(variable))?.config()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!("32G".parse(), Ok(Size(32 << 30)));
        assert_eq!("512m".parse(), Ok(Size(512 << 20)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
        for wrong in ["", "G", "-1", "1X", "0", "99999999999T", "1.5G"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn unknown_keys_are_named() {
        let config: Config = toml::from_str("[base]\nsize = \"20G\"\n").unwrap();
        assert_eq!((config.base.size, config.base.wait), (Size(20 << 30), true));
        let error = toml::from_str::<Config>("[pool]\nloopsize = \"1G\"\n").unwrap_err();
        assert!(error.to_string().contains("loop_size"), "{error}");
        let error = toml::from_str::<Config>("[selinux]\nlabel = \"x\"\n").unwrap_err();
        assert!(error.to_string().contains("shared_label"), "{error}");
    }

    #[test]
    fn a_server_serves_a_container_a_pod_or_a_host() {
        let group = |text: &str| toml::from_str::<Config>(text).map(|config| config.shim.group);
        assert_eq!(group("").unwrap(), Group::Pod);
        for (text, wanted) in
            [("container", Group::Container), ("pod", Group::Pod), ("host", Group::Host)]
        {
            assert_eq!(group(&format!("[shim]\ngroup = \"{text}\"\n")).unwrap(), wanted);
        }
        let error = group("[shim]\ngroup = \"node\"\n").unwrap_err().to_string();
        assert!(error.contains("`container`, `pod`, `host`"), "{error}");
    }

    #[test]
    fn a_pool_lies_on_one_kind_of_thing() {
        let media = |keys: &str| {
            toml::from_str::<Config>(&format!("[pool]\n{keys}\n")).map(|config| config.pool.media)
        };
        assert_eq!(media("name = \"p\"").unwrap(), Media::Loop(None));
        assert_eq!(media("loop_size = \"1G\"").unwrap(), Media::Loop(Some(Size(1 << 30))));
        assert_eq!(media("lvm = \"vg/lv\"").unwrap(), Media::Lvm("vg/lv".into()));
        let devices = media("data_dev = \"/a\"\nmetadata_dev = \"/b\"").unwrap();
        assert_eq!(devices, Media::Devices { data: "/a".into(), metadata: "/b".into() });
        for (keys, named) in [
            ("data_dev = \"/a\"", "metadata_dev"),
            ("metadata_dev = \"/b\"", "data_dev"),
            ("lvm = \"vg/lv\"\ndata_dev = \"/a\"\nmetadata_dev = \"/b\"", "lvm"),
            ("lvm = \"vg/lv\"\nloop_size = \"1G\"", "lvm"),
            ("loop_size = \"1G\"\ndata_dev = \"/a\"\nmetadata_dev = \"/b\"", "loop_size"),
        ] {
            let error = media(keys).unwrap_err().to_string();
            assert!(error.contains(named), "{keys}: {error}");
        }
    }
}
