//! The packages of `hack/package` in a guest with systemd: installed, upgraded, removed and purged, with a container
//! that goes on.
//!
//! `RUNTIME` is the installed program; the lab's own is taken away first. The guest has no rpm; `hack/test` brings one.
//!
//! Guest: --systemd --no-docker --kernel-argument lsm=capability --env RUNTIME=/usr/bin/sharedroot --with packages --alone --limit 900 --takes 60

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, Instant};

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, Output, out, run};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{STATE_DIR, TempDir, only_in_lab};
use sharedroot_tests::package::{PROGRAM, SNAPSHOTTER, built, later};
use sharedroot_tests::pool::{has, is_active};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;
use sharedroot_tests::systemd::property;
use sharedroot_tests::tree;

const CONFIG: &str = "/etc/sharedroot/config.toml";
/// What a first installation says is next.
const GREETING: [&str; 2] = ["sharedroot install docker", "sharedroot doctor"];

/// The machine, as a package may change it.
#[derive(Debug)]
struct Machine {
    census: Census,
    /// Everything in `/etc` and `/usr`, with its content.
    files: BTreeMap<String, String>,
    /// Every name on the root's file system, and every name on others that has to do with us.
    names: BTreeSet<String>,
}

impl Machine {
    fn look() -> Self {
        let time = |stat: &Metadata| match stat.is_dir() {
            true => "directory".to_owned(),
            false => tree::seconds(stat),
        };
        let mut files = BTreeMap::new();
        for top in ["/etc", "/usr"] {
            let list = tree::list(Path::new(top), time, &[]);
            files.extend(list.into_iter().map(|(name, what)| (format!("{top}/{name}"), what)));
        }
        // What systemd, dpkg and the test itself write while they work.
        let find =
            "find / -xdev -not -path '/tmp/*' -not -path '/var/log/*' -not -path '/var/tmp/*' \
                -not -path /var/lib/systemd/timers
            find /run /dev /var/lib/sharedroot /sys/fs/cgroup -iname '*sharedroot*'";
        let names = out(&["sh", "-c", find]).lines().map(str::to_owned).collect();
        Self { census: Census::take(), files, names }
    }

    /// What is there and was not, what was there and is not, what is another.
    fn against(&self, before: &Self) -> BTreeSet<String> {
        let census = self.census.against(&before.census);
        let mut found: BTreeSet<String> = census.lines().map(str::to_owned).collect();
        let changed =
            self.files.iter().filter(|(name, what)| before.files.get(*name) != Some(what));
        found.extend(changed.map(|(name, what)| format!("changed: {name} {what}")));
        found.extend(
            self.names.difference(&before.names).map(|name| format!("left over: file {name}")),
        );
        found.extend(
            before.names.difference(&self.names).map(|name| format!("missing: file {name}")),
        );
        found
    }
}

/// dpkg, with the man pages and documents that the lab's root leaves out.
fn dpkg(words: &[&str]) -> Output {
    let all = ["--path-include=/usr/share/man/*", "--path-include=/usr/share/doc/sharedroot*"];
    Cmd::new("dpkg").args(&all).args(words).env("DEBIAN_FRONTEND", "noninteractive").run()
}

#[track_caller]
fn said(output: Output) -> String {
    assert_eq!(output.status, 0, "{output}");
    format!("{}{}", output.stdout, output.stderr)
}

