//! The option `BinaryName`, which names the OCI runtime for containerd's own shim: here it names the engine, as the flag
//! `--engine` of the command line does.

use std::path::Path;

use sharedroot_task::start::RuntimeOptions;

/// The option's key in a runtime's options in containerd's configuration.
pub const KEY: &str = "BinaryName";

/// The engine that the options name. None is the configuration's.
pub fn of(options: &RuntimeOptions) -> Option<String> {
    let name = match options {
        RuntimeOptions::None => return None,
        RuntimeOptions::Runc(options) => options.binary_name.clone(),
        RuntimeOptions::Any(options) => {
            let text = String::from_utf8_lossy(&options.config_body);
            text.lines().filter_map(of_line).next_back()?
        }
    };
    // Whoever had this program called by containerd's own shim means its own engine.
    let is_ours = Path::new(&name).file_name().is_some_and(|file| file == "sharedroot");
    (!name.is_empty() && !is_ours).then_some(name)
}

/// The value of a line `BinaryName = "VALUE"`. CRI passes a runtime's options as text to a shim that it does not know, as its
/// encoder writes it: one line for each key.
pub fn of_line(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
    // A name or a path needs no escape.
    (key.trim() == KEY && !value.contains(['"', '\\'])).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use sharedroot_task::messages::options::{any_runtime, runc};

    use super::*;

    #[test]
    fn an_engine_is_named_by_both_kinds_of_options() {
        let runc = |name: &str| {
            let binary_name = name.to_owned();
            of(&RuntimeOptions::Runc(runc::Options { binary_name, ..runc::Options::default() }))
        };
        let any = |body: &str| {
            let config_body = body.into();
            of(&RuntimeOptions::Any(any_runtime::Options {
                config_body,
                ..any_runtime::Options::default()
            }))
        };
        assert_eq!(of(&RuntimeOptions::None), None);
        for (name, engine) in [("", None), ("crun", Some("crun")), ("/usr/bin/sharedroot", None)] {
            assert_eq!(runc(name).as_deref(), engine);
            let body = format!("SystemdCgroup = true\nBinaryName = \"{name}\"\n");
            assert_eq!(any(&body).as_deref(), engine);
        }
        for body in ["", "BinaryName = crun", "BinaryName = \"a\\nb\"", "Binary = \"crun\""] {
            assert_eq!(any(body), None, "{body}");
        }
    }
}
