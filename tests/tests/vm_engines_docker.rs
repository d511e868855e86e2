//! Docker on sharedroot with another engine, which a script names. `vm_scaffold` has one by `"runtimeArgs"`.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200

use sharedroot_tests::census::Census;
use sharedroot_tests::command::run;
use sharedroot_tests::daemon::Wrapper;
use sharedroot_tests::docker::{Container, docker_run};
use sharedroot_tests::kernel_view::root_of;

#[test]
fn vm_docker_runs_execs_and_removes_on_each_engine() {
    for engine in ["crun", "runc"] {
        let runtime = Wrapper::by_script(&["--engine", engine]);
        for flags in [&["--read-only"][..], &[]] {
            let sleep = [flags, &["busybox", "sleep", "1000"]].concat();
            drop(Container::run_with(&runtime.name, &sleep));
            let before = Census::take();
            let container = Container::run_with(&runtime.name, &sleep);
            let root = root_of(container.pid());
            assert!(root.is_on_dm() && root.fstype == "ext4", "{engine}: {root:?}");
            assert_eq!(root.has("ro"), !flags.is_empty(), "{engine}: {root:?}");
            let record = container.record();
            let path = record["engine"]["path"].as_str().expect("a delegate");
            assert!(path.ends_with(engine), "{record}");

            assert_eq!(container.exec(&["echo", "hello"]), "hello");
            // script(1) gives docker a terminal to pass on.
            let line = format!("docker exec -it {} sh -c 'tty; stty size; exit 8'", container.id);
            let words = ["script", "--quiet", "--return", "--command", &line, "/dev/null"];
            let said = run(&words).fails(8);
            assert!(said.contains("/dev/pts/"), "{engine}: {said}");
            container.call("pause", &[]).ok();
            container.becomes("paused");
            container.call("unpause", &[]).ok();
            container.call("top", &[]).ok();
            container.with_flags("update", &["--memory", "64m", "--memory-swap", "64m"]).ok();
            container.with_flags("stop", &["--time", "1"]).ok();
            container.becomes("exited");
            container.call("rm", &[]).ok();
            before.nothing_left();
        }
        docker_run(&runtime.name, &["busybox", "sh", "-c", "exit 5"]).fails(5);
        // What it says, and what Docker makes of its words, is the engine's own.
        let missing = ["--read-only", "busybox", "/no/such/program"];
        let [ours, its] = [&*runtime.name, engine].map(|runtime| docker_run(runtime, &missing));
        assert!(ours.stderr.contains("/no/such/program"), "{ours}");
        assert_eq!(ours.status, its.status, "{ours}\n{its}");
        let terminal = format!(
            "docker run --rm -it --network=none --read-only --runtime={} busybox sh -c 'tty; exit 9'",
            runtime.name
        );
        let words = ["script", "--quiet", "--return", "--command", &terminal, "/dev/null"];
        let said = run(&words).fails(9);
        assert!(said.contains("/dev/"), "{engine}: {said}");
    }
}
