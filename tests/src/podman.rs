//! `podman run` with one runtime and with another.

use std::fs;

use crate::beside::{LOOK, Rows, make_rootfs_for_look, rows_beside_runc, told};
use crate::command::{Cmd, out};
use crate::lab::{TempDir, only_in_lab};

/// The image for [`same`].
pub const IMAGE: &str = "localhost/look";

/// `podman`, where there is no systemd, with this runtime.
pub fn podman(runtime: &str) -> Cmd {
    let runtime = out(&["which", runtime]);
    Cmd::new("podman")
        .args(&["--runtime", &runtime, "--cgroup-manager=cgroupfs"])
        .arg("--events-backend=file")
}

/// The image [`IMAGE`]. Dropping this value removes the image.
#[derive(Debug)]
pub struct Image;

impl Image {
    /// Makes the image, and the pool.
    #[must_use]
    pub fn import() -> Self {
        only_in_lab();
        let dir = TempDir::new("image");
        make_rootfs_for_look(&dir.0.join("rootfs"));
        let (rootfs, tar) = (format!("{}/rootfs", dir.str()), format!("{}/tar", dir.str()));
        out(&["tar", "--create", "--file", &tar, "--directory", &rootfs, "."]);
        podman("runc").args(&["import", "--quiet", &tar, IMAGE]).run().ok();
        // The pool is made here. Otherwise the log of the first container would contain the messages about the new pool.
        podman("sharedroot").args(&["run", "--rm", "--network=none", IMAGE, "true"]).run().ok();
        Self
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        podman("runc").args(&["rmi", "--force", IMAGE]).run();
    }
}

/// `podman run FLAGS… IMAGE COMMAND…` for each line. `@` stands for a directory of the host.
#[track_caller]
pub fn same(lines: &[(&[&str], &[&str])]) {
    let _image = Image::import();
    rows_beside_runc(|runtime| {
        let mut rows = Rows::new();
        for (flags, command) in lines {
            let dir = TempDir::new("podman");
            fs::create_dir(dir.0.join("sub")).unwrap();
            fs::write(dir.0.join("file"), "A=1\n").unwrap();
            let flags: Vec<_> = flags.iter().map(|flag| flag.replace('@', dir.str())).collect();
            let line = podman(runtime).args(&["run", "--rm"]);
            let line = flags.iter().fold(line, |line, flag| line.arg(flag));
            let output = line.args(command).stdin("of stdin\n").run();
            let name = dir.0.file_name().and_then(|name| name.to_str()).unwrap();
            let plain = |text: &str| text.replace(dir.str(), "@").replace(name, "@");
            let what = plain(&format!("{:?} {:.40}", flags, command.join(" ").trim()));
            if output.status != 0 {
                println!("{runtime} {what}: {output}");
            }
            rows.push((what, plain(&told(&output))));
        }
        rows
    });
}

/// Runs [`same`] with a command that prints what a process sees of itself.
#[track_caller]
pub fn looks(lines: &[&[&str]]) {
    let base = ["--network=none", "--hostname=same"];
    let lines: Vec<Vec<&str>> = lines.iter().map(|flags| [&base, *flags].concat()).collect();
    let lines: Vec<(&[&str], &[&str])> =
        lines.iter().map(|flags| (&flags[..], &[IMAGE, "sh", "-c", LOOK][..])).collect();
    same(&lines);
}
