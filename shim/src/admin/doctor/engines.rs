//! Whether Docker, containerd or podman have sharedroot as a runtime, and store images where sharedroot finds them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sharedroot_sys::chain::chain;

use super::check::Check;
use super::engine_files::{self, Said};
use super::host::{Host, program};
use crate::admin::containerd_shim::{PLACES, PROGRAM};
use crate::admin::snapshotter;

/// Storage whose layers are directories that overlay stacks. `overlay` is podman's word, `overlayfs` containerd's.
const STACKED: [&str; 5] = ["overlay2", "overlay", "overlayfs", "stargz", "soci"];

/// Whether sharedroot finds an image in this storage.
fn has_images(driver: &str) -> bool {
    STACKED.contains(&driver) || driver == snapshotter::NAME
}

/// Where programs go that are not of a package.
const USUAL: &str = "/usr/local/bin";

/// The function that parses a file's text.
type Parse = fn(&str) -> Result<Said, String>;

/// Checks the engines.
pub fn look(_: &Host) -> Vec<Check> {
    let mut docker =
        Engine::read("docker", "dockerd", &[in_etc("docker/daemon.json")], engine_files::docker);
    if let Ok(said) = &mut docker.said
        && said.storage.is_none()
    {
        said.storage =
            graph_driver(said.data_root.as_deref().unwrap_or(Path::new("/var/lib/docker")));
    }
    let containerd = [in_etc("containerd/config.toml")];
    let mut podman =
        vec!["/usr/share/containers/containers.conf".into(), in_etc("containers/containers.conf")];
    podman.extend(files_in(&in_etc("containers/containers.conf.d")));
    podman.push(in_etc("containers/storage.conf"));
    let engines = [
        docker,
        Engine::read("containerd", "containerd", &containerd, engine_files::containerd),
        Engine::read("podman", "podman", &podman, engine_files::podman),
    ];
    let mut checks: Vec<_> = engines.iter().map(Engine::judged).collect();
    checks.push(any(&engines));
    checks
}

fn in_etc(path: &str) -> PathBuf {
    Path::new("/etc").join(path)
}

/// The files, in the order in which podman reads them.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    files
}

/// The driver under which Docker has images, if Docker's configuration names none; overlay2 if there are several.
fn graph_driver(data_root: &Path) -> Option<String> {
    let drivers = fs::read_dir(data_root.join("image")).ok()?.flatten();
    let mut drivers: Vec<_> =
        drivers.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    drivers.sort_by_key(|driver| !STACKED.contains(&&**driver));
    drivers.into_iter().next()
}

/// The state of a runtime's program.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Program {
    /// The program can be executed, and only root can change it.
    Good,
    /// The program does not exist.
    Missing,
    /// The path is not a file, or the file is not executable.
    NotExecutable,
    /// Other users than root can write to the program.
    Open,
}

impl Program {
    fn at(path: &Path) -> Self {
        match fs::metadata(path) {
            Err(_) => Self::Missing,
            Ok(found) if !found.is_file() || found.mode() & 0o111 == 0 => Self::NotExecutable,
            Ok(found) if found.uid() != 0 || found.mode() & 0o022 != 0 => Self::Open,
            Ok(_) => Self::Good,
        }
    }

    /// The fault of the program, and the remedy.
    fn fault(&self, path: &Path) -> Option<(String, String)> {
        // A shim that is not there has no path.
        let at = if path.is_absolute() { path.to_owned() } else { Path::new(USUAL).join(path) };
        let made = if path.ends_with(PROGRAM) { PROGRAM } else { "sharedroot" };
        let (path, at) = (path.display(), at.display());
        let (found, remedy) = match self {
            Self::Good => return None,
            Self::Missing => ("is not there", format!("install -m 755 target/release/{made} {at}")),
            Self::NotExecutable => ("cannot be executed", format!("chmod 755 {path}")),
            Self::Open => (
                "can be written by others than root",
                format!("chown root:root {path} && chmod 755 {path}"),
            ),
        };
        Some((format!("{path} {found}"), remedy))
    }
}

/// A container engine of this host.
#[derive(Debug)]
struct Engine {
    name: &'static str,
    is_installed: bool,
    said: Result<Said, (PathBuf, String)>,
    /// The runtimes of `said`, with the states of their programs.
    programs: Vec<(PathBuf, Program)>,
}

