//! What the configuration files of Docker, containerd and podman contain about runtimes and about the storage of
//! images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;
use toml::{Table, Value};

use crate::admin::containerd_shim::{PROGRAM, RUNTIME_TYPE, program_of};
use crate::admin::snapshotter;

/// The parts of a configuration file that `doctor` uses.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Said {
    /// The runtimes that are sharedroot, by their names. Each has the places where its program may be; the first that
    /// exists counts.
    pub runtimes: BTreeMap<String, Vec<PathBuf>>,
    /// How images are stored, in the file's word.
    pub storage: Option<String>,
    /// The directory where Docker stores images.
    pub data_root: Option<PathBuf>,
    /// Where containerd calls the snapshotter of sharedroot.
    pub snapshotter: Option<PathBuf>,
}

impl Said {
    /// Adds the content of a file that the engine reads after this one.
    pub fn and(mut self, later: Self) -> Self {
        self.runtimes.extend(later.runtimes);
        Self {
            runtimes: self.runtimes,
            storage: later.storage.or(self.storage),
            data_root: later.data_root.or(self.data_root),
            snapshotter: later.snapshotter.or(self.snapshotter),
        }
    }
}

/// A runtime is sharedroot if the program's name or the runtime's name begins so, because a script in the program's
/// place may have any name; or if the program is containerd's shim of sharedroot.
fn add(runtimes: &mut BTreeMap<String, Vec<PathBuf>>, name: &str, places: Vec<PathBuf>) {
    let is_ours = |place: &PathBuf| {
        place
            .file_name()
            .is_some_and(|file| file == PROGRAM || file.to_string_lossy().starts_with("sharedroot"))
    };
    if name.starts_with("sharedroot") || places.iter().any(is_ours) {
        runtimes.insert(name.to_owned(), places);
    }
}

/// Docker's daemon.json.
///
/// # Errors
/// The parser's error.
pub fn docker(text: &str) -> Result<Said, String> {
    // dockerd accepts an empty file.
    if text.trim().is_empty() {
        return Ok(Said::default());
    }
    let daemon: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut runtimes = BTreeMap::new();
    for (name, runtime) in daemon["runtimes"].as_object().into_iter().flatten() {
        let path = runtime["path"].as_str().map(PathBuf::from);
        let shim = || program_of(runtime["runtimeType"].as_str()?);
        add(&mut runtimes, name, path.or_else(shim).into_iter().collect());
    }
    let containerd = daemon["features"]["containerd-snapshotter"] == true;
    let driver = daemon["storage-driver"].as_str().map(str::to_owned);
    let storage = driver.or(containerd.then(|| "overlayfs".to_owned()));
    let data_root = daemon["data-root"].as_str().map(PathBuf::from);
    Ok(Said { runtimes, storage, data_root, snapshotter: None })
}

/// containerd's config.toml of any version: the names of the plugins differ between versions, the keys do not.
///
/// # Errors
/// The parser's error.
pub fn containerd(text: &str) -> Result<Said, String> {
    let file = table(text)?;
    let address = text_at(&file, &["proxy_plugins", snapshotter::NAME, "address"]);
    let mut said = Said { snapshotter: address.map(PathBuf::from), ..Said::default() };
    for plugin in file.get("plugins").and_then(Value::as_table).into_iter().flatten() {
        walk(plugin.0, plugin.1, &mut said);
    }
    Ok(said)
}

/// Searches for `runtimes.NAME.options.BinaryName`, `runtimes.NAME.runtime_type` and `snapshotter`, at any depth.
fn walk(name: &str, value: &Value, said: &mut Said) {
    let Some(table) = value.as_table() else { return };
    if let Some(program) = text_at(table, &["options", "BinaryName"]) {
        add(&mut said.runtimes, name, vec![program.into()]);
    } else if let Some(shim) = text_at(table, &["runtime_type"]).filter(is_our_shim) {
        said.runtimes.insert(name.to_owned(), program_of(shim).into_iter().collect());
    }
    if let Some(snapshotter) = text_at(table, &["snapshotter"]).filter(|text| !text.is_empty()) {
        said.storage = Some(snapshotter.to_owned());
    }
    table.iter().for_each(|(name, value)| walk(name, value, said));
}

fn is_our_shim(runtime_type: &&str) -> bool {
    *runtime_type == RUNTIME_TYPE || runtime_type.ends_with(PROGRAM)
}

