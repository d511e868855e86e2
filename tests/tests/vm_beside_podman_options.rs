//! `podman run` with the options of its manual that reach a runtime, with runc and with ours: exit code, output, the reason of a
//! refusal, and what a container sees of itself.
//!
//! Only `hack/test --long` runs this hunt through a manual's options: no document's claim rests on it.
//!
//! Guest: --long --no-docker --limit 900 --takes 150

use std::fs;

use sharedroot_tests::beside::{Rows, rows_beside_runc, told};
use sharedroot_tests::command::{Output, unique_name};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::podman::{IMAGE, Image, looks, podman, same};

#[test]
fn vm_what_a_process_is() {
    looks(&[
        &["--systemd=always", "--env=container_uuid=1", "--user=user", "--umask=0077"],
        &["--user=user:tty", "--group-add=29", "--passwd=false", "--no-hosts", "--cap-add=all"],
        &["--privileged", "--env-host", "--unsetenv=HOME", "--env-file=@/file", "--tz=local"],
        &[
            "--cap-drop=all",
            "--cap-add=chown",
            "--security-opt=no-new-privileges",
            "--security-opt=seccomp=unconfined",
            "--security-opt=label=disable",
            "--ulimit=nofile=100:200",
            "--ulimit=core=0",
            "--ulimit=nproc=300",
            "--oom-score-adj=5",
            "--personality=LINUX32",
            "--workdir=/tmp",
            "--tty",
            "--passwd-entry=new:*:9:9::/:/bin/sh",
            "--user=9",
        ],
    ]);
}

#[test]
fn vm_where_a_process_is() {
    looks(&[
        &["--cgroups=disabled", "--ipc=none", "--userns=keep-id"],
        &["--cgroupns=host", "--pid=host", "--uts=host", "--ipc=host", "--network=host"],
        &["--pid=ns:/proc/1/ns/pid", "--ipc=ns:/proc/1/ns/ipc", "--cgroupns=ns:/proc/1/ns/cgroup"],
        &[
            "--cgroup-parent=/of-podman",
            "--memory=64m",
            "--memory-swap=100m",
            "--memory-reservation=32m",
            "--cpus=0.5",
            "--cpuset-cpus=0",
            "--pids-limit=40",
            "--cgroup-conf=memory.high=33554432",
            "--ipc=shareable",
            "--shm-size=1m",
            "--sysctl=kernel.shmmax=1234567",
            "--sysctl=net.ipv4.ip_forward=1",
        ],
    ]);
}

#[test]
fn vm_how_a_container_ends() {
    let none = "--network=none";
    same(&[
        (&[none], &[IMAGE, "/no/such"]),
        (&[none], &[IMAGE, "nosuch"]),
        (&[none], &[IMAGE, "/file"]),
        (&[none], &[IMAGE, "sh", "-c", "kill -9 $$"]),
        (&[none, "--entrypoint=[\"sh\",\"-c\"]", "--interactive"], &[IMAGE, "cat; exit 4"]),
        (&[none, "--sysctl=net.no.such=1"], &[IMAGE, "true"]),
        (&[none, "--ulimit=nofile=9999999999"], &[IMAGE, "true"]),
        (&[none, "--timeout=2"], &[IMAGE, "sleep", "1000"]),
        (&[none, "--cgroup-conf=no.such=1"], &[IMAGE, "true"]),
        (&[none, "--cpuset-cpus=7"], &[IMAGE, "true"]),
    ]);
}

/// A secret of podman's. Dropping it removes it.
struct Secret(String);

impl Secret {
    fn new() -> Self {
        only_in_lab();
        let secret = Self(unique_name("secret"));
        let dir = TempDir::new("secret");
        fs::write(dir.0.join("file"), "kept\n").unwrap();
        podman("runc")
            .args(&["secret", "create", &secret.0])
            .arg(&format!("{}/file", dir.str()))
            .run()
            .ok();
        secret
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        podman("runc").args(&["secret", "rm", &self.0]).run();
    }
}

#[test]
fn vm_where_a_process_finds_a_secret() {
    let secret = Secret::new();
    let with = |more: &str| format!("--secret={}{more}", secret.0);
    let (file, relative) =
        (with(",uid=1000,gid=77,mode=0440,target=/x/deep/file"), with(",target=name"));
    let (as_it_is, variable, twice) =
        (with(""), with(",type=env,target=A"), with(",target=/etc/passwd"));
    let look = "cd /; ls -lnR run/secrets x | cut -c1-30; cat run/secrets/* x/deep/file; env | grep ^A=; \
                for file in run/secrets/* x/deep/file; do (echo more >> $file) 2>&1; done; cat /etc/passwd | tail -1; \
                cut -d ' ' -f 5-6 /proc/self/mountinfo | grep -E ' ?/(run/secrets|x|etc/passwd)' | sort";
    let command: &[&str] = &[IMAGE, "sh", "-c", look];
    let none = "--network=none";
    same(&[
        (&[none, &as_it_is], command),
        (&[none, &file, &relative, "--user=user", "--read-only"], command),
        (&[none, &variable, "--read-only"], command),
        (&[none, &twice], command),
        (&[none, &file, "--tmpfs=/x", "--tmpfs=/run"], command),
        (&[none, "--secret=nosuch"], command),
    ]);
}

