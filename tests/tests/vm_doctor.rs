//! `sharedroot doctor`: a healthy host is well, each mishap is one line, and the remedy of that line mends it.
//!
//! Guest: --limit 800

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::out;
use sharedroot_tests::doctor::{doctor, is_well, one_line, paste};
use sharedroot_tests::documented::json;
use sharedroot_tests::lab::{Replaced, TempDir};
use sharedroot_tests::pool::{CONFIG, NoPool, is_active, pool, small_bases, status};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

const DAEMON: &str = "/etc/docker/daemon.json";

/// A file that is elsewhere for a while.
struct Away {
    from: PathBuf,
    to: PathBuf,
}

impl Away {
    #[track_caller]
    fn new(path: &str) -> Self {
        let (from, to) = (PathBuf::from(path), PathBuf::from(format!("{path}.away")));
        fs::rename(&from, &to).unwrap_or_else(|e| panic!("rename {path}: {e}"));
        Self { from, to }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        fs::rename(&self.to, &self.from).expect("rename it back");
    }
}

#[test]
fn vm_a_healthy_host_is_well_and_stays_as_it_is() {
    let no_pool = NoPool::at_first();
    let before = Census::take();
    is_well();
    assert_eq!(Census::take().against(&before), "", "no pool is made");

    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for readonly in [true, false] {
        let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
        let container = runtime.start(&bundle);
        let (before, transaction) = (Census::take(), status()["transaction_id"].clone());
        is_well();
        assert_eq!(Census::take().against(&before), "", "a look changes nothing");
        assert_eq!(status()["transaction_id"], transaction);
        drop(container);
    }
    pool(&["deactivate"]).ok();
    is_well();
    assert!(!is_active(), "a look activates nothing");

    // As after a reboot: the run directory is not there, and a look does not make it.
    out(&["rm", "-rf", "/run/sharedroot"]);
    is_well();
    assert!(!Path::new("/run/sharedroot").exists());

    let found = json("doctor", &[]);
    assert_eq!((&found["version"], &found["status"]), (&1.into(), &0.into()));
    let checks = found["checks"].as_array().expect("a list");
    assert!(checks.len() > 12, "{found:#}");
    for check in checks {
        assert_eq!((&check["severity"], &check["remedy"]), (&"ok".into(), &Value::Null), "{check}");
    }
    pool(&["destroy", "--force"]).ok();
    drop((image, runtime));
    no_pool.again();
}

#[test]
fn vm_a_missing_tool_is_a_problem() {
    let no_pool = NoPool::at_first();
    for (program, severity, name, package) in [
        ("/usr/sbin/thin_check", "problem", "thin-tools", "thin-provisioning-tools"),
        ("/usr/sbin/debugfs", "problem", "e2fsprogs", "e2fsprogs"),
        ("/usr/sbin/resize2fs", "problem", "e2fsprogs", "e2fsprogs"),
        ("/usr/bin/fincore", "warning", "fincore", "util-linux-extra"),
    ] {
        let away = Away::new(program);
        let (found, remedy) = one_line(severity, name);
        assert!(found.contains("missing"), "{found}");
        assert_eq!(remedy, format!("apt install {package}"));
        drop(away);
        is_well();
    }
    no_pool.again();
}

#[test]
fn vm_a_broken_configuration_is_one_line_and_the_rest_is_looked_at() {
    let no_pool = NoPool::at_first();
    for (text, words) in [
        ("[pool]\nloopsize = \"1G\"\n", ["`pool.loopsize`", "`pool.loop_size`"]),
        ("[pool\n", ["line 1", "TOML"]),
        ("[pool]\nname = \"no name\"\n", [CONFIG, "no name"]),
        ("[selinux]\nshared_label = \"x\"\n", [CONFIG, "selinux.shared_label"]),
    ] {
        let before = Replaced::with(CONFIG, text);
        let (found, remedy) = one_line("problem", "configuration");
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
        paste(remedy.split(" (").next().expect("a command"));
        is_well();
        fs::rename(format!("{CONFIG}.broken"), CONFIG).expect("put it back, to be removed");
        drop(before);
    }
    let before = Replaced::with(CONFIG, "engine = \"/none/crun\"\n");
    let (found, remedy) = one_line("problem", "engine");
    assert!(found.contains("/none/crun") && remedy.contains("libcontainer"), "{found} {remedy}");
    drop(before);
    is_well();
    no_pool.again();
}

