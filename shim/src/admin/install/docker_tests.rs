//! daemon.json before and after.

use serde_json::json;

use super::super::Snapshotter;
use super::*;

const LONG: &str = "{
    \"debug\": true,
    \"runtimes\": {
        \"crun\": {\"path\": \"/usr/bin/crun\"}
    },
    \"hosts\": [\"fd://\"]
}
";

fn commands(path: &str, default: bool) -> Entry {
    Entry { runs: Runs::Commands(path.to_owned()), default, snapshotter: None }
}

#[track_caller]
fn becomes(before: &str, default: bool, after: &str) {
    let entry = commands("/usr/bin/sharedroot", default);
    let added = add(before, &entry).unwrap();
    assert_eq!(added, after);
    assert_eq!(add(&added, &entry).unwrap(), after, "twice is once");
}

#[test]
fn the_entry_is_written_as_its_neighbours_are() {
    let fresh = "{
  \"runtimes\": {
    \"sharedroot\": {
      \"path\": \"/usr/bin/sharedroot\"
    }
  }
}
";
    becomes("", false, fresh);
    becomes("{}", false, fresh);
    becomes(
        "{\n\t\"debug\": true\n}\n",
        true,
        "{
\t\"debug\": true,
\t\"runtimes\": {
\t\t\"sharedroot\": {
\t\t\t\"path\": \"/usr/bin/sharedroot\"
\t\t}
\t},
\t\"default-runtime\": \"sharedroot\"
}
",
    );
    becomes(
        LONG,
        false,
        "{
    \"debug\": true,
    \"runtimes\": {
        \"crun\": {\"path\": \"/usr/bin/crun\"},
        \"sharedroot\": {
            \"path\": \"/usr/bin/sharedroot\"
        }
    },
    \"hosts\": [\"fd://\"]
}
",
    );
}

#[test]
fn a_runtime_of_containerd_becomes_one_of_a_path() {
    let entry = commands("/usr/bin/sharedroot", false);
    let of_type = r#"{"runtimes": {"sharedroot": {"runtimeType": "io.x", "options": {}, "a": 1}}}"#;
    let added: Value = serde_json::from_str(&add(of_type, &entry).unwrap()).unwrap();
    assert_eq!(added["runtimes"]["sharedroot"], json!({ "a": 1, "path": "/usr/bin/sharedroot" }));
}

#[test]
fn a_runtime_of_a_path_becomes_one_of_containerd() {
    let shim = Entry { runs: Runs::Shim, default: true, snapshotter: None };
    let of_path = r#"{"runtimes": {"sharedroot": {"path": "/x", "runtimeArgs": ["--debug"]}}}"#;
    let added = add(of_path, &shim).unwrap();
    let read: Value = serde_json::from_str(&added).unwrap();
    let ours = json!({ "sharedroot": { "runtimeType": "io.containerd.sharedroot.v2" } });
    assert_eq!(read, json!({ "runtimes": ours, "default-runtime": "sharedroot" }));
    assert_eq!(add(&added, &shim).unwrap(), added, "twice is once");
    // The shim's own options stay.
    let options = added.replace("v2\"", "v2\", \"options\": {\"ConfigPath\": \"/etc/x\"}");
    assert_eq!(add(&options, &shim).unwrap(), options);
}

fn on_snapshotter() -> Entry {
    Entry {
        runs: Runs::Shim,
        default: false,
        snapshotter: Some(Snapshotter { root: "/var/lib/sharedroot".to_owned() }),
    }
}

#[test]
fn the_storage_is_the_snapshotter_and_becomes_what_it_was() {
    for (storage, rest) in [
        (json!({}), json!({})),
        (json!({ "storage-driver": "overlay2" }), json!({ "storage-driver": "overlay2" })),
        (json!({ "features": {} }), json!({ "features": {} })),
        (
            json!({ "features": { "buildkit": true, "containerd-snapshotter": false } }),
            json!({ "features": { "buildkit": true, "containerd-snapshotter": false } }),
        ),
        // An administrator who followed the manual.
        (json!({ "storage-driver": "sharedroot" }), json!({})),
    ] {
        let before = format!("{storage:#}\n");
        let added = add(&before, &on_snapshotter()).unwrap();
        let read: Value = serde_json::from_str(&added).unwrap();
        assert_eq!(read["storage-driver"], "sharedroot", "{added}");
        assert_eq!(read["features"]["containerd-snapshotter"], true, "{added}");
        assert_eq!(read["features"]["buildkit"], storage["features"]["buildkit"], "{added}");
        assert_eq!(add(&added, &on_snapshotter()).unwrap(), added, "twice is once");
        let again = add(&added, &commands("/x", false)).unwrap();
        assert!(is_on_snapshotter(&again), "only `uninstall` takes it away");
        let removed: Value = serde_json::from_str(&remove(&added, &before).unwrap()).unwrap();
        assert_eq!(removed, rest);
        // A driver that somebody has chosen since, and the feature with it.
        let other = added.replace("driver\": \"sharedroot", "driver\": \"zfs");
        let removed: Value = serde_json::from_str(&remove(&other, &before).unwrap()).unwrap();
        assert_eq!(removed["storage-driver"], "zfs");
        assert_eq!(removed["features"]["containerd-snapshotter"], true);
    }
}

#[test]
fn another_storage_needs_a_restart_and_is_explained() {
    let added = add("{\"data-root\": \"/srv\"}", &on_snapshotter()).unwrap();
    assert!(
        next("{}", &added).starts_with("systemctl restart docker (a reload changes no storage")
    );
    assert!(next(&added, "{}").starts_with("systemctl restart docker"));
    let told = notes("", &added).join("\n");
    for part in ["`docker load`", "install containerd --snapshotter", "`--docker /srv`"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(notes("", &added.replace("/srv", "/var/lib/docker")).len(), 2);
    assert!(notes(&added, "{}").concat().contains("remove them before the restart"));
    assert!(notes(&added, &added).is_empty() && notes("", "").is_empty());
}

#[test]
fn escapes_name_the_same_key() {
    let entry = commands("/\"ä\n", false);
    let added = add("{\"runtimes\": {\"shared\\u0072oot\": {\"path\": \"/x\"}}}", &entry).unwrap();
    assert_eq!(added, "{\"runtimes\": {\"shared\\u0072oot\": {\"path\": \"/\\\"ä\\n\"}}}");
}

#[test]
fn a_reload_is_enough_while_the_file_names_runtimes() {
    let some = "{\"runtimes\": {\"crun\": {}}}";
    assert!(next("", some).contains("reload docker"));
    assert!(next(some, some).contains("reload docker"));
    assert!(next(some, "{}").contains("restart docker"));
    assert!(next("{\"default-runtime\": \"sharedroot\"}", "").contains("restart docker"));
}