/// A container by its name. Dropping it removes it.
struct Named(&'static str, String);

impl Named {
    /// `podman VERB FLAGS… IMAGE COMMAND…`
    #[track_caller]
    fn new(runtime: &'static str, verb: &[&str], flags: &[&str], command: &[&str]) -> Self {
        let container = Self(runtime, unique_name("podman"));
        let name = format!("--name={}", container.1);
        let usual = [&name, "--network=none", "--log-driver=k8s-file"];
        podman(runtime).args(&[verb, &usual, flags, &[IMAGE], command].concat()).run().ok();
        container
    }

    /// `podman VERB… NAME WORDS…`
    fn call(&self, verb: &[&str], words: &[&str]) -> Output {
        podman(self.0).args(verb).arg(&self.1).args(words).run()
    }

    fn seen(&self, verb: &[&str]) -> String {
        let told = told(&self.call(verb, &[])).replace(&self.1, "NAME");
        // Without the time of podman's own warnings.
        let plain =
            told.lines().map(|line| line.split_once(" level=").map_or(line, |(_, rest)| rest));
        plain.collect::<Vec<_>>().join("\n")
    }

    fn field(&self, field: &str) -> String {
        self.call(&["inspect", "--format", &format!("{{{{{field}}}}}")], &[]).ok()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.call(&["rm", "--force", "--time=0", "--depend"], &[]);
    }
}

/// Whether it is ill, what its health check is, and what becomes of one that is ill.
#[test]
fn vm_how_a_container_is_watched() {
    let _image = Image::import();
    let look = "id; pwd; env | grep -v ^HOSTNAME= | sort; grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status; cat /proc/self/cgroup";
    rows_beside_runc(|runtime| {
        let mut rows = Rows::new();
        for (what, check, more) in [
            ("healthy", look, &["--user=user", "--workdir=/tmp", "--env=A=b", "--read-only"][..]),
            ("ill", "echo ill; exit 3", &[]),
            ("no program", "[\"/no/such\"]", &[]),
            ("late", "sleep 5", &["--health-timeout=1s"]),
            ("ends", "exit 3", &["--health-on-failure=kill"]),
        ] {
            let check = format!("--health-cmd={check}");
            let flags = [&check, "--health-interval=disable", "--health-retries=1"];
            let flags = [&flags[..], more].concat();
            let container = Named::new(runtime, &["run", "--detach"], &flags, &["sleep", "1000"]);
            let ran = container.seen(&["healthcheck", "run"]);
            // A container that is killed is `stopped` until podman has cleaned it up.
            wait_for("podman's cleanup", || {
                (container.field(".State.Status").trim() != "stopped").then_some(())
            });
            let fields = ".State.Status}} {{.State.Health.Status}}
                {{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end";
            rows.push((what.to_owned(), format!("{ran}\n{}", container.field(fields))));
        }
        rows
    });
}

#[test]
fn vm_how_a_container_is_stopped() {
    let _image = Image::import();
    let trap = "trap 'echo ended; exit 9' USR1; trap 'echo term; exit 8' TERM; touch /tmp/ready; sleep 1000 & wait";
    rows_beside_runc(|runtime| {
        let mut rows = Rows::new();
        for flags in [
            &["--stop-signal=USR1"][..],
            &["--stop-signal=10", "--read-only"],
            &["--stop-signal=SIGRTMIN+6", "--stop-timeout=1"],
            &["--stop-timeout=0"],
            &[],
        ] {
            let container = Named::new(runtime, &["run", "--detach"], flags, &["sh", "-c", trap]);
            wait_for("its traps", || {
                (container.call(&["exec"], &["ls", "/tmp/ready"]).status == 0).then_some(())
            });
            let ended = container.seen(&["stop"]);
            let state = container.field(".State.Status}} {{.State.ExitCode");
            rows.push((
                flags.join(" "),
                format!("{ended}\n{state}\n{}", container.seen(&["logs"])),
            ));
        }
        rows
    });
}

/// One that needs another one has it started, also after a stop, and is removed with it.
#[test]
fn vm_a_container_that_requires_another() {
    let _image = Image::import();
    rows_beside_runc(|runtime| {
        let first = Named::new(runtime, &["create"], &["--read-only"], &["sleep", "1000"]);
        let ill = Named::new(runtime, &["create"], &[], &["/no/such"]);
        let requires = format!("--requires={}", first.1);
        let second = Named::new(runtime, &["run", "--detach"], &[&requires], &["sleep", "1000"]);
        let both = || [&first, &second].map(|one| one.field(".State.Status")).join(" ");
        let mut rows = vec![("both run".to_owned(), both())];
        for (one, verb) in [(&first, "stop"), (&second, "stop"), (&second, "start"), (&first, "rm")]
        {
            let ended = one.call(&[verb], &[]).status;
            rows.push((format!("{verb} {}", one.1 == first.1), format!("{ended} {}", both())));
        }
        let requires = format!("--requires={}", ill.1);
        let line = ["run", "--network=none", "--rm", &requires, IMAGE, "true"];
        let refused = podman(runtime).args(&line).run();
        rows.push(("one that cannot start".to_owned(), format!("{}", refused.status)));
        rows
    });
}
