//! What `create` does, and does not do, for a container of an image whose base is mounted: seen by its system calls. What it
//! takes note of, and what `top` makes of that.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use sharedroot_tests::attack::bind;
use sharedroot_tests::bundle::{Bundle, make_rootfs};
use sharedroot_tests::command::{Cmd, unique_name};
use sharedroot_tests::documented;
use sharedroot_tests::driver::Layered;
use sharedroot_tests::kernel_view::{mounts_of, root_of};
use sharedroot_tests::lab::{RUN_DIR, TempDir, only_in_lab};
use sharedroot_tests::runtime::Runtime;

/// A Docker root in a directory of its own. Dropping it unmounts what was mounted below.
struct Docker {
    dir: TempDir,
    image: Layered,
    mounted: Vec<PathBuf>,
}

impl Docker {
    fn new() -> Self {
        Self::of(|root| Layered::new(root, make_rootfs))
    }

    fn of(image: impl FnOnce(PathBuf) -> Layered) -> Self {
        let dir = TempDir::new("docker");
        let image = image(dir.0.join("root"));
        Self { dir, image, mounted: Vec::new() }
    }

    /// The same as [`Self::bundle`]; `lacking` is a directory it mounts on and the image has not.
    fn lacking_bundle(&mut self, runtime: &Runtime, id: &str, lacking: Option<&str>) -> Bundle {
        let bundle = self.bundle(runtime, id);
        if let Some(lacking) = lacking {
            bundle.edit(|config| bind(config, "/tmp", lacking));
        }
        bundle
    }

    /// A bundle of a read-only container of the image, whose process waits to be started.
    fn bundle(&mut self, runtime: &Runtime, id: &str) -> Bundle {
        let root = self.image.container(id);
        let bundle = Bundle::new(runtime, &["true"]);
        bundle.edit(|config| {
            config["root"] = json!({"path": root.to_str().expect("ASCII"), "readonly": true});
            config["linux"]["cgroupsPath"] = json!(format!("/create-path/{id}"));
        });
        self.mounted.push(root);
        bundle
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        for root in &self.mounted {
            sharedroot_tests::command::run(&["umount", root.to_str().expect("ASCII")]);
        }
        let _ = fs::remove_dir("/sys/fs/cgroup/create-path");
        let _ = &self.dir;
    }
}

/// The lines of `strace -f` of a `create`, and what deletes its container.
fn traced(runtime: &Runtime, bundle: &Bundle, id: &str, dir: &TempDir) -> String {
    let log = dir.0.join(format!("strace-{id}"));
    let log = log.to_str().expect("ASCII");
    // -D: strace is nobody's parent, and stays with the container's process when `create` has ended.
    let create = ["--root", runtime.root(), "create", "--bundle", bundle.str(), id];
    Cmd::new("strace")
        .args(&["-D", "-f", "-qq", "-o", log, "/usr/local/bin/sharedroot"])
        .args(&create)
        .run()
        .ok();
    fs::read_to_string(log).expect("read strace's log")
}

/// The lines of the first process: our own part, the engine's being those of its children.
fn own_part(trace: &str) -> Vec<&str> {
    let first = trace.split_whitespace().next().expect("a line");
    trace.lines().filter(|line| line.split_whitespace().next() == Some(first)).collect()
}

#[test]
fn vm_create_with_a_mounted_base_asks_nobody() {
    asks_nobody(None);
}

#[test]
fn vm_create_with_a_mounted_scaffold_asks_nobody() {
    asks_nobody(Some("/missing/in/the/image"));
}

