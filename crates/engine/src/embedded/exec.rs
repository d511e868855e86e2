//! `exec`: one more process in a container.

use std::path::PathBuf;

use libcontainer::container::ContainerStatus;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;

use super::tenant::Tenant;
use crate::process::clone3;
use crate::process::enter::Entry;
use crate::process::inherited_fds::close_inherited;
use crate::process::stdio;
use crate::reason::reason;
use crate::{Embedded, EngineError};

/// How the caller is connected to the process.
#[derive(Debug, Default)]
pub struct Terminal {
    /// The file that receives the process ID.
    pub pid_file: Option<PathBuf>,
    /// The socket that receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// How many further descriptors the process inherits.
    pub preserve_fds: i32,
    /// Do not wait for the end of the process.
    pub detach: bool,
    /// Start the process also in a paused container.
    pub ignore_paused: bool,
    /// The cgroup to join, below the container's own.
    pub cgroup: Option<String>,
}

impl Embedded {
    /// Starts the process `tenant` in the container, as a child of this process.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn exec(
        &self,
        spec: &Spec,
        tenant: &Tenant,
        terminal: &Terminal,
    ) -> Result<Pid, EngineError> {
        let container = self.load("exec")?;
        let paused = terminal.ignore_paused && container.status() == ContainerStatus::Paused;
        self.require("exec", &container, |container| container.can_exec() || paused)?;
        let wrong = |what: String| EngineError::Process { id: self.id().clone(), what };
        match &terminal.console_socket {
            None if tenant.wants_terminal() => return Err(EngineError::Console),
            Some(_) if !(tenant.wants_terminal() && terminal.detach) => {
                let what = "--console-socket is for a terminal of a process that is detached";
                return Err(wrong(what.to_owned()));
            }
            _ => {}
        }
        let init = self.hold(&container).map_err(|e| wrong(format!("open its process: {e}")))?;
        let status = ContainerStatus::Stopped.into();
        let init =
            init.ok_or(EngineError::WrongStatus { verb: "exec", id: self.id().clone(), status })?;
        close_inherited(terminal.preserve_fds)
            .map_err(|e| wrong(format!("close what the caller left open: {e}")))?;
        self.join_containers_session(tenant.workload.label.as_ref())?;
        stdio::give_streams(spec, &tenant.process);
        let below = self.sub_cgroup(&container, terminal.cgroup.as_deref())?;
        // clone3(2) cannot clone a process into a cgroup that gives controllers to its children.
        let target_cgroup = clone3::of_running(&container).filter(|_| below.is_none());
        let cgroup = container.spec().map_err(self.fail("exec"))?.cgroup_path;
        let entry = Entry {
            container,
            init: &init,
            spec,
            process: &tenant.process,
            workload: tenant.workload.clone(),
            target_cgroup,
            cgroup: below.unwrap_or(cgroup),
            console_socket: terminal.console_socket.as_deref(),
            pid_file: terminal.pid_file.as_deref(),
            preserve_fds: terminal.preserve_fds,
        };
        entry.enter(&self.dir()).map_err(|why| EngineError::Engine {
            verb: "exec",
            id: self.id().clone(),
            why: reason(&*why),
        })
    }
}
