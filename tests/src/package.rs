//! The packages of `hack/package`, as a test finds them in its guest.

use std::fs::{self, File};
use std::io::Write;

use crate::command::out;
use crate::lab::TempDir;

/// The program that the packages install.
pub const PROGRAM: &str = "/usr/bin/sharedroot";

/// containerd's shim, which the packages install, too.
pub const SHIM: &str = "/usr/bin/containerd-shim-sharedroot-v2";

/// The snapshotter, which the packages install, too.
pub const SNAPSHOTTER: &str = "/usr/bin/sharedrootd";

/// The package that `hack/test` has copied beside the tests.
#[track_caller]
pub fn built(kind: &str) -> String {
    let packages = fs::read_dir("package").expect("the packages of hack/package").flatten();
    let mut found = packages.filter(|f| f.path().extension().is_some_and(|e| e == kind));
    let found = found.next().unwrap_or_else(|| panic!("no .{kind} in package"));
    found.path().to_str().expect("a path of ASCII").to_owned()
}

/// A later version of the package: its programs differ by zeros at the end, which change nothing, and its version number is
/// larger.
#[track_caller]
pub fn later(of: &str, dir: &TempDir) -> String {
    let (tree, package) = (format!("{}/tree", dir.str()), format!("{}/later.deb", dir.str()));
    out(&["dpkg-deb", "--raw-extract", of, &tree]);
    for program in [PROGRAM, SHIM, SNAPSHOTTER] {
        let program = File::options().append(true).open(format!("{tree}{program}"));
        program.expect("open the program").write_all(&[0; 64]).expect("append to it");
    }
    out(&["sed", "-i", "s/^Version: .*/&+later/", &format!("{tree}/DEBIAN/control")]);
    out(&["dpkg-deb", "-Zgzip", "-z1", "--build", &tree, &package]);
    package
}
