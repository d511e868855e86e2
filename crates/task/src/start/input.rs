//! The standard input of `start`.

use super::command::Start;
use crate::decode::{TooManyEntries, Unreadable, decode};
use crate::messages::Any;
use crate::messages::bootstrap::BootstrapParams;
use crate::messages::options::{any_runtime, runc};

/// The most bytes that are read; containerd's own shim has the same bound (2.3, `pkg/shim/shim.go`).
pub const MAX_INPUT: usize = 10 << 20;

/// How containerd talks to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Until 2.2: the standard input has the options, and the standard output gets the address as text.
    Address,
    /// From 2.3 on: both have messages.
    Bootstrap,
}

/// The content of the standard input.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// How the program must answer.
    pub protocol: Protocol,
    /// The options of the runtime.
    pub options: RuntimeOptions,
    /// The directory in which containerd wants the sockets.
    pub socket_dir: Option<String>,
}

/// Options of the runtime, by the program that gave them.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RuntimeOptions {
    /// No options were given.
    #[default]
    None,
    /// Options that containerd, CRI or `ctr` gave.
    Runc(runc::Options),
    /// Options that Docker gave, or CRI for a runtime that CRI does not know.
    Any(any_runtime::Options),
}

/// Options that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownOptions {
    /// The options are for another runtime.
    #[error(
        "options of type {0:?}: containerd.runc.v1.Options and runtimeoptions.v1.Options are understood"
    )]
    Type(String),
    /// The options are not the message that their type names.
    #[error("options of type {name:?} are malformed")]
    Malformed {
        /// The type.
        name: String,
        /// Why the message cannot be read.
        source: Unreadable,
    },
}

/// The input cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadInput {
    /// The input is longer than [`MAX_INPUT`].
    #[error("the standard input has more than {MAX_INPUT} bytes")]
    TooLong,
    /// The input is neither of the two messages.
    #[error("the standard input is neither BootstrapParams of this container nor options")]
    Malformed,
    /// The input has more entries than any of the messages has.
    #[error("the standard input: {0}")]
    TooManyEntries(TooManyEntries),
    /// The options cannot be used.
    #[error(transparent)]
    Options(#[from] UnknownOptions),
}

impl Input {
    /// Reads the standard input of a `start`.
    ///
    /// Both messages begin with two fields of text, so the bytes of one message can be read as the other message. The input is
    /// a `BootstrapParams` if it names the container and the namespace of the command line: containerd still writes both on the
    /// command line, too.
    ///
    /// # Errors
    /// The input is too long, has too many entries, is neither message, or has options of another runtime.
    pub fn parse(bytes: &[u8], start: &Start) -> Result<Self, BadInput> {
        if bytes.len() > MAX_INPUT {
            return Err(BadInput::TooLong);
        }
        let protocol = Protocol::Address;
        if bytes.is_empty() {
            return Ok(Self { protocol, options: RuntimeOptions::None, socket_dir: None });
        }
        match decode::<BootstrapParams>(bytes, &[]) {
            Ok(params)
                if params.instance_id == start.id.as_str()
                    && params.namespace == start.namespace.as_str() =>
            {
                return Self::of_params(params);
            }
            Err(Unreadable::TooMany(error)) => return Err(BadInput::TooManyEntries(error)),
            _ => {}
        }
        match decode::<Any>(bytes, &[]) {
            Ok(any) if !any.type_url.is_empty() => {
                let options = RuntimeOptions::of(Some(&any))?;
                Ok(Self { protocol, options, socket_dir: None })
            }
            _ => Err(BadInput::Malformed),
        }
    }