impl Engine {
    /// Reads what is installed, and the engine's files. Later files take precedence over earlier ones.
    fn read(name: &'static str, daemon: &str, files: &[PathBuf], parse: Parse) -> Self {
        let is_installed = program(daemon, &PLACES).is_some();
        let read = |path: &PathBuf| match fs::read_to_string(path) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Said::default()),
            Err(error) => Err(chain(&error)),
        };
        let said = files.iter().try_fold(Said::default(), |before, path| {
            Ok(before.and(read(path).map_err(|why| (path.clone(), why))?))
        });
        let runtimes = said.iter().flat_map(|said| said.runtimes.values());
        let programs = runtimes.filter_map(|places| {
            let places: Vec<_> = places.iter().map(|place| found(place)).collect();
            let there = places.iter().find(|place| place.exists()).or(places.first())?;
            Some((there.clone(), Program::at(there)))
        });
        let programs = programs.collect();
        Self { name, is_installed, said, programs }
    }

    fn judged(&self) -> Check {
        let name = self.name;
        let said = match &self.said {
            Ok(said) => said,
            Err((path, why)) => {
                let (found, remedy) =
                    (format!("{}: {why}", path.display()), format!("correct {}", path.display()));
                return Check::problem(name, found, remedy);
            }
        };
        if !self.is_installed {
            return Check::ok(name, "not installed");
        }
        if said.runtimes.is_empty() {
            return Check::ok(name, "has no runtime that is sharedroot");
        }
        if let Some((found, remedy)) =
            self.programs.iter().find_map(|(path, program)| program.fault(path))
        {
            return Check::problem(name, format!("its runtime {found}"), remedy);
        }
        let runtimes = said.runtimes.keys().cloned().collect::<Vec<_>>().join(", ");
        match &said.storage {
            Some(driver) if !has_images(driver) => Check::warning(
                name,
                format!(
                    "stores images with {driver}, where sharedroot finds no image: every container runs on the engine's rootfs, not shared"
                ),
                self.other_storage(),
            ),
            Some(driver) => Check::ok(name, format!("has {runtimes}; images by {driver}")),
            None => Check::ok(name, format!("has {runtimes}")),
        }
    }

    fn other_storage(&self) -> String {
        match self.name {
            "docker" => "\"storage-driver\": \"overlay2\" in /etc/docker/daemon.json, then: systemctl restart docker",
            "containerd" => "snapshotter = \"overlayfs\" in /etc/containerd/config.toml, then: \
                 systemctl restart containerd",
            _ => "driver = \"overlay\" in /etc/containers/storage.conf, then: \
                 podman system reset (it deletes podman's containers and images)",
        }
        .to_owned()
    }

    fn knows_us(&self) -> bool {
        self.is_installed && self.said.as_ref().is_ok_and(|said| !said.runtimes.is_empty())
    }
}

/// Finds a program without a directory as a daemon does.
fn found(place: &Path) -> PathBuf {
    match place.is_absolute() {
        true => place.to_owned(),
        false => program(&place.to_string_lossy(), &PLACES).unwrap_or_else(|| place.to_owned()),
    }
}

/// Whether an engine starts containers with sharedroot.
fn any(engines: &[Engine]) -> Check {
    const NAME: &str = "engines";
    let knowing: Vec<_> =
        engines.iter().filter(|engine| engine.knows_us()).map(|e| e.name).collect();
    if !knowing.is_empty() {
        return Check::ok(
            NAME,
            format!("{} can start containers by sharedroot", knowing.join(", ")),
        );
    }
    let installed = engines.iter().find(|engine| engine.is_installed);
    let remedy = format!("sharedroot install {}", installed.map_or("docker", |engine| engine.name));
    Check::warning(NAME, "none is configured to start containers by sharedroot", remedy)
}

#[cfg(test)]
mod tests {
    use super::super::check::Severity::{self, Ok as Good, Problem, Warning};
    use super::*;

    fn engine(name: &'static str, text: &str, program: Program) -> Engine {
        let said = engine_files::docker(text).map_err(|why| ("/f".into(), why));
        let programs = vec![("/p".into(), program)];
        Engine { name, is_installed: true, said, programs }
    }

    fn severity(text: &str, program: Program) -> Severity {
        engine("docker", text, program).judged().severity
    }

    #[test]
    fn an_engine_is_judged_by_its_runtime_and_its_images() {
        const OURS: &str = r#"{ "runtimes": { "sharedroot": { "path": "/p" } } }"#;
        let with =
            |driver: &str| OURS.replacen('{', &format!("{{ \"storage-driver\": \"{driver}\","), 1);
        for (text, program, expected) in [
            (OURS, Program::Good, Good),
            (OURS, Program::Missing, Problem),
            (OURS, Program::NotExecutable, Problem),
            (OURS, Program::Open, Problem),
            (&with("overlay2"), Program::Good, Good),
            (&with("sharedroot"), Program::Good, Good),
            (&with("vfs"), Program::Good, Warning),
            (&with("vfs"), Program::Missing, Problem),
            ("{}", Program::Good, Good),
            ("{", Program::Good, Problem),
        ] {
            assert_eq!(severity(text, program.clone()), expected, "{text} {program:?}");
        }
        let shim = vec![(PROGRAM.into(), Program::Missing)];
        let line = Engine { programs: shim, ..engine("docker", OURS, Program::Good) };
        let remedy = format!("install -m 755 target/release/{PROGRAM} /usr/local/bin/{PROGRAM}");
        assert!(line.judged().plain_line().ends_with(&remedy), "{line:?}");
        let line = engine("docker", OURS, Program::NotExecutable).judged().plain_line();
        assert!(
            line.ends_with("its runtime /p cannot be executed; remedy: chmod 755 /p"),
            "{line}"
        );
    }

    #[test]
    fn one_engine_that_knows_us_is_enough() {
        let one = |name, text| engine(name, text, Program::Good);
        let ours = r#"{ "runtimes": { "sharedroot": { "path": "/p" } } }"#;
        assert_eq!(any(&[one("docker", "{}"), one("podman", ours)]).severity, Good);
        for (engines, remedy) in [
            (vec![], "sharedroot install docker"),
            (vec![one("docker", "{}"), one("podman", "{}")], "sharedroot install docker"),
            (vec![one("podman", "{}")], "sharedroot install podman"),
            (
                vec![Engine { is_installed: false, ..one("podman", ours) }],
                "sharedroot install docker",
            ),
        ] {
            let check = any(&engines);
            assert!(check.severity == Warning && check.plain_line().ends_with(remedy), "{check:?}");
        }
    }
}