#[test]
fn vm_udevd_wants_our_rule() {
    let no_pool = NoPool::at_first();
    out(&["mkdir", "-p", "/run/udev", "/etc/udev/rules.d"]);
    // Nobody listens: it is only where everybody looks whether udevd runs.
    let control = Replaced::with("/run/udev/control", "");
    let (found, remedy) = one_line("warning", "udev");
    assert!(found.contains("no rule"), "{found}");
    let sources = TempDir::new("sources");
    let rule = include_str!("../../dm/dm-sharedroot.rules");
    fs::create_dir(sources.0.join("dm")).expect("make a directory");
    fs::write(sources.0.join("dm/dm-sharedroot.rules"), rule).expect("write the rule");
    let install = remedy.split(" && ").next().expect("a command");
    paste(&format!("cd {}; {install}", sources.str()));
    is_well();
    out(&["rm", "/etc/udev/rules.d/56-dm-sharedroot.rules"]);
    drop(control);
    is_well();
    no_pool.again();
}

#[test]
fn vm_an_engine_must_be_told_and_its_runtime_be_there() {
    let no_pool = NoPool::at_first();
    let daemon: Value =
        serde_json::from_str(&fs::read_to_string(DAEMON).expect("daemon.json")).expect("JSON");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = daemon.clone();
        change(&mut changed);
        Replaced::with(DAEMON, &changed.to_string())
    };
    let place = TempDir::of_programs("doctor");
    let program = place.0.join("sharedroot");

    let file = with(&|daemon| daemon["runtimes"] = serde_json::json!({}));
    let (_, remedy) = one_line("warning", "engines");
    assert_eq!(remedy, "sharedroot install docker");
    for (other, text) in [
        (
            "/etc/containerd/config.toml",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.sharedroot.options]\n\
             BinaryName = \"/usr/local/bin/sharedroot\"\n",
        ),
        (
            "/etc/containers/containers.conf.d/sharedroot.conf",
            "[engine.runtimes]\nsharedroot = [\"/usr/local/bin/sharedroot\"]\n",
        ),
    ] {
        let told = Replaced::with(other, text);
        is_well();
        drop(told);
    }
    drop(file);

    let path = program.to_str().expect("ASCII");
    let file = with(&|daemon| daemon["runtimes"] = serde_json::json!({ "mine": { "path": path } }));
    let (found, _) = one_line("problem", "docker");
    assert!(found.contains(path) && found.contains("not there"), "{found}");
    fs::copy("/usr/local/bin/sharedroot", &program).expect("copy the program");
    for mode in [0o644, 0o777] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("chmod");
        let (found, remedy) = one_line("problem", "docker");
        assert!(found.contains(path), "{found}");
        paste(&remedy);
        is_well();
    }
    drop(file);

    let file = with(&|daemon| daemon["storage-driver"] = "vfs".into());
    let (found, remedy) = one_line("warning", "docker");
    assert!(found.contains("vfs") && remedy.contains("overlay2"), "{found} {remedy}");
    drop(file);
    let file = Replaced::with(DAEMON, "{ \"runtimes\": ");
    let said = doctor(&[]).fails(2);
    let line = said.lines().find(|line| line.starts_with("problem  docker")).expect("a line");
    assert!(line.contains("daemon.json") && line.contains("line 1"), "{line}");
    drop(file);
    is_well();
    no_pool.again();
}
