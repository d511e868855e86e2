//! How one more process enters a running container.
//!
//! The engine's own steps enter the container's PID namespace first and its mount namespace last. Between these steps,
//! a process of the container that has CAP_SYS_PTRACE finds the host's root in `/proc/PID/root`. Here a process of
//! sharedroot joins all namespaces by one setns(2), and then forks the requested process. That process is the first one
//! that the container can see, and its root is the container's from its fork on. The engine's code leads it from there.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcgroups::common::{CgroupConfig, CgroupManager, create_cgroup_manager};
use libcontainer::container::Container;
use libcontainer::notify_socket::{NotifyListener, NotifySocket};
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::process::channel;
use libcontainer::process::cpu_affinity::set_cpuset_affinity_from_string;
use libcontainer::process::init::container_init_process;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Process, Spec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{getpid, getppid, set_parent_process_death_signal};
use sharedroot_sys::chain::chain;
use sharedroot_sys::clone3::{Relation, fork};
use sharedroot_sys::new_file;

use super::child_setup::{BoxError, arguments, harden_child, reason};
use super::clone3::{End, TargetCgroup, leave};
use super::console::Console;
use super::executor::Workload;
use crate::engine_log;

/// `CLONE_NEWTIME` of `linux/sched.h`. nix has no name for it.
const NEWTIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// The container that a process enters, and the options of the process.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The engine's state of the container.
    pub container: Container,
    /// The container's init process.
    pub init: &'a OwnedFd,
    /// The container's configuration.
    pub spec: &'a Spec,
    /// The process, completed from the container's configuration.
    pub process: &'a Process,
    /// How the process is confined beyond what the engine does.
    pub workload: Workload,
    /// The cgroup to clone the process into; `None` to move the process to `cgroup` instead.
    pub target_cgroup: Option<TargetCgroup>,
    /// The path of the cgroup.
    pub cgroup: PathBuf,
    /// The socket that receives the terminal.
    pub console_socket: Option<&'a Path>,
    /// The file that receives the process ID.
    pub pid_file: Option<&'a Path>,
    /// How many further descriptors the process inherits.
    pub preserve_fds: i32,
}

