//! `docker run --device`, wherever in the container the device lies, and whatever lies there already, beside runc.
//!
//! Guest: --limit 900

use sharedroot_tests::beside::{beside_runc, seen};
use sharedroot_tests::command::out;
use sharedroot_tests::docker::{KINDS, docker_run};
use sharedroot_tests::lab::TempDir;

#[test]
fn vm_a_device_lies_where_it_is_wanted() {
    for (flags, path) in [
        (&["--device=/dev/null:/dev/own"][..], "/dev/own"),
        (&["--device=/dev/null:/dev/deep/own"], "/dev/deep/own"),
        // Of two the first one stays.
        (&["--device=/dev/null:/dev/own", "--device=/dev/zero:/dev/own"], "/dev/own"),
        (&["--device=/dev/zero", "--device=/dev/zero"], "/dev/zero"),
        (&["--device=/dev/null:/dev/shm/own"], "/dev/shm/own"),
        (&["--device=/dev/null:/dev/pts/ptmx"], "/dev/pts/ptmx"),
        (&["--device=/dev/null:/memory/own", "--tmpfs=/memory"], "/memory/own"),
        (&["--device=/dev/null:/memory/deep/own", "--tmpfs=/memory"], "/memory/deep/own"),
        (&["--device=/dev/null:/v/own", "--volume=@:/v"], "/v/own"),
        (&["--device=/dev/null:/v/deep/own:r", "--volume=@:/v"], "/v/deep/own"),
        // A file that is there stays, too.
        (&["--device=/dev/null:/v/file", "--volume=@:/v"], "/v/file"),
        (&["--device=/dev/null:/etc/own"], "/etc/own"),
        (&["--device=/dev/null:/new/deep/own"], "/new/deep/own"),
    ] {
        for kind in KINDS {
            let (status, _, _) = beside_runc(&format!("{kind:?} {flags:?}"), |runtime| {
                let volume = TempDir::new("devices");
                std::fs::write(volume.0.join("file"), "a file\n").expect("write");
                let flags: Vec<_> =
                    flags.iter().map(|flag| flag.replace('@', volume.str())).collect();
                let flags: Vec<_> = flags.iter().map(String::as_str).collect();
                let look = format!("busybox stat -c '%F %t:%T %a %u:%g' {path}");
                let words = [kind, &flags, &["busybox", "sh", "-c", &look]].concat();
                let (status, said) = seen(&docker_run(runtime, &words));
                let find =
                    format!("cd {} && find . -printf '%p %y %m %U:%G\\n' | sort", volume.str());
                (status, said, out(&["sh", "-c", &find]))
            });
            assert_eq!(status, 0, "{kind:?} {flags:?}");
        }
    }
}
