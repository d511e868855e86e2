//! The labels of one container, its processes' and its files': what a bundle and Docker's options may ask for. In a guest
//! where SELinux is enforcing.
//!
//! Guest: --selinux enforcing --limit 900 --shim long

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use sharedroot_tests::attack::targets;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::docker::{Container, KINDS, docker_run};
use sharedroot_tests::kernel_view::{has_begun, mounts_of, root_of};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::pool::has;
use sharedroot_tests::runtime::{Container as RuntimesContainer, Runtime};
use sharedroot_tests::selinux::{Context, SHARED, denials, enforcing};
use sharedroot_tests::stack::Image;

/// `create` and `start` of a container whose processes have a label of containers: they may not use this program's streams,
/// and every denial that nobody expected is a failure.
#[track_caller]
fn started<'r>(runtime: &'r Runtime, bundle: &str) -> RuntimesContainer<'r> {
    let container = runtime.container(unique_name("c"));
    quietly(runtime, &["create", "--bundle", bundle, &container.id]);
    quietly(runtime, &["start", &container.id]);
    has_begun(container.pid());
    container
}

/// A command that must succeed, with /dev/null for its streams.
#[track_caller]
fn quietly(runtime: &Runtime, words: &[&str]) {
    const QUIET: &str = "exec \"$@\" < /dev/null > /dev/null 2>&1";
    let shell = ["sh", "-c", QUIET, "sh", runtime.program(), "--root", runtime.root()];
    out(&[&shell, words].concat());
}

/// Commas in both labels, and a range in the process's.
#[test]
fn vm_a_bundles_labels_are_taken_as_they_are() {
    enforcing();
    const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c3.c7";
    let runtime = Runtime::sharedroot();
    for process in [
        "system_u:system_r:container_t:s0:c1,c3.c7",
        "system_u:system_r:container_t:s0-s0:c0.c1023",
    ] {
        let image = Image::new();
        for readonly in [true, false] {
            let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
            bundle.edit(|config| {
                config["process"]["selinuxLabel"] = json!(process);
                config["linux"]["mountLabel"] = json!(FILES);
            });
            let container = started(&runtime, bundle.str());
            let pid = container.pid();
            assert!(root_of(pid).is_on_dm());
            assert_eq!(Context::of_process(pid), process);
            assert_eq!(Context::seen_by(pid, "/etc/passwd"), if readonly { SHARED } else { FILES });
            assert_eq!(
                Context::seen_by(pid, "/dev"),
                FILES,
                "a file system of the container's own"
            );
            let file = TempDir::new("pid");
            let pid_file = file.0.join("pid");
            let pid_file = pid_file.to_str().expect("ASCII");
            let exec = ["exec", "--detach", "--pid-file", pid_file, &container.id, "sleep", "1000"];
            quietly(&runtime, &exec);
            let exec = fs::read_to_string(pid_file).expect("a pid");
            let exec = exec.trim().parse().expect("a pid");
            has_begun(exec);
            assert_eq!(Context::of_process(exec), process, "exec");
        }
    }
}

/// A label for the process and none for the files, and the reverse.
#[test]
fn vm_each_label_can_be_given_alone() {
    enforcing();
    const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
    const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let caller = Context::of_process(std::process::id().try_into().expect("a pid"));
    for readonly in [true, false] {
        let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
        // The engine's own mount says what its files are.
        let engines = out(&["stat", "--format=%C", &bundle.rootfs]);
        bundle.edit(|config| config["linux"]["mountLabel"] = json!(FILES));
        let container = runtime.start(&bundle);
        assert_eq!(
            Context::of_process(container.pid()),
            caller,
            "as the caller's, readonly {readonly}"
        );
        let files = if readonly { SHARED } else { FILES };
        assert_eq!(Context::seen_by(container.pid(), "/etc/passwd"), files);
        drop(container);
        bundle.edit(|config| {
            config["linux"].as_object_mut().expect("an object").remove("mountLabel");
        });
        let container = runtime.start(&bundle);
        let files = if readonly { SHARED } else { &engines };
        assert_eq!(Context::seen_by(container.pid(), "/etc/passwd"), files, "readonly {readonly}");
        drop(container);
        // A process of containers runs from the base, but not from what an engine without labels has.
        if readonly {
            bundle.edit(|config| config["process"]["selinuxLabel"] = json!(PROCESS));
            let (container, denied) = denials(|| started(&runtime, bundle.str()));
            assert_eq!(Context::of_process(container.pid()), PROCESS);
            // Nor may it use a file system of its own, which has no label for it.
            let is_dev = |path: &str| path.starts_with("/dev/");
            assert!(
                denied.iter().all(|avc| avc.object.as_deref().is_some_and(is_dev)),
                "{denied:#?}"
            );
        }
    }
}

