//! Pods by Docker: `docker create`, `docker start`, `docker rm --force`.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use sharedroot_bench::Clock;
use sharedroot_tests::docker::docker;

use crate::mode::Mode;
use crate::options::Options;
use crate::pods::Pods;

const IMAGE: &str = "pause";

/// The pods of one mode.
#[derive(Debug)]
pub struct Docker {
    mode: Mode,
    runtime: String,
    layers: Vec<PathBuf>,
    /// The processes of the pods, asked for once.
    pids: Vec<OnceLock<i32>>,
}

impl Docker {
    /// Panics for a mode without an overlay, because Docker always mounts its overlay.
    pub fn new(mode: Mode, number: usize, options: &Options) -> Self {
        let own = matches!(mode, Mode::SharedOnMount | Mode::Plain);
        assert!(!own, "--modes {}: Docker mounts its overlay in every mode", mode.name());
        let format = "{{.GraphDriver.Data.UpperDir}}";
        let layer = docker(&["image", "inspect", "--format", format, IMAGE]).ok();
        let runtime = match &options.engine {
            Some(engine) if mode.is_ours() => format!("sharedroot-{engine}"),
            _ => mode.program().to_owned(),
        };
        let pids = (0..number).map(|_| OnceLock::new()).collect();
        Self { mode, runtime, layers: vec![layer.into()], pids }
    }

    fn name(&self, pod: usize) -> String {
        format!("{}-{pod}", self.mode.name())
    }
}

impl Pods for Docker {
    fn create(&self, pod: usize) -> Clock {
        let (mut clock, name) = (Clock::default(), self.name(pod));
        let runtime = format!("--runtime={}", self.runtime);
        let mut words = vec!["create", "--network=none", "--name", &name, &runtime];
        if self.mode.readonly() {
            words.push("--read-only");
        }
        if self.mode.is_off() {
            words.push("--annotation=dev.sharedroot.mode=off");
        }
        words.push(IMAGE);
        clock.step("create", || docker(&words).ok());
        clock.step("start", || docker(&["start", &name]).ok());
        clock
    }

    fn delete(&self, pod: usize) -> Clock {
        let (mut clock, name) = (Clock::default(), self.name(pod));
        clock.step("rm --force", || docker(&["rm", "--force", &name]).ok());
        clock
    }

    fn pid(&self, pod: usize) -> i32 {
        *self.pids[pod].get_or_init(|| {
            let (name, format) = (self.name(pod), "--format={{.State.Pid}}");
            let pid = docker(&["inspect", "--type=container", format, &name]).ok();
            pid.parse().expect("a process id")
        })
    }

    fn warm(&self) {}

    fn cgroup(&self) -> &'static str {
        "/sys/fs/cgroup/docker"
    }

    fn layers(&self) -> &[PathBuf] {
        &self.layers
    }

    fn list(&self) -> Option<f64> {
        let start = Instant::now();
        docker(&["ps"]).ok();
        Some(start.elapsed().as_secs_f64() * 1e3)
    }

    fn shim(&self) -> Option<&'static str> {
        Some("containerd-shim-runc-v2")
    }
}
