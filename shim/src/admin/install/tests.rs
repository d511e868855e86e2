//! Edits of whole configurations. A random text stands for any file that a host may have.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn entry(default: bool) -> Entry {
    Entry {
        runs: Runs::Commands("/usr/local/bin/sharedroot".to_owned()),
        default,
        snapshotter: None,
    }
}

/// The same with the snapshotter.
fn with_snapshotter(default: bool) -> Entry {
    Entry { snapshotter: Some(Snapshotter { root: "/srv".to_owned() }), ..entry(default) }
}

/// Runs `install`, and then `uninstall` on its result.
#[track_caller]
fn there_and_back(target: Target, text: Option<&str>, entry: &Entry) -> (String, Plan) {
    let made = target.plan(text, None, Some(entry)).unwrap();
    let after = made.after.unwrap();
    let receipt = Receipt::new(made.before, &after);
    let again = target.plan(Some(&after), Some(&receipt), Some(entry)).unwrap();
    assert_eq!(again.after.as_ref(), Some(&after), "a second install has nothing to do");
    assert_eq!(again.before, receipt.before, "and knows what was before the first");
    let back = target.plan(Some(&after), Some(&receipt), None).unwrap();
    (after, back)
}

const TARGETS: [Target; 3] = [Target::Docker, Target::Containerd, Target::Podman];

#[test]
fn a_file_that_is_made_goes_again_even_after_its_layout_changed() {
    for target in TARGETS {
        let (after, back) = there_and_back(target, None, &entry(true));
        assert_eq!(back.after, None, "{target:?}");
        let receipt = Receipt::new(None, &after);
        let touched = format!("{after}\n");
        assert_eq!(target.plan(Some(&touched), Some(&receipt), None).unwrap().after, None);
        // An empty file that somebody else made stays.
        let (_, back) = there_and_back(target, Some(""), &entry(true));
        assert_eq!(back.after.as_deref(), Some(""), "{target:?}");
    }
}

#[test]
fn without_an_entry_there_is_nothing_to_do() {
    for (target, text) in [
        (Target::Docker, "{ \"runtimes\": {} ,\n \"default-runtime\":\"crun\" }"),
        (Target::Docker, "{}"),
        (Target::Containerd, "version = 2\n[plugins]\n  # none\n"),
        (Target::Podman, "[engine]\n[engine.runtimes]\n"),
    ] {
        assert_eq!(target.plan(Some(text), None, None).unwrap().after.as_deref(), Some(text));
        assert_eq!(target.plan(None, None, None).unwrap().after, None);
    }
}

/// The file is edited after `install`: `uninstall` removes what `install` added, keeps the edits, and restores the earlier
/// default.
#[test]
fn an_edited_file_keeps_its_edits() {
    let docker = "{
  \"default-runtime\": \"crun\",
  \"runtimes\": {
    \"crun\": { \"path\": \"/usr/bin/crun\" }
  }
}
";
    let containerd = "version = 2
[plugins.\"io.containerd.grpc.v1.cri\".containerd]
  default_runtime_name = \"crun\"
";
    let podman = "# ours\n[engine]\nruntime = \"crun\" # the small one\n";
    for (target, before, old, new) in [
        (Target::Docker, docker, "\"/usr/bin/crun\"", "\"/opt/crun\""),
        (Target::Containerd, containerd, "version = 2\n", "version = 2\nroot = \"/srv\"\n"),
        (Target::Podman, podman, "# ours", "# mine"),
    ] {
        let made = target.plan(Some(before), None, Some(&entry(true))).unwrap();
        let after = made.after.unwrap();
        assert!(after.contains("/usr/local/bin/sharedroot"), "{after}");
        let receipt = Receipt::new(made.before, &after);
        let edited = after.replace(old, new);
        assert_ne!(edited, after);
        let back = target.plan(Some(&edited), Some(&receipt), None).unwrap().after.unwrap();
        assert_eq!(back, before.replace(old, new));
        // A default that somebody else set is not changed.
        let other = after
            .replace("= \"sharedroot\"", "= \"youki\"")
            .replace("\"default-runtime\": \"sharedroot\"", "\"default-runtime\": \"youki\"");
        let back = target.plan(Some(&other), Some(&receipt), None).unwrap().after.unwrap();
        assert!(back.contains("youki") && !back.contains("sharedroot"), "{back}");
    }
}

