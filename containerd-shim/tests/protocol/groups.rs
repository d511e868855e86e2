//! A server with several containers: how long it stays, whose messages go where, and what it has descriptors for.

use std::fs;
use std::time::Duration;

use sharedroot_task::messages::task::*;
use sharedroot_task::{Call, Code};

use crate::server::{Shim, create, within};

#[test]
fn an_announced_container_keeps_the_server_as_long_as_its_bundle_is_there() {
    let mut shim = Shim::start("announced");
    let mut client = shim.connect();
    let bundle = shim.dir.join("second");
    fs::create_dir(&bundle).unwrap();
    client.own_call("Announce", "c2", bundle.to_str().unwrap()).unwrap();
    client.shut_down("c1");
    assert_eq!(client.own_call("Announce", "../c", "/b"), Err(Code::InvalidArgument));
    // A `start` that was killed: containerd removes the bundle and tells nobody.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(shim.child.try_wait().unwrap(), None);
    fs::remove_dir(&bundle).unwrap();
    within("the server ends", || shim.child.try_wait().unwrap().is_some());
    assert!(!shim.dir.join("socket").exists());
}

#[test]
fn a_container_that_is_given_up_lets_the_server_end() {
    let mut shim = Shim::start("given-up");
    let mut client = shim.connect();
    client.own_call("Announce", "c2", "/").unwrap();
    client.own_call("GiveUp", "c1", "").unwrap();
    client.own_call("GiveUp", "c9", "").unwrap();
    assert_eq!(client.own_call("Announce", "c3", "/"), Ok(()));
    client.own_call("GiveUp", "c3", "").unwrap();
    client.own_call("GiveUp", "c2", "").unwrap();
    within("the server ends", || shim.child.try_wait().unwrap().is_some());
}

/// The messages of a helper, and nothing of another container.
#[test]
fn each_container_has_its_own_log() {
    let shim = Shim::start("logs");
    let mut client = shim.connect();
    let bundles = ["bundle", "second"].map(|name| shim.dir.join(name));
    let logs = bundles.each_ref().map(|bundle| {
        fs::create_dir_all(bundle).unwrap();
        fs::write(bundle.join("log"), "").unwrap();
        fs::write(bundle.join("config.json"), "{}").unwrap();
        bundle.join("log")
    });
    for (id, bundle) in ["c1", "c2"].into_iter().zip(&bundles) {
        let bundle = bundle.to_str().unwrap();
        let request = CreateTaskRequest {
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            ..Default::default()
        };
        client.call(&Call::Create(request)).unwrap_err();
    }
    for log in logs {
        let text = fs::read_to_string(log).unwrap();
        assert_eq!(text.matches("load the bundle").count(), 1, "{text}");
    }
}

fn descriptors_of(pid: i32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().skip(3).take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_server_may_have_more_descriptors_and_containers_may_not() {
    let shim = Shim::with_limits("limit", "ulimit -Sn 200; ulimit -Hn 3000");
    let mut client = shim.connect();
    let spawner = shim.spawner(&mut client);
    assert_eq!(descriptors_of(shim.child.id().cast_signed()), "3000 3000");
    assert_eq!(descriptors_of(spawner), "200 3000");
    let pid = rustix::process::Pid::from_raw(spawner).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    within("there is another spawner", || shim.child().is_some_and(|now| now != spawner));
    let spawner = shim.child().unwrap();
    within("it has the limit of the first", || descriptors_of(spawner) == "200 3000");
}

#[test]
fn a_server_without_descriptors_refuses_and_waits_and_goes_on() {
    let shim = Shim::with_limits("full", "ulimit -n 120");
    let mut client = shim.connect();
    let state = Call::State(StateRequest { id: "c1".to_owned(), ..Default::default() });
    assert_eq!(client.code(&state).0, Code::NotFound);
    let mut others: Vec<_> = (0..60).map(|_| shim.connect()).collect();
    assert_eq!(others[59].code(&state).0, Code::NotFound);
    let (code, text) = client.code(&Call::Create(create(&shim)));
    assert_eq!(code, Code::ResourceExhausted, "{text}");
    assert!(text.contains("120 descriptors"), "{text}");
    // More than the kernel gives the server: the last ones wait.
    others.extend((0..80).map(|_| shim.connect()));
    let mut late = others.pop().unwrap();
    assert_eq!(client.code(&state).0, Code::NotFound);
    let busy = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", shim.child.id())).unwrap();
        let times = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
        times.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = busy();
    std::thread::sleep(Duration::from_secs(2));
    assert!(busy() - before < 50, "the server does not wait: {} of 200 ticks", busy() - before);
    drop(others);
    assert_eq!(late.code(&state).0, Code::NotFound);
}
