//! containerd's snapshotter of sharedroot: how engines name and reach it, and whether its daemon answers.
//!
//! A connection to the socket would have systemd start the daemon, so nobody connects before it is known that the daemon runs.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sharedroot_bases::{Bases, RootfsError};
use sharedroot_sys::byte_lock::ByteLock;

use super::containerd_shim::in_places;
use super::snapshots::Snapshots;

/// The name of the snapshotter in containerd's configuration, and of the storage driver in Docker's.
pub const NAME: &str = "sharedroot";

/// The daemon's program.
pub const PROGRAM: &str = "sharedrootd";

/// Where the daemon's socket unit listens.
pub const SOCKET: &str = "/run/sharedroot/snapshotter.sock";

/// The command after which the socket answers, now and after each boot.
pub const LISTEN: &str = "systemctl enable --now sharedrootd.socket";

/// The program's path, if the program is where systemd's units of this project or of a package start it.
pub fn installed() -> Option<PathBuf> {
    in_places(PROGRAM)
}

/// Who is behind a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// Nobody listens.
    Nobody,
    /// systemd listens, and starts the daemon with the next call.
    Waits,
    /// The daemon runs.
    Runs,
}

impl Daemon {
    /// Whether somebody listens, and whether a process holds the daemon's lock.
    ///
    /// # Errors
    /// The table of sockets or the lock cannot be read.
    pub fn at(socket: &Path, lock: &Path) -> io::Result<Self> {
        let is_there = fs::symlink_metadata(socket).is_ok_and(|stat| stat.file_type().is_socket());
        if !is_there || !listens(&fs::read_to_string("/proc/net/unix")?, socket) {
            return Ok(Self::Nobody);
        }
        Ok(if ByteLock::is_held(lock, 0)? { Self::Runs } else { Self::Waits })
    }
}

/// Whether the kernel's table of unix sockets (`/proc/net/unix`) has a listening one of this name: the fourth word has the flag
/// `__SO_ACCEPTCON` then.
fn listens(table: &str, socket: &Path) -> bool {
    const ACCEPTS: u32 = 1 << 16;
    table.lines().skip(1).any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let flags = words.get(3).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        words.get(7).is_some_and(|path| Path::new(path) == socket)
            && flags.is_some_and(|flags| flags & ACCEPTS != 0)
    })
}

/// The snapshotter's volumes, its snapshots, and its daemon.
#[derive(Debug)]
pub struct Layers {
    volumes: usize,
    snapshots: Snapshots,
    /// `None` if it cannot be told.
    daemon: Option<Daemon>,
}

impl Layers {
    /// Asks the store and the kernel.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(bases: &Bases) -> Result<Self, RootfsError> {
        let pool = bases.known_pool_if_made()?;
        let volumes = pool.map(|pool| pool.volumes()).transpose()?.unwrap_or_default();
        let volumes = volumes.iter().filter(|volume| volume.name.is_layer()).count();
        let daemon = Daemon::at(Path::new(SOCKET), &bases.snapshotter_lock()).ok();
        Ok(Self { volumes, snapshots: Snapshots::now(bases), daemon })
    }

    /// The same keys whatever there is.
    pub fn to_json(&self) -> Value {
        let daemon = self.daemon.map(|daemon| match daemon {
            Daemon::Nobody => "none",
            Daemon::Waits => "waits",
            Daemon::Runs => "runs",
        });
        let mut all = self.snapshots.to_json();
        all["volumes"] = json!(self.volumes);
        all["daemon"] = json!(daemon);
        all
    }

    /// The figures in words; none where nobody uses the snapshotter.
    pub fn lines(&self) -> Vec<String> {
        let snapshots = self.snapshots.words().map(|words| format!("snapshots {words}"));
        self.line().into_iter().chain(snapshots).collect()
    }

    fn line(&self) -> Option<String> {
        let daemon = match self.daemon {
            None | Some(Daemon::Nobody) if self.volumes == 0 => return None,
            None => "may run",
            Some(Daemon::Nobody) => "does not listen",
            Some(Daemon::Waits) => "starts with the next call",
            Some(Daemon::Runs) => "runs",
        };
        let volumes = self.volumes;
        Some(format!("layers    {volumes} volumes of the snapshotter; {PROGRAM} {daemon}"))
    }
}

