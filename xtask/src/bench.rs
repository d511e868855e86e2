//! `hack/bench`: one benchmark, and the file of its figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::process::{output, succeeds};

const OUT: &str = "target/bench";
/// The measured program, built as users get it.
const PROGRAM: &str = "target/release/sharedroot";
const SHIM: &str = "target/release/containerd-shim-sharedroot-v2";
/// The parts of the benchmark `engine`, each in a guest.
const PARTS: [&str; 4] = ["ctr", "docker", "cri", "many"];
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

/// Prints tables, and writes every figure to target/bench/; docs/benchmarks.md says what they mean.
#[derive(Debug, Args)]
pub struct Options {
    #[arg(value_enum)]
    what: What,
    /// runtime: measure in a guest of the lab, where bases lie on device-mapper, instead of on this machine
    #[arg(long)]
    lab: bool,
    /// Options of the benchmark itself; `--help` prints them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// The benchmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Snapshots, in one guest [--rounds 200] [--snapshots 1000] [--idle SECONDS] [--no-containerd]
    Dm,
    /// The commands of the runtime beside crun's and runc's [--rounds 200] [--mounts 1000]
    Runtime,
    /// Bases beside `tar -x` of the same layers, in one guest [--rounds 5] [--image NAME]
    Image,
    /// Many small containers on roots of sharedroot and on overlay mounts, in one guest; docs/density.md [--pods 1000] [--modes
    /// shared,private,overlay2,plain,shared+mount,runc,crun] [--engine NAME] [--parallel 1] [--images 1] [--via oci|docker]
    /// [--turns 100]
    Density,
    /// Containers that write a little, and a commit, on sharedroot, overlay2 and btrfs, in two guests; docs/cow.md [--rounds
    /// 10] [--runtime runc|crun|sharedroot]
    Cow,
    /// From docker run to a container's first useful work, in one guest; docs/hello.md [--rounds 4] [--warm 1]
    /// [--images pause,busybox,debian,python,redis,nginx,awkward]
    Hello,
    /// containerd's shim beside its own with runc, by ctr, Docker and CRI, and many containers in one server, each part in a guest;
    /// docs/containerd-shim.md [--part ctr|docker|cri|many] [--rounds 9] [--containers 10] [--many 1000] [--control 200]
    Engine,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Dm => "dm",
            Self::Runtime => "runtime",
            Self::Image => "image",
            Self::Density => "density",
            Self::Cow => "cow",
            Self::Hello => "hello",
            Self::Engine => "engine",
        }
    }
}

/// Builds the programs, runs the benchmark and keeps its figures.
pub fn run(options: &Options) -> Result<ExitCode> {
    let Options { what, lab, options } = options;
    let name = what.name();
    let program = format!("bench_{name}");
    succeeds(Command::new("cargo").args([
        "build",
        "--release",
        "-p",
        "sharedroot-bench",
        "--bin",
        &program,
    ]))?;
    let in_lab = *lab || *what != What::Runtime;
    if in_lab {
        succeeds(Command::new("hack/lab").arg("build"))?;
    }
    fs::create_dir_all(OUT)?;
    // The guest of `dm` needs no runtime, because the benchmark links the crate.
    if *what != What::Dm {
        succeeds(Command::new("hack/build").arg("--release"))?;
    }
    if matches!(what, What::Runtime | What::Density) {
        succeeds(Command::new("hack/bench.d/programs").arg(format!("{OUT}/programs")))?;
    }
    if *what == What::Engine {
        beside_engine()?;
    }
    let built = format!("target/release/{program}");
    fs::copy(&built, format!("{OUT}/{program}")).with_context(|| format!("copy {built}"))?;

    let before = load()?;
    let found = match what {
        What::Cow => {
            let mut guests = Vec::new();
            for pool in ["loop", "device"] {
                println!("\nOurs on a pool of kind: {pool}\n");
                let more = [&["--pool".to_owned(), pool.to_owned()], &options[..]].concat();
                guests.push(guest(*what, &built, &more)?);
            }
            json!({ "guests": guests })
        }
        What::Engine => engine(options)?,
        What::Runtime if !in_lab => {
            let json = Path::new(OUT).join("run.json");
            succeeds(Command::new("hack/bench.d/native").args(options).arg("--json").arg(&json))?;
            taken(&json)?
        }
        What::Runtime => guest(*what, "hack/bench.d/in-guest", options)?,
        _ => guest(*what, &built, options)?,
    };
    keep(name, found, &before)?;
    Ok(ExitCode::SUCCESS)
}

