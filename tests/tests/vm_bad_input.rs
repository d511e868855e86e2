//! What sharedroot refuses: the message names the field or path, the log's last line has it too, and nothing is left behind.
//!
//! Guest: --no-docker

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// A refusal of one damaged bundle.
struct Case {
    runtime: Runtime,
    bundle: Bundle,
    id: String,
    before: Census,
}

impl Case {
    /// A good bundle that was run once, so that the runtime's directories are there.
    #[track_caller]
    fn new() -> Self {
        let runtime = Runtime::sharedroot();
        let bundle = Bundle::new(&runtime, &["true"]);
        runtime.cmd(&["run", "--bundle", bundle.str(), "warm-up"]).run().ok();
        Self { before: Census::take(), runtime, bundle, id: "bad-input".to_owned() }
    }

    /// `create` and `run` must fail with status 1, and say each of `words`, on stderr and as the log's last line.
    #[track_caller]
    fn refused(&self, words: &[&str]) {
        for verb in ["create", "run"] {
            let message =
                refusal(self.runtime.root(), &[verb, "--bundle", self.bundle.str(), &self.id]);
            for word in words {
                assert!(message.contains(word), "{verb}: {word:?} is not in: {message}");
            }
            assert_ne!(
                self.runtime.cmd(&["state", &self.id]).run().status,
                0,
                "{verb} left a container"
            );
            assert_eq!(self.runtime.cmd(&["list", "--quiet"]).run().ok(), "");
        }
        self.before.nothing_left();
    }
}

/// Runs a command that must fail with 1; returns the `msg` of the log's last line, which stderr must have too.
#[track_caller]
fn refusal(root: &str, words: &[&str]) -> String {
    let dir = TempDir::new("log");
    let log = dir.0.join("log.json");
    let flags = ["--root", root, "--log", log.to_str().unwrap(), "--log-format", "json"];
    let output = Cmd::new("/usr/local/bin/sharedroot").args(&flags).args(words).run();
    assert_eq!(output.status, 1, "{output}");
    let text = fs::read_to_string(&log).unwrap_or_else(|e| panic!("no log: {e}: {output}"));
    let last = text.lines().last().unwrap_or_else(|| panic!("the log is empty: {output}"));
    let last: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}"));
    assert_eq!(last["level"], "error", "{last}");
    let message = last["msg"].as_str().expect("a msg").to_owned();
    // Further lines are indented: a name with a newline in it looks like no other message.
    let shown = message.trim_end().replace('\n', "\n  ");
    assert!(output.stderr.contains(&shown), "{message:?} is not on stderr: {output}");
    let errors = text.lines().filter(|line| line.contains("\"level\":\"error\"")).count();
    assert_eq!(errors, 1, "one error is reported once: {text}");
    message
}

#[test]
fn vm_config_missing() {
    let case = Case::new();
    fs::remove_file(case.bundle.config_path()).unwrap();
    case.refused(&[case.bundle.config_path().to_str().unwrap()]);
}

#[test]
fn vm_bundle_missing() {
    let case = Case::new();
    let message = refusal(case.runtime.root(), &["create", "--bundle", "/no/such/bundle", "x"]);
    assert!(message.contains("/no/such/bundle"), "{message}");
    case.before.nothing_left();
}

#[test]
fn vm_config_truncated() {
    let case = Case::new();
    let text = fs::read_to_string(case.bundle.config_path()).unwrap();
    fs::write(case.bundle.config_path(), &text[..text.len() / 2]).unwrap();
    case.refused(&[case.bundle.config_path().to_str().unwrap(), "line 1"]);
    fs::write(case.bundle.config_path(), "").unwrap();
    case.refused(&[case.bundle.config_path().to_str().unwrap()]);
}

#[test]
fn vm_config_too_large() {
    let case = Case::new();
    // Valid JSON, so that only its size is wrong; a sparse file would not be.
    let text = fs::read_to_string(case.bundle.config_path()).unwrap();
    fs::write(case.bundle.config_path(), format!("{text}{}", " ".repeat(16 << 20))).unwrap();
    case.refused(&[case.bundle.config_path().to_str().unwrap(), "16 MiB"]);
}

#[test]
fn vm_config_is_no_file() {
    let case = Case::new();
    fs::remove_file(case.bundle.config_path()).unwrap();
    let path = case.bundle.config_path();
    fs::create_dir(&path).unwrap();
    case.refused(&[path.to_str().unwrap(), "not a regular file"]);
    fs::remove_dir(&path).unwrap();
    // Nobody writes to it, so who opens it the usual way waits for ever.
    out(&["mkfifo", path.to_str().unwrap()]);
    case.refused(&[path.to_str().unwrap(), "not a regular file"]);
    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    case.refused(&[path.to_str().unwrap(), "symbolic links"]);
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    case.refused(&[path.to_str().unwrap(), "not a regular file"]);
}

/// A message quotes what is wrong, but not all of it.
#[test]
fn vm_message_of_a_long_value() {
    let case = Case::new();
    case.bundle.edit(|config| config["mounts"][0]["options"] = json!("x".repeat(1 << 20)));
    let message = refusal(case.runtime.root(), &["create", "--bundle", case.bundle.str(), "x"]);
    assert!(message.contains("mounts[0].options"), "{message}");
    assert!(message.len() < 5000, "a message of {} bytes", message.len());
    case.before.nothing_left();
}

