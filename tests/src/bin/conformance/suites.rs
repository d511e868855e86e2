//! The suites.

use crate::place::Place;

/// A suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    pub name: &'static str,
    /// The executables of `tests/tests`. Empty for the validation suite, which has programs of its own.
    pub executables: &'static [&'static str],
    /// Prints the version of the engine that calls the runtime, because the results depend on the engine.
    pub version: &'static [&'static str],
}

/// All suites.
pub const ALL: [Suite; 6] = [
    Suite { name: "validation", executables: &[], version: &["cat", "version"] },
    Suite { name: "lifecycle", executables: &["vm_lifecycle"], version: &[] },
    Suite {
        name: "docker",
        executables: &[
            "vm_docker_commands",
            "vm_docker_session",
            "vm_docker_isolation",
            "vm_docker_limits",
            "vm_docker_volumes",
        ],
        version: &["docker", "--version"],
    },
    Suite {
        name: "containerd",
        executables: &["vm_containerd_commands"],
        version: &["containerd", "--version"],
    },
    Suite { name: "podman", executables: &["vm_podman"], version: &["podman", "--version"] },
    Suite {
        name: "systemd",
        executables: &["vm_systemd"],
        version: &["/usr/lib/systemd/systemd", "--version"],
    },
];

impl Suite {
    /// The suite with this name.
    pub fn parse(name: &str) -> Option<Self> {
        ALL.into_iter().find(|suite| suite.name == name)
    }

    /// Whether the suite can run on that machine. The tests of this project use daemons and devices, so they run in a guest
    /// only.
    pub fn runs_at(self, place: Place) -> bool {
        place == Place::Lab || self.executables.is_empty()
    }
}