#[track_caller]
fn asks_nobody(lacking: Option<&str>) {
    only_in_lab();
    let (runtime, mut docker) = (Runtime::sharedroot(), Docker::new());
    let [first, second] = ["first", "second"].map(unique_name);
    let bundle = docker.lacking_bundle(&runtime, &first, lacking);
    // The first container of the image makes and mounts its base, and its scaffold.
    runtime.cmd(&["create", "--bundle", bundle.str(), &first]).run().ok();
    let bundle = docker.lacking_bundle(&runtime, &second, lacking);
    let before = mounts_of("self").len();
    let trace = traced(&runtime, &bundle, &second, &docker.dir);

    assert_eq!(mounts_of("self").len(), before, "`create` left a mount on the host");
    let [its, others] = [&first, &second].map(|id| {
        let pid = runtime.cmd(&["state", id]).run().json()["pid"].as_i64().expect("a pid");
        root_of(i32::try_from(pid).expect("a pid"))
    });
    assert_eq!(its.device, others.device);
    assert_eq!(its.is_on_dm(), lacking.is_none(), "the container has the base: {its:?}");
    let own = own_part(&trace);
    assert!(own.len() > 50, "the trace is of `create`:\n{trace}");
    for (what, never) in [
        ("device-mapper", "/dev/mapper/control"),
        ("the store", "/var/lib/sharedroot/store"),
        ("the base's lock", "/run/sharedroot/lock/base-"),
        ("the mount table", "mountinfo"),
        ("the old mount table", "/proc/self/mounts"),
    ] {
        let found: Vec<_> = own.iter().filter(|line| line.contains(never)).collect();
        assert!(found.is_empty(), "`create` asked {what}: {found:#?}");
    }
    // Of what an earlier start may have left: a start that did not look would go on from an older state.
    let asked = own.iter().filter(|line| line.contains("/var/lib/sharedroot/")).collect::<Vec<_>>();
    assert!(
        matches!(&asked[..], [note] if note.contains("/private-") && note.contains("ENOENT")),
        "{asked:#?}"
    );
    assert!(!trace.contains("DM_"), "nor does the engine ask device-mapper");
    // What it costs, so that it cannot grow unseen: two execs of the program, and our own part.
    // A build with debug assertions asks before each close(2) whether the descriptor is open.
    let counts = |line: &&&str| line.contains(" = ") && !line.contains("F_GETFD)");
    let calls = own.iter().filter(counts).count();
    let most = MOST_CALLS + lacking.map_or(0, |_| MORE_FOR_A_SCAFFOLD);
    assert!(calls < most, "{calls} system calls of our own:\n{}", own.join("\n"));
    for id in [&first, &second] {
        runtime.cmd(&["delete", "--force", id]).run().ok();
    }
}

/// System calls of the process that `create` is, linked statically or dynamically.
const MOST_CALLS: usize = 510;
/// How many more it is for a scaffold of one deep mount point.
const MORE_FOR_A_SCAFFOLD: usize = 55;

#[test]
fn vm_the_container_is_born_in_its_cgroup() {
    only_in_lab();
    let (runtime, mut docker) = (Runtime::sharedroot(), Docker::new());
    let id = unique_name("born");
    let bundle = docker.bundle(&runtime, &id);
    bundle.edit(|config| {
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["resources"]["pids"] = json!({"limit": 500});
    });
    let trace = traced(&runtime, &bundle, &id, &docker.dir);
    assert!(trace.contains("CLONE_INTO_CGROUP") || trace.contains("0x200000000"), "{trace}");
    let pid = runtime.cmd(&["state", &id]).run().json()["pid"].as_i64().expect("a pid");
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read its cgroup");
    assert_eq!(cgroup.trim(), format!("0::/create-path/{id}"));
    let dir = Path::new("/sys/fs/cgroup/create-path").join(&id);
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("read a file of the cgroup");
    assert_eq!(read("pids.max").trim(), "500", "the controllers are on");
    assert_eq!(read("cgroup.procs").trim(), pid.to_string(), "the engine has left it");

    runtime.cmd(&["start", &id]).run().ok();
    let exec =
        runtime.cmd(&["exec", &id, "cat", "/proc/self/cgroup", "/sys/fs/cgroup/cgroup.procs"]);
    let said = exec.run().ok();
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("0::/"), "exec joins it: {said}");
    assert_eq!(lines.next(), Some("1"), "the container sees the real file: {said}");
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    assert!(!dir.exists(), "delete leaves the cgroup");
}

#[test]
fn vm_a_container_that_cannot_be_made_leaves_no_cgroup() {
    only_in_lab();
    let (runtime, mut docker) = (Runtime::sharedroot(), Docker::new());
    let id = unique_name("failed");
    let bundle = docker.bundle(&runtime, &id);
    bundle.edit(|config| config["process"]["args"] = json!(["/no/such/program"]));
    let failed = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run();
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.contains("/no/such/program"), "{failed}");
    assert!(!Path::new("/sys/fs/cgroup/create-path").join(&id).exists(), "a cgroup is left");
    assert!(!Path::new(runtime.root()).join(&id).exists(), "a directory is left");
}

