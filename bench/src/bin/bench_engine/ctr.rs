//! `ctr`: containerd alone.

use sharedroot_bench::{Clock, TOTAL};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::shim::{Task, ctr};

use crate::arm::Arm;
use crate::client::{Client, DELETE, EXEC, START, VERSION, Work};

/// The step of [`START`] in which the shim has a part.
pub const TASK_START: &str = "task start";

/// The client.
#[derive(Debug)]
pub struct Ctr;

impl Ctr {
    /// Brings Docker's images into containerd's own store.
    pub fn new() -> Self {
        let dir = TempDir::new("images");
        let tar = format!("{}/tar", dir.str());
        out(&["docker", "save", "--output", &tar, "pause", "busybox"]);
        ctr(&["image", "import", &tar]).ok();
        Self
    }
}

impl Client for Ctr {
    type Container = Task;
    const NAME: &'static str = "ctr";
    const UNIT: &'static str = "container";
    /// Without [`Arm::Command`], because no task but that of `ctr run` can have another runtime than runc.
    const ARMS: &'static [Arm] = &[Arm::Runc, Arm::Shim, Arm::RuncGroup, Arm::ShimGroup];
    const TARGETS: &'static [(&'static str, &'static str, f64)] =
        &[(START, TASK_START, 0.3), (START, TOTAL, 0.3), (DELETE, TOTAL, 0.2), (EXEC, TOTAL, 0.5)];
    const MEMORY: Option<f64> = Some(0.15);

    fn version(&self) -> Clock {
        let mut clock = Clock::default();
        clock.step(VERSION, || ctr(&["version"]).ok());
        clock
    }

    fn start(&self, arm: Arm, work: Work) -> (Clock, Task) {
        let (mut clock, id) = (Clock::default(), unique_name("c"));
        let mut words = vec!["container", "create", "--read-only", "--runtime", arm.runtime()];
        if arm.in_group() {
            words.extend(["--annotation", "io.containerd.runc.v2.group=g"]);
        }
        match work {
            Work::Pause => words.extend(["docker.io/library/pause:latest", &id]),
            Work::Sleep => {
                words.extend(["docker.io/library/busybox:latest", &id, "sleep", "1000"]);
            }
        }
        clock.step("container create", || ctr(&words).ok());
        clock.step(TASK_START, || ctr(&["task", "start", "--detach", &id]).ok());
        (clock, Task(id))
    }

    fn exec(&self, container: &Task) -> Clock {
        let mut clock = Clock::default();
        let words = ["task", "exec", "--exec-id", "e", &container.0, "true"];
        clock.step("task exec", || ctr(&words).ok());
        clock
    }

    fn delete(&self, container: Task) -> Clock {
        let mut clock = Clock::default();
        ctr(&["task", "kill", "--signal", "SIGKILL", &container.0]).ok();
        container.becomes(Some("STOPPED"));
        clock.step("task rm", || ctr(&["task", "rm", &container.0]).ok());
        clock
    }
}
