//! config.toml and containers.conf before and after.

use super::super::{Entry, Runs, Snapshotter, containerd, podman};

fn entry(default: bool) -> Entry {
    Entry { runs: Runs::Commands("/usr/bin/sharedroot".to_owned()), default, snapshotter: None }
}

/// The lines of the default runtime, which containerd would not have beside another one.
fn runc(plugin: &str) -> String {
    format!(
        "\n[plugins.{plugin}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n"
    )
}

#[test]
fn containerd_keeps_its_default_runtime_beside_ours() {
    let plugin = "\"io.containerd.grpc.v1.cri\"";
    let ours = format!("[plugins.{plugin}.containerd.runtimes.sharedroot]\n");
    let text = "version = 2\n[plugins]\n";
    let added = containerd::add(text, &entry(false)).unwrap();
    assert!(added.starts_with(&format!("{text}{}\n{ours}", runc(plugin))), "{added}");
    assert_eq!(containerd::remove(&added, text).unwrap(), text);
    // Somebody has set it up since, or has made another one.
    let options = format!("[plugins.{plugin}.containerd.runtimes.runc.options]\nRoot = \"/r\"\n");
    let kata = format!("[plugins.{plugin}.containerd.runtimes.kata]\nruntime_type = \"k\"\n");
    for more in [options, kata] {
        let changed = format!("{added}{more}");
        assert_eq!(
            containerd::remove(&changed, text).unwrap(),
            format!("{text}{}{more}", runc(plugin))
        );
        // Who has named runtimes has the one that he wants.
        let named = format!("{text}{more}");
        let added = containerd::add(&named, &entry(false)).unwrap();
        assert!(added.starts_with(&format!("{named}\n{ours}")), "{added}");
        assert_eq!(containerd::remove(&added, &named).unwrap(), named);
    }
}