#[test]
fn vm_version_unknown() {
    let case = Case::new();
    case.bundle.edit(|config| config["ociVersion"] = json!("2.0.0"));
    case.refused(&["ociVersion", "2.0.0"]);
}

#[test]
fn vm_fields_missing_or_of_the_wrong_type() {
    let case = Case::new();
    let good = fs::read_to_string(case.bundle.config_path()).unwrap();
    for field in ["process", "root", "linux", "ociVersion"] {
        case.bundle.edit(|config| drop(config.as_object_mut().unwrap().remove(field)));
        case.refused(&[field]);
        fs::write(case.bundle.config_path(), &good).unwrap();
    }
    case.bundle.edit(|config| config["process"]["args"] = json!([]));
    case.refused(&["process.args"]);
    fs::write(case.bundle.config_path(), &good).unwrap();
    case.bundle.edit(|config| config["process"]["args"] = json!("true"));
    case.refused(&[case.bundle.config_path().to_str().unwrap(), "expected a sequence"]);
}

#[test]
fn vm_root_is_a_symlink() {
    let case = Case::new();
    let (real, link) = (case.bundle.path().join("rootfs"), case.bundle.path().join("link"));
    symlink(&real, &link).unwrap();
    case.bundle.edit(|config| config["root"]["path"] = json!("link"));
    case.refused(&["root.path", link.to_str().unwrap()]);
    case.bundle.edit(|config| config["root"]["path"] = json!(link));
    case.refused(&["root.path", link.to_str().unwrap()]);
}

#[test]
fn vm_root_outside_missing_or_no_directory() {
    let case = Case::new();
    for (path, name) in [
        ("../..", "../.."),
        ("rootfs/../../../etc", "etc"),
        ("no-such", "no-such"),
        ("config.json", "config.json"),
    ] {
        case.bundle.edit(|config| config["root"]["path"] = json!(path));
        case.refused(&["root.path", name]);
    }
}

#[test]
fn vm_id_is_no_name() {
    let case = Case::new();
    let long = "x".repeat(2000);
    for id in ["a/b", "../up", "..", "a b", &long[..300], &long] {
        for words in [
            &["create", "--bundle", case.bundle.str(), id][..],
            &["state", id],
            &["delete", "--force", id],
        ] {
            let message = refusal(case.runtime.root(), words);
            assert!(message.contains("container ID"), "{message}");
            assert!(message.contains(&id[..id.len().min(64)]), "{message}");
            assert!(message.len() < 500, "a message that nobody can read: {message}");
        }
    }
    case.before.nothing_left();
}

#[test]
fn vm_state_directory_of_others() {
    let case = Case::new();
    let dir = TempDir::new("open");
    for mode in [0o777, 0o770, 0o1777] {
        fs::set_permissions(&dir.0, Permissions::from_mode(mode)).unwrap();
        let message = refusal(dir.str(), &["create", "--bundle", case.bundle.str(), "x"]);
        assert!(message.contains(dir.str()), "{message}");
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0, "it wrote into {}", dir.str());
    }
    fs::set_permissions(&dir.0, Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&dir.0, Some(1000), None).unwrap();
    let message = refusal(dir.str(), &["create", "--bundle", case.bundle.str(), "x"]);
    assert!(message.contains(dir.str()), "{message}");
    File::create(dir.0.join("file")).unwrap();
    let file = dir.0.join("file");
    let message = refusal(file.to_str().unwrap(), &["create", "--bundle", case.bundle.str(), "x"]);
    assert!(message.contains(file.to_str().unwrap()), "{message}");
    case.before.nothing_left();
}

#[test]
fn vm_annotations_unknown() {
    let case = Case::new();
    case.bundle.edit(|config| config["annotations"]["dev.sharedroot.mode"] = json!("fast"));
    case.refused(&["dev.sharedroot.mode", "fast"]);
    case.bundle.edit(|config| {
        config["annotations"]["dev.sharedroot.mode"] = json!("shared");
        config["root"]["readonly"] = json!(false);
    });
    case.refused(&["dev.sharedroot.mode", "shared"]);
}

/// As with runc: a label that nobody enforces would be a promise not kept.
#[test]
fn vm_labels_without_selinux() {
    let case = Case::new();
    let good = fs::read_to_string(case.bundle.config_path()).unwrap();
    case.bundle.edit(|config| {
        config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2")
    });
    case.refused(&["process.selinuxLabel"]);
    fs::write(case.bundle.config_path(), good).unwrap();
    case.bundle.edit(|config| {
        config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2")
    });
    case.refused(&["linux.mountLabel"]);
}

#[test]
fn vm_configuration_file_wrong() {
    let case = Case::new();
    let dir = TempDir::new("config");
    let path = dir.0.join("config.toml");
    let path = path.to_str().unwrap();
    for (text, word) in [
        ("[pool]\nlop_size = \"1G\"\n", "lop_size"),
        ("[base]\nsize = \"big\"\n", "big"),
        ("[pool", "pool"),
    ] {
        fs::write(path, text).unwrap();
        let words = ["--config", path, "create", "--bundle", case.bundle.str(), "x"];
        let message = refusal(case.runtime.root(), &words);
        assert!(message.contains(path) && message.contains(word), "{message}");
    }
    case.before.nothing_left();
}
