//! `docker run --device`, wherever in the container the device lies, and whatever lies there already, beside runc.
//!
//! Guest: --limit 900 --shim long

use sharedroot_tests::beside::{beside_runc, seen};
use sharedroot_tests::command::out;
use sharedroot_tests::docker::{KINDS, docker_run};
use sharedroot_tests::lab::TempDir;

/// All in one container, because each `docker run` takes a second.
const FLAGS: [&str; 17] = [
    "--tmpfs=/memory",
    "--volume=@:/v",
    "--device=/dev/null:/dev/own",
    "--device=/dev/null:/dev/deep/own",
    // Of two the first one stays.
    "--device=/dev/null:/dev/first",
    "--device=/dev/zero:/dev/first",
    "--device=/dev/zero",
    "--device=/dev/zero",
    "--device=/dev/null:/dev/shm/own",
    "--device=/dev/null:/dev/pts/ptmx",
    "--device=/dev/null:/memory/own",
    "--device=/dev/null:/memory/deep/own",
    "--device=/dev/null:/v/own",
    "--device=/dev/null:/v/deep/own:r",
    // A file that is there stays, too.
    "--device=/dev/null:/v/file",
    "--device=/dev/null:/etc/own",
    "--device=/dev/null:/new/deep/own",
];
const LOOK: &str = "busybox stat -c '%n %F %t:%T %a %u:%g' /dev/own /dev/deep/own /dev/first /dev/zero /dev/shm/own \
    /dev/pts/ptmx /memory/own /memory/deep/own /v/own /v/deep/own /v/file /etc/own /new/deep/own";

#[test]
fn vm_a_device_lies_where_it_is_wanted() {
    for kind in KINDS {
        let (status, _, _) = beside_runc(&format!("{kind:?}"), |runtime| {
            let volume = TempDir::new("devices");
            std::fs::write(volume.0.join("file"), "a file\n").expect("write");
            let flags = FLAGS.map(|flag| flag.replace('@', volume.str()));
            let flags = flags.each_ref().map(String::as_str);
            let words = [kind, &flags, &["busybox", "sh", "-c", LOOK]].concat();
            let (status, said) = seen(&docker_run(runtime, &words));
            let find = format!("cd {} && find . -printf '%p %y %m %U:%G\\n' | sort", volume.str());
            (status, said, out(&["sh", "-c", &find]))
        });
        assert_eq!(status, 0, "{kind:?}");
    }
}
