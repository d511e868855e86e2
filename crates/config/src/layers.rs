//! Where a value comes from: the environment, or else the file, or else the default.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{Kind, unknown};
use super::{Config, ConfigError, Key};

/// The file and the environment.
#[derive(Debug)]
pub struct Layers {
    path: PathBuf,
    text: String,
    environment: Vec<(&'static Key, Value)>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Neither the environment nor the file has the key.
    Default,
    /// The file.
    File,
    /// The key's variable.
    Environment,
}

impl Layers {
    /// Reads the file at `path`, which need not exist. `variable` returns the value of a variable of the environment.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::Variable`].
    pub fn read(
        path: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
        };
        Self::of(path, text, variable)
    }

    /// Takes `text` for the content of the file, and the environment as [`Self::read`] does.
    ///
    /// # Errors
    /// [`ConfigError::Variable`].
    pub fn of(
        path: &Path,
        text: String,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut environment = Vec::new();
        for key in Key::all() {
            // An empty variable has the effect of no variable.
            let said = variable(&key.variable()).filter(|value| !value.is_empty());
            let Some(value) = said else { continue };
            let parsed = value.to_str().and_then(|text| match key.kind {
                Kind::Text => Some(Value::String(text.to_owned())),
                Kind::Truth => text.parse().ok().map(Value::Boolean),
            });
            let parsed = parsed.ok_or_else(|| ConfigError::Variable {
                variable: key.variable(),
                value,
                key: key.name,
                example: key.example.trim_matches('"'),
            })?;
            environment.push((key, parsed));
        }
        Ok(Self { path: path.to_owned(), text, environment })
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        // `engine/choice.rs` reads the variable of the engine itself, and reports where the choice comes from.
        let above: Vec<_> =
            self.environment.iter().filter(|(key, _)| key.name != "engine").collect();
        if above.is_empty() {
            return toml::from_str(&self.text).map_err(|source| self.not_ours(source));
        }
        let mut table = self.table()?;
        for (key, value) in &above {
            let (section, name) = key.parts();
            let section = match section {
                Some(section) => table.entry(section).or_insert(Value::Table(Table::new())),
                None => continue,
            };
            // If the name is no section in the file, the parser below reports it.
            if let Value::Table(section) = section {
                section.insert(name.to_owned(), value.clone());
            }
        }
        table.try_into().map_err(|source| ConfigError::Together {
            path: self.path.clone(),
            variables: above.iter().map(|(key, _)| key.variable()).collect::<Vec<_>>().join(", "),
            source: Box::new(source),
        })
    }

    /// The value in force of a key, as TOML, and where it comes from. `None` if the key has no value.
    ///
    /// # Errors
    /// [`ConfigError`] if the file is not TOML, or has unknown keys.
    pub fn value(&self, key: &Key) -> Result<(Option<String>, Origin), ConfigError> {
        let table = self.table()?;
        let said = self.environment.iter().find(|(of, _)| of.name == key.name);
        Ok(match (said, key.of(&table)) {
            (Some((_, value)), _) => (Some(value.to_string()), Origin::Environment),
            (None, Some(value)) => (Some(value.to_string()), Origin::File),
            (None, None) => (key.default.map(str::to_owned), Origin::Default),
        })
    }

    fn table(&self) -> Result<Table, ConfigError> {
        let table = self.text.parse().map_err(|source| self.not_ours(source))?;
        match unknown(&table) {
            Some((key, nearest)) => {
                Err(ConfigError::UnknownKey { path: self.path.clone(), key, nearest })
            }
            None => Ok(table),
        }
    }

    /// The error of a file that is refused. For an unknown key it has a better message than that of the parser.
    fn not_ours(&self, source: toml::de::Error) -> ConfigError {
        let path = self.path.clone();
        match self.text.parse().ok().as_ref().and_then(unknown) {
            Some((key, nearest)) => ConfigError::UnknownKey { path, key, nearest },
            None => ConfigError::Parse { path, source: Box::new(source) },
        }
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_sys::chain::chain;

    use super::*;

    fn layers(text: &str, variables: &'static [(&str, &str)]) -> Result<Layers, ConfigError> {
        let of = move |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Layers::of(Path::new("/c"), text.to_owned(), of)
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let text = "[pool]\nname = \"file\"\nrun_dir = \"/r\"\n";
        let variables = &[
            ("SHAREDROOT_POOL_NAME", "env"),
            ("SHAREDROOT_BASE_WAIT", "false"),
            ("SHAREDROOT_BASE_SIZE", "2G"),
            ("SHAREDROOT_POOL_STATE_DIR", ""),
            ("SHAREDROOT_ENGINE", "crun"),
        ];
        let layers = layers(text, variables).unwrap();
        let config = layers.config().unwrap();
        assert_eq!(config.pool.name, "env");
        assert_eq!(config.pool.run_dir, Path::new("/r"));
        assert_eq!(config.pool.state_dir, Path::new("/var/lib/sharedroot"));
        assert_eq!((config.base.wait, config.base.size.0), (false, 2 << 30));
        assert_eq!(config.engine, None, "who chose it is told by the choice");
        let value = |name| layers.value(Key::named(name).unwrap()).unwrap();
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(value("pool.name"), (text("\"env\""), Origin::Environment));
        assert_eq!(value("pool.run_dir"), (text("\"/r\""), Origin::File));
        assert_eq!(value("base.wait"), (text("false"), Origin::Environment));
        assert_eq!(value("engine"), (text("\"crun\""), Origin::Environment));
        assert_eq!(value("pool.lvm"), (None, Origin::Default));
        assert_eq!(value("pool.state_dir"), (text("\"/var/lib/sharedroot\""), Origin::Default));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let told = |text: &str, variables| {
            let config = layers(text, variables).and_then(|layers| layers.config());
            chain(&config.unwrap_err())
        };
        let error = told("[pool]\nloopsize = \"1G\"\n", &[]);
        assert!(error.contains("/c: there is no key `pool.loopsize`"), "{error}");
        assert!(error.contains("`pool.loop_size`"), "{error}");
        let error = told("[base]\nsize = \"much\"\n", &[]);
        assert!(error.contains("line 2") && error.contains("much"), "{error}");
        let error = told("[base]\nsiz = 1\n", &[("SHAREDROOT_POOL_NAME", "n")]);
        assert!(error.contains("`base.size`"), "{error}");
        let error = told("", &[("SHAREDROOT_BASE_WAIT", "maybe")]);
        assert!(error.starts_with("SHAREDROOT_BASE_WAIT: \"maybe\""), "{error}");
        let error = told("", &[("SHAREDROOT_BASE_SIZE", "much")]);
        assert!(error.contains("SHAREDROOT_BASE_SIZE: ") && error.contains("much"), "{error}");
        let error = told("pool = 1\n", &[("SHAREDROOT_POOL_NAME", "n")]);
        assert!(error.contains("/c"), "{error}");
        let error = told("[pool]\nlvm = \"v/l\"\n", &[("SHAREDROOT_POOL_DATA_DEV", "/d")]);
        assert!(error.contains("one kind of backing"), "{error}");
    }
}