/// What an HTTP/2 client says first, and a frame of settings without any (RFC 9113, 3.4).
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The type of a frame of settings, which a server must answer with.
const SETTINGS: u8 = 4;
/// How long a daemon may take for its first answer, which needs no disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Greets the daemon behind a socket, and waits for its first answer.
///
/// # Errors
/// There is no answer, or it is not one of a gRPC server.
pub fn greet(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(GREETING)?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    match head[3] {
        SETTINGS => Ok(()),
        _ => Err(io::Error::other("the answer is not that of a gRPC server")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use sharedroot_bases::SnapshotFigures;

    use super::*;

    #[test]
    fn the_units_are_those_of_the_socket_and_the_program() {
        let socket = include_str!("../../../systemd/sharedrootd.socket");
        assert!(socket.contains(&format!("\nListenStream={SOCKET}\n")), "{socket}");
        let service = include_str!("../../../systemd/sharedrootd.service");
        assert!(service.contains(&format!("\nExecStart=/usr/local/bin/{PROGRAM}\n")), "{service}");
    }

    #[test]
    fn the_kernel_tells_who_listens_and_the_lock_who_serves() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, lock) = (dir.path().join("s"), dir.path().join("lock"));
        let found = || Daemon::at(&socket, &lock).unwrap();
        assert_eq!(found(), Daemon::Nobody);
        let listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(found(), Daemon::Waits);
        assert!(!lock.exists(), "a look makes nothing");
        let held = ByteLock::try_lock(&lock, 0).unwrap().unwrap();
        assert_eq!(found(), Daemon::Runs);
        drop(held);
        assert_eq!(found(), Daemon::Waits);
        drop(listener);
        assert!(socket.exists());
        assert_eq!(found(), Daemon::Nobody);
        // One that is connected, and one of another name.
        let head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
        let line =
            |flags: &str| format!("{head}0000: 00000003 00000000 {flags} 0001 03 35 /run/s\n");
        assert!(listens(&line("00010000"), Path::new("/run/s")));
        assert!(!listens(&line("00000000"), Path::new("/run/s")));
        assert!(!listens(&line("00010000"), Path::new("/run/ss")));
    }

    #[test]
    fn the_snapshotter_has_a_line_where_somebody_uses_it() {
        let snapshots = || Snapshots(Ok(SnapshotFigures::default()));
        let line =
            |volumes, daemon| Layers { volumes, snapshots: snapshots(), daemon }.lines().pop();
        assert_eq!(line(0, Some(Daemon::Nobody)), None);
        assert_eq!(line(0, None), None);
        let runs = line(7, Some(Daemon::Runs)).unwrap();
        assert_eq!(runs, "layers    7 volumes of the snapshotter; sharedrootd runs");
        assert!(line(0, Some(Daemon::Waits)).unwrap().ends_with("starts with the next call"));
        assert!(line(1, Some(Daemon::Nobody)).unwrap().ends_with("does not listen"));
        let snapshots = Snapshots::example();
        let some = Layers { volumes: 1, snapshots, daemon: Some(Daemon::Waits) };
        let json = some.to_json();
        assert_eq!((&json["volumes"], &json["daemon"]), (&json!(1), &json!("waits")));
        assert_eq!(json["layers"], 3);
        assert!(some.lines()[1].starts_with("snapshots 3 layers with 2 MiB, "), "{some:?}");
    }

    #[test]
    fn only_settings_are_an_answer() {
        for (answer, well) in
            [(&b"\0\0\0\x04\0\0\0\0\0"[..], true), (b"HTTP/1.1 400", false), (b"", false)]
        {
            let dir = tempfile::tempdir().unwrap();
            let socket = dir.path().join("s");
            let listener = UnixListener::bind(&socket).unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut said = vec![0; GREETING.len()];
                stream.read_exact(&mut said).unwrap();
                stream.write_all(answer).unwrap();
                said
            });
            assert_eq!(greet(&socket).is_ok(), well, "{answer:?}");
            assert_eq!(server.join().unwrap(), GREETING);
        }
    }
}