#[test]
fn containerd_has_a_place_in_every_version() {
    for (version, plugin) in [
        ("disabled_plugins = []", "cri"),
        ("version = 1", "cri"),
        ("version = 2", "\"io.containerd.grpc.v1.cri\""),
        ("version = 3", "\"io.containerd.cri.v1.runtime\""),
        ("version = 4", "\"io.containerd.cri.v1.runtime\""),
    ] {
        let text = format!("# kept\n{version} # too\n\n#[debug]\n");
        let at = format!("plugins.{plugin}.containerd");
        assert_eq!(
            containerd::add(&text, &entry(true)).unwrap(),
            format!(
                "{text}{}\n[{at}.runtimes.sharedroot]\nruntime_type = \"io.containerd.runc.v2\"\n\n\
                 [{at}.runtimes.sharedroot.options]\nBinaryName = \"/usr/bin/sharedroot\"\n\n\
                 [{at}]\ndefault_runtime_name = \"sharedroot\"\n",
                runc(plugin)
            )
        );
    }
    let fresh = containerd::add("", &entry(false)).unwrap();
    assert!(fresh.starts_with("version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".containerd."));
}

#[test]
fn containerds_shim_has_the_options_of_no_other() {
    let shim = Entry { runs: Runs::Shim, default: false, snapshotter: None };
    let at = "plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.sharedroot";
    let runc = runc("\"io.containerd.grpc.v1.cri\"");
    let ours =
        format!("version = 2\n{runc}\n[{at}]\nruntime_type = \"io.containerd.sharedroot.v2\"\n");
    assert_eq!(containerd::add("", &shim).unwrap(), ours);
    // In the place of an entry for commands, and the other way round.
    let commands = containerd::add("", &entry(false)).unwrap();
    assert!(commands.contains("BinaryName"), "{commands}");
    assert_eq!(containerd::add(&commands, &shim).unwrap(), ours);
    assert_eq!(containerd::add(&ours, &entry(false)).unwrap(), commands);
    // Options of this shim stay.
    let options = format!("{ours}\n[{at}.options]\nConfigPath = \"/etc/x\"\n");
    assert_eq!(containerd::add(&options, &shim).unwrap(), options);
}

fn with_snapshotter() -> Entry {
    Entry {
        runs: Runs::Shim,
        default: false,
        snapshotter: Some(Snapshotter { root: "/srv/pool".to_owned() }),
    }
}

/// The lines of the snapshotter, for the runtime of this plugin.
fn snapshotter_lines(plugin: &str) -> String {
    format!(
        "{}\n[plugins.{plugin}.containerd.runtimes.sharedroot]\n\
         runtime_type = \"io.containerd.sharedroot.v2\"\nsnapshotter = \"sharedroot\"\n\n\
         [proxy_plugins.sharedroot]\ntype = \"snapshot\"\n\
         address = \"/run/sharedroot/snapshotter.sock\"\n\n\
         [proxy_plugins.sharedroot.exports]\nroot = \"/srv/pool\"\n",
        runc(plugin)
    )
}

/// An element of the list of containerd's transfer service.
fn unpack(snapshotter: &str) -> String {
    format!(
        "\n[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]\n\
         platform = \"linux\"\nsnapshotter = \"{snapshotter}\"\n"
    )
}

#[test]
fn containerds_snapshotter_has_a_place_in_every_version() {
    let [overlayfs, ours, mine] = ["overlayfs", "sharedroot", "mine"].map(unpack);
    // A list has what its user wrote; without a list, containerd's default has to be written.
    for (text, plugin, list) in [
        ("version = 1\n", "cri", String::new()),
        ("version = 2\n", "\"io.containerd.grpc.v1.cri\"", format!("{overlayfs}{ours}")),
        ("version = 3\n", "\"io.containerd.cri.v1.runtime\"", format!("{overlayfs}{ours}")),
        (&format!("version = 3\n{mine}"), "\"io.containerd.cri.v1.runtime\"", ours.clone()),
    ] {
        let added = containerd::add(text, &with_snapshotter()).unwrap();
        assert_eq!(added, format!("{text}{}{list}", snapshotter_lines(plugin)));
        assert_eq!(containerd::add(&added, &with_snapshotter()).unwrap(), added, "twice is once");
        assert_eq!(containerd::remove(&added, text).unwrap(), text);
        let commands = containerd::add(&added, &entry(true)).unwrap();
        assert!(commands.contains("[proxy_plugins.sharedroot]"), "only `uninstall` removes it");
        let restart = "systemctl restart containerd";
        assert_eq!(
            containerd::next(text, &added),
            format!("systemctl enable --now sharedrootd.socket && {restart}")
        );
        assert_eq!(containerd::next(&added, text), restart);
        assert!(containerd::notes(text, &added).is_empty());
        assert!(containerd::notes(&added, text)[0].contains("stay in the pool"));
    }
}

#[test]
fn a_list_that_somebody_changed_since_stays() {
    let text = "version = 3\n";
    let added = containerd::add(text, &with_snapshotter()).unwrap();
    let mine = unpack("mine");
    let changed = format!("{added}{mine}");
    assert_eq!(
        containerd::remove(&changed, text).unwrap(),
        format!("{text}{}{mine}", unpack("overlayfs"))
    );
    let other =
        added.replace("\"linux\"\nsnapshotter = \"overlayfs\"", "\"linux\"\nsnapshotter = \"zfs\"");
    assert_eq!(containerd::remove(&other, text).unwrap(), format!("{text}{}", unpack("zfs")));
    let in_a_line =
        "version = 3\n[plugins.'io.containerd.transfer.v1.local']\nunpack_config = []\n";
    let refused = containerd::add(in_a_line, &with_snapshotter()).unwrap_err().to_string();
    assert!(refused.contains("unpack_config is not in a table with lines of its own"), "{refused}");
}

#[test]
fn containerds_runtimes_have_one_cgroup_driver() {
    let runc =
        "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n";
    let with = |value: &str| {
        containerd::add(&format!("{runc}  SystemdCgroup = {value}\n"), &entry(false)).unwrap()
    };
    assert!(
        with("true").ends_with("\nBinaryName = \"/usr/bin/sharedroot\"\nSystemdCgroup = true\n")
    );
    assert!(with("false").ends_with("\nBinaryName = \"/usr/bin/sharedroot\"\n"));
}

#[test]
fn containerd_without_cri_is_told() {
    let notes = |text: &str| containerd::notes(text, text);
    assert_eq!(notes("disabled_plugins = [\"cri\"]").len(), 1);
    assert_eq!(
        notes("version = 3\ndisabled_plugins = [\"io.containerd.cri.v1.runtime\"]").len(),
        1
    );
    assert!(notes("version = 2\ndisabled_plugins = [\"restart\"]").is_empty());
}

#[test]
fn podman_gets_a_line_where_the_table_is() {
    for (before, after) in [
        ("", "[engine.runtimes]\nsharedroot = [\"/usr/bin/sharedroot\"]\n"),
        ("[engine]", "[engine]\n\n[engine.runtimes]\nsharedroot = [\"/usr/bin/sharedroot\"]\n"),
        (
            "[engine.runtimes]\n  crun = [\n    \"a\"\n  ] # b\n# c\n[x]\n",
            "[engine.runtimes]\n  crun = [\n    \"a\"\n  ] # b\n  sharedroot = [\"/usr/bin/sharedroot\"]\n# c\n[x]\n",
        ),
        (
            "[engine.runtimes] # none\n#crun = []\n",
            "[engine.runtimes] # none\nsharedroot = [\"/usr/bin/sharedroot\"]\n#crun = []\n",
        ),
    ] {
        assert_eq!(podman::add(before, &entry(false)).unwrap(), after);
    }
}

#[test]
fn podmans_default_is_one_line_more() {
    let before = "[engine]\nevents_logger = \"file\"\nruntime = 'crun' # why\n";
    assert_eq!(
        podman::add(before, &entry(true)).unwrap(),
        "[engine]\nevents_logger = \"file\"\nruntime = \"sharedroot\" # why\n\n\
         [engine.runtimes]\nsharedroot = [\"/usr/bin/sharedroot\"]\n"
    );
}

/// Whatever form the entry has, `uninstall` finds it by its name, or refuses.
#[test]
fn all_forms_of_the_entry_go() {
    for (text, rest) in [
        (
            "[engine.runtimes]\nsharedroot = [\n  \"a\",\n]\ncrun = []\n",
            "[engine.runtimes]\ncrun = []\n",
        ),
        ("[engine.runtimes]\nsharedroot = []", ""),
        ("engine.runtimes.sharedroot = []\nengine.x = 1\n", "engine.x = 1\n"),
    ] {
        assert_eq!(podman::remove(text, "").unwrap(), rest);
    }
    assert!(podman::remove("[engine]\nruntimes = { sharedroot = [] }\n", "").is_err());
    let at = "plugins.\"io.containerd.grpc.v1.cri\".containerd";
    for (text, rest) in [
        (
            format!("[{at}.runtimes]\nsharedroot = {{ a = 1 }}\nb = 1\n"),
            format!("[{at}.runtimes]\nb = 1\n"),
        ),
        (
            format!("[{at}.runtimes]\nsharedroot.a = 1\nsharedroot.b.c = 1\n"),
            format!("[{at}.runtimes]\n"),
        ),
        (
            format!("x = 1\n\n[{at}.runtimes.sharedroot.options]\n# why\na = 1\n\n[y]\n"),
            "x = 1\n# why\n\n[y]\n".to_owned(),
        ),
    ] {
        assert_eq!(containerd::remove(&text, "").unwrap(), rest);
    }
}

#[test]
fn strings_are_tomls_own() {
    for text in ["", "a\"b\\c", "ä\u{7f}\u{1}\n\t", "\u{1F4A9}"] {
        let line = format!("k = {}", super::string(text));
        let document = super::parse(&line).unwrap();
        assert_eq!(super::find(&document, &["k"]).and_then(toml_edit::Item::as_str), Some(text));
    }
}
