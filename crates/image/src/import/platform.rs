//! Which images are for this host.

use std::fmt;

use serde::Deserialize;

use super::json::{Shape, Shaped};

/// The platform in the descriptor of a manifest.
#[cfg_attr(feature = "fuzz", derive(serde::Serialize))]
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Shaped for Platform {
    const SHAPE: Shape = Shape::Object(&[
        ("architecture", Shape::Any),
        ("os", Shape::Any),
        ("os.version", Shape::Any),
        ("os.features", Shape::Any),
        ("variant", Shape::Any),
        ("features", Shape::Any),
    ]);
}

impl Platform {
    /// How well an image of the platform suits this host, 0 best; none if the host does not run it.
    pub(super) fn rank(&self) -> Option<u32> {
        let is_ours = self.os == "linux" && self.architecture == architecture();
        let variant = self.variant.as_deref().unwrap_or_default();
        is_ours.then(|| rank(architecture(), &machine(), variant)).flatten()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// The same as containerd's rule for a host of which nothing but the architecture is configured (containerd/platforms,
/// `Normalize` and `platformVector`): `amd64/v2` and `amd64/v3` are for other hosts, whatever this CPU has.
fn rank(architecture: &str, machine: &str, variant: &str) -> Option<u32> {
    match (architecture, variant) {
        ("amd64", "" | "v1") | ("arm64", "" | "8" | "v8") => Some(0),
        ("arm", variant) => {
            let version = |text: &str| text.trim_start_matches('v').parse::<u32>().ok();
            let host = machine.strip_prefix("armv").and_then(|text| version(text.get(..1)?));
            let host = host.map_or(7, |host| host.min(7));
            let image = if variant.is_empty() { 7 } else { version(variant)? };
            (5..=host).contains(&image).then(|| host - image)
        }
        (_, "") => Some(0),
        _ => None,
    }
}

/// The machine as uname(2) calls it. Only 32-bit ARM needs it.
fn machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/arch").unwrap_or_default()
}

/// The architecture of the host, by the names of Go, which the image-spec uses.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_as_containerd_takes_them() {
        for (architecture, machine, variant, expected) in [
            ("amd64", "x86_64", "", Some(0)),
            ("amd64", "x86_64", "v1", Some(0)),
            ("amd64", "x86_64", "v2", None),
            ("amd64", "x86_64", "v3", None),
            ("arm64", "aarch64", "v8", Some(0)),
            ("arm64", "aarch64", "v9", None),
            ("arm", "armv7l", "v7", Some(0)),
            ("arm", "armv7l", "v6", Some(1)),
            ("arm", "armv7l", "", Some(0)),
            ("arm", "armv6l", "v7", None),
            ("arm", "armv6l", "v6", Some(0)),
            ("arm", "armv8l", "v8", None),
            ("arm", "armv7l", "v4", None),
            ("s390x", "s390x", "", Some(0)),
            ("s390x", "s390x", "z15", None),
        ] {
            let found = rank(architecture, machine, variant);
            assert_eq!(found, expected, "{architecture}/{variant} on {machine}");
        }
    }
}
