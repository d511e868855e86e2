//! Which engine a new container gets: the engine that the flag names, else the environment's, else the configuration's, else
//! the embedded engine.
//!
//! The engine runs as root, so only root may decide which program the engine is. A name is searched in fixed
//! directories, never in the caller's PATH, and every directory above the program must be writable by root alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The environment variable that names the engine. The flag precedes it; the configuration follows it.
pub const VARIABLE: &str = "SHAREDROOT_ENGINE";

/// The directories in which a program is searched by its name.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// An engine that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// The value is neither a name nor an absolute path.
    #[error(
        "{origin}: {value:?} is not an engine; give libcontainer, crun, runc, or the absolute path of \
         an OCI runtime"
    )]
    Unknown {
        /// The value that was given.
        value: OsString,
        /// Where the value was given.
        origin: Origin,
    },
    /// No directory has a program of this name.
    #[error(
        "{origin}: there is no {name} in {}; install it, or give the absolute path of an OCI \
         runtime",
        DIRECTORIES.join(":")
    )]
    NotInstalled {
        /// The name.
        name: &'static str,
        /// Where the name was given.
        origin: Origin,
    },
    /// The program's metadata cannot be read.
    #[error("{origin}: the engine {path}: {cause}; install it, or choose another engine")]
    Missing {
        /// The program.
        path: PathBuf,
        /// Where the program was named.
        origin: Origin,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The path is a directory or a device, or the file is not executable.
    #[error("{origin}: the engine {path} is not an executable file; name an OCI runtime")]
    NotExecutable {
        /// The program.
        path: PathBuf,
        /// Where the program was named.
        origin: Origin,
    },
    /// Another user than root could change what runs as root.
    #[error(
        "{origin}: the engine {path} is not safe to run: others can write {culprit} (owner \
         {owner}:{group}, mode {mode:04o}); make it root's own: chown root:root {culprit} && chmod \
         go-w {culprit}"
    )]
    Unsafe {
        /// The program.
        path: PathBuf,
        /// Where the program was named.
        origin: Origin,
        /// The program, or a directory above it, that others can write.
        culprit: PathBuf,
        /// The owner of `culprit`.
        owner: u32,
        /// The group of `culprit`.
        group: u32,
        /// The permission bits of `culprit`.
        mode: u32,
    },
    /// The engine would call itself without end.
    #[error(
        "{origin}: the engine {path} is this program itself; give libcontainer for the embedded \
         engine"
    )]
    Ourselves {
        /// The program.
        path: PathBuf,
        /// Where the program was named.
        origin: Origin,
    },
}

/// Where an engine is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `--engine`
    Flag,
    /// `SHAREDROOT_ENGINE`
    Environment,
    /// The key `engine` in this configuration file.
    Config(PathBuf),
    /// The record of this container, which the engine created.
    Record(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("--engine"),
            Self::Environment => write!(f, "the environment's {VARIABLE}"),
            Self::Config(path) => write!(f, "engine in {}", path.display()),
            Self::Record(id) => write!(f, "the engine that created container {id}"),
        }
    }
}

/// The engine of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Choice {
    /// The embedded libcontainer.
    #[default]
    Libcontainer,
    /// Another OCI runtime.
    Delegate(Program),
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Libcontainer => f.write_str("libcontainer"),
            Self::Delegate(program) => program.path.display().fmt(f),
        }
    }
}

/// An OCI runtime on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program's absolute path, without symbolic links.
    pub path: PathBuf,
    /// The command line that the program understands.
    pub dialect: Dialect,
}

/// A command line. crun's and runc's differ in a few verbs and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// crun's command line.
    Crun,
    /// runc's command line. A runtime that is given by another path is taken to have this command line, too.
    Runc,
}

impl Choice {
    /// Decides between the values of the command line, the environment and the configuration.
    ///
    /// # Errors
    /// [`ChoiceError`] of the value that decides; the other values are not checked.
    pub fn of(
        flag: Option<&OsStr>,
        environment: Option<&OsStr>,
        config: Option<(&str, &Path)>,
    ) -> Result<Self, ChoiceError> {
        let environment = environment.filter(|value| !value.is_empty());
        let config = config.map(|(value, path)| (value.as_ref(), Origin::Config(path.to_owned())));
        let first = flag
            .map(|value| (value, Origin::Flag))
            .or(environment.map(|value| (value, Origin::Environment)))
            .or(config);
        first.map_or(Ok(Self::Libcontainer), |(value, origin)| Self::parse(value, origin))
    }

    fn parse(value: &OsStr, origin: Origin) -> Result<Self, ChoiceError> {
        match value.to_str() {
            Some("libcontainer") => Ok(Self::Libcontainer),
            Some("crun") => Program::named("crun", Dialect::Crun, origin).map(Self::Delegate),
            Some("runc") => Program::named("runc", Dialect::Runc, origin).map(Self::Delegate),
            _ if Path::new(value).is_absolute() => {
                Program::at(Path::new(value), origin).map(Self::Delegate)
            }
            _ => Err(ChoiceError::Unknown { value: value.to_owned(), origin }),
        }
    }
}

