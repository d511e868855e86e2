//! A base that can be written, so that only SELinux denies access to it.

use std::fs;

use crate::command::{out, run, unique_name};
use crate::docker::Container;
use crate::kernel_view::root_of;
use crate::lab::TempDir;
use crate::selinux::Context;

const POOL: &str = "sharedroot-default";
/// The largest thin id. sharedroot uses the smallest ids first.
const THIN_ID: &str = "16777215";

/// A writable snapshot of a container's base, taken without sharedroot. Dropping this value deletes the snapshot.
#[derive(Debug)]
pub struct View {
    at: TempDir,
    device: String,
}

/// Runs dmsetup in the test's domain, because dmsetup's own domain may not write the test's files.
fn dmsetup(words: &[&str]) -> crate::command::Output {
    run(&[&["runcon", "--type=unconfined_t", "dmsetup"], words].concat())
}

impl View {
    /// Takes the snapshot and mounts it with the label.
    #[track_caller]
    pub fn of(container: &Container, label: &Context) -> Self {
        let (base, device) = (root_of(container.pid()).device, unique_name("view"));
        let name = fs::read_to_string(format!("/sys/dev/block/{base}/dm/name")).expect("its name");
        // The kernel's documentation of dm-thin: `0 SECTORS thin POOL ID`.
        let table = dmsetup(&["table", name.trim()]).ok();
        let (rest, id) = table.rsplit_once(' ').expect("a table");
        dmsetup(&["message", POOL, "0", &format!("create_snap {THIN_ID} {id}")]).ok();
        let view = Self { at: TempDir::new("view"), device };
        dmsetup(&["create", &view.device, "--table", &format!("{rest} {THIN_ID}")]).ok();
        let info = ["info", "--columns", "--noheadings", "--options=blkdevname", &view.device];
        let (node, option) =
            (format!("/dev/{}", dmsetup(&info).ok()), format!("rw,context=\"{label}\""));
        out(&["mount", "-o", &option, &node, view.at.str()]);
        view
    }

    /// The snapshot's mount point.
    pub fn path(&self) -> &str {
        self.at.str()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        for undone in [
            run(&["umount", self.at.str()]),
            dmsetup(&["remove", "--retry", &self.device]),
            dmsetup(&["message", POOL, "0", &format!("delete {THIN_ID}")]),
        ] {
            if undone.status != 0 {
                eprintln!("{undone}");
            }
        }
    }
}
