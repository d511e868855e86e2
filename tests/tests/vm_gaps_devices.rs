//! Which devices a container may use: those that a rule allows, and no container where nobody enforces the rules. Generic:
//! `RUNTIME=runc` must pass too; crun leaves the cgroup of a failed container behind.
//!
//! Guest: --no-docker

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sharedroot_tests::attack::allow;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::runtime::Runtime;

/// Opens the guest's root disk, which is 98:0, and what every container has.
const LOOK: &str = "
    busybox mknod /dev/disk b 98 0 && busybox mknod /dev/kmsg c 1 11 || exit 9
    for device in disk kmsg null zero; do
        if (exec 3< /dev/$device) 2> /dev/null; then echo $device; fi
    done";

/// A process that may make device nodes.
fn bundle(runtime: &Runtime) -> Bundle {
    let bundle = Bundle::new(runtime, &["sh", "-c", LOOK]);
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        allow(config, &["CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"]);
    });
    bundle
}

#[track_caller]
fn opened(runtime: &Runtime, bundle: &Bundle) -> String {
    let id = unique_name("devices");
    runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run().ok().replace('\n', " ")
}

/// Takes the limits, or their device rules, out of a configuration.
type Omit = fn(&mut Value);

#[test]
fn vm_no_device_is_allowed_where_no_rule_says_so() {
    let runtime = Runtime::of_env();
    let bundle = bundle(&runtime);
    let good = fs::read_to_string(bundle.config_path()).unwrap();
    let rows: [(&str, Omit); 6] = [
        ("no linux.resources", |config| {
            config["linux"].as_object_mut().unwrap().remove("resources");
        }),
        ("linux.resources null", |config| config["linux"]["resources"] = json!(null)),
        ("linux.resources empty", |config| config["linux"]["resources"] = json!({})),
        ("other limits only", |config| {
            config["linux"]["resources"] = json!({ "pids": { "limit": 200 } });
        }),
        ("no rules", |config| config["linux"]["resources"] = json!({ "devices": [] })),
        ("one that denies", |config| {
            config["linux"]["resources"] =
                json!({ "devices": [{ "allow": false, "access": "rwm" }] });
        }),
    ];
    for (name, omit) in rows {
        fs::write(bundle.config_path(), &good).unwrap();
        bundle.edit(omit);
        assert_eq!(opened(&runtime, &bundle), "null zero", "{name}");
    }
    // The look itself finds what a rule allows.
    bundle.edit(|config| {
        config["linux"]["resources"] = json!({ "devices": [{ "allow": true, "access": "rwm" }] });
    });
    assert_eq!(opened(&runtime, &bundle), "disk kmsg null zero");
}

/// Loads a program that allows every device and attaches it to a cgroup alone: the kernel lets nobody attach another one
/// below (bpf(2), `BPF_PROG_ATTACH` without a flag).
const ATTACH: &str = r#"
    my $code = pack("CCsl", 0xb7, 0, 0, 1) . pack("CCsl", 0x95, 0, 0, 0);
    my $license = "Apache";
    my $load = pack("LLPPLLQLL", 15, 2, $code, $license, 0, 0, 0, 0, 0);
    my $program = syscall(321, 5, $load, length $load);
    $program >= 0 or die "load: $!";
    sysopen(my $cgroup, $ARGV[0], 0) or die "open: $!";
    my $attach = pack("LLLL", fileno($cgroup), $program, 6, 0);
    syscall(321, 8, $attach, length $attach) == 0 or die "attach: $!";
"#;

/// A cgroup in which no container's rules can be enforced.
struct Closed(PathBuf);

impl Closed {
    fn new() -> Self {
        let dir = Path::new("/sys/fs/cgroup").join(unique_name("closed"));
        fs::create_dir(&dir).unwrap();
        out(&["perl", "-e", ATTACH, dir.to_str().unwrap()]);
        Self(dir)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("remove {}: {error}", self.0.display());
        }
    }
}

#[test]
fn vm_no_container_starts_where_its_rules_cannot_be_enforced() {
    let runtime = Runtime::of_env();
    let bundle = bundle(&runtime);
    opened(&runtime, &bundle);
    let closed = Closed::new();
    let before = Census::take();
    let name = closed.0.file_name().unwrap().to_str().unwrap();
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("/{name}/container")));
    let id = unique_name("unenforced");
    let refused = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert!(refused.status != 0 && refused.stdout.is_empty(), "{refused}");
    before.nothing_left();
}
