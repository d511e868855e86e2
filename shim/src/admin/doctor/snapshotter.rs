//! Whether the snapshotter answers where the configurations of Docker and containerd have it. Where they do not, its absence is no
//! fault.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sharedroot_sys::chain::chain;

use super::check::Check;
use super::engine_files::{self, Said};
use super::host::Host;
use crate::admin::snapshotter::{Daemon, LISTEN, NAME, PROGRAM, SOCKET, greet, installed};

/// Checks the snapshotter.
pub fn look(host: &Host) -> Vec<Check> {
    // `engines` reports a file that cannot be read.
    let said = |path, parse: fn(&str) -> Result<Said, String>| {
        let text = fs::read_to_string(Path::new("/etc").join(path)).ok();
        text.and_then(|text| parse(&text).ok()).unwrap_or_default()
    };
    let docker = said("docker/daemon.json", engine_files::docker);
    let address = said("containerd/config.toml", engine_files::containerd).snapshotter;
    let found = Found {
        docker_uses_it: docker.storage.as_deref() == Some(NAME),
        is_installed: installed().is_some(),
        state: address.as_ref().map(|at| State::of(at, &host.bases.snapshotter_lock())),
        address,
    };
    vec![found.judged()]
}

/// What is behind the socket.
#[derive(Debug)]
enum State {
    /// The daemon answers, or systemd would start it.
    Daemon(Daemon),
    /// The daemon runs, and does not answer; or nobody knows whether it runs.
    Unknown(io::Error),
}

impl State {
    fn of(socket: &Path, lock: &Path) -> Self {
        let daemon = Daemon::at(socket, lock).and_then(|daemon| {
            if daemon == Daemon::Runs {
                greet(socket)?;
            }
            Ok(daemon)
        });
        daemon.map_or_else(Self::Unknown, Self::Daemon)
    }
}

#[derive(Debug)]
struct Found {
    docker_uses_it: bool,
    is_installed: bool,
    /// Where containerd calls the snapshotter.
    address: Option<PathBuf>,
    /// What is there.
    state: Option<State>,
}

impl Found {
    fn judged(&self) -> Check {
        let (Some(address), Some(state)) = (&self.address, &self.state) else {
            return self.without_containerd();
        };
        let at = address.display();
        let install = format!("sharedroot install containerd --snapshotter && {LISTEN}");
        match state {
            State::Daemon(Daemon::Nobody) if address != Path::new(SOCKET) => Check::problem(
                "snapshotter",
                format!("nobody listens at {at}, where containerd calls it"),
                format!("{install} && systemctl restart containerd"),
            ),
            State::Daemon(Daemon::Nobody) => Check::problem(
                "snapshotter",
                format!(
                    "nobody listens at {at}; if its units were on, `journalctl --unit sharedrootd.service` tells why they ended"
                ),
                LISTEN,
            ),
            State::Daemon(Daemon::Waits) if !self.is_installed => Check::problem(
                "snapshotter",
                format!("systemd listens at {at}, and there is no {PROGRAM} that it could start"),
                format!("install -m 755 target/release/{PROGRAM} /usr/local/bin/{PROGRAM}"),
            ),
            State::Daemon(Daemon::Waits) => {
                Check::ok("snapshotter", format!("{at}; {PROGRAM} starts with the next call"))
            }
            State::Daemon(Daemon::Runs) => {
                Check::ok("snapshotter", format!("{PROGRAM} answers at {at}"))
            }
            State::Unknown(error) => Check::problem(
                "snapshotter",
                format!("{PROGRAM} does not answer at {at}: {}", chain(error)),
                "systemctl restart sharedrootd.service",
            ),
        }
    }

    fn without_containerd(&self) -> Check {
        if !self.docker_uses_it {
            return Check::ok("snapshotter", "no engine uses it");
        }
        Check::problem(
            "snapshotter",
            "Docker's storage driver is the snapshotter, which containerd does not know",
            format!(
                "sharedroot install containerd --snapshotter && {LISTEN} && systemctl restart containerd docker"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Severity::{Ok as Good, Problem};
    use super::*;

    #[test]
    fn a_snapshotter_that_somebody_uses_must_answer() {
        let found = |docker_uses_it, state: Option<State>| Found {
            docker_uses_it,
            is_installed: true,
            address: state.is_some().then(|| SOCKET.into()),
            state,
        };
        let daemon = |daemon| Some(State::Daemon(daemon));
        let silent = Some(State::Unknown(io::ErrorKind::WouldBlock.into()));
        for (found, severity, words) in [
            (found(false, None), Good, "no engine"),
            (found(true, None), Problem, "remedy: sharedroot install containerd --snapshotter && "),
            (found(true, daemon(Daemon::Runs)), Good, "answers at /run/sharedroot/"),
            (found(false, daemon(Daemon::Waits)), Good, "starts with the next call"),
            (found(true, daemon(Daemon::Nobody)), Problem, "remedy: systemctl enable --now"),
            (found(false, silent), Problem, "remedy: systemctl restart sharedrootd.service"),
            (
                Found { is_installed: false, ..found(true, daemon(Daemon::Waits)) },
                Problem,
                "remedy: install -m 755",
            ),
            (
                Found { address: Some("/old".into()), ..found(true, daemon(Daemon::Nobody)) },
                Problem,
                "remedy: sharedroot install containerd --snapshotter",
            ),
        ] {
            let check = found.judged();
            assert_eq!(check.severity, severity, "{found:?}");
            assert!(check.plain_line().contains(words), "{words}: {check:?}");
        }
    }
}