    fn of_params(params: BootstrapParams) -> Result<Self, BadInput> {
        let extensions = params.extensions.iter().filter_map(|extension| extension.value.as_ref());
        // Other extensions are for other shims, or for later versions.
        let options = extensions.map(|any| RuntimeOptions::of(Some(any)));
        let mut found = RuntimeOptions::None;
        for options in options {
            match options {
                Ok(options) => found = options,
                Err(UnknownOptions::Type(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let socket_dir = params.socket_dir.filter(|dir| !dir.is_empty());
        Ok(Self { protocol: Protocol::Bootstrap, options: found, socket_dir })
    }
}

impl RuntimeOptions {
    /// Reads options. The options of `Create` have the same form.
    ///
    /// # Errors
    /// The options have another type, or the message is malformed.
    pub fn of(any: Option<&Any>) -> Result<Self, UnknownOptions> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty() || !any.value.is_empty()) else {
            return Ok(Self::None);
        };
        let malformed = |source| UnknownOptions::Malformed { name: any.name().to_owned(), source };
        if let Some(options) = any.read().map_err(malformed)? {
            return Ok(Self::Runc(options));
        }
        if let Some(options) = any.read().map_err(malformed)? {
            return Ok(Self::Any(options));
        }
        Err(UnknownOptions::Type(any.name().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::MAX_ENTRIES;
    use crate::messages::bootstrap::Extension;

    fn start() -> Start {
        Start {
            namespace: "moby".parse().unwrap(),
            id: "c1".parse().unwrap(),
            grpc_address: String::new(),
            ttrpc_address: String::new(),
            publish_binary: String::new(),
            debug: false,
        }
    }

    fn parse(bytes: &[u8]) -> Result<Input, BadInput> {
        Input::parse(bytes, &start())
    }

    fn runc_options() -> runc::Options {
        runc::Options { systemd_cgroup: true, ..runc::Options::default() }
    }

    #[test]
    fn nothing_and_options_are_the_old_protocol() {
        let old = |options| Ok(Input { protocol: Protocol::Address, options, socket_dir: None });
        assert_eq!(parse(&[]), old(RuntimeOptions::None));
        let any = Any::of(&runc_options());
        assert_eq!(parse(&any.encode_to_vec()), old(RuntimeOptions::Runc(runc_options())));
        let docker = any_runtime::Options { config_body: b"a = 1".to_vec(), ..Default::default() };
        let any = Any::of(&docker);
        assert_eq!(parse(&any.encode_to_vec()), old(RuntimeOptions::Any(docker)));
    }

    #[test]
    fn bootstrap_params_are_those_of_this_container() {
        let other = Any { type_url: "a.b.C".to_owned(), value: vec![255] };
        let values = [other, Any::of(&runc_options())];
        let params = BootstrapParams {
            instance_id: "c1".to_owned(),
            namespace: "moby".to_owned(),
            extensions: values.map(|any| Extension { value: Some(any) }).into(),
            socket_dir: Some("/run/x".to_owned()),
            ..BootstrapParams::default()
        };
        let input = parse(&params.encode_to_vec()).unwrap();
        assert_eq!(input.protocol, Protocol::Bootstrap);
        assert_eq!(input.options, RuntimeOptions::Runc(runc_options()));
        assert_eq!(input.socket_dir.as_deref(), Some("/run/x"));
        let other = BootstrapParams { instance_id: "c2".to_owned(), ..params };
        assert!(parse(&other.encode_to_vec()).is_err());
    }

    /// containerd 2.3's own shim reads these options as `BootstrapParams`.
    #[test]
    fn options_that_can_be_read_as_bootstrap_params_are_options() {
        let options = runc::Options { binary_name: "crun".to_owned(), ..runc::Options::default() };
        let bytes = Any::of(&options).encode_to_vec();
        assert!(BootstrapParams::decode(bytes.as_slice()).is_ok());
        assert_eq!(parse(&bytes).unwrap().options, RuntimeOptions::Runc(options));
    }

    #[test]
    fn bad_input_is_an_error() {
        assert_eq!(parse(b"{}"), Err(BadInput::Malformed));
        assert_eq!(parse(&vec![0; MAX_INPUT + 1]), Err(BadInput::TooLong));
        // Empty extensions.
        let extensions = [0x42, 0].repeat(MAX_ENTRIES + 1);
        assert!(matches!(parse(&extensions), Err(BadInput::TooManyEntries(_))));
        let any = Any { type_url: "a.b.C".to_owned(), value: Vec::new() };
        let error = UnknownOptions::Type("a.b.C".to_owned());
        assert_eq!(parse(&any.encode_to_vec()), Err(BadInput::Options(error)));
        let any = Any { value: vec![255], ..Any::of(&runc_options()) };
        let error = parse(&any.encode_to_vec()).unwrap_err();
        assert!(matches!(error, BadInput::Options(UnknownOptions::Malformed { .. })), "{error}");
    }
}
