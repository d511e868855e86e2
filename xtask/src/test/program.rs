//! Integration tests: what each test needs of its guest, and its executable.
//!
//! The first comment of a test's file has lines with these needs, as options of `hack/lab run` and of [`Needs`]:
//!
//! ```text
//! //! Guest: --no-docker --limit 600
//! ```
//!
//! With several such lines the test runs in that many guests, one after another, with one shared directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, FromArgMatches, ValueEnum};

use super::extra::Extra;
use crate::lab::{Engines, GuestOptions};

/// The folders of the integration tests.
const FOLDERS: [&str; 2] = ["dm/tests", "tests/tests"];
/// The beginning of a line of needs.
const MARK: &str = "//! Guest:";
/// The value of RUNTIME that means containerd's shim.
const SHIM: &str = "shim";
/// How long a test takes if its needs do not say.
const SECONDS: u64 = 4;

/// What a test needs of its guest.
#[derive(Debug, Clone, Args)]
pub struct Needs {
    #[command(flatten)]
    pub guest: GuestOptions,
    /// End the test after SECONDS
    #[arg(long, default_value = "600", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// About how many seconds a long test takes; longer tests begin earlier
    #[arg(long)]
    takes: Option<u64>,
    /// Run the test only with `hack/test --long`, or by its name
    #[arg(long)]
    long: bool,
    /// Run the test in a guest that no other test uses
    #[arg(long)]
    pub alone: bool,
    /// Files that the test needs in its directory
    #[arg(long, value_enum)]
    pub with: Vec<Extra>,
    /// Set NAME=VALUE in the test's environment
    #[arg(long)]
    pub env: Vec<String>,
    /// Run the test also with sharedroot on this engine, because other engines must behave as the embedded one
    #[arg(long)]
    pub engine: Vec<String>,
    /// With `hack/test --long`, run the test also with containerd and Docker of Debian unstable
    #[arg(long, value_enum)]
    pub unstable: Vec<How>,
    /// Run the test also with containerd's shim: in each run of `hack/test`, or only with --long
    #[arg(long, value_enum)]
    pub shim: Option<When>,
}

/// How containerd and Docker of Debian unstable call sharedroot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// As the test itself does.
    Plain,
    /// By containerd's shim of ours.
    Shim,
}

/// What the environment asks of every named test.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `RUNTIME`.
    pub runtime: Option<String>,
    /// `ENGINES`.
    pub engines: Option<Engines>,
}

impl Asked {
    pub fn of_environment() -> Result<Self> {
        let engines = std::env::var("ENGINES").ok().map(|name| Engines::from_str(&name, false));
        let engines = engines.transpose().map_err(|error| anyhow!("ENGINES: {error}"))?;
        Ok(Self { runtime: std::env::var("RUNTIME").ok(), engines })
    }
}

/// The runs of `hack/test` in which a test is run once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// In each run.
    Always,
    /// Only with --long, or by the test's name.
    Long,
}

impl Needs {
    /// How long the test may run.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }

    fn set_engines(&mut self, engines: Engines) {
        self.guest.engines = Some(engines);
        let Engines::Unstable = engines;
        self.with.push(Extra::EnginesOfUnstable);
    }

    fn parse(words: &str) -> Result<Self> {
        let command = Self::augment_args(clap::Command::new("Guest:").no_binary_name(true));
        let found = command.try_get_matches_from(words.split_whitespace())?;
        let mut needs = Self::from_arg_matches(&found)?;
        needs.guest.check()?;
        if let Some(engines) = needs.guest.engines {
            needs.set_engines(engines);
        }
        Ok(needs)
    }
}

/// One test executable, with one runtime.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file's name without `.rs`, and `+ENGINE`.
    pub name: String,
    /// The executable's name in the shared directory.
    pub file: String,
    /// The needs of each guest.
    pub needs: Vec<Needs>,
    /// Variables for the program's environment.
    pub env: Vec<String>,
    /// The evidence, for each guest of the program that broke.
    pub broken: Vec<String>,
    /// How long the program takes: a guess, until it was measured.
    pub expected: Duration,
    /// Whether only `hack/test --long` runs the program, if the program is not named.
    pub long: bool,
}

impl Program {
    /// The same test with another runtime.
    fn with_runtime(&self, mark: &str, runtime: &str) -> Self {
        let mut other = self.clone();
        other.name = format!("{}+{mark}", self.name);
        other.set_runtime(runtime);
        other
    }

    fn set_runtime(&mut self, runtime: &str) {
        self.env.push(format!("RUNTIME={runtime}"));
        if runtime == SHIM {
            self.needs.iter_mut().for_each(|needs| needs.with.push(Extra::Shim));
        }
    }

    fn with_engines(mut self, engines: Engines) -> Self {
        self.name = format!("{}+{engines}", self.name);
        for needs in &mut self.needs {
            needs.set_engines(engines);
        }
        self
    }
}

/// The sources of integration tests by name.
pub fn sources() -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(folder).with_context(|| format!("list {folder}"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                found.insert(name, path);
            }
        }
    }
    Ok(found)
}

/// The programs with these names, or all programs.
pub fn programs(names: &[String], asked: &Asked) -> Result<Vec<Program>> {
    let sources = sources()?;
    if let Some(unknown) = names.iter().find(|name| !sources.contains_key(*name)) {
        bail!("there is no integration test {unknown}");
    }
    let mut programs = Vec::new();
    for (name, path) in sources {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let program = read(&name, &path).with_context(|| path.display().to_string())?;
        if names.is_empty() && asked.engines.is_none() {
            programs.extend(of_unstable(&program));
        }
        let program = match asked.engines {
            Some(engines) => program.with_engines(engines),
            None => program,
        };
        programs.extend(with_runtimes(program, asked));
    }
    Ok(programs)
}