#[test]
fn vm_metrics_count_what_was_done() {
    only_in_lab();
    let (mut docker, runtime) = (Docker::new(), Runtime::sharedroot());
    // The base is there, and the directory for the notes.
    run_to_its_end(&mut docker, &runtime);
    let before = metrics();
    let id = unique_name("metrics");
    let bundle = docker.bundle(&runtime, &id);
    runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().ok();
    runtime.cmd(&["start", &id]).run().ok();
    let running = metrics();
    assert_ne!(runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().status, 0);
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    let after = metrics();

    let more = |now: &[(String, f64)], name: &str| {
        let of = |all: &[(String, f64)]| {
            all.iter().find(|(found, _)| found == name).map_or(0.0, |(_, value)| *value)
        };
        of(now) - of(&before)
    };
    let created = "sharedroot_create_seconds_count{root=\"base\"}";
    let failed = "sharedroot_errors_total{command=\"create\"}";
    let shared = "sharedroot_containers{root=\"shared\"}";
    let started = "sharedroot_start_seconds_count";
    let of = |now| [created, started, shared, failed].map(|name| more(now, name));
    assert_eq!(of(&running), [1.0, 1.0, 1.0, 0.0], "{running:?}");
    assert_eq!(of(&after), [1.0, 1.0, 0.0, 1.0], "{after:?}");
    assert!(more(&running, "sharedroot_create_seconds_sum{root=\"base\"}") > 0.0, "{running:?}");
    assert!(running.contains(&("sharedroot_pool_active".to_owned(), 1.0)), "{running:?}");

    // The collector finds the same in a file that is there at once.
    let dir = TempDir::new("metrics");
    let path = dir.0.join("sharedroot.prom");
    let words = ["metrics", "--output", path.to_str().expect("ASCII")];
    assert_eq!(Cmd::new("sharedroot").args(&words).run().ok(), "");
    let text = fs::read_to_string(&path).expect("read the figures");
    assert_eq!(samples(&text), after);
    assert_eq!(fs::read_dir(&dir.0).expect("list").count(), 1, "nothing else is left");
}

#[track_caller]
fn run_to_its_end(docker: &mut Docker, runtime: &Runtime) {
    let id = unique_name("first");
    let bundle = docker.bundle(runtime, &id);
    runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run().ok();
}

/// Every sample with its labels.
#[track_caller]
fn metrics() -> Vec<(String, f64)> {
    samples(&Cmd::new("sharedroot").arg("metrics").run().ok())
}

#[track_caller]
fn samples(text: &str) -> Vec<(String, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(sample).collect()
}

/// What a large file of the image is called, and how many bytes it has.
const LARGE: (&str, u64) = ("--help\n\u{1b}[2J", 1 << 20);

