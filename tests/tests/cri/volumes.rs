//! A pod's volumes: emptyDir, a ConfigMap's file, the hosts file, a termination log where the image has no such path.

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::command::out;
use sharedroot_tests::cri::{Container, Pod, cri};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::TempDir;

use crate::HANDLERS;

/// As a kubelet lays them out, below the pod's directory.
struct Volumes(TempDir);

impl Volumes {
    fn new(config: &str) -> Self {
        let dir = TempDir::new("volumes");
        fs::create_dir(dir.0.join("empty")).expect("make a volume");
        fs::create_dir(dir.0.join("later")).expect("make a volume");
        fs::write(dir.0.join("app.conf"), config).expect("write a volume");
        fs::write(dir.0.join("hosts"), format!("10.1.2.3 {config}\n"))
            .expect("write the hosts file");
        fs::write(dir.0.join("log"), "").expect("make a termination log");
        Self(dir)
    }

    fn mount(&self, config: &mut Value) {
        let mount = |name: &str, at: &str, readonly: bool, propagation: u8| {
            json!({"host_path": format!("{}/{name}", self.0.str()), "container_path": at, "readonly": readonly,
                "propagation": propagation})
        };
        config["mounts"] = json!([
            mount("empty", "/srv/empty", false, 0),
            mount("app.conf", "/etc/app/app.conf", true, 0),
            mount("hosts", "/etc/hosts", false, 0),
            mount("log", "/srv/termination/log", false, 0),
            // HostToContainer
            mount("later", "/srv/later", false, 1),
        ]);
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.0.0.join(name)).expect("read a volume")
    }
}

fn check(container: &Container, volumes: &Volumes, case: &str) {
    assert_eq!(
        container.sh("cat /etc/app/app.conf; tail -n 1 /etc/hosts"),
        "red10.1.2.3 red",
        "{case}"
    );
    let refused = container.exec(&["sh", "-c", "echo no > /etc/app/app.conf"]).fails(1);
    assert!(refused.contains("Read-only file system"), "{case}: {refused}");
    container.sh("echo why > /srv/termination/log; echo data > /srv/empty/file");
    assert_eq!(volumes.file("log") + &volumes.file("empty/file"), "why\ndata\n", "{case}");
    // What the host mounts in a volume later, as a CSI driver does.
    let at = format!("{}/later", volumes.0.str());
    out(&["mount", "-t", "tmpfs", "later", &at]);
    fs::write(format!("{at}/file"), "mounted").expect("write a file");
    let seen = container.exec(&["cat", "/srv/later/file"]);
    out(&["umount", &at]);
    assert_eq!(seen.ok(), "mounted", "{case}");
}

#[test]
fn vm_volumes_are_where_they_should() {
    for handler in HANDLERS {
        let pod = Pod::plain(handler);
        // runc is here to prove the test.
        for &readonly in if handler == "runc" { &[true][..] } else { &[true, false] } {
            let volumes = Volumes::new("red");
            let container = pod.run(readonly, |config| volumes.mount(config));
            check(&container, &volumes, &format!("{handler}, readonly {readonly}"));
            cri(&["stop", &container.id]).ok();
            cri(&["rm", &container.id]).ok();
        }
    }
}

/// Two pods of a Deployment: what the image lacks is the same, and so is the scaffold.
#[test]
fn vm_pods_that_lack_the_same_share_a_scaffold() {
    let (red, blue) = (Volumes::new("red"), Volumes::new("blue"));
    let pods = [Pod::plain("sharedroot"), Pod::plain("sharedroot")];
    let [one, other, beside] =
        [(0, &red), (1, &blue), (0, &red)].map(|(pod, volumes): (usize, &Volumes)| {
            pods[pod].run(true, |config| volumes.mount(config))
        });
    let [a, b, c] = [&one, &other, &beside].map(|container| root_of(container.pid()));
    assert!(a.fstype == "overlay" && a.has("ro") && !a.super_options.contains("upperdir"), "{a:?}");
    assert_eq!([&b.device, &c.device], [&a.device; 2]);
    assert_eq!([&one, &other].map(|c| c.sh("cat /etc/app/app.conf")), ["red", "blue"]);
    // An emptyDir is the pod's: what one container writes, the other reads.
    one.sh("echo data > /srv/empty/file");
    assert_eq!(beside.sh("cat /srv/empty/file"), "data");
    assert_eq!(other.sh("ls /srv/empty"), "");
}
