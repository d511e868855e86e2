//! `start`: containerd executes it for each container, in the container's bundle, and reads the socket's address. If the server
//! of the container's group lives, the container is announced to that server; else `start` begins a server.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sharedroot::verbs::{LifecycleError, Verbs};
use sharedroot_engine::{SealError, sealed};
use sharedroot_sys::private_dir::{PrivateDirError, private_dir};
use sharedroot_task::Id;
use sharedroot_task::start::{BadInput, Input, MAX_INPUT, RuntimeOptions, Start, address};

use crate::engine;
use crate::group::{Common, Group, Program};
use crate::own_call::{self, Answer, OwnCall};
use crate::place::{self, ADDRESS_FILE};
use crate::serve::{NAME, Orders, WORD};

/// What a service manager gives to containerd only. With `NOTIFY_SOCKET` a container could say that containerd is ready.
const OF_CONTAINERD: [&str; 6] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// No shim was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The caller is not root, or the configuration cannot be used.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The standard input.
    #[error(transparent)]
    Input(#[from] BadInput),
    /// An option asks for what this shim does not do.
    #[error("the option {option} ({value:?}) is not supported: {remedy}")]
    Option {
        /// containerd's name of the option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// containerd gave no address for events.
    #[error("TTRPC_ADDRESS is not set: containerd names the socket for events there")]
    NoEvents,
    /// The server of the group does not take the container.
    #[error("the server of the group refuses container {id}: {said}")]
    Refused {
        /// The container.
        id: Id,
        /// What the server says.
        said: String,
    },
    /// The directory of the sockets.
    #[error(transparent)]
    Directory(#[from] PrivateDirError),
    /// The executable could be written by a container.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A system call failed.
    #[error("{step} {path}")]
    File {
        /// The operation.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Finds or starts the server of a container. Returns what containerd reads from standard output.
///
/// # Errors
/// [`StartError`]; then nothing was started.
pub fn start(start: &Start) -> Result<Vec<u8>, StartError> {
    let input = Input::parse(&read_input()?, start)?;
    refuse(&input.options)?;
    if start.ttrpc_address.is_empty() {
        return Err(StartError::NoEvents);
    }
    let bundle = std::env::current_dir().map_err(file("find", "."))?;
    let root = place::state_root(&input.options, &start.namespace);
    let verbs = Verbs::load(&root)?;
    if root != place::state_root(&RuntimeOptions::None, &start.namespace) {
        place::keep_state_root(&bundle, &root).map_err(file("write to", &bundle))?;
    }
    private_dir(verbs.run_dir())?;
    private_dir(&place::socket_dir(verbs.run_dir()))?;
    let group = Group::of(verbs.group(), &start.id, &bundle)
        .map_err(file("read", bundle.join("config.json")))?;
    let common = Common {
        containerd: &start.grpc_address,
        namespace: &start.namespace,
        state_root: &root,
        program: &Program::own().map_err(file("stat", "/proc/self/exe"))?,
    };
    let socket = place::socket_dir(verbs.run_dir()).join(common.server(&group));
    let orders = Orders {
        namespace: start.namespace.clone(),
        id: start.id.clone(),
        ttrpc_address: start.ttrpc_address.clone(),
        socket: socket.clone(),
        state_root: root,
        bundle: bundle.clone(),
        debug: start.debug,
    };
    let text = socket.display().to_string();
    let address_file = bundle.join(ADDRESS_FILE);
    fs::write(&address_file, format!("unix://{text}")).map_err(file("write", address_file))?;
    // Until the server has the container or there is a new server, nobody else begins one.
    let _lock = place::lock(&socket).map_err(file("lock", &socket))?;
    if !join(&orders)? {
        let listener = listen(&socket)?;
        begin(&orders, listener).inspect_err(|_| drop(fs::remove_file(&socket)))?;
    }
    Ok(address(input.protocol, &text))
}

/// Announces the container to the server of its group. Returns whether there is such a server.
fn join(orders: &Orders) -> Result<bool, StartError> {
    let (id, bundle) = (orders.id.clone(), orders.bundle.clone());
    let call = OwnCall::Announce { id: id.clone(), bundle };
    let ask = own_call::ask(&orders.socket, &call);
    match ask.map_err(file("call the server at", &orders.socket))? {
        Answer::Done => Ok(true),
        Answer::NoServer => Ok(false),
        Answer::Refused(status) => Err(StartError::Refused { id, said: status.message }),
    }
}

fn read_input() -> Result<Vec<u8>, StartError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_INPUT).unwrap_or(u64::MAX).saturating_add(1);
    io::stdin().take(most).read_to_end(&mut bytes).map_err(file("read", "standard input"))?;
    Ok(bytes)
}

/// Refuses what containerd's own shim would do, and this one does not; and what is for another shim.
fn refuse(options: &RuntimeOptions) -> Result<(), StartError> {
    const CONFIGURATION: &str = "the shim reads /etc/sharedroot/config.toml";
    let refused = match options {
        RuntimeOptions::None => return Ok(()),
        RuntimeOptions::Runc(options) => {
            vec![(
                "ShimCgroup",
                options.shim_cgroup.clone(),
                "the shim stays in containerd's cgroup",
            )]
        }
        RuntimeOptions::Any(options) => vec![
            ("TypeUrl", options.type_url.clone(), "the shim has no options of its own"),
            ("ConfigPath", options.config_path.clone(), CONFIGURATION),
            ("ConfigBody", unknown_lines(&options.config_body), CONFIGURATION),
        ],
    };
    match refused.into_iter().find(|(_, value, _)| !value.is_empty()) {
        Some((option, value, remedy)) => Err(StartError::Option { option, value, remedy }),
        None => Ok(()),
    }
}

/// The lines of a runtime's options in containerd's configuration, which CRI passes as text to a shim that it does not know.
/// Without `BinaryName`, which names the engine, and `SystemdCgroup`: CRI and Docker write the path of a cgroup in the form of its
/// driver, which the shim knows by that.
fn unknown_lines(body: &[u8]) -> String {
    let is_unknown = |line: &&str| {
        let words: Vec<_> = line.split('=').map(str::trim).collect();
        !matches!(words[..], [""] | ["SystemdCgroup", "true" | "false"])
            && engine::of_line(line).is_none()
    };
    let text = String::from_utf8_lossy(body);
    text.lines().filter(is_unknown).map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Makes the socket. The caller has its lock, and no server listens there.
fn listen(socket: &Path) -> Result<UnixListener, StartError> {
    match fs::remove_file(socket) {
        // A server that was killed left its socket.
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file("remove", socket)(error)),
    }
    let listener = UnixListener::bind(socket).map_err(file("listen at", socket))?;
    // Only root may enter the directory, so nobody was faster.
    let own = Permissions::from_mode(0o600);
    fs::set_permissions(socket, own).map_err(file("protect", socket))?;
    Ok(listener)
}

/// Executes the server from a read-only mount of this program, with the listening socket as its standard input.
fn begin(orders: &Orders, listener: UnixListener) -> Result<(), StartError> {
    let program = sealed()?;
    let mut server = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    server.arg0(NAME).arg(WORD).args(orders.words()).current_dir("/");
    for variable in OF_CONTAINERD {
        server.env_remove(variable);
    }
    server.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().map(drop).map_err(file("start", "the server"))
}

fn file(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StartError {
    let path = path.into();
    move |source| StartError::File { step, path, source }
}

#[cfg(test)]
mod tests {
    use sharedroot_task::messages::options::{any_runtime, runc};

    use super::*;

    #[test]
    fn the_socket_of_a_killed_server_is_replaced() {
        let dir = std::env::temp_dir().join(format!("shim-start-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let socket = dir.join("socket");
        // Dropped, as by a SIGKILL: the socket's name stays.
        drop(listen(&socket).unwrap());
        let listener = listen(&socket).unwrap();
        std::os::unix::net::UnixStream::connect(&socket).unwrap();
        listener.accept().unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn options_that_mean_nothing_here_are_refused_by_their_names() {
        let runc = |options| refuse(&RuntimeOptions::Runc(options));
        let any = |options| refuse(&RuntimeOptions::Any(options));
        let body = |text: &str| any_runtime::Options {
            config_body: text.into(),
            ..any_runtime::Options::default()
        };
        refuse(&RuntimeOptions::None).unwrap();
        runc(runc::Options { systemd_cgroup: true, ..runc::Options::default() }).unwrap();
        any(body("")).unwrap();
        any(body("SystemdCgroup = true\n\n")).unwrap();
        let said = |refused: Result<(), StartError>| refused.unwrap_err().to_string();
        let name = runc::Options { binary_name: "crun".to_owned(), ..runc::Options::default() };
        runc(name).unwrap();
        let cgroup = runc::Options { shim_cgroup: "/shim".to_owned(), ..runc::Options::default() };
        assert!(said(runc(cgroup)).contains("ShimCgroup (\"/shim\")"));
        let path = any_runtime::Options { config_path: "/x".to_owned(), ..body("") };
        assert!(said(any(path)).contains("ConfigPath (\"/x\")"));
        any(body("BinaryName = \"crun\"\n")).unwrap();
        let text = said(any(body("SystemdCgroup = true\nBinaryName = crun\n[a]\n")));
        assert!(text.contains(r#"ConfigBody ("BinaryName = crun; [a]")"#), "{text}");
    }
}
