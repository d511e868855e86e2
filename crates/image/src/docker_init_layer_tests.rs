use super::super::testing::{TestDir, docker_init_layer, need_root, shell};
use super::*;

/// Makes the layers of an image, topmost first: each is a shell script that fills it.
fn layers(dir: &TestDir, scripts: &[&str]) -> Vec<PathBuf> {
    let make = |(n, script): (usize, &&str)| {
        let layer = dir.dir(&format!("layer-{n}"));
        shell(&format!("cd \"$1\"; {script}"), &[&layer]);
        layer
    };
    scripts.iter().enumerate().map(make).collect()
}

const RICH: &str = "mkdir -p etc dev/pts proc/x; echo x >etc/passwd; echo x >etc/hosts; chmod 750 etc; chown 5:6 etc
    setfattr -n user.x -v 1 etc; setfattr -n user.x -v 1 dev";

#[test]
fn root_what_docker_makes_above_any_image_is_its_init_layer() {
    need_root();
    let table: [&[&str]; 6] = [
        &["true"],
        &[RICH],
        &["true", RICH],
        &["mkdir other; ln -s other etc; ln -s / dev; echo x >proc; ln -s x .dockerenv"],
        &["mkdir -p etc/hosts/x etc/mtab dev/console .dockerenv/x"],
        &["mknod etc c 0 0; mkdir dev; setfattr -n trusted.overlay.opaque -v y dev", RICH],
    ];
    for (n, scripts) in table.into_iter().enumerate() {
        let dir = TestDir::new();
        let layers = layers(&dir, scripts);
        let init = docker_init_layer(&dir, "init", &layers);
        // If the image has a directory in the place of the file that tells Docker's containers, nothing tells them.
        let expected = !layers.iter().any(|layer| layer.join(".dockerenv").is_dir());
        assert_eq!(is_docker_init_layer(&init, &layers).unwrap(), expected, "{n}: {scripts:?}");
    }
}

/// Each of these layers shows, hides or lacks something that a base has otherwise.
#[test]
fn root_a_layer_is_dockers_only_if_it_adds_nothing_else() {
    need_root();
    for script in [
        "rm .dockerenv",
        "rm etc/hosts",
        "rm -r etc",
        "mkdir -p proc/x",
        "echo x >etc/hosts",
        "chmod 644 etc/hosts",
        "chown 1 etc/hosts",
        "setfattr -n user.x -v 1 etc/hosts",
        "setfattr -n trusted.overlay.metacopy etc/hosts",
        "rm etc/hosts; mknod etc/hosts c 0 0",
        "ln -sfn /other etc/mtab",
        "chown -h 1 etc/mtab",
        "setfattr -h -n trusted.x -v 1 etc/mtab",
        "touch etc/passwd",
        "mknod etc/passwd c 0 0",
        "mkdir bin",
        "rm -r dev; ln -s /dev dev",
        "setfattr -n trusted.overlay.opaque -v y etc",
        "setfattr -n trusted.overlay.opaque -v x etc",
        "setfattr -n trusted.overlay.redirect -v /other etc",
        "chmod 755 etc",
        "chown 5:7 etc",
        "chown 0:6 etc",
        "setfattr -n user.x -v 2 etc",
        "setfattr -x user.x etc",
        "setfattr -n user.y -v 1 etc",
        "chmod 700 sys",
        "chown 1 sys",
        "setfattr -n user.x -v 1 sys",
        "setfattr -n trusted.overlay.redirect -v /proc sys",
    ] {
        let dir = TestDir::new();
        let layers = layers(&dir, &["true", RICH]);
        let init = docker_init_layer(&dir, "init", &layers);
        assert!(is_docker_init_layer(&init, &layers).unwrap());
        shell(&format!("cd \"$1\"; {script}"), &[&init]);
        assert!(!is_docker_init_layer(&init, &layers).unwrap(), "{script}");
    }
}

#[test]
fn only_docker_has_an_init_layer() {
    let is = |path: &str| is_rootfs_of_docker(Path::new(path));
    assert!(is("/var/lib/docker/rootfs/overlayfs/0123"));
    for path in [
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/0123/rootfs",
        "/var/lib/containers/storage/overlay/0123/merged",
        "/rootfs",
        "/",
    ] {
        assert!(!is(path), "{path}");
    }
}
