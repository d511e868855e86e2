//! `config`: the values that are in force, and their origins.

use serde_json::{Value, json};

use super::for_programs;
use crate::cli::{Config as Verb, Global};
use crate::config::{ConfigError, Key, Layers, Origin, default_file};
use crate::output::say;

/// Executes the verb. It reads only the file and the environment.
///
/// # Errors
/// [`ConfigError`], also for a file that cannot be used.
pub fn run(global: &Global, verb: &Verb) -> Result<(), ConfigError> {
    match verb {
        Verb::Default => say!("{}", default_file().trim_end()),
        Verb::Show { json } => {
            let layers = Layers::read(&global.config, |variable| std::env::var_os(variable))?;
            layers.config()?;
            let lines = Key::all().iter().map(|key| Line::of(key, &layers, global));
            let lines = lines.collect::<Result<Vec<_>, _>>()?;
            if *json {
                for_programs(json!({
                    "file": global.config,
                    "exists": global.config.exists(),
                    "keys": lines.iter().map(Line::json).collect::<Vec<_>>(),
                }));
            } else {
                text(&lines).iter().for_each(|line| say!("{line}"));
            }
        }
    }
    Ok(())
}

/// One key of the configuration.
#[derive(Debug)]
struct Line {
    key: &'static Key,
    value: Option<String>,
    origin: String,
}

impl Line {
    fn of(key: &'static Key, layers: &Layers, global: &Global) -> Result<Self, ConfigError> {
        if let (Some(engine), "engine") = (&global.engine, key.name) {
            let value = Some(toml::Value::from(engine.to_string_lossy().as_ref()).to_string());
            return Ok(Self { key, value, origin: "--engine".to_owned() });
        }
        let (value, origin) = layers.value(key)?;
        let origin = match origin {
            Origin::Default => "default".to_owned(),
            Origin::File => global.config.display().to_string(),
            Origin::Environment => key.variable(),
        };
        Ok(Self { key, value, origin })
    }

    fn json(&self) -> Value {
        let (key, variable) = (self.key.name, self.key.variable());
        json!({ "key": key, "value": self.value, "origin": self.origin, "variable": variable })
    }
}

fn text(lines: &[Line]) -> Vec<String> {
    let rows = lines
        .iter()
        .map(|Line { key, value, origin }| (key.name, value.as_deref().unwrap_or("-"), origin));
    let name = rows.clone().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let value = rows.clone().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
    rows.map(|(key, said, origin)| format!("{key:<name$}  {said:<value$}  {origin}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_said_it() {
        let line = |name, value: Option<&str>, origin: &str| Line {
            key: Key::named(name).unwrap(),
            value: value.map(str::to_owned),
            origin: origin.to_owned(),
        };
        let lines = [
            line("engine", Some("\"crun\""), "SHAREDROOT_ENGINE"),
            line("pool.data_dev", None, "default"),
        ];
        assert_eq!(
            text(&lines),
            ["engine         \"crun\"  SHAREDROOT_ENGINE", "pool.data_dev  -       default",]
        );
        assert_eq!(lines[1].json()["value"], Value::Null);
        assert_eq!(lines[1].json()["variable"], "SHAREDROOT_POOL_DATA_DEV");
    }
}
