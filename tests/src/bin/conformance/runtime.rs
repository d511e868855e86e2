//! The runtimes that are compared.

use sharedroot_tests::command::run;

/// A runtime, by the name that the lab's Docker has for the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime(String);

/// The runtimes of a run without `--runtime`.
pub const DEFAULT: [&str; 3] = ["sharedroot", "runc", "crun"];

impl Runtime {
    /// `sharedroot`, `sharedroot-crun`, `sharedroot-runc`, `runc` or `crun`.
    pub fn parse(name: &str) -> Option<Self> {
        let known = ["sharedroot", "sharedroot-crun", "sharedroot-runc", "runc", "crun"];
        known.contains(&name).then(|| Self(name.to_owned()))
    }

    /// The runtime's name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether the runtime is sharedroot, with any engine.
    pub fn is_ours(&self) -> bool {
        self.0.starts_with("sharedroot")
    }

    /// The program, and the words before a verb. In the lab every name is a program. On another machine `SHAREDROOT` is the
    /// path of sharedroot.
    pub fn command(&self) -> Vec<String> {
        let Some(ours) = std::env::var("SHAREDROOT").ok().filter(|_| self.is_ours()) else {
            return vec![self.0.clone()];
        };
        let engine = self.0.split_once('-').map(|(_, engine)| format!("--engine={engine}"));
        [ours].into_iter().chain(engine).collect()
    }

    /// The first line that the runtime prints with `--version`.
    pub fn version(&self) -> String {
        let command = self.command();
        let said = run(&[&command[0], "--version"]).ok();
        said.lines().next().unwrap_or_default().replace(" version", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_runtimes_are_run() {
        assert_eq!(Runtime::parse("runc").map(|r| r.command()), Some(vec!["runc".to_owned()]));
        assert_eq!(Runtime::parse("sharedroot-nonsense"), None);
        assert!(DEFAULT.iter().all(|name| Runtime::parse(name).is_some()));
    }
}