/// A mask without a label could not even be listed. Generic: passes with `RUNTIME=runc`, too.
#[test]
fn vm_masked_directories_are_empty_and_the_containers() {
    enforcing();
    const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
    const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";
    // As they are masked, and where they are: the image's link leads to its own directory. In the order of ls.
    const MASKED: [(&str, &str); 3] = [
        ("/etc/link/secret", "/tmp/image/secret"),
        ("/proc/tty", "/proc/tty"),
        ("/sys/firmware", "/sys/firmware"),
    ];
    let image = |root: &Path| {
        fs::create_dir_all(root.join("tmp/image/secret/of the image")).unwrap();
        symlink("/tmp/image", root.join("etc/link")).unwrap();
    };
    let paths = MASKED.map(|(path, _)| path);
    let list = format!("ls -A {} > /dev/shm/list 2>&1; exec sleep 1000", paths.join(" "));
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &["sh", "-c", &list], image) {
        if target.kind == "not shared" {
            let root = target.path().join("rootfs");
            out(&["chcon", "--recursive", FILES, root.to_str().expect("ASCII")]);
        } else if !runtime.is_sharedroot() {
            continue;
        }
        target.edit(|config| {
            config["process"]["selinuxLabel"] = json!(PROCESS);
            config["linux"]["mountLabel"] = json!(FILES);
            config["linux"]["maskedPaths"] = json!([&paths[..], &["/etc/group", "/none"]].concat());
        });
        let ((), denied) = denials(|| {
            let container = started(&runtime, target.str());
            let pid = container.pid();
            let seen = format!("/proc/{pid}/root/dev/shm/list");
            let seen = wait_for("the list", || {
                fs::read_to_string(&seen).ok().filter(|text| text.lines().count() >= 5)
            });
            assert_eq!(seen, paths.map(|path| format!("{path}:\n")).join("\n"), "{}", target.kind);
            let mounts = mounts_of(&pid.to_string());
            let mask_at = |at: &str| mounts.iter().rfind(|mount| mount.at == at).expect("a mask");
            for (_, at) in MASKED {
                let mask = mask_at(at);
                assert!(mask.fstype == "tmpfs" && mask.options.starts_with("ro"), "{mask:?}");
                assert_eq!(Context::seen_by(pid, at), FILES, "{at}");
            }
            assert!(mask_at("/etc/group").root.ends_with("/null"), "a file is masked by a file");
        });
        assert!(denied.is_empty(), "{}: {denied:#?}", target.kind);
    }
}

