//! The command line: few words, so no parser of command lines is linked.

use std::ffi::OsString;
use std::path::PathBuf;

/// The configuration of all programs.
const CONFIG: &str = "/etc/sharedroot/config.toml";
/// Where containerd listens if its configuration says nothing else.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// Docker's data directory if its configuration says nothing else.
const DOCKER: &str = "/var/lib/docker";

/// What `--help` prints.
pub const HELP: &str = "\
containerd's proxy snapshotter of sharedroot (experimental)

Usage: sharedrootd [--address PATH] [--config PATH] [--containerd PATH] [--docker DIR]... [--debug]

  --address PATH      Listen on a new unix socket at PATH; without it, on the socket that systemd passes
  --config PATH       Read this configuration instead of /etc/sharedroot/config.toml
  --containerd PATH   Ask containerd at this socket for the records of containers, instead of /run/containerd/containerd.sock
  --docker DIR        Read the records of containers in this data directory of Docker, instead of /var/lib/docker
  --debug             Print each call to standard error
  --help              Print this help
  --version           Print the version
";

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve(Options),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The place of a new socket; without one, systemd passes the socket.
    pub address: Option<PathBuf>,
    /// The configuration.
    pub config: PathBuf,
    /// containerd's socket.
    pub containerd: PathBuf,
    /// The data directories of Docker daemons.
    pub docker: Vec<PathBuf>,
    /// Whether each call is printed.
    pub debug: bool,
}

/// A command line that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// A word that is no option.
    #[error("{0:?} is no option; see sharedrootd --help")]
    Unknown(OsString),
    /// An option without its value.
    #[error("{0} needs a path")]
    NoPath(&'static str),
}

impl Command {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// [`BadCommand`].
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, BadCommand> {
        let mut options = Options {
            address: None,
            config: CONFIG.into(),
            containerd: CONTAINERD.into(),
            docker: Vec::new(),
            debug: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut path = |option| {
                let path = words.next().filter(|path| !path.is_empty());
                path.map(PathBuf::from).ok_or(BadCommand::NoPath(option))
            };
            match word.to_str() {
                Some("--address") => options.address = Some(path("--address")?),
                Some("--config") => options.config = path("--config")?,
                Some("--containerd") => options.containerd = path("--containerd")?,
                Some("--docker") => options.docker.push(path("--docker")?),
                Some("--debug") => options.debug = true,
                Some("--help" | "-h") => return Ok(Self::Help),
                Some("--version") => return Ok(Self::Version),
                _ => return Err(BadCommand::Unknown(word)),
            }
        }
        if options.docker.is_empty() {
            options.docker.push(DOCKER.into());
        }
        Ok(Self::Serve(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Command, BadCommand> {
        Command::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn words_are_options_or_refused() {
        let words = ["--debug", "--address", "/run/s", "--config", "/c", "--containerd", "/k"];
        let all = parse(&[&words[..], &["--docker", "/a", "--docker", "/b"]].concat());
        let (address, containerd) = (Some("/run/s".into()), "/k".into());
        let docker = vec!["/a".into(), "/b".into()];
        let wanted = Options { address, config: "/c".into(), containerd, docker, debug: true };
        assert_eq!(all, Ok(Command::Serve(wanted)));
        let Ok(Command::Serve(usual)) = parse(&[]) else { panic!("no word is needed") };
        assert_eq!((usual.containerd, usual.docker), (CONTAINERD.into(), vec![DOCKER.into()]));
        assert_eq!(parse(&["--debug", "--help"]), Ok(Command::Help));
        assert_eq!(parse(&["--address"]), Err(BadCommand::NoPath("--address")));
        assert_eq!(parse(&["--config", ""]), Err(BadCommand::NoPath("--config")));
        assert_eq!(parse(&["serve"]), Err(BadCommand::Unknown("serve".into())));
    }
}
