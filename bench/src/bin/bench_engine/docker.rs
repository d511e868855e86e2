//! Docker.

use sharedroot_bench::{Clock, TOTAL};
use sharedroot_tests::docker::{docker, is_released};

use crate::arm::Arm;
use crate::client::{Client, DELETE, EXEC, START, VERSION, Work};

/// The client.
#[derive(Debug)]
pub struct Docker;

impl Client for Docker {
    type Container = String;
    const NAME: &'static str = "docker";
    const UNIT: &'static str = "container";
    const ARMS: &'static [Arm] = &[Arm::Runc, Arm::Command, Arm::Shim];
    const TARGETS: &'static [(&'static str, &'static str, f64)] =
        &[(START, TOTAL, 0.65), (DELETE, TOTAL, 0.5), (EXEC, TOTAL, 0.5)];
    const MEMORY: Option<f64> = Some(0.3);

    fn version(&self) -> Clock {
        let mut clock = Clock::default();
        clock.step(VERSION, || docker(&["version"]).ok());
        clock
    }

    fn start(&self, arm: Arm, work: Work) -> (Clock, String) {
        let mut clock = Clock::default();
        let runtime = match arm {
            Arm::Command => "sharedroot",
            // Docker's own name for containerd as it comes.
            Arm::Runc | Arm::RuncGroup => "runc",
            Arm::Shim | Arm::ShimGroup => arm.runtime(),
        };
        let mut words =
            vec!["run", "--detach", "--read-only", "--network=none", "--runtime", runtime];
        match work {
            Work::Pause => words.push("pause"),
            Work::Sleep => words.extend(["busybox", "sleep", "1000"]),
        }
        let id = clock.step("run", || docker(&words).ok());
        (clock, id)
    }

    fn exec(&self, container: &String) -> Clock {
        let mut clock = Clock::default();
        clock.step("exec", || docker(&["exec", container, "true"]).ok());
        clock
    }

    fn delete(&self, container: String) -> Clock {
        let mut clock = Clock::default();
        clock.step("rm --force", || docker(&["rm", "--force", &container]).ok());
        is_released(&container);
        clock
    }
}