/// The program with the engines of Debian unstable, as its needs say. A named test does so only if ENGINES says it, because the
/// engines must be downloaded.
fn of_unstable(program: &Program) -> Vec<Program> {
    let ways = program.needs[0].unstable.iter();
    let ways = ways.map(|how| match how {
        How::Plain => program.clone(),
        How::Shim => program.with_runtime(SHIM, SHIM),
    });
    ways.map(|way| Program { long: true, ..way.with_engines(Engines::Unstable) }).collect()
}

/// The program with RUNTIME, or with each runtime that its needs name.
fn with_runtimes(mut program: Program, asked: &Asked) -> Vec<Program> {
    if let Some(runtime) = &asked.runtime {
        program.set_runtime(runtime);
        return vec![program];
    }
    if asked.engines.is_some() {
        return vec![program];
    }
    let Needs { engine, shim, .. } = &program.needs[0];
    let engines = engine.iter();
    let mut programs: Vec<_> = engines
        .map(|engine| program.with_runtime(engine, &format!("sharedroot+{engine}")))
        .collect();
    programs.extend(shim.map(|when| {
        let other = program.with_runtime(SHIM, SHIM);
        Program { long: other.long || when == When::Long, ..other }
    }));
    programs.push(program);
    programs
}

fn read(name: &str, path: &Path) -> Result<Program> {
    let text = fs::read_to_string(path)?;
    let head = text.lines().take_while(|line| line.starts_with("//!"));
    let needs: Vec<_> =
        head.filter_map(|line| line.strip_prefix(MARK)).map(Needs::parse).collect::<Result<_>>()?;
    ensure!(
        !needs.is_empty(),
        "the first comment has no line {MARK:?}, which says what the test needs of its guest"
    );
    let tests = text.lines().filter(|line| line.trim() == "#[test]").count().max(1);
    let expected = Duration::from_secs(needs[0].takes.unwrap_or(tests as u64 * SECONDS));
    Ok(Program {
        name: name.to_owned(),
        file: name.to_owned(),
        env: needs[0].env.clone(),
        long: needs[0].long,
        needs,
        broken: vec![],
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(needs: &str) -> Program {
        Program {
            name: "t".to_owned(),
            file: "t".to_owned(),
            needs: vec![Needs::parse(needs).unwrap()],
            env: vec![],
            broken: vec![],
            expected: Duration::ZERO,
            long: false,
        }
    }

    #[test]
    fn a_test_runs_once_more_with_the_engines_of_unstable() {
        let seen = |programs: Vec<Program>| -> Vec<_> {
            let told = |p: Program| {
                let needs = &p.needs[0];
                let made = needs.with.contains(&Extra::EnginesOfUnstable);
                (p.name, p.env, p.long, needs.guest.engines.is_some() && made)
            };
            programs.into_iter().map(told).collect()
        };
        assert!(of_unstable(&program("")).is_empty());
        let env = vec!["RUNTIME=shim".to_owned()];
        assert_eq!(
            seen(of_unstable(&program("--unstable plain --unstable shim"))),
            [
                ("t+unstable".to_owned(), vec![], true, true),
                ("t+shim+unstable".to_owned(), env, true, true)
            ]
        );
        let own = program("--engines unstable --long");
        assert_eq!(seen(vec![own]), [("t".to_owned(), vec![], false, true)]);
        let asked = Asked { engines: Some(Engines::Unstable), ..Asked::default() };
        let all = with_runtimes(program("--shim always").with_engines(Engines::Unstable), &asked);
        assert_eq!(seen(all), [("t+unstable".to_owned(), vec![], false, true)]);
    }

    #[test]
    fn a_test_runs_once_more_with_the_shim() {
        let seen = |needs, runtime: Option<&str>| -> Vec<(String, Vec<String>, bool, usize)> {
            let asked = Asked { runtime: runtime.map(str::to_owned), engines: None };
            let programs = with_runtimes(program(needs), &asked).into_iter();
            programs.map(|p| (p.name, p.env, p.long, p.needs[0].with.len())).collect()
        };
        let plain = || ("t".to_owned(), vec![], false, 0);
        let shim = |long| ("t+shim".to_owned(), vec!["RUNTIME=shim".to_owned()], long, 1);
        assert_eq!(seen("", None), [plain()]);
        assert_eq!(seen("--shim always", None), [shim(false), plain()]);
        assert_eq!(seen("--shim long", None), [shim(true), plain()]);
        let only = ("t".to_owned(), vec!["RUNTIME=shim".to_owned()], false, 1);
        assert_eq!(seen("--shim long", Some("shim")), [only]);
        let runc = ("t".to_owned(), vec!["RUNTIME=runc".to_owned()], false, 0);
        assert_eq!(seen("--shim always --engine crun", Some("runc")), [runc]);
    }

    #[test]
    fn needs_are_the_words_of_the_lab() {
        let needs = Needs::parse(" --selinux enforcing --boolean b --limit 900 --alone").unwrap();
        assert_eq!(needs.guest.to_string(), "--selinux enforcing --boolean b");
        assert_eq!((needs.limit(), needs.alone), (Duration::from_secs(900), true));
        for wrong in ["--selinx off", "word", "--limit 0", "--systemd --selinux enforcing"] {
            assert!(Needs::parse(wrong).is_err(), "{wrong}");
        }
    }
}
