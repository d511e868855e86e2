//! CRI: pods of a pause container and one container, as a kubelet asks for them.

use serde_json::json;
use sharedroot_bench::{Clock, TOTAL};
use sharedroot_tests::cri::{self, Container, Pod, cri};

use crate::arm::Arm;
use crate::client::{Client, EXEC, START, VERSION, Work};

/// The client.
#[derive(Debug)]
pub struct Cri;

impl Cri {
    /// Makes the guest a node.
    pub fn new() -> Self {
        cri::node();
        Self
    }
}

impl Client for Cri {
    type Container = (Pod, Container);
    const NAME: &'static str = "cri";
    const UNIT: &'static str = "pod";
    const ARMS: &'static [Arm] = &[Arm::Runc, Arm::Shim];
    const TARGETS: &'static [(&'static str, &'static str, f64)] =
        &[(START, TOTAL, 0.5), (EXEC, TOTAL, 0.5)];
    const MEMORY: Option<f64> = None;

    fn version(&self) -> Clock {
        let mut clock = Clock::default();
        clock.step(VERSION, || cri(&["version"]).ok());
        clock
    }

    /// Its container always sleeps, because an exec needs a program.
    fn start(&self, arm: Arm, _: Work) -> (Clock, (Pod, Container)) {
        let mut clock = Clock::default();
        let handler = if arm == Arm::Shim { "sharedroot" } else { "runc" };
        let pod = clock.step("RunPodSandbox", || Pod::plain(handler));
        let container = clock.step("CreateContainer", || {
            pod.create(|config| config["command"] = json!(["sleep", "1000"]))
        });
        clock.step("StartContainer", || cri(&["start", &container.id]).ok());
        (clock, (pod, container))
    }

    fn exec(&self, (_, container): &(Pod, Container)) -> Clock {
        let mut clock = Clock::default();
        clock.step("ExecSync", || container.exec(&["true"]).ok());
        clock
    }

    fn delete(&self, (pod, _): (Pod, Container)) -> Clock {
        let mut clock = Clock::default();
        clock.step("StopPodSandbox", || cri(&["stopp", &pod.id]).ok());
        clock.step("RemovePodSandbox", || cri(&["rmp", &pod.id]).ok());
        clock
    }
}