/// podman's containers.conf and storage.conf, which have no key in common.
///
/// # Errors
/// The parser's error.
pub fn podman(text: &str) -> Result<Said, String> {
    let mut runtimes = BTreeMap::new();
    let file = table(text)?;
    let known = file.get("engine").and_then(|engine| engine.get("runtimes")?.as_table());
    for (name, places) in known.into_iter().flatten() {
        let places = places.as_array().into_iter().flatten().filter_map(Value::as_str);
        add(&mut runtimes, name, places.map(PathBuf::from).collect());
    }
    let storage = text_at(&file, &["storage", "driver"]).filter(|driver| !driver.is_empty());
    Ok(Said { runtimes, storage: storage.map(str::to_owned), ..Said::default() })
}

fn table(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| {
        let text = error.to_string();
        format!("{}: {}", text.lines().next().unwrap_or_default(), error.message())
    })
}

fn text_at<'t>(table: &'t Table, path: &[&str]) -> Option<&'t str> {
    let (last, way) = path.split_last()?;
    let inner = way.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?;
    inner.get(*last)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(runtimes: &[(&str, &str)], storage: Option<&str>) -> Said {
        let runtimes = runtimes.iter().map(|(name, path)| ((*name).to_owned(), vec![path.into()]));
        let (runtimes, storage) = (runtimes.collect(), storage.map(str::to_owned));
        Said { runtimes, storage, ..Said::default() }
    }

    #[test]
    fn docker_names_its_runtimes() {
        let text = r#"{ "storage-driver": "overlay2", "runtimes": {
            "sharedroot": { "path": "/usr/local/bin/sharedroot" }, "fast": { "path": "/opt/sharedroot-crun" },
            "crun": { "path": "/usr/bin/crun" }, "kata": { "runtimeType": "io.containerd.kata.v2" },
            "shim": { "runtimeType": "io.containerd.sharedroot.v2" } } }"#;
        let runtimes = [
            ("sharedroot", "/usr/local/bin/sharedroot"),
            ("fast", "/opt/sharedroot-crun"),
            ("shim", PROGRAM),
        ];
        assert_eq!(docker(text), Ok(said(&runtimes, Some("overlay2"))));
        assert_eq!(docker(" \n"), Ok(Said::default()));
        assert_eq!(docker("{}"), Ok(Said::default()));
        let features = r#"{ "features": { "containerd-snapshotter": true }, "data-root": "/d" }"#;
        let found = docker(features).unwrap();
        assert_eq!(found.storage.as_deref(), Some("overlayfs"));
        assert_eq!(found.data_root, Some("/d".into()));
        assert!(docker("{ \"runtimes\": ").unwrap_err().contains("line 1"));
    }

    #[test]
    fn containerd_has_them_in_both_versions_of_its_file() {
        for plugin in
            ["io.containerd.grpc.v1.cri\".containerd", "io.containerd.cri.v1.runtime\".containerd"]
        {
            let text = format!(
                "version = 2\n[plugins.\"{plugin}]\nsnapshotter = \"native\"\n\
                 [plugins.\"{plugin}.runtimes.mine]\nruntime_type = \"io.containerd.runc.v2\"\n\
                 [plugins.\"{plugin}.runtimes.mine.options]\nBinaryName = \"/usr/bin/sharedroot\"\n\
                 [plugins.\"{plugin}.runtimes.runc.options]\nBinaryName = \"/usr/bin/runc\"\n\
                 [plugins.\"{plugin}.runtimes.shim]\nruntime_type = \"io.containerd.sharedroot.v2\"\n"
            );
            let expected =
                said(&[("mine", "/usr/bin/sharedroot"), ("shim", PROGRAM)], Some("native"));
            assert_eq!(containerd(&text), Ok(expected));
        }
        let proxy = "[proxy_plugins.sharedroot]\ntype = \"snapshot\"\naddress = \"/run/s\"\n";
        assert_eq!(containerd(proxy).unwrap().snapshotter, Some("/run/s".into()));
        assert_eq!(containerd("disabled_plugins = [\"cri\"]\n"), Ok(Said::default()));
        assert!(containerd("[plugins\n").unwrap_err().contains("line 1"));
    }

    #[test]
    fn podman_has_a_list_of_places_and_later_files_count() {
        let first = "[engine.runtimes]\nsharedroot = [\"/a/sharedroot\", \"/b\"]\ncrun = [\"/usr/bin/crun\"]\n";
        let first = podman(first).unwrap();
        assert_eq!(first.runtimes["sharedroot"], [PathBuf::from("/a/sharedroot"), "/b".into()]);
        let second = podman("[engine.runtimes]\nsharedroot = [\"/c\"]\n").unwrap();
        let third = podman("[storage]\ndriver = \"vfs\"\n").unwrap();
        assert_eq!(first.and(second).and(third), said(&[("sharedroot", "/c")], Some("vfs")));
        assert_eq!(podman(""), Ok(Said::default()));
        assert!(podman("[engine]\nruntimes = 1\n").is_ok_and(|said| said.runtimes.is_empty()));
    }
}