fn everything_is_in_its_place() {
    assert_eq!(out(&["dpkg", "--verify", "sharedroot"]), "", "as packed");
    let owner = out(&["find", PROGRAM, CONFIG, "-printf", "%M %u:%g\n"]);
    assert_eq!(owner, "-rwxr-xr-x root:root\n-rw-r--r-- root:root");
    let help = out(&[PROGRAM, "help"]);
    let verbs =
        help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    // What a verb does may go on in the next line.
    let verbs = verbs.filter_map(|l| l.strip_prefix("  ")?.split(' ').next());
    let verbs: Vec<&str> = verbs.filter(|v| !v.is_empty() && *v != "help").collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs.iter().copied().chain(["pool-grow", "image-import"]) {
        let page = out(&["zcat", &format!("/usr/share/man/man1/sharedroot-{verb}.1.gz")]);
        has(&page, &[&format!(".TH sharedroot-{verb} 1"), ".SH SYNOPSIS"]);
    }
    let complete = "source /usr/share/bash-completion/completions/sharedroot
        COMP_WORDS=(sharedroot pool gr) COMP_CWORD=2; _sharedroot sharedroot gr pool; echo ${COMPREPLY[@]}";
    assert_eq!(out(&["bash", "-c", complete]), "grow");
    for (unit, file_state, state) in [
        ("sharedroot-pool.service", "disabled", "inactive"),
        ("sharedroot-gc.service", "static", "inactive"),
        ("sharedroot-gc.timer", "enabled", "active"),
        ("sharedrootd.socket", "disabled", "inactive"),
        ("sharedrootd.service", "static", "inactive"),
    ] {
        let path = property(unit, "FragmentPath");
        assert_eq!(path, format!("/usr/lib/systemd/system/{unit}"));
        out(&["systemd-analyze", "verify", "--man=no", &path]);
        let states = ["UnitFileState", "ActiveState"].map(|state| property(unit, state));
        assert_eq!(states, [file_state, state], "{unit}");
        let before = property(unit, "Before");
        let first = !unit.contains("-gc.");
        assert_eq!(before.split(' ').any(|other| other == "docker.service"), first, "{unit}");
    }
    out(&["udevadm", "verify", "/usr/lib/udev/rules.d/56-dm-sharedroot.rules"]);
    has(&out(&[PROGRAM, "config", "show"]), &["/var/lib/sharedroot", "default"]);
    assert!(
        !is_active()
            && fs::read_dir(STATE_DIR)
                .expect("list")
                .flatten()
                .all(|f| f.file_name() == "lost+found")
    );
}

/// Starts the snapshotter if it does not run, and returns its process.
#[track_caller]
fn the_snapshotter_runs() -> String {
    out(&["systemctl", "start", "sharedrootd.service"]);
    assert_eq!(property("sharedrootd.socket", "ActiveState"), "active");
    let pid = property("sharedrootd.service", "MainPID");
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("a process");
    assert_eq!(program, Path::new(SNAPSHOTTER));
    pid
}

/// The machine before the package, without the lab's own program.
fn before_a_package() -> Machine {
    only_in_lab();
    assert_eq!(
        std::env::var("RUNTIME").as_deref(),
        Ok(PROGRAM),
        "this file's first comment says so"
    );
    let lab = "/usr/local/bin/sharedroot";
    assert!(!fs::exists(lab).expect("look") || fs::remove_file(lab).is_ok());
    Machine::look()
}

/// Whatever the package was told when it went, `said`, must name each file of the pool, and nothing else may be left.
#[track_caller]
fn only_the_pools_files_are_left(before: &Machine, said: &str) {
    let prefix = format!("left over: file {STATE_DIR}/");
    // systemd takes its own part away in its own time.
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let left = Machine::look().against(before);
        let others: Vec<_> = left.iter().filter(|line| !line.starts_with(&prefix)).collect();
        if others.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "the machine is not as before: {others:#?}");
    }
    let files = out(&["find", STATE_DIR, "-type", "f"]);
    assert!(files.contains("/store.db") && files.lines().count() >= 3, "{files}");
    files.lines().for_each(|file| has(said, &[file]));
}