#[test]
fn vm_a_label_that_the_policy_does_not_know_is_named() {
    enforcing();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let process = |rest: &str| format!("system_u:system_r:{rest}");
    let files = |rest: &str| format!("system_u:object_r:{rest}");
    let (good_process, good_files) =
        (process("container_t:s0:c1,c2"), files("container_file_t:s0:c1,c2"));
    for readonly in [true, false] {
        let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
        // The base is there, and a container with good labels runs in this bundle.
        let label = |process: &str, files: &str| {
            bundle.edit(|config| {
                config["process"]["selinuxLabel"] = json!(process);
                config["linux"]["mountLabel"] = json!(files);
            });
        };
        label(&good_process, &good_files);
        let container = started(&runtime, bundle.str());
        let unknown = process("container_t:SystemLow");
        let exec = container.exec(&["--process-label", &unknown], &["echo", "ran"]);
        assert!(exec.status != 0 && exec.stdout.is_empty(), "{exec}");
        has(&exec.stderr, &[&unknown]);
        drop(container);
        let before = Census::take();
        for (field, process, files) in [
            ("process.selinuxLabel", process("no_such_t:s0"), good_files.clone()),
            ("process.selinuxLabel", process("container_t:s99"), good_files.clone()),
            // As mcstransd(8) would show it: runc and crun do not translate, either.
            (
                "process.selinuxLabel",
                process("container_t:SystemLow-SystemHigh"),
                good_files.clone(),
            ),
            ("linux.mountLabel", good_process.clone(), files("no_such_t:s0:c1,c2")),
            ("linux.mountLabel", good_process.clone(), files("container_file_t:SystemLow")),
        ] {
            label(&process, &files);
            let wrong = if field == "linux.mountLabel" { &files } else { &process };
            let create =
                runtime.cmd(&["create", "--bundle", bundle.str(), &unique_name("c")]).run();
            let said = create.fails(1);
            has(&said, &[field, "the loaded SELinux policy does not know", wrong]);
        }
        for (field, process, files) in [
            ("process.selinuxLabel", "container_t", good_files.as_str()),
            ("process.selinuxLabel", "system_u:system_r:container_t:s0 c1", &good_files),
            ("linux.mountLabel", good_process.as_str(), "a:b:c:s0\",exec"),
        ] {
            label(process, files);
            let create =
                runtime.cmd(&["create", "--bundle", bundle.str(), &unique_name("c")]).run();
            has(&create.fails(1), &[field, "is not an SELinux context"]);
        }
        before.nothing_left();
    }
}

/// What Docker makes of its options is what a process gets, under every runtime.
#[test]
fn vm_dockers_options_give_what_they_give_with_runc() {
    enforcing();
    const CURRENT: [&str; 2] = ["cat", "/proc/self/attr/current"];
    let [shared, private] = KINDS;
    for (kind, option) in [
        (shared, "--security-opt=label=disable"),
        (private, "--privileged"),
        (private, "--security-opt=label=level:s0:c100,c200"),
        (shared, "--security-opt=label=type:container_t"),
    ] {
        let current = |runtime: &str| {
            let ran = docker_run(runtime, &[kind, &[option, "busybox"], &CURRENT[..]].concat());
            let label = ran.ok().trim_end_matches('\0').to_owned();
            // Without a level in the option every container has one of its own.
            let end = if option.contains("type:") { label.rfind(":s0") } else { None };
            label[..end.unwrap_or(label.len())].to_owned()
        };
        assert_eq!(current("sharedroot"), current("runc"), "{option} {kind:?}");
    }
    for kind in KINDS {
        // The file label stays where the process has none.
        let flags = [kind, &["--security-opt=label=disable", "busybox", "sleep", "1000"]].concat();
        let container = Container::run(&flags);
        assert_eq!(container.inspect(".ProcessLabel"), "");
        let files = container.inspect(".MountLabel");
        assert!(files.contains(":container_file_t:"), "{files}");
        let wanted = if kind.is_empty() { &files } else { SHARED };
        assert_eq!(Context::seen_by(container.pid(), "/etc/passwd"), wanted);
    }
}

/// Docker relabels the volume; the root below it is ours.
#[test]
fn vm_volumes_are_relabelled_by_docker() {
    enforcing();
    for kind in KINDS {
        for (flag, own) in [("z", false), ("Z", true)] {
            // Where the daemon may look, under a type that it may change and containers may not use.
            let dir = TempDir(Path::new("/srv").join(unique_name("volume")));
            fs::create_dir(&dir.0).expect("make a directory");
            fs::write(dir.0.join("file"), "before").expect("write a file");
            out(&["chcon", "--recursive", "--type=container_var_lib_t", dir.str()]);
            let volume = format!("--volume={}:/tmp:{flag}", dir.str());
            let container =
                Container::run(&[kind, &[&volume, "busybox", "sleep", "1000"]].concat());
            assert!(root_of(container.pid()).is_on_dm());
            assert_eq!(container.exec(&["cat", "/tmp/file"]), "before", ":{flag} {kind:?}");
            container.exec(&["sh", "-c", "echo now > /tmp/file && touch /tmp/new"]);
            let label = out(&["stat", "--format=%C", dir.0.join("file").to_str().expect("ASCII")]);
            let wanted = match own {
                true => container.inspect(".MountLabel"),
                false => "system_u:object_r:container_file_t:s0".to_owned(),
            };
            assert_eq!(label, wanted, ":{flag} {kind:?}");
        }
    }
}
