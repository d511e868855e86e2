//! How mounts travel between the host and a container's volumes. Generic: `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::out;
use sharedroot_tests::kernel_view::mounts_of;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::{Container, Runtime};

/// A directory of the host that is a shared mount, with places to mount on.
struct Source(TempDir);

impl Source {
    fn new() -> Self {
        let dir = TempDir::new("volume");
        out(&["mount", "-t", "tmpfs", "volume", dir.str()]);
        out(&["mount", "--make-rshared", dir.str()]);
        for name in ["outer", "inner", "nested"] {
            fs::create_dir(dir.0.join(name)).unwrap();
        }
        Self(dir)
    }

    fn mount_on_the_host(&self) {
        let outer = format!("{}/outer", self.0.str());
        out(&["mount", "-t", "tmpfs", "outer", &outer]);
        fs::write(format!("{outer}/mark"), "").unwrap();
    }

    /// Whether the host has a mount at the place `name`.
    fn has(&self, name: &str) -> bool {
        let path = format!("{}/{name}", self.0.str());
        mounts_of("self").iter().any(|mount| mount.at == path)
    }

    fn volume(&self, at: &str, options: &[&str]) -> Value {
        json!({ "destination": at, "type": "bind", "source": self.0.str(), "options": options })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        out(&["umount", "--recursive", self.0.str()]);
    }
}

fn bundle(runtime: &Runtime, root: Option<&str>, mounts: &[Value]) -> Bundle {
    let bundle = Bundle::new(runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["mounts"].as_array_mut().unwrap().extend_from_slice(mounts);
        if let Some(root) = root {
            config["linux"]["rootfsPropagation"] = json!(root);
        }
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
    });
    bundle
}

/// What a volume did: the host's later mount was seen inside, the container's was seen on the host, and the fields of
/// mountinfo that say so.
fn behaviour(container: &Container<'_>, source: &Source, at: &str) -> (bool, bool, String) {
    let mark = format!("{at}/outer/mark");
    let inside = container.exec(&[], &["sh", "-c", &format!("[ -e {mark} ]")]).status == 0;
    let inner = format!("{at}/inner");
    container.exec(&[], &["busybox", "mount", "-t", "tmpfs", "inner", &inner]).ok();
    (inside, source.has("inner"), fields(container.pid(), at))
}

/// The optional fields of the mount at `at`, without their numbers.
fn fields(pid: i32, at: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let line = text.lines().find(|line| line.split(' ').nth(4) == Some(at)).unwrap();
    let optional = line.split(' ').skip(6).take_while(|word| *word != "-");
    optional.map(|word| word.split(':').next().unwrap()).collect::<Vec<_>>().join(" ")
}

/// One volume under a root propagation.
#[track_caller]
fn one(root: Option<&str>, option: Option<&str>) -> (bool, bool, String) {
    let runtime = Runtime::of_env();
    let source = Source::new();
    let options = [&["rbind"][..], option.as_slice()].concat();
    let bundle = bundle(&runtime, root, &[source.volume("/volume", &options)]);
    let container = runtime.start(&bundle);
    source.mount_on_the_host();
    behaviour(&container, &source, "/volume")
}

#[test]
fn vm_each_propagation_of_a_volume() {
    let (neither, down, both) = ((false, false), (true, false), (true, true));
    for (root, option, expected, optional) in [
        (None, None, down, "master"),
        (None, Some("private"), neither, ""),
        (None, Some("rprivate"), neither, ""),
        (None, Some("slave"), down, "master"),
        (None, Some("rslave"), down, "master"),
        (None, Some("shared"), down, "shared master"),
        (None, Some("rshared"), down, "shared master"),
        (None, Some("unbindable"), neither, "unbindable"),
        (Some("rslave"), Some("rprivate"), neither, ""),
        (Some("rslave"), Some("rslave"), down, "master"),
        (Some("rprivate"), None, neither, ""),
        (Some("rprivate"), Some("rslave"), neither, ""),
        (Some("shared"), Some("rshared"), both, "shared"),
        (Some("shared"), Some("shared"), both, "shared"),
        (Some("shared"), None, both, "shared"),
        (Some("shared"), Some("rslave"), down, "master"),
        (Some("shared"), Some("rprivate"), neither, ""),
        (Some("rshared"), Some("rshared"), both, "shared"),
        (Some("rshared"), Some("rslave"), down, "master"),
        (Some("rshared"), Some("rprivate"), neither, ""),
        (Some("private"), Some("rshared"), both, "shared"),
        (Some("slave"), Some("rslave"), down, "master"),
    ] {
        let (inside, outside, found) = one(root, option);
        let what = format!("root {root:?}, volume {option:?}");
        assert_eq!((inside, outside), expected, "{what}: seen inside, seen on the host");
        assert_eq!(found, optional, "{what}: mountinfo");
    }
}

#[test]
fn vm_volumes_of_one_container_differ() {
    let runtime = Runtime::of_env();
    let [private, slave, shared] = [Source::new(), Source::new(), Source::new()];
    let bundle = bundle(
        &runtime,
        Some("shared"),
        &[
            private.volume("/private", &["rbind", "rprivate"]),
            slave.volume("/slave", &["rbind", "rslave"]),
            shared.volume("/shared", &["rbind", "rshared"]),
        ],
    );
    let container = runtime.start(&bundle);
    for source in [&private, &slave, &shared] {
        source.mount_on_the_host();
    }
    let of = |source, at| behaviour(&container, source, at);
    assert_eq!(of(&private, "/private"), (false, false, String::new()));
    assert_eq!(of(&slave, "/slave"), (true, false, "master".to_owned()));
    assert_eq!(of(&shared, "/shared"), (true, true, "shared".to_owned()));
    drop(container);
    // What the container mounted on a shared volume is the host's, too, and stays.
    assert!(shared.has("inner"));
}

