//! The standard streams of a container whose caller gave it /dev/null, as `ctr run --null-io` and systemd's units do. Generic:
//! `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use sharedroot_tests::attack::{bind, targets};
use sharedroot_tests::command::{Cmd, unique_name};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// A program that writes, and how its streams were opened: 2 is for both.
const WRITES: &str = "\
    { echo out && echo written; } > /said/text 2>&1
    exec 3>> /said/text
    echo out || echo 'standard output cannot be written' >&3
    echo error >&2 || echo 'standard error cannot be written' >&3
    for n in 0 1 2; do cut -f 2 < /proc/$$/fdinfo/$n | sed -n 's/.*\\(.\\)$/\\1/; 2p' >&3; done";

/// The engine puts the container's own /dev/null there, opened for reading only: a program could not write to it.
#[test]
fn vm_output_that_goes_to_null_can_be_written() {
    let runtime = Runtime::of_env();
    let said = TempDir::new("said");
    fs::set_permissions(&said.0, Permissions::from_mode(0o777)).unwrap();
    let text = said.0.join("text");
    for target in targets(&runtime, &["sh", "-c", WRITES], |root| {
        for applet in ["cut", "sed"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::create_dir(root.join("said")).unwrap();
    }) {
        target.edit(|config| bind(config, said.str(), "/said"));
        for uid in [0, 1000] {
            target.edit(|config| config["process"]["user"]["uid"] = json!(uid));
            let run = "exec \"$@\" < /dev/null > /dev/null 2> /dev/null";
            let (program, root, id) = (runtime.program(), runtime.root(), unique_name("null"));
            let words = ["-c", run, "sh", program, "--root", root, "run", "--bundle", target.str()];
            let output = Cmd::new("sh").args(&words).arg(&id).run();
            let found = fs::read_to_string(&text).expect("what the program found");
            println!("{} {uid}: {found}", target.kind);
            assert_eq!(output.status, 0, "{}: {output}", target.kind);
            // In the foreground runc has pipes of its own.
            let opened = if runtime.is_sharedroot() { "2\n2\n2" } else { "0\n1\n1" };
            let wanted = format!("out\nwritten\n{opened}\n");
            assert_eq!(found, wanted, "{} as {uid}", target.kind);
            fs::remove_file(&text).unwrap();
        }
    }
}

/// A unit with a socket of systemd's (sd_listen_fds(3)): its descriptors are the program's, from 3 on, and no others.
#[test]
fn vm_sockets_of_systemd_reach_the_program() {
    let runtime = Runtime::of_env();
    let said = TempDir::new("said");
    let (first, second, other) = (said.0.join("1"), said.0.join("2"), said.0.join("3"));
    for (path, text) in [(&first, "first"), (&second, "second"), (&other, "other")] {
        fs::write(path, text).unwrap();
    }
    let look = "echo $LISTEN_FDS $LISTEN_PID; cat <&3; echo; cat <&4; echo; cat <&5 || echo none";
    for target in targets(&runtime, &["sh", "-c", look], |_| {}) {
        let run =
            "exec 3< \"$1\" 4< \"$2\" 5< \"$3\"; shift 3; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$@\"";
        let [first, second, other] = [&first, &second, &other].map(|path| path.to_str().unwrap());
        let words = ["-c", run, "sh", first, second, other, runtime.program()];
        let more = ["--root", runtime.root(), "run", "--bundle", target.str()];
        let cmd = Cmd::new("sh").args(&words).args(&more).arg(&unique_name("activated"));
        assert_eq!(cmd.run().ok(), "2 1\nfirst\nsecond\nnone", "{}", target.kind);
    }
}
