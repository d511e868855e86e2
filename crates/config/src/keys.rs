//! Every key of the configuration: its meaning, its default, its variable. The commented default file and `config show` are
//! made from this.

use std::fmt::Write;

use toml::{Table, Value};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// `true` or `false`.
    Truth,
}

/// A key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// `section.key`, or `key` for a key that stands above all sections.
    pub name: &'static str,
    /// The default, as TOML; `None` for a key without a default.
    pub default: Option<&'static str>,
    /// An example of a value, as TOML.
    pub example: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// The meaning of the key, in sentences.
    pub meaning: &'static str,
}

const KEYS: &[Key] = &[
    Key {
        name: "engine",
        default: Some("\"libcontainer\""),
        example: "\"crun\"",
        kind: Kind::Text,
        meaning: "What starts the processes of new containers: libcontainer (embedded), crun, runc, or the absolute \
                  path of another OCI runtime. The flag --engine wins over this key.",
    },
    Key {
        name: "pool.name",
        default: Some("\"default\""),
        example: "\"default\"",
        kind: Kind::Text,
        meaning: "Part of the names of the pool's devices. Two installations on one host need two names.",
    },
    Key {
        name: "pool.state_dir",
        default: Some("\"/var/lib/sharedroot\""),
        example: "\"/var/lib/sharedroot\"",
        kind: Kind::Text,
        meaning: "The store, and the loop files of the pool. Only root may write there, and the directory must survive \
                  a reboot.",
    },
    Key {
        name: "pool.run_dir",
        default: Some("\"/run/sharedroot\""),
        example: "\"/run/sharedroot\"",
        kind: Kind::Text,
        meaning: "Locks, mount points of bases and scaffolds, records of containers. Their life ends with a reboot, \
                  so the directory belongs in /run.",
    },
    Key {
        name: "pool.loop_size",
        default: None,
        example: "\"32G\"",
        kind: Kind::Text,
        meaning: "The size of the file for data, when a pool on loop files is made. Without this key the size is 32G, \
                  or 80 % of the free space if that is less. Give the keys of one kind of pool: loop_size, or data_dev \
                  and metadata_dev, or lvm.",
    },
    Key {
        name: "pool.data_dev",
        default: None,
        example: "\"/dev/vg/sr-data\"",
        kind: Kind::Text,
        meaning: "The block device for data, by a name that a reboot does not change. It needs metadata_dev.",
    },
    Key {
        name: "pool.metadata_dev",
        default: None,
        example: "\"/dev/vg/sr-meta\"",
        kind: Kind::Text,
        meaning: "The block device for metadata. It needs data_dev.",
    },
    Key {
        name: "pool.lvm",
        default: None,
        example: "\"vg/sharedroot\"",
        kind: Kind::Text,
        meaning: "A thin pool of LVM, VG/LV, that no other program uses.",
    },
    Key {
        name: "base.size",
        default: Some("\"10G\""),
        example: "\"10G\"",
        kind: Kind::Text,
        meaning: "The size of the file system of a base, and so of every private rootfs. The annotation \
                  dev.sharedroot.size makes a private rootfs smaller.",
    },
    Key {
        name: "base.wait",
        default: Some("true"),
        example: "true",
        kind: Kind::Truth,
        meaning: "Whether a container waits while another container makes the base of its image. If not, the container \
                  runs on the engine's rootfs, not shared.",
    },
    Key {
        name: "selinux.shared_label",
        default: None,
        example: "\"system_u:object_r:container_ro_file_t:s0\"",
        kind: Kind::Text,
        meaning: "The label of bases on a host with SELinux, in the place of the label that the policy names. It has \
                  no categories, and its type is one that containers may read and not write.",
    },
    Key {
        name: "shim.group",
        default: Some("\"pod\""),
        example: "\"host\"",
        kind: Kind::Text,
        meaning: "Which containers one server of containerd's shim serves: one container (container), those of a pod \
                  (pod), or all of a containerd namespace (host). A server that is killed takes its containers with it.",
    },
];

impl Key {
    /// All keys, in the order of the default file.
    #[must_use]
    pub fn all() -> &'static [Self] {
        KEYS
    }

    /// The key with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The variable of the environment that wins over the file.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("SHAREDROOT_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// The section, if the key is in one, and the name in the section.
    #[must_use]
    pub fn parts(&self) -> (Option<&'static str>, &'static str) {
        self.name.split_once('.').map_or((None, self.name), |(section, name)| (Some(section), name))
    }

    /// The value that a file has for the key.
    #[must_use]
    pub fn of<'t>(&self, table: &'t Table) -> Option<&'t Value> {
        match self.parts() {
            (Some(section), name) => table.get(section)?.as_table()?.get(name),
            (None, name) => table.get(name),
        }
    }
}

