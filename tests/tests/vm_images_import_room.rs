//! `image import` leaves 256 MiB of the disk free, and room for files, whatever an image is made of, and ends on an archive that
//! leads in a circle.
//!
//! Guest: --no-docker --limit 900

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::lab::{STATE_DIR, TempDir, only_in_lab};
use sharedroot_tests::layout::{Layout, layer};
use sharedroot_tests::pool::has;
use tar::EntryType;

const RESERVED: u64 = 256;

/// A disk of its own with a pool on loop files. Dropping it takes both away.
struct Disk {
    place: TempDir,
    file: String,
}

impl Disk {
    /// With options of mke2fs for its file system.
    fn with_pool(options: &[&str]) -> Self {
        only_in_lab();
        let disk = Self { place: TempDir::new("disk"), file: format!("{STATE_DIR}/small.img") };
        let at = disk.mount_point();
        fs::create_dir_all(STATE_DIR).expect("make the state directory");
        out(&["truncate", "-s", "2G", &disk.file]);
        out(&[&["mke2fs", "-q", "-t", "ext4"], options, &[&disk.file]].concat());
        out(&["mkdir", &at]);
        out(&["mount", "-o", "loop", &disk.file, &at]);
        let config = format!(
            "[pool]\nname = \"small\"\nstate_dir = \"{at}/state\"\nrun_dir = \"/run/small\"\nloop_size = \"1G\"\n\
             [base]\nsize = \"256M\"\n"
        );
        fs::write(disk.config(), config).expect("write the configuration");
        disk.sharedroot(&["pool", "create"]).ok();
        disk
    }

    fn mount_point(&self) -> String {
        format!("{}/mounted", self.place.str())
    }

    fn config(&self) -> String {
        format!("{}/config.toml", self.place.str())
    }

    fn sharedroot(&self, words: &[&str]) -> Output {
        Cmd::new("sharedroot").args(&["--config", &self.config()]).args(words).run()
    }

    /// MiB that are free.
    fn free(&self) -> u64 {
        let at = self.mount_point();
        let found = out(&["df", "-m", "--output=avail", &at]);
        found.lines().last().expect("a line").trim().parse().expect("a number")
    }

    /// How many files can still be made.
    fn free_files(&self) -> u64 {
        let at = self.mount_point();
        let found = out(&["df", "--output=iavail", &at]);
        found.lines().last().expect("a line").trim().parse().expect("a number")
    }

    /// Leaves so many MiB.
    fn fill_up_to(&self, left: u64) {
        let length = format!("{}M", self.free() - left);
        out(&["fallocate", "-l", &length, &format!("{}/fill", self.mount_point())]);
    }

    /// What an import says that must fail, and the least that was free meanwhile.
    fn refused(&self, layout: &Layout, free: impl Fn(&Self) -> u64) -> (String, u64) {
        let mut import = Command::new("sharedroot");
        import.args(["--config", &self.config(), "image", "import", layout.str()]);
        let mut import = import.stderr(Stdio::piped()).spawn().expect("start an import");
        let (mut least, mut said) = (u64::MAX, String::new());
        let end = Instant::now() + Duration::from_secs(400);
        let status = loop {
            least = least.min(free(self));
            match import.try_wait().expect("wait") {
                Some(status) => break status,
                None if Instant::now() > end => {
                    let _ = import.kill();
                    panic!("the import does not end");
                }
                None => sleep(Duration::from_millis(200)),
            }
        };
        let stderr = import.stderr.take().expect("a pipe");
        std::io::Read::read_to_string(&mut { stderr }, &mut said).expect("read");
        assert_eq!(status.code(), Some(1), "{said}");
        let imports = format!("{}/state/imports", self.mount_point());
        assert!(!Path::new(&imports).exists(), "layers are left");
        (said, least)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.sharedroot(&["pool", "destroy", "--force"]);
        Cmd::new("umount").arg(&self.mount_point()).run();
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_dir_all("/run/small");
        let _ = fs::remove_dir_all("/run/small-volumes");
    }
}

/// Bytes that are no holes.
fn content(mib: usize) -> Vec<u8> {
    (0..mib << 20).map(|n| (n % 251 + 1) as u8).collect()
}

#[test]
fn vm_what_an_image_is_made_of_leaves_the_disk_its_reserve() {
    let disk = Disk::with_pool(&[]);
    disk.fill_up_to(RESERVED + 24);

    // Names alone: 8,000 directories of 4 KiB in an archive that says a size of 0 of each.
    let names: Vec<String> = (0..8000).map(|n| format!("d{n}/")).collect();
    let many: Vec<_> =
        names.iter().map(|n| (EntryType::Directory, n.as_str(), "", &b""[..])).collect();
    let (said, least) = disk.refused(&Layout::plain(&[layer(&many)]), Disk::free);
    has(&said, &["unpacking needs more room", "larger disk"]);
    assert!(least >= RESERVED, "{least} MiB were left");

    // Content that can be unpacked, but not be in the pool as well, whose files are sparse.
    let twice = layer(&[(EntryType::Regular, "file", "", &content(14))]);
    let (said, least) = disk.refused(&Layout::plain(&[twice]), Disk::free);
    has(&said, &["the base needs 14 MiB of the pool", "larger disk"]);
    assert!(least >= RESERVED, "{least} MiB were left");

    // With room for both, both are done.
    let once = layer(&[(EntryType::Regular, "file", "", &content(2))]);
    disk.sharedroot(&["image", "import", Layout::plain(&[once]).str()]).ok();
    assert!(disk.free() >= RESERVED);
}

/// A disk has few inodes, and each file of an image takes one: an empty file takes nothing else. A sixteenth stays for others.
#[test]
fn vm_the_files_of_an_image_leave_the_disk_its_inodes() {
    let disk = Disk::with_pool(&["-N", "8192"]);
    let reserved = 8192 / 16;
    let names: Vec<String> = (0..10_000).map(|n| format!("dir/{n}")).collect();
    let many = |count: usize| {
        let entries: Vec<_> = names[..count]
            .iter()
            .map(|name| (EntryType::Regular, name.as_str(), "", &b""[..]))
            .collect();
        Layout::plain(&[layer(&entries)])
    };
    let (said, least) = disk.refused(&many(10_000), Disk::free_files);
    has(&said, &["unpacking needs more room", "more files (inodes), of which 512 stay free"]);
    assert!(least >= reserved, "{least} inodes were left");
    disk.sharedroot(&["image", "import", many(6000).str()]).ok();
    assert!(disk.free_files() > reserved);
}

/// The last header says 2^64 - 512 bytes, which is no number: the place after it would be the header itself.
#[test]
fn vm_an_archive_that_leads_in_a_circle_is_refused() {
    only_in_lab();
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let size = &mut header.as_old_mut().size;
    size[..4].copy_from_slice(&[0x80, 0, 0, 0]);
    size[4..].copy_from_slice(&(u64::MAX - 511).to_be_bytes());
    header.as_old_mut().name[0] = b'x';
    header.set_cksum();
    let dir = TempDir::new("circle");
    let path = format!("{}/archive.tar", dir.str());
    fs::write(&path, [header.as_bytes(), &[0; 4096][..]].concat()).expect("write");
    let output = Cmd::new("sharedroot").args(&["image", "import", &path]).run();
    assert_eq!(output.status, 1, "{output}");
    has(&output.stderr, &["is no archive of an image", "its size is no number"]);
}