#[test]
fn vm_installed_upgraded_removed_purged() {
    let (work, package) = (TempDir::new("package"), built("deb"));
    let later = later(&package, &work);
    let before = before_a_package();

    has(&said(dpkg(&["-i", &package])), &GREETING);
    everything_is_in_its_place();

    let (runtime, image) = (Runtime::of_env(), Image::new());
    let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let root = root_of(container.pid());
    assert!(root.is_on_dm() && root.has("ro"), "{root:?}");

    // What the administrator has written and chosen stays; the container does not notice.
    fs::write(CONFIG, "[base]\nsize = \"1G\"\n").expect("write the configuration");
    out(&["systemctl", "disable", "--now", "sharedroot-gc.timer"]);
    let snapshotter = the_snapshotter_runs();
    let (pid, program) = (container.pid(), fs::read(PROGRAM).expect("read the program"));
    assert!(!said(dpkg(&["-i", &later])).contains(GREETING[0]), "only once");
    assert_ne!(fs::read(PROGRAM).expect("read the program"), program, "upgraded");
    assert_eq!((container.pid(), container.status()), (pid, "running".to_owned()));
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    assert_eq!(fs::read_to_string(CONFIG).expect("read it"), "[base]\nsize = \"1G\"\n");
    assert_eq!(property("sharedroot-gc.timer", "UnitFileState"), "disabled");
    assert_ne!(the_snapshotter_runs(), snapshotter, "it is the new program");
    drop(container);
    let container = runtime.start(&bundle);
    assert_eq!(root_of(container.pid()).source, root.source, "the same base");

    // Removed too early: it says so, ends nothing, and the container is there for the next installation.
    let pid = container.pid();
    has(
        &said(dpkg(&["--remove", "sharedroot"])),
        &["still used by", &format!("container {}", container.id)],
    );
    assert!(!fs::exists(SNAPSHOTTER).expect("look"));
    for unit in ["sharedrootd.socket", "sharedrootd.service"] {
        assert_eq!(property(unit, "ActiveState"), "inactive", "{unit}");
    }
    assert!(
        !fs::exists(PROGRAM).expect("look") && fs::exists(CONFIG).expect("look") && is_active()
    );
    assert_eq!(
        fs::read_to_string(format!("/proc/{pid}/root/etc/unique")).expect("a live container"),
        image.name
    );
    said(dpkg(&["-i", &later]));
    assert_eq!((container.pid(), container.status()), (pid, "running".to_owned()));
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    container.call("delete", &["--force"]).ok();
    assert!(!container.exists());
    drop(container);
    drop((bundle, image));

    // Nobody uses the pool: it is deactivated with the program's removal. Its files are all that stays.
    out(&["systemctl", "enable", "sharedroot-pool.service"]);
    assert!(is_active());
    let removed = said(dpkg(&["--remove", "sharedroot"]));
    assert!(!removed.contains("still used") && !is_active(), "{removed}");
    let purged = said(dpkg(&["--purge", "sharedroot"]));
    assert_ne!(run(&["dpkg-query", "--show", "sharedroot"]).status, 0);
    only_the_pools_files_are_left(&before, &purged);
}

/// The .rpm has scripts of its own.
#[test]
fn vm_the_rpm_installed_upgraded_erased() {
    let db = TempDir::new("rpmdb");
    let tool = fs::canonicalize("package/rpm").expect("hack/test has brought rpm along");
    let rpm = |words: &[&str]| {
        let rpm = Cmd::new(tool.join("rpm").to_str().expect("a path of ASCII"));
        let config = tool.join("config");
        let rpm = rpm.env("RPM_CONFIGDIR", config.to_str().expect("a path of ASCII"));
        rpm.args(&["--dbpath", db.str()]).args(words).run()
    };
    // Debian's rpm wants to be told that it is no accident, and its database knows no other package.
    let (alone, package) = (["--force-debian", "--nodeps"], built("rpm"));
    let install = |how: &[&str]| said(rpm(&[how, &alone, &[&package]].concat()));
    let erase = || said(rpm(&[&["-e"], &alone[..], &["sharedroot"]].concat()));
    // The package `filesystem` of an RPM host has it; the lab's root has no man pages.
    fs::create_dir_all("/usr/share/man/man1").expect("make a directory");
    let before = before_a_package();

    has(&install(&["-i"]), &GREETING);
    assert_eq!(said(rpm(&["--verify", "--nodeps", "sharedroot"])), "", "as packed");
    assert_eq!(property("sharedroot-gc.timer", "UnitFileState"), "enabled");
    assert_eq!(property("sharedroot-gc.timer", "ActiveState"), "active");
    let (runtime, image) = (Runtime::of_env(), Image::new());
    let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    assert!(root_of(container.pid()).is_on_dm());

    out(&["systemctl", "disable", "--now", "sharedroot-gc.timer"]);
    assert!(!install(&["-U", "--replacepkgs"]).contains(GREETING[0]), "only once");
    assert_eq!(property("sharedroot-gc.timer", "UnitFileState"), "disabled");
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);

    let container_line = format!("container {}", container.id);
    has(&erase(), &["still used by", &container_line]);
    assert!(!fs::exists(PROGRAM).expect("look") && is_active());
    install(&["-i"]);
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    drop(container);
    drop((bundle, image));
    out(&["systemctl", "enable", "sharedroot-pool.service"]);
    let erased = erase();
    assert!(!erased.contains("still used") && !is_active(), "{erased}");
    only_the_pools_files_are_left(&before, &erased);
}