/// An unknown key of a file, and the existing key that is most like it.
#[must_use]
pub fn unknown(table: &Table) -> Option<(String, &'static str)> {
    let found = table.iter().flat_map(|(name, value)| match value {
        Value::Table(section) => section.keys().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name.clone()],
    });
    let name = found.into_iter().find(|name| Key::named(name).is_none())?;
    // An existing key may stand in the wrong section, or in none.
    let likeness = |known: &str| {
        let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let whole = strsim::jaro_winkler(known, &name);
        whole.max(strsim::jaro_winkler(&last(known), &last(&name)))
    };
    let nearest = KEYS.iter().max_by(|a, b| likeness(a.name).total_cmp(&likeness(b.name)));
    nearest.map(|nearest| (name, nearest.name))
}

/// The longest line of the default file, in characters.
const WIDTH: usize = 100;

/// The default file: every key with its meaning, all in comments. It has the effect of no file.
#[must_use]
pub fn default_file() -> String {
    let mut text = "\
# The configuration of sharedroot. Every key is here, in a comment. A key that is not set has its
# default. A variable of the environment wins over this file: SHAREDROOT_POOL_NAME over pool.name.
# `sharedroot config show` prints the values in force, and where each comes from.
"
    .to_owned();
    let mut section = None;
    for key in KEYS {
        let (of, name) = key.parts();
        text.push('\n');
        if of != section {
            section = of;
            writeln!(text, "[{}]\n", of.unwrap_or_default()).expect("a string grows");
        }
        let mut line = "#".to_owned();
        for word in key.meaning.split(' ') {
            if line.len() + 1 + word.len() > WIDTH {
                writeln!(text, "{line}").expect("a string grows");
                line = "#".to_owned();
            }
            write!(line, " {word}").expect("a string grows");
        }
        let value = key.default.unwrap_or(key.example);
        writeln!(text, "{line}\n#{name} = {value}").expect("a string grows");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    /// The default file, where the values that `wanted` chooses are no comments.
    fn with(wanted: impl Fn(&Key) -> bool) -> String {
        let mut text = default_file();
        for key in KEYS.iter().filter(|key| wanted(key)) {
            let line = format!("{} = {}", key.parts().1, key.default.unwrap_or(key.example));
            assert_eq!(text.matches(&format!("\n#{line}\n")).count(), 1, "{line}");
            text = text.replace(&format!("\n#{line}\n"), &format!("\n{line}\n"));
        }
        text
    }

    #[test]
    fn the_packaged_file_is_made_of_the_keys() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../etc/config.toml");
        let packaged = std::fs::read_to_string(path).unwrap();
        let remedy = "`sharedroot config default > etc/config.toml`";
        assert_eq!(packaged, default_file(), "{remedy}");
        assert!(packaged.lines().all(|line| line.len() <= WIDTH), "{packaged}");
    }

    #[test]
    fn the_default_file_is_the_same_as_none() {
        let none = format!("{:?}", Config::default());
        let parsed = |text: &str| format!("{:?}", toml::from_str::<Config>(text).unwrap());
        assert_eq!(parsed(&default_file()), none);
        let defaults = parsed(&with(|key| key.default.is_some()));
        assert_eq!(defaults.replace("Some(\"libcontainer\")", "None"), none);
    }

    #[test]
    fn every_key_can_be_written_as_in_the_example() {
        for key in KEYS {
            let pair = ["pool.data_dev", "pool.metadata_dev"];
            let text = with(|other| {
                other.name == key.name || pair.contains(&key.name) && pair.contains(&other.name)
            });
            let table: Table = text.parse().unwrap();
            assert!(key.of(&table).is_some(), "{}", key.name);
            assert!(unknown(&table).is_none(), "{}", key.name);
            toml::from_str::<Config>(&text).unwrap_or_else(|e| panic!("{}: {e}", key.name));
        }
    }

    #[test]
    fn the_nearest_key_is_told() {
        let told = |text: &str| unknown(&text.parse().unwrap());
        let meant = |text: &str| told(text).unwrap().1;
        assert_eq!(told("[pool]\nname = \"p\"\n[base]\nwait = 1\n"), None);
        assert_eq!(
            told("[pool]\nloopsize = 1\n"),
            Some(("pool.loopsize".to_owned(), "pool.loop_size"))
        );
        assert_eq!(meant("[base]\nloop_size = 1\n"), "pool.loop_size");
        assert_eq!(meant("size = 1\n"), "base.size");
        assert_eq!(meant("[pol]\nname = 1\n"), "pool.name");
        assert_eq!(meant("[pool]\nengine = 1\n"), "engine");
        assert_eq!(meant("shared-label = 1\n"), "selinux.shared_label");
        assert!(!meant("zzz = 1\n").is_empty());
    }
}
