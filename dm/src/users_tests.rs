use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, getrlimit};

use super::*;

const DEVICE: DevNumber = DevNumber { major: 253, minor: 7 };

#[test]
fn lines_of_a_real_table() {
    let table = b"25 30 0:23 / /proc rw,relatime shared:5 - proc proc rw\n\
        61 30 253:7 / /mnt/a\\040b ro - ext4 /dev/dm-7 ro\n\
        62 30 253:70 / /mnt/other rw - ext4 /dev/dm-70 rw\n\
        63 30 253:7 /sub /mnt/c rw shared:9 master:3 - ext4 /dev/dm-7 rw\n\n61 30 253:7";
    let found: Vec<_> = mounted_at(table, DEVICE).collect();
    assert_eq!(found, [PathBuf::from("/mnt/a b"), PathBuf::from("/mnt/c")]);
}

#[test]
fn a_message_names_the_users_that_were_found() {
    let process = |pid| Process { command: "nginx".into(), pid };
    let mount = User::Mount { process: process(123), at: "/x".into() };
    let device = User::Device { name: "vg-root".into() };
    let mut users = Users {
        found: vec![mount, device, User::Open { process: process(9) }],
        searched: Searched::Everywhere,
    };
    let named = "nginx (pid 123) mounted at /x; the device vg-root; nginx (pid 9) holding it open";
    assert_eq!(users.to_string(), named);
    users.searched = Searched::InPart;
    assert_eq!(users.to_string(), format!("{named}; and perhaps more"));
    let none = |searched| Users { found: Vec::new(), searched }.to_string();
    assert_eq!(none(Searched::Everywhere), "something that /proc does not show");
    assert_eq!(none(Searched::InPart), "something that a search of at most 1 s did not find");
    assert_eq!(Users::default().to_string(), "somebody");
}

#[test]
fn this_process_and_its_files_are_found() {
    let here = Removed::file();
    let device = device_of(here.0.to_str().expect("text"));
    let _open = fs::File::open(&here.0).expect("open");
    let me = Process {
        command: fs::read_to_string("/proc/self/comm").expect("a name").trim_end().into(),
        pid: std::process::id(),
    };
    let users = Users::of(device);
    // Other processes of the machine have files there, too, and a search ends at the fourth.
    let is_named = users.found.contains(&User::Open { process: me });
    assert!(is_named || users.found.len() == NAMED, "{users:?}");
    assert!(search(device).has_open("/proc/self".as_ref()));
}

/// A search that looked at each descriptor of each process would take a minute, and an engine would kill the command meanwhile.
#[test]
fn a_search_ends_whatever_processes_there_are() {
    let descriptors = most_descriptors() - 100;
    let _holder = Holder::of(descriptors, 10_000_000 / descriptors);
    let begin = Instant::now();
    let users = Users::of(DevNumber { major: 0xfff, minor: 0xf_ffff });
    let took = begin.elapsed();
    assert!(took < PATIENCE * 2, "{took:?}");
    assert_eq!(users, Users { found: Vec::new(), searched: Searched::InPart });
}

#[test]
fn one_process_or_one_mount_table_does_not_use_up_a_search() {
    let procfs = device_of("/proc/version");
    for (descriptors, found) in [(DESCRIPTORS - 100, true), (DESCRIPTORS, false)] {
        let holder = Holder::of(descriptors as u64, 0);
        let mut search = search(procfs);
        assert_eq!(search.has_open(format!("/proc/{}", holder.0.id()).as_ref()), found);
        assert_eq!(search.users.searched == Searched::Everywhere, found);
    }
    let here = Removed::file();
    let (dir, table) = (here.0.with_extension("dir"), vec![b'x'; TABLE * 2]);
    fs::create_dir(&dir).and_then(|()| fs::write(dir.join("mountinfo"), table)).expect("a table");
    let mut search = search(procfs);
    let read = search.table(&dir).len();
    fs::remove_dir_all(&dir).expect("removed");
    assert_eq!((read, search.users.searched), (TABLE, Searched::InPart));
}

/// Four users end a search, which the message takes for all that it can name.
#[test]
fn a_search_ends_at_the_users_that_a_message_names() {
    let _holders = [(); NAMED + 1].map(|()| Holder::of(0, 0));
    let mut search = search(device_of("/proc/version"));
    search.openers();
    let users = search.users;
    assert_eq!((users.found.len(), users.searched), (NAMED, Searched::InPart), "{users}");
}

/// Processes with one table of so many descriptors, and one more of a file of procfs behind them. Drop ends them.
struct Holder(Child);

impl Holder {
    fn of(descriptors: u64, processes: u64) -> Self {
        const SCRIPT: &str = include_str!("../../tests/fixtures/processes/many_descriptors.pl");
        let mut child = Command::new("prlimit")
            .args([&format!("--nofile={}", most_descriptors()), "perl", "-e", SCRIPT])
            .args([descriptors, processes].map(|number| number.to_string()))
            .arg("/proc/version")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("prlimit and perl");
        let mut said = [0; 6];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut said).expect("it is ready");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn most_descriptors() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX).min(500_100)
}

fn device_of(path: &str) -> DevNumber {
    let on = statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE).expect("a file");
    DevNumber { major: on.stx_dev_major, minor: on.stx_dev_minor }
}

fn search(device: DevNumber) -> Search {
    let users = Users { found: Vec::new(), searched: Searched::Everywhere };
    Search { device, end: Instant::now() + Duration::from_secs(600), users }
}

struct Removed(PathBuf);

impl Removed {
    fn file() -> Self {
        let thread = std::thread::current().id();
        let name = format!("sharedroot-dm-users-{}-{thread:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "x").expect("a file");
        Self(path)
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
