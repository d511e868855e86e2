//! The configuration, or the defaults if the configuration cannot be used; and two questions about any host.

use std::path::{Path, PathBuf};

use sharedroot_bases::Bases;
use sharedroot_engine::Choice;
use sharedroot_sys::chain::chain;

use super::check::Check;
use crate::cli::Global;
use crate::config::{Config, ConfigError};
use crate::lifecycle::{LifecycleError, choice};

/// What every check uses.
#[derive(Debug)]
pub struct Host {
    /// The configuration of the pool and the bases.
    pub bases: Bases,
    /// The path of the configuration file.
    pub config_file: PathBuf,
}

impl Host {
    /// Reads the configuration, and checks it.
    ///
    /// # Errors
    /// [`LifecycleError`] if even the defaults cannot be used.
    pub fn read(global: &Global) -> Result<(Self, Vec<Check>), LifecycleError> {
        let file = &global.config;
        let shown = file.display();
        let aside =
            format!("mv {shown} {shown}.broken (then the defaults count), or correct {shown}");
        let broken = |why: String| Check::problem("configuration", why, aside.as_str());
        let (config, read) = match Config::load(file) {
            Ok(config) if file.exists() => (config, Check::ok("configuration", shown.to_string())),
            Ok(config) => {
                (config, Check::ok("configuration", format!("no {shown}: the defaults count")))
            }
            Err(error @ ConfigError::Variable { .. }) => {
                let remedy = "correct the environment of the process that calls the runtime; the file is right";
                (Config::default(), Check::problem("configuration", chain(&error), remedy))
            }
            Err(error) => (Config::default(), broken(words(&error))),
        };
        let (bases, read) = match config.bases() {
            Ok(bases) => (bases, read),
            Err(error) => {
                let why = format!("{shown}: {}", chain(&error));
                (Config::default().bases()?, broken(why))
            }
        };
        let engine = match choice(global, &config) {
            Ok(Choice::Libcontainer) => Check::ok("engine", "libcontainer, the embedded one"),
            Ok(Choice::Delegate(program)) => Check::ok("engine", program.path.to_string_lossy()),
            Err(error) => {
                let remedy = format!("engine = \"libcontainer\" in {shown}");
                Check::problem("engine", chain(&error), remedy)
            }
        };
        Ok((Self { bases, config_file: file.clone() }, vec![read, engine]))
    }
}

/// The error and its place, without the excerpt of several lines.
fn words(error: &ConfigError) -> String {
    match error {
        ConfigError::Parse { path, source } => {
            let text = source.to_string();
            let place = text.lines().next().unwrap_or_default();
            format!("{}: {place}: {}", path.display(), source.message())
        }
        other => chain(other),
    }
}

/// The path of the program of that name in the first of these directories that has the program.
#[must_use]
pub fn program(name: &str, places: &[&str]) -> Option<PathBuf> {
    places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

/// The command that installs a package on this host.
#[must_use]
pub fn install(debian: &str, fedora: &str) -> String {
    let has = |name: &str| program(name, &["/usr/bin"]).is_some();
    install_by(has, debian, fedora)
}

fn install_by(has: impl Fn(&str) -> bool, debian: &str, fedora: &str) -> String {
    if has("dnf") {
        format!("dnf install {fedora}")
    } else if has("zypper") {
        format!("zypper install {debian}")
    } else {
        format!("apt install {debian}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn a_package_is_installed_by_the_hosts_own_command() {
        for (there, command) in [
            ("dnf", "dnf install theirs"),
            ("zypper", "zypper install ours"),
            ("apt-get", "apt install ours"),
            ("", "apt install ours"),
        ] {
            assert_eq!(install_by(|name| name == there, "ours", "theirs"), command);
        }
    }

    #[test]
    fn a_broken_file_is_named_with_the_line_of_the_mistake() {
        let text = "[base]\nsize = \"x\"\n".to_owned();
        let layers = Layers::of(Path::new("/c.toml"), text, |_| None).unwrap();
        let error = layers.config().unwrap_err();
        let said = words(&error);
        assert!(said.starts_with("/c.toml: TOML parse error at line 2, column "), "{said}");
        assert!(said.ends_with("like 32G") && said.lines().count() == 1, "{said}");
    }
}