#[test]
fn vm_slave_and_private_volumes_together() {
    let runtime = Runtime::of_env();
    let [private, slave] = [Source::new(), Source::new()];
    let mounts = [
        slave.volume("/slave", &["rbind", "rslave"]),
        private.volume("/private", &["rbind", "rprivate"]),
        slave.volume("/other", &["bind", "ro", "rslave"]),
    ];
    let bundle = bundle(&runtime, Some("rslave"), &mounts);
    let container = runtime.start(&bundle);
    private.mount_on_the_host();
    slave.mount_on_the_host();
    let of = |source, at| behaviour(&container, source, at);
    assert_eq!(of(&private, "/private"), (false, false, String::new()));
    assert_eq!(of(&slave, "/slave"), (true, false, "master".to_owned()));
    assert_eq!(of(&slave, "/other"), (true, false, "master".to_owned()));
    let written = container.exec(&[], &["touch", "/other/file"]);
    assert!(written.stderr.contains("Read-only"), "{written}");
}

/// A mount inside a volume must not appear on the host while the container is made.
#[test]
fn vm_nested_volumes_stay_inside() {
    let runtime = Runtime::of_env();
    for option in ["rprivate", "rslave"] {
        let [outer, inner] = [Source::new(), Source::new()];
        let bundle = bundle(
            &runtime,
            Some("shared"),
            &[
                outer.volume("/volume", &["rbind", option]),
                inner.volume("/volume/nested", &["rbind", "rshared"]),
            ],
        );
        let container = runtime.start(&bundle);
        container.exec(&[], &["ls", "/volume/nested/inner"]).ok();
        assert!(!outer.has("nested"), "{option}: the host got the container's mount");
    }
}

#[test]
fn vm_files_keep_their_propagation() {
    let runtime = Runtime::of_env();
    let source = Source::new();
    let file = TempDir::new("file");
    let path = file.0.join("hosts");
    fs::write(&path, "a line of the host\n").unwrap();
    let hosts = json!({ "destination": "/etc/hosts", "type": "bind", "source": path,
                        "options": ["rbind", "ro", "rprivate"] });
    let bundle =
        bundle(&runtime, Some("shared"), &[hosts, source.volume("/volume", &["rbind", "rshared"])]);
    let container = runtime.start(&bundle);
    assert_eq!(container.exec(&[], &["cat", "/etc/hosts"]).ok(), "a line of the host");
    assert_eq!(fields(container.pid(), "/etc/hosts"), "");
}

#[test]
fn vm_unknown_propagation_is_refused() {
    let runtime = Runtime::of_env();
    let bundle = bundle(&runtime, Some("sideways"), &[]);
    let refused = runtime.cmd(&["create", "--bundle", bundle.str(), "refused"]).run();
    assert_ne!(refused.status, 0);
    assert!(refused.stderr.contains("rootfsPropagation"), "{refused}");
}

/// The flags of a mount in a container, as mountinfo has them.
fn flags(pid: i32, at: &str) -> Vec<String> {
    let all = mounts_of(&pid.to_string());
    let mount = all.iter().rfind(|mount| mount.at == at).unwrap_or_else(|| panic!("no {at}"));
    let known = ["ro", "rw", "nosuid", "nodev", "noexec"];
    known.iter().filter(|flag| mount.has(flag)).map(|flag| (*flag).to_owned()).collect()
}

/// `rw`, `suid`, `dev` and `exec` of a volume count, whatever the mount of its source says. runc looks at them where there
/// is another flag, too.
#[test]
fn vm_options_take_flags_away() {
    let runtime = Runtime::of_env();
    let source = Source::new();
    let nested = format!("{}/nested", source.0.str());
    out(&["mount", "-t", "tmpfs", "-o", "ro,nosuid", "nested", &nested]);
    out(&["mount", "-o", "remount,bind,ro,nosuid,nodev,noexec", source.0.str()]);
    for root in [None, Some("shared")] {
        for (options, wanted) in [
            (&["rw", "noatime"][..], "rw"),
            (&["rw", "nosuid"], "rw nosuid"),
            (&["ro", "suid", "dev", "exec", "noatime"], "ro"),
            (&["rw", "suid", "nodev", "dev", "exec", "noexec"], "rw noexec"),
        ] {
            let options = [&["rbind", "rprivate"][..], options].concat();
            let bundle = bundle(&runtime, root, &[source.volume("/volume", &options)]);
            let container = runtime.start(&bundle);
            let found = flags(container.pid(), "/volume");
            for word in wanted.split(' ') {
                assert!(found.iter().any(|flag| flag == word), "{options:?}: {found:?}");
            }
            // Only what is asked for; runc takes the others away as well.
            let kept = ["rw", "suid", "dev", "exec"];
            if runtime.is_sharedroot() {
                for (flag, off) in ["ro", "nosuid", "nodev", "noexec"].iter().zip(kept) {
                    let gone =
                        wanted.split(' ').all(|word| word != *flag) && options.contains(&off);
                    assert_eq!(found.iter().all(|f| f != flag), gone, "{options:?}: {found:?}");
                }
            }
            assert_eq!(flags(container.pid(), "/volume/nested"), ["ro", "nosuid"], "{options:?}");
        }
    }
    let bundle = bundle(&runtime, None, &[source.volume("/volume", &["bind", "ro"])]);
    assert!(flags(runtime.start(&bundle).pid(), "/volume").contains(&"ro".to_owned()));
}