impl Entry<'_> {
    /// Starts the process as a child of this one, with a socket in the directory `sockets`.
    ///
    /// # Errors
    /// The step that failed, or the engine's error; then no process is left.
    pub fn enter(mut self, sockets: &Path) -> Result<Pid, BoxError> {
        let name = format!("exec-{}.start", std::process::id());
        let start = sockets.join(name);
        // A process with this number was killed.
        let _ = fs::remove_file(&start);
        let entered = self.enter_by(&start);
        let _ = fs::remove_file(start);
        entered
    }

    fn enter_by(&mut self, start: &Path) -> Result<Pid, BoxError> {
        let console = self.console_socket.map(Console::new).transpose()?;
        let (mut failure, fails) = io::pipe()?;
        let args = self.args(NotifyListener::new(start)?, console.as_ref(), &fails);
        let (mut says, mut said) = channel::main_channel()?;
        let (answers, mut answered) = channel::init_channel()?;
        let (mut told, tells) = io::pipe()?;

        let place = self.target_cgroup.as_ref().map(TargetCgroup::descriptor);
        let parent = getpid();
        let Some(guide) = fork(place, Relation::Child)? else {
            drop((told, failure));
            // The pipe ends when the kernel ends this process. No cgroup stops the process then.
            let tells = ManuallyDrop::new(tells);
            let closed = end_with(parent).and_then(|()| {
                console.as_ref().map_or(Ok(()), Console::close_ours).map_err(io::Error::from)
            });
            let guided = closed.and_then(|()| {
                self.guide(self.init, tells, fails, || {
                    container_init_process(&args, &mut says, &mut answered).inspect_err(|why| {
                        if let Some(words) = reason(self.process, None, why) {
                            engine_log::explain(&words);
                        }
                    })
                })
            });
            leave(End::from(&guided))
        };
        drop((tells, fails));
        says.close()?;
        answers.close()?;
        let words = self.hear(guide, &mut told)?;
        waitpid(guide, None)?;
        let pid = match words.split_at_checked(1) {
            Some(("+", pid)) => Pid::from_raw(pid.parse()?),
            Some(("-", why)) => return Err(why.into()),
            _ => return Err("the process was killed on its way into the container".into()),
        };
        let led = said
            .wait_for_init_ready()
            .map_err(BoxError::from)
            .and_then(|()| self.let_go(pid, console, start));
        if led.is_err() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        // The pipe ends when the process executes the program, or has ended.
        let mut why = String::new();
        failure.read_to_string(&mut why)?;
        // The process's own words say more than the error of the channel, which only ended.
        let ended = match led {
            Ok(()) if why.is_empty() => return Ok(pid),
            Err(error) if why.is_empty() => error,
            _ => why.into(),
        };
        waitpid(pid, None)?;
        Err(ended)
    }

    /// Hears what the guide tells. If the container ends before, the guide is killed: the container may have frozen the cgroup that
    /// the guide has joined, and the end of the container's PID namespace does not end the guide.
    fn hear(&self, guide: Pid, told: &mut PipeReader) -> Result<String, BoxError> {
        let (mut words, mut part, mut lives) = (Vec::new(), [0; 4096], true);
        loop {
            let ready = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut both = [ready(told.as_fd()), ready(self.init.as_fd())];
            match poll(&mut both[..1 + usize::from(lives)], None) {
                Err(Errno::INTR) => continue,
                polled => polled?,
            };
            if !both[0].revents().is_empty() {
                match told.read(&mut part)? {
                    0 => return Ok(String::from_utf8(words)?),
                    read => words.extend(&part[..read]),
                }
            } else {
                lives = false;
                kill(guide, Signal::SIGKILL)?;
            }
        }
    }

    /// Lets the process `pid`, which is ready, execute its program.
    fn let_go(&self, pid: Pid, console: Option<Console<'_>>, start: &Path) -> Result<(), BoxError> {
        if self.target_cgroup.as_ref().is_some_and(|place| !place.holds(pid.as_raw())) {
            return Err("the process is not in the container's cgroup".into());
        }
        if let Some(console) = console {
            console.hand_over(self.spec, self.process)?;
        }
        if let Some(file) = self.pid_file {
            let fail = |e| format!("write {}: {e}", file.display());
            // As with runc, a process that waits for the file finds its whole content.
            new_file::write(file, pid.to_string().as_bytes(), 0o644).map_err(fail)?;
        }
        Ok(NotifySocket::new(start).notify_container_start()?)
    }

    /// In the first child: joins the container, and forks the process, which runs `work`. An error is
    /// one of the child, or of the process.
    fn guide<E: std::error::Error>(
        &mut self,
        init: &OwnedFd,
        mut tells: ManuallyDrop<PipeWriter>,
        mut fails: PipeWriter,
        work: impl FnOnce() -> Result<(), E>,
    ) -> io::Result<()> {
        let joined = self.join(init).and_then(|()| Ok(fork(None, Relation::Sibling)?));
        let words = match joined {
            Ok(Some(pid)) => format!("+{pid}"),
            Ok(None) => {
                drop(ManuallyDrop::into_inner(tells));
                let Err(why) = work() else { return Ok(()) };
                return fails.write_all(chain(&why).as_bytes());
            }
            Err(why) => format!("-{}", chain(&*why)),
        };
        tells.write_all(words.as_bytes())
    }

    /// Joins the container's namespaces. This process keeps its number of the host's PID namespace.
    fn join(&mut self, init: &OwnedFd) -> Result<(), BoxError> {
        // An open directory of the host would lead the process out again (CVE-2024-21626).
        let cloned_there = self.target_cgroup.take().is_some();
        let own = i32::try_from(std::process::id())?;
        let own = self.container.set_pid(own).pid().ok_or("a process has a number")?;
        let affinity = self.process.exec_cpu_affinity().as_ref();
        if let Some(cpus) = affinity.and_then(|affinity| affinity.initial().as_ref()) {
            set_cpuset_affinity_from_string(own, cpus)?;
        }
        if !cloned_there {
            create_cgroup_manager(self.cgroup_config())?.add_task(own)?;
        }
        if let Some(cpus) = affinity.and_then(|affinity| affinity.cpu_affinity_final().as_ref()) {
            set_cpuset_affinity_from_string(own, cpus)?;
        }
        harden_child(self.process)?;
        setns(init, self.namespaces())
            .map_err(|e| format!("join the container's namespaces: {e}"))?;
        Ok(())
    }

    /// The flags of the namespaces that the container does not share with the host. A container with a user namespace
    /// was refused before.
    fn namespaces(&self) -> CloneFlags {
        let all = self.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
        let flag = |namespace: &LinuxNamespace| match namespace.typ() {
            LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
            LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
            LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
            LinuxNamespaceType::User => CloneFlags::CLONE_NEWUSER,
            LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
            LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
            LinuxNamespaceType::Time => NEWTIME,
        };
        all.unwrap_or_default().iter().map(flag).collect()
    }

    fn cgroup_config(&self) -> CgroupConfig {
        CgroupConfig {
            cgroup_path: self.cgroup.clone(),
            // systemd knows only its units, and no cgroup below a unit.
            systemd_cgroup: self.container.systemd() && !self.cgroup.is_absolute(),
            container_name: self.container.id().to_owned(),
        }
    }

    /// The engine's arguments: it has no namespace to join and no filter to load.
    fn args(
        &self,
        start: NotifyListener,
        console: Option<&Console<'_>>,
        fails: &PipeWriter,
    ) -> ContainerArgs {
        let personality = self.spec.linux().as_ref().and_then(|linux| linux.personality().clone());
        let mut linux = Linux::default();
        linux.set_namespaces(None).set_personality(personality);
        let mut spec = self.spec.clone();
        spec.set_process(Some(self.process.clone())).set_linux(Some(linux));
        ContainerArgs {
            console_socket: console.map(Console::engines),
            preserve_fds: self.preserve_fds,
            ..arguments(
                ContainerType::TenantContainer { exec_notify_fd: fails.as_raw_fd() },
                Rc::new(spec),
                start,
                self.cgroup_config(),
                self.workload.clone(),
            )
        }
    }
}

/// Has the kernel kill this process when its parent ends: nobody else knows it.
fn end_with(parent: rustix::process::Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended already.
    if getppid() != Some(parent) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(())
}