impl Program {
    fn named(name: &'static str, dialect: Dialect, origin: Origin) -> Result<Self, ChoiceError> {
        let mut candidates = DIRECTORIES.iter().map(|dir| Path::new(dir).join(name));
        let Some(path) = candidates.find(|path| path.exists()) else {
            return Err(ChoiceError::NotInstalled { name, origin });
        };
        check(&path, &origin).map(|path| Self { path, dialect })
    }

    fn at(path: &Path, origin: Origin) -> Result<Self, ChoiceError> {
        let path = check(path, &origin)?;
        let dialect =
            if path.file_name() == Some("crun".as_ref()) { Dialect::Crun } else { Dialect::Runc };
        Ok(Self { path, dialect })
    }

    /// Checks again the program that created container `id`, because the program may have changed since then.
    ///
    /// # Errors
    /// [`ChoiceError`].
    pub fn still_safe(&self, id: &str) -> Result<(), ChoiceError> {
        check(&self.path, &Origin::Record(id.to_owned())).map(drop)
    }
}

/// Resolves `path`, and checks that only root can change what it executes.
fn check(path: &Path, origin: &Origin) -> Result<PathBuf, ChoiceError> {
    let missing =
        |cause| ChoiceError::Missing { path: path.to_owned(), origin: origin.clone(), cause };
    let real = path.canonicalize().map_err(missing)?;
    // This includes the directories that a symbolic link leads through: a user who can write there can redirect the
    // link.
    for part in path.ancestors().chain(real.ancestors()) {
        let found = part.metadata().map_err(missing)?;
        let (owner, group, mode) = (found.uid(), found.gid(), found.mode() & 0o7777);
        if owner != 0 || mode & 0o002 != 0 || (mode & 0o020 != 0 && group != 0) {
            let (path, culprit) = (path.to_owned(), part.to_owned());
            let origin = origin.clone();
            return Err(ChoiceError::Unsafe { path, origin, culprit, owner, group, mode });
        }
    }
    let found = real.metadata().map_err(missing)?;
    if !found.is_file() || found.mode() & 0o111 == 0 {
        return Err(ChoiceError::NotExecutable { path: real, origin: origin.clone() });
    }
    let ours = Path::new("/proc/self/exe").metadata();
    if ours.is_ok_and(|ours| (ours.dev(), ours.ino()) == (found.dev(), found.ino())) {
        return Err(ChoiceError::Ourselves { path: real, origin: origin.clone() });
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(flag: Option<&str>, environment: Option<&str>, config: Option<&str>) -> String {
        let config = config.map(|value| (value, Path::new("/config.toml")));
        let chosen = Choice::of(flag.map(OsStr::new), environment.map(OsStr::new), config);
        match chosen {
            Ok(Choice::Libcontainer) => "libcontainer".to_owned(),
            Ok(Choice::Delegate(program)) => program.path.display().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_flag_counts_before_the_environment_and_that_before_the_configuration() {
        let embedded = Some("libcontainer");
        assert_eq!(choose(None, None, None), "libcontainer");
        assert_eq!(choose(embedded, Some("?"), Some("?")), "libcontainer");
        assert_eq!(choose(None, embedded, Some("?")), "libcontainer");
        assert_eq!(choose(None, Some(""), embedded), "libcontainer");
        assert!(choose(Some("?"), embedded, embedded).starts_with("--engine: \"?\""));
        assert!(choose(None, Some("?"), embedded).contains("SHAREDROOT_ENGINE: \"?\""));
        assert!(choose(None, None, Some("?")).contains("engine in /config.toml: \"?\""));
        assert!(choose(Some(""), None, None).contains("is not an engine"));
    }

    #[test]
    fn a_path_is_absolute_and_an_executable_file() {
        for relative in ["./runc", "bin/sh", "docker-runc"] {
            assert!(choose(Some(relative), None, None).contains("is not an engine"), "{relative}");
        }
        assert!(choose(Some("/no/such/runc"), None, None).contains("/no/such/runc: No such file"));
        assert!(choose(Some("/etc/passwd"), None, None).contains("not an executable file"));
        assert!(choose(Some("/usr"), None, None).contains("not an executable file"));
        let ourselves = std::env::current_exe().unwrap();
        let said = choose(ourselves.to_str(), None, None);
        assert!(said.contains("itself") || said.contains("not safe"), "{said}");
    }

    #[test]
    fn a_record_reads_back() {
        let program = Program { path: "/usr/bin/crun".into(), dialect: Dialect::Crun };
        for (choice, text) in [
            (Choice::Libcontainer, r#"{"kind":"libcontainer"}"#),
            (
                Choice::Delegate(program),
                r#"{"kind":"delegate","path":"/usr/bin/crun","dialect":"crun"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&choice).unwrap(), text);
            assert_eq!(serde_json::from_str::<Choice>(text).unwrap(), choice);
        }
    }
}