/// The files that the guests of `engine` need.
fn beside_engine() -> Result<()> {
    succeeds(Command::new("hack/build").args(["--shim", "--release"]))?;
    succeeds(Command::new("hack/cri.d/build").arg("target/cri"))?;
    fs::create_dir_all(format!("{OUT}/client"))?;
    for (from, to) in [(SHIM, "containerd-shim-sharedroot-v2"), ("target/cri/cri", "client/cri")] {
        fs::copy(from, format!("{OUT}/{to}")).with_context(|| format!("copy {from}"))?;
    }
    Ok(())
}

/// Runs each part of `engine` in a guest, or the part that the options name.
fn engine(options: &[String]) -> Result<Value> {
    let named = options.iter().any(|option| option == "--part");
    let all = PARTS.map(|part| vec!["--part".to_owned(), part.to_owned()]);
    let parts = if named { &[vec![]] } else { &all[..] };
    let mut guests = Vec::new();
    for part in parts {
        let options = [part, options].concat();
        guests.push(guest(What::Engine, "hack/bench.d/engine-in-guest", &options)?);
    }
    Ok(json!({ "guests": guests }))
}

/// Runs a benchmark in a guest of the lab, and returns its figures.
fn guest(what: What, script: &str, options: &[String]) -> Result<Value> {
    let has = |option, value| options.windows(2).any(|pair| pair == [option, value]);
    let words: &[&str] = match what {
        What::Dm => &["--no-docker", "--limit", "1800", "--program", "none"],
        What::Runtime => &["--no-docker", "--limit", "1800"],
        What::Image => &["--limit", "3600"],
        What::Density if has("--via", "docker") => {
            &["--pool", "device", "--mem", "6", "--limit", "14400"]
        }
        What::Density => &["--no-docker", "--pool", "device", "--mem", "6", "--limit", "14400"],
        What::Cow => &["--pool", "device", "--limit", "7200"],
        What::Hello => &["--pool", "device", "--limit", "3600"],
        What::Engine if has("--part", "cri") => {
            &["--systemd", "--kernel-argument", "lsm=capability", "--limit", "3600"]
        }
        What::Engine if has("--part", "many") => &["--mem", "6", "--limit", "7200"],
        What::Engine => &["--limit", "3600"],
    };
    let mut command = Command::new("hack/lab");
    command.arg("run").args(["--share", OUT]);
    if what != What::Dm {
        command.args(["--program", PROGRAM]);
    }
    command.args(words).arg(script).args(options).args(["--json", "/share/run.json"]);
    succeeds(&mut command)?;
    taken(&Path::new(OUT).join("run.json"))
}

fn taken(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    fs::remove_file(path)?;
    Ok(serde_json::from_str(&text)?)
}

/// Writes the figures, with the time, the commit and the machine.
fn keep(name: &str, found: Value, before: &str) -> Result<()> {
    let now = output(Command::new("date").args(["--utc", "+%Y%m%d-%H%M%S"]))?;
    let commit = output(Command::new("git").args(["describe", "--always", "--dirty"]))?;
    let after = load()?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let mut all = Map::new();
    all.insert("date".into(), json!(now));
    all.insert("commit".into(), json!(commit));
    all.insert(
        "host".into(),
        json!({
            "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
            "cpu": cpu.map(|(_, model)| model),
            "cpus": output(&mut Command::new("nproc"))?,
            "load": [before, &after],
        }),
    );
    if let Value::Object(found) = found {
        all.extend(found);
    }
    let result: PathBuf = format!("{OUT}/{name}-{now}.json").into();
    fs::write(&result, serde_json::to_string_pretty(&all)?)?;
    if name == "density" {
        let plot = [
            "run",
            "--quiet",
            "-p",
            "sharedroot-bench",
            "--features",
            "plots",
            "--bin",
            "plot_density",
            "--",
        ];
        succeeds(
            Command::new("cargo").args(plot).arg(&result).arg(result.with_extension("")).arg(FONT),
        )?;
    }
    println!(
        "\nLoad of the machine before and after: {before}, {after} (the benchmark alone makes 1 to 2). \
         Every figure: {}",
        result.display()
    );
    Ok(())
}

fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
