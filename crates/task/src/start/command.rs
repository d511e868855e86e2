//! What containerd asks of the shim's program.

use super::flags::{BadFlag, Flags};
use crate::{Id, NotAnId};

/// The reason why containerd executes the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print the version (`-v`, `-version`).
    Version,
    /// Read options from the standard input and print a
    /// [`RuntimeInfo`](crate::messages::bootstrap::RuntimeInfo) (`-info`).
    Info,
    /// Make sure that a shim serves the container, and print the shim's address.
    Start(Start),
    /// Remove what a dead shim has left of a container, and print how the container ended.
    Delete(Delete),
}

/// The arguments of `start`. The working directory is the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The container's namespace.
    pub namespace: Id,
    /// The container.
    pub id: Id,
    /// containerd's gRPC socket.
    pub grpc_address: String,
    /// containerd's ttrpc socket, which takes the events.
    pub ttrpc_address: String,
    /// containerd's program, which publishes events if there is no ttrpc socket.
    pub publish_binary: String,
    /// Whether containerd's own log has the level debug or trace.
    pub debug: bool,
}

/// The arguments of `delete`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The container's namespace.
    pub namespace: Id,
    /// The container.
    pub id: Id,
    /// The bundle; if empty, the bundle is the working directory.
    pub bundle: String,
    /// Whether containerd's own log has the level debug or trace.
    pub debug: bool,
}

/// The variables that containerd gives beside the command line. An empty variable counts as missing, as with Go's `os.Getenv`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `TTRPC_ADDRESS`.
    pub ttrpc_address: String,
    /// `GRPC_ADDRESS`.
    pub grpc_address: String,
}

/// The command line is not one of containerd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// A flag is wrong.
    #[error(transparent)]
    Flag(#[from] BadFlag),
    /// The namespace is missing or not valid.
    #[error("shim namespace")]
    Namespace(#[source] NotAnId),
    /// The container ID is missing or not valid.
    #[error("the container ID of -id")]
    Id(#[source] NotAnId),
    /// The command is neither `start` nor `delete`.
    #[error("{0:?} is no command of a shim: containerd executes a shim with `start` or `delete`")]
    Action(String),
}

impl Command {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// A flag is wrong, an ID is missing or not valid, or the command is unknown.
    pub fn parse(words: &[String], environment: &Environment) -> Result<Self, BadCommand> {
        let flags = Flags::parse(words)?;
        if flags.is_on("v") || flags.is_on("version") {
            return Ok(Self::Version);
        }
        if flags.is_on("info") {
            return Ok(Self::Info);
        }
        let namespace = flags.value("namespace").parse().map_err(BadCommand::Namespace)?;
        let action = flags.rest.first().map_or("", String::as_str);
        if !["start", "delete"].contains(&action) {
            return Err(BadCommand::Action(action.to_owned()));
        }
        let id = flags.value("id").parse().map_err(BadCommand::Id)?;
        let debug = flags.is_on("debug");
        if action == "delete" {
            let bundle = flags.value("bundle").to_owned();
            return Ok(Self::Delete(Delete { namespace, id, bundle, debug }));
        }
        let address = [flags.value("address"), &environment.grpc_address];
        let address = address.into_iter().find(|address| !address.is_empty());
        Ok(Self::Start(Start {
            namespace,
            id,
            grpc_address: address.unwrap_or_default().to_owned(),
            ttrpc_address: environment.ttrpc_address.clone(),
            publish_binary: flags.value("publish-binary").to_owned(),
            debug,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, BadCommand> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let environment = Environment {
            ttrpc_address: "/run/containerd/containerd.sock.ttrpc".to_owned(),
            grpc_address: "/run/containerd/containerd.sock".to_owned(),
        };
        Command::parse(&words, &environment)
    }

    /// The command lines are those of `Command` in v1.7.24 (`runtime/v2/shim/util.go`, `binary.go`) and v2.3.4
    /// (`pkg/shim/util.go`).
    #[test]
    fn containerds_command_lines_are_understood() {
        let start = Start {
            namespace: "moby".parse().unwrap(),
            id: "c1".parse().unwrap(),
            grpc_address: "/c.sock".to_owned(),
            ttrpc_address: "/run/containerd/containerd.sock.ttrpc".to_owned(),
            publish_binary: "/usr/bin/containerd".to_owned(),
            debug: false,
        };
        let head = "-namespace moby -address /c.sock -publish-binary /usr/bin/containerd -id c1";
        assert_eq!(parse(&format!("{head} start")), Ok(Command::Start(start.clone())));
        let debug = Start { debug: true, ..start };
        assert_eq!(parse(&format!("{head} -debug start")), Ok(Command::Start(debug)));
        let delete = Delete {
            namespace: "moby".parse().unwrap(),
            id: "c1".parse().unwrap(),
            bundle: "/run/b".to_owned(),
            debug: false,
        };
        assert_eq!(parse(&format!("{head} -bundle /run/b delete")), Ok(Command::Delete(delete)));
        assert_eq!(parse("-info"), Ok(Command::Info));
        assert_eq!(parse("-v"), Ok(Command::Version));
        assert_eq!(parse("--version"), Ok(Command::Version));
        let Ok(Command::Start(start)) = parse("-namespace a -id b start") else { panic!() };
        assert_eq!(start.grpc_address, "/run/containerd/containerd.sock");
    }

    #[test]
    fn what_is_missing_or_somebody_elses_is_named() {
        assert_eq!(parse("-id c1 start"), Err(BadCommand::Namespace(NotAnId::Empty)));
        assert_eq!(parse("-namespace a start"), Err(BadCommand::Id(NotAnId::Empty)));
        assert!(matches!(parse("-namespace a -id ../b start"), Err(BadCommand::Id(_))));
        assert!(matches!(parse("-namespace a/b -id c start"), Err(BadCommand::Namespace(_))));
        assert_eq!(parse("-namespace a -id b"), Err(BadCommand::Action(String::new())));
        assert_eq!(parse("-namespace a -id b stop"), Err(BadCommand::Action("stop".to_owned())));
        assert!(matches!(parse("-what start"), Err(BadCommand::Flag(_))));
    }
}