#[test]
fn vm_top_shows_what_is_shared_and_how_long_starts_take() {
    only_in_lab();
    let runtime = Runtime::sharedroot();
    // An image of its own, with a second name of its large file.
    let mut docker = Docker::of(|root| {
        Layered::numbered(root, 7, |layer| {
            make_rootfs(layer);
            let large = layer.join(LARGE.0);
            fs::write(&large, vec![7; LARGE.1 as usize]).expect("write a large file");
            fs::hard_link(large, layer.join("again")).expect("give it a second name");
        })
    });
    let began = Instant::now();
    let ids = ["one", "two", "three"].map(unique_name);
    for id in &ids {
        let bundle = docker.bundle(&runtime, id);
        bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
        runtime.cmd(&["create", "--bundle", bundle.str(), id]).run().ok();
        if *id == ids[0] {
            begins_with_the_process(&runtime, id);
        }
        runtime.cmd(&["start", id]).run().ok();
    }
    let took = began.elapsed().as_micros() as u64;

    let (look, image) = of_the_image(&[], |image| image["shared"] == 3);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {look:#}"));
    let resident = number(&image["resident_bytes"]);
    assert!(resident > 0 && resident % 4096 == 0, "{image:#}");
    assert_eq!(number(&image["saved_bytes"]), 2 * resident, "{image:#}");
    assert!(number(&look["saved_bytes"]) >= 2 * resident, "{look:#}");
    assert!(number(&look["containers"]["shared"]) >= 3, "{look:#}");
    assert_eq!((&look["version"], &look["pool"]["active"]), (&json!(1), &json!(true)));
    let starts = &image["starts"];
    let [p50, p99] = ["p50_us", "p99_us"].map(|name| number(&starts[name]));
    assert_eq!(starts["count"], 3, "{image:#}");
    assert!(0 < p50 && p50 <= p99 && p99 < took, "{starts:#} of {took} us");

    // What one container reads is in memory once for all, under whatever name.
    let key = image["key"].as_str().expect("a key").to_owned();
    let mut now = [0; 2];
    for (id, now) in ids.iter().zip(&mut now) {
        let large = format!("/{}", LARGE.0);
        let cat = runtime.cmd(&["exec", id, "sh", "-c", "cat \"$1\" > /dev/null", "sh", &large]);
        cat.run().ok();
        *now = number(&of_the_image(&[], |image| image["key"] == *key).1["resident_bytes"]);
    }
    let more = now[0] - resident;
    assert!((LARGE.1..LARGE.1 + (512 << 10)).contains(&more), "{more} more bytes in memory");
    assert_eq!(now[1], now[0], "a second container read the same");

    let table = Cmd::new("sharedroot").arg("top").run().ok();
    let row = table.lines().find(|line| line.starts_with(&key[..12])).expect("a row");
    assert_eq!(row.split_whitespace().skip(1).take(2).collect::<Vec<_>>(), ["3", "0"], "{table}");
    drawn_again_and_again(&docker.dir, &key);

    ids.iter().for_each(|id| drop(runtime.cmd(&["delete", "--force", id]).run().ok()));
    let (_, image) = of_the_image(&[], |image| image["key"] == *key);
    assert_eq!((&image["shared"], &image["resident_bytes"]), (&json!(0), &Value::Null));
    assert_eq!(image["starts"]["count"], 3, "starts stay for an hour");
    let (_, image) = of_the_image(&["--all"], |image| image["key"] == *key);
    assert_eq!((&image["resident_bytes"], &image["saved_bytes"]), (&json!(now[1]), &json!(0)));
}

/// The live table on a terminal of 30 columns, until the key `q`.
#[track_caller]
fn drawn_again_and_again(dir: &TempDir, key: &str) {
    let screen = dir.0.join("screen");
    let script = format!(
        "( until grep -aobF '[Hpool ' {screen} | sed 1d | grep -q .; do sleep 0.2; done; printf q; sleep 2 ) |
         script -qfc 'stty cols 30 rows 50; before=$(stty -g); sharedroot top --interval 1; echo ended with $?
             [ \"$(stty -g)\" = \"$before\" ] && echo as before' {screen}",
        screen = screen.display(),
    );
    Cmd::new("sh").args(&["-c", &script]).run().ok();
    let drawn = fs::read_to_string(screen).expect("read what was drawn");
    assert!(drawn.contains("ended with 0") && drawn.contains("as before"), "{drawn:?}");
    let first = drawn.split("\u{1b}[H").nth(1).expect("a screen");
    let ends = ['\r', '\n'];
    let plain = first.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
    let lines: Vec<_> = plain.split("\u{1b}[K").map(|line| line.trim_matches(ends)).collect();
    let row = lines.iter().find(|line| line.starts_with(&key[..12]));
    let row = row.unwrap_or_else(|| panic!("no row: {drawn:?}"));
    assert_eq!(row.split_whitespace().nth(1), Some("3"), "{drawn:?}");
    assert_eq!(lines.iter().map(|line| line.chars().count()).max(), Some(30), "{drawn:?}");
}

/// `top --once --json`, and the only image of it that is such.
#[track_caller]
fn of_the_image(flags: &[&str], is_such: impl Fn(&Value) -> bool) -> (Value, Value) {
    let look = documented::json("top", &[&["--once"], flags].concat());
    let images = look["images"].as_array().expect("a list").iter();
    let found: Vec<_> = images.filter(|image| is_such(image)).collect();
    let [image] = found[..] else { panic!("{} such images: {look:#}", found.len()) };
    let image = image.clone();
    (look, image)
}

/// The last line of the file of starts: only root may read it, and the time begins with the process of `create` and not with
/// what that executes itself as; the container's process still has its environment.
#[track_caller]
fn begins_with_the_process(runtime: &Runtime, id: &str) {
    let path = Path::new(RUN_DIR).join("starts");
    assert_eq!(fs::metadata(&path).expect("stat the starts").mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("read the starts");
    let words: Vec<_> = text.lines().next_back().expect("a line").split(' ').collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let (at, took) = (number(words[1]), number(words[2]) * 1000);
    let pid = runtime.cmd(&["state", id]).run().json()["pid"].as_i64().expect("a pid");
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("read its environment");
    let environment = String::from_utf8_lossy(&environment);
    let pair = environment.split('\0').find_map(|pair| pair.strip_prefix("SHAREDROOT_BEGAN="));
    let (_, began) = pair.expect("the variable").split_once(' ').expect("two words");
    let (noted, began) = (at - took, number(began));
    assert_eq!(words[0], "create", "{words:?}");
    assert!(noted.abs_diff(began) <= 1000, "{noted} is not {began}");
}
