//! config.toml and containers.conf before and after.

use super::super::{Entry, Runs, containerd, podman};

fn entry(default: bool) -> Entry {
    Entry { runs: Runs::Commands("/usr/bin/sharedroot".to_owned()), default }
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
                "{text}\n[{at}.runtimes.sharedroot]\nruntime_type = \"io.containerd.runc.v2\"\n\n\
                 [{at}.runtimes.sharedroot.options]\nBinaryName = \"/usr/bin/sharedroot\"\n\n\
                 [{at}]\ndefault_runtime_name = \"sharedroot\"\n"
            )
        );
    }
    let fresh = containerd::add("", &entry(false)).unwrap();
    assert!(fresh.starts_with("version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".containerd."));
}

#[test]
fn containerds_shim_has_the_options_of_no_other() {
    let shim = Entry { runs: Runs::Shim, default: false };
    let at = "plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.sharedroot";
    let ours = format!("version = 2\n\n[{at}]\nruntime_type = \"io.containerd.sharedroot.v2\"\n");
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
    assert!(containerd::doubt("disabled_plugins = [\"cri\"]").is_some());
    assert!(
        containerd::doubt("version = 3\ndisabled_plugins = [\"io.containerd.cri.v1.runtime\"]")
            .is_some()
    );
    assert!(containerd::doubt("version = 2\ndisabled_plugins = [\"restart\"]").is_none());
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