/// The entry of an administrator who followed the README of an earlier version.
#[test]
fn an_entry_of_another_path_is_replaced_and_goes_with_ours() {
    let by_hand = "{ \"runtimes\": { \"sharedroot\": { \"path\": \"/opt/sr\", \"runtimeArgs\": [\"--debug\"] } } }\n";
    let (after, back) = there_and_back(Target::Docker, Some(by_hand), &entry(false));
    assert_eq!(after, by_hand.replace("/opt/sr", "/usr/local/bin/sharedroot"));
    assert_eq!(back.after.as_deref(), Some("{}\n"));
    let by_hand = "[engine.runtimes]\nsharedroot = [\"/opt/sr\"]\n";
    let (after, back) = there_and_back(Target::Podman, Some(by_hand), &entry(false));
    assert_eq!(after, by_hand.replace("/opt/sr", "/usr/local/bin/sharedroot"));
    assert_eq!(back.after.as_deref(), Some(""));
}

#[test]
fn what_cannot_be_edited_is_refused_with_the_lines_to_write() {
    for (target, text, words) in [
        (Target::Docker, "{\n  // no\n  \"debug\": true\n}", "line 2 column 3"),
        (Target::Docker, "{\"debug\": true,}", "line 1 column 16"),
        (Target::Docker, "[]", "the text is not an object"),
        (Target::Docker, "{\"runtimes\": []}", "runtimes is not an object"),
        (Target::Docker, "{\"runtimes\": {}, \"runtimes\": {}}", "runtimes is there twice"),
        (
            Target::Docker,
            "{\"runtimes\": {\"sharedroot\": 1}}",
            "runtimes.sharedroot is not an object",
        ),
        (Target::Docker, "{\"features\": true}", "features is not an object"),
        (
            Target::Docker,
            "{\"features\": {\"containerd-snapshotter\": \"yes\"}}",
            "features.containerd-snapshotter is not true or false",
        ),
        (
            Target::Docker,
            "{\"storage-driver\": \"a\", \"storage-driver\": \"b\"}",
            "storage-driver is there twice",
        ),
        (
            Target::Containerd,
            "version = 2\nproxy_plugins = { other = {} }\n",
            "proxy_plugins.sharedroot.type",
        ),
        (Target::Containerd, "version = 2\nroot = \n", "line 2, column 8"),
        (Target::Containerd, "version = 9", "version 9"),
        (Target::Containerd, "version = \"2\"", "version is not a number"),
        (
            Target::Podman,
            "[engine]\nruntimes = { crun = [\"/usr/bin/crun\"] }\n",
            "engine.runtimes.sharedroot",
        ),
    ] {
        let entry = match target {
            Target::Podman => entry(false),
            _ => with_snapshotter(false),
        };
        let cause = target.plan(Some(text), None, Some(&entry)).unwrap_err();
        let by_hand = target.by_hand(Some(&entry));
        assert!(by_hand.contains("/usr/local/bin/sharedroot"), "{by_hand}");
        let error = InstallError::Edit { path: "/f".into(), cause, by_hand }.to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~äß\u{1F4A9}\n\"\\\\]{0,8}".prop_map(Value::from),
        Just(Value::Null),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"]{1,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    });
    let runtimes = prop_oneof![
        Just(json!({})),
        Just(json!({ "crun": { "path": "/usr/bin/crun" } })),
        Just(json!({ "a": { "path": "a" }, "z": { "runtimeType": "io.containerd.kata.v2" } })),
    ];
    let storages = prop_oneof![
        Just(json!({ "storage-driver": "overlay2" })),
        Just(json!({ "features": { "buildkit": true } })),
        Just(json!({ "features": { "containerd-snapshotter": true }, "storage-driver": "zfs" })),
        Just(json!({ "features": { "a": false, "containerd-snapshotter": false, "z": true } })),
    ];
    let storages = storages.prop_map(|storage| storage.as_object().cloned().unwrap_or_default());
    let known = (prop::option::of(runtimes), any::<bool>(), prop::option::of(storages));
    (prop::collection::btree_map("[a-y-]{1,12}", value, 0..5), known, 0..4_usize, any::<bool>())
        .prop_map(|(map, (runtimes, default, storage), layout, newline)| {
            let mut whole = json!(map);
            for key in ["runtimes", "default-runtime", "storage-driver", "features"] {
                whole.as_object_mut().map(|map| map.remove(key));
            }
            for (key, value) in storage.into_iter().flatten() {
                whole[key] = value;
            }
            if let Some(runtimes) = runtimes {
                whole["runtimes"] = runtimes;
            }
            if default {
                whole["default-runtime"] = "crun".into();
            }
            let mut text = if layout == 0 { whole.to_string() } else { format!("{whole:#}") };
            if layout == 2 {
                text = text.replace("\n  ", "\n\t").replace("\n", "\r\n");
            }
            if newline {
                text.push('\n');
            }
            text
        })
}

/// Tables that containerd and podman know, in any order, with comments and other keys everywhere.
fn toml_text() -> impl Strategy<Value = String> {
    let filler =
        prop_oneof![Just(""), Just("# a comment"), Just("  # [engine.runtimes]"), Just("\t"),];
    let fillers = || prop::collection::vec(filler.clone(), 0..3);
    let cri = "plugins.\"io.containerd.grpc.v1.cri\".containerd";
    let tables: Vec<Vec<String>> = vec![
        vec!["[engine]".into(), "runtime = \"crun\" # small".into(), "x.y = 1".into()],
        vec!["  [engine.runtimes]".into(), "    crun = [\n  \"/usr/bin/crun\",\n  # or\n]".into()],
        vec![format!("[{cri}]"), "default_runtime_name = 'runc'".into()],
        vec![format!("[{cri}.runtimes.runc.options] # of runc"), "SystemdCgroup = true".into()],
        vec![
            "[plugins.cri.containerd.runtimes.kata]".into(),
            "a = { b = 1, c = '''\n[x]''' }".into(),
        ],
        vec!["[plugins.'io.containerd.cri.v1.runtime'.containerd]".into()],
        vec![
            "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]".into(),
            "platform = 'linux/arm64'".into(),
            "snapshotter = 'zfs' # theirs".into(),
        ],
        vec![
            "[proxy_plugins]".into(),
            "  [proxy_plugins.stargz] # another".into(),
            "    address = '/run/s.sock'".into(),
        ],
        vec!["[[list]]".into(), "a = 1".into(), "[list.of]".into(), "[[list]]".into()],
        vec!["[debug]".into(), "level = \"\"\"\n# x\n\"\"\"".into()],
    ];
    let tables = Just(tables).prop_shuffle().prop_flat_map(|tables| {
        let most = tables.len();
        (Just(tables), 0..=most).prop_map(|(tables, some)| tables[..some].concat())
    });
    let version =
        prop_oneof![Just(""), Just("version = 1\n"), Just("version = 2\n"), Just("version = 3\n")];
    (fillers(), version, tables, prop::collection::vec(fillers(), 40)).prop_map(
        |(head, version, lines, gaps)| {
            let mut text: String = head.iter().map(|line| format!("{line}\n")).collect();
            text.push_str(version);
            for (line, gap) in lines.iter().zip(gaps) {
                text.push_str(&format!("{line}\n"));
                gap.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            }
            text
        },
    )
}

/// Whether all lines of `few` are in `many`, in this order. A comma at the end of a line is ignored, because it separates two
/// lines.
fn are_lines_of(few: &str, many: &str) -> bool {
    let bare = |line: &'_ str| line.trim_end().trim_end_matches(',').to_owned();
    let mut many = many.lines().map(bare);
    few.lines().map(bare).all(|line| many.any(|other| other == line))
}

proptest! {
    #[test]
    fn json_there_and_back(text in json_text(), default in any::<bool>(), storage in any::<bool>()) {
        let entry = if storage { with_snapshotter(default) } else { entry(default) };
        let (after, back) = there_and_back(Target::Docker, Some(&text), &entry);
        prop_assert_eq!(back.after.as_deref(), Some(&*text), "by the receipt");
        let by_structure = docker::remove(&after, &text).unwrap();
        // The form of an empty file, or of a file with one line, need not be restored.
        if text.trim_end().contains('\n') {
            let same = by_structure.replace('\r', "") == text.replace('\r', "");
            prop_assert!(same, "{} by the structure of {}", by_structure, after);
        }
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        prop_assert_eq!(value(&by_structure), value(&text));
        let mut wanted = value(&text);
        wanted["runtimes"]["sharedroot"] = json!({ "path": "/usr/local/bin/sharedroot" });
        if default {
            wanted["default-runtime"] = "sharedroot".into();
        }
        if storage {
            wanted["storage-driver"] = "sharedroot".into();
            wanted["features"]["containerd-snapshotter"] = true.into();
        }
        prop_assert_eq!(value(&after), wanted);
    }

    #[test]
    fn toml_there_and_back(text in toml_text(), default in any::<bool>(), podman in any::<bool>(), snapshotter in any::<bool>()) {
        let target = if podman { Target::Podman } else { Target::Containerd };
        prop_assume!(toml::parse(&text).is_ok());
        let entry = if snapshotter && !podman { with_snapshotter(default) } else { entry(default) };
        let (after, back) = there_and_back(target, Some(&text), &entry);
        prop_assert_eq!(back.after.as_deref(), Some(&*text), "by the receipt");
        prop_assert!(default || are_lines_of(&text, &after), "{} is not in {}", text, after);
        // Two things need not be restored: the quotes of a default that was replaced, and the missing version of a file.
        prop_assume!(!default || !text.contains("'runc'"));
        prop_assume!(!toml::parse(&text).unwrap().is_empty());
        prop_assert_eq!(target.remove(&after, &text).unwrap(), &*text, "by the structure of {}", after);
    }
}
