//! The command line and the configuration file: words that become names, sizes and labels.

use std::path::Path;

use clap::Parser;
use sharedroot_format::ContainerId;
use sharedroot_label::{MountLabel, ProcessLabel, SharedLabel};
use sharedroot_seeds::says_something;

use crate::cli::Cli;
use crate::config::{Layers, Size};

/// A command line. Line breaks separate its words.
///
/// # Panics
/// If a promise is broken.
pub fn argv(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> = text.split('\n').collect();
    if let Err(error) = Cli::try_parse_from(std::iter::once("sharedroot").chain(words.clone())) {
        assert!(!error.to_string().is_empty());
    }
    for word in words {
        match word.parse::<ContainerId>() {
            Ok(id) => {
                assert_eq!(id.as_str(), word);
                assert!(
                    !["", ".", ".."].contains(&word) && !word.contains(['/', '\0']),
                    "{word:?}"
                );
                // NAME_MAX, less the room for the names of files that begin with this name.
                assert!(word.len() <= 200, "{word:?}");
            }
            Err(error) => says_something(&error),
        }
    }
}

/// The text of config.toml; each line is also taken for a size and for a label.
///
/// # Panics
/// If a promise is broken.
pub fn settings(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let path = Path::new("/etc/sharedroot/config.toml");
    let layers = Layers::of(path, text.to_owned(), |_| None);
    match layers.and_then(|layers| layers.config()) {
        Ok(config) => match config.bases() {
            Ok(bases) => {
                let said = bases.config();
                assert!(said.base_size.0 > 0 && !said.pool.name.as_ref().is_empty())
            }
            Err(error) => says_something(&error),
        },
        Err(error) => says_something(&error),
    }
    for line in text.lines() {
        if let Ok(Size(bytes)) = line.parse::<Size>() {
            assert!(bytes > 0, "{line:?} is no size");
            assert_eq!(bytes.to_string().parse(), Ok(Size(bytes)));
        }
        label(line);
    }
}

/// A label prints as it was written, has four parts, and can be the value of a mount option.
fn label(line: &str) {
    for printed in [
        MountLabel::parse(line).map(|label| label.to_string()),
        ProcessLabel::parse(line).map(|label| label.to_string()),
        SharedLabel::parse(line).map(|label| label.as_mount_label().to_string()),
    ] {
        match printed {
            Ok(printed) => {
                assert_eq!(printed, line);
                assert!(
                    line.split(':').count() >= 4 && !line.contains(['"', '\\', ' ', '\0', '/'])
                );
            }
            Err(error) => says_something(&error),
        }
    }
    if SharedLabel::parse(line).is_ok() {
        assert_eq!(line.split(':').count(), 4, "{line:?} has categories");
    }
}
