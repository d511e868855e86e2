//! Many containers in one server of the shim, by `ctr`, and fewer in one of containerd's own shims.

use std::fs;

use serde_json::{Value, json};
use sharedroot_bench::memory::processes;
use sharedroot_bench::{Clock, Samples, targets_json, targets_table};
use sharedroot_tests::command::out;
use sharedroot_tests::shim::{Task, ctr, nothing_runs};

use crate::arm::Arm;
use crate::client::{CLIENT, Client, DELETE, START, Work};
use crate::ctr::Ctr;
use crate::memory::{Look, SHIM};
use crate::options::Options;
use crate::table;

/// The first and the last containers are compared by so many of them.
pub const HUNDRED: usize = 100;
/// The time of the client itself is taken once in so many containers.
const SELDOM: usize = 10;

/// The results of one arm.
#[derive(Debug)]
pub struct Many {
    pub arm: Arm,
    pub containers: usize,
    pub samples: Samples,
    /// With one container, and with all of them.
    pub looks: [Look; 2],
    /// What each container but the first takes.
    pub each: Look,
    /// The open descriptors of the shim, and of the shim's spawner.
    pub descriptors: usize,
}

/// Runs both arms, or ours alone.
pub fn run(options: &Options) -> Value {
    let client = Ctr::new();
    // containerd's own service has no limit. Each container takes descriptors of containerd, and its streams those of the shim.
    for pid in processes(Some("containerd")).1 {
        out(&["prlimit", "--pid", &pid.to_string(), "--nofile=1048576"]);
    }
    let mut found = Vec::new();
    if options.control > 0 {
        found.push(one(&client, Arm::RuncGroup, options.control));
    }
    let ours = one(&client, Arm::ShimGroup, options.many);
    let targets = table::targets_of_many(&ours);
    found.push(ours);
    println!("{}", table::many(&found));
    print!("{}", targets_table(&targets));
    let arm = |many: &Many| {
        json!({"arm": many.arm.name(), "containers": many.containers, "times": many.samples.json(), "looks": many.looks,
            "each": many.each, "descriptors": many.descriptors})
    };
    json!({"arms": found.iter().map(arm).collect::<Vec<_>>(), "targets": targets_json(&targets)})
}

fn one(client: &Ctr, arm: Arm, containers: usize) -> Many {
    // This container makes what stays, as the base of the image.
    client.delete(client.start(arm, Work::Pause).1);
    let first = client.start(arm, Work::Pause).1;
    let before = Look::now();
    let mut samples = Samples::default();
    let mut tasks = Vec::new();
    for number in 0..containers {
        if number % SELDOM == 0 {
            samples.file(CLIENT, START, &client.version());
        }
        let (clock, task) = client.start(arm, Work::Pause);
        samples.file(arm.name(), START, &clock);
        tasks.push(task);
        if (number + 1) % HUNDRED == 0 {
            eprintln!("engine: {}: {} of {containers} containers", arm.name(), number + 1);
        }
    }
    let after = Look::now();
    let open =
        |pid: &i32| fs::read_dir(format!("/proc/{pid}/fd")).expect("list descriptors").count();
    let descriptors = processes(Some(SHIM)).1.iter().map(open).sum();
    remove(client, arm, &tasks, &mut samples);
    tasks.into_iter().for_each(std::mem::forget);
    drop(first);
    nothing_runs();
    let each = after.each(&before, containers);
    Many { arm, containers, samples, looks: [before, after], each, descriptors }
}

/// Ends and removes the first hundred one by one, and then all others at once.
fn remove(client: &Ctr, arm: Arm, tasks: &[Task], samples: &mut Samples) {
    let (one_by_one, rest) = tasks.split_at(HUNDRED);
    for (number, task) in one_by_one.iter().enumerate() {
        if number % SELDOM == 0 {
            samples.file(CLIENT, DELETE, &client.version());
        }
        let mut clock = Clock::default();
        clock.step("task rm --force", || ctr(&["task", "rm", "--force", &task.0]).ok());
        samples.file(arm.name(), DELETE, &clock);
    }
    for some in rest.chunks(HUNDRED) {
        let ids = some.iter().map(|task| task.0.as_str());
        ctr(&["task", "rm", "--force"].into_iter().chain(ids).collect::<Vec<_>>()).ok();
    }
    for some in tasks.chunks(HUNDRED) {
        let ids = some.iter().map(|task| task.0.as_str());
        ctr(&["container", "rm"].into_iter().chain(ids).collect::<Vec<_>>()).ok();
    }
}
