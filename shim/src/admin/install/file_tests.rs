//! Files of every kind.

use std::os::unix::fs::symlink;

use super::*;

/// A directory of one test, removed with this value.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("sharedroot-install-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_new_text_in_the_old_file() {
    let dir = Dir::new("old");
    let root = dir.0.clone();
    let (real, link) = (root.join("real.json"), root.join("link.json"));
    fs::write(&real, "old").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    let has_attributes =
        rustix::fs::setxattr(&real, "user.why", b"because", XattrFlags::empty()).is_ok();
    symlink("real.json", &link).unwrap();
    let file = ConfigFile::read(&link).unwrap();
    assert_eq!((file.text.as_deref(), &file.path), (Some("old"), &real.canonicalize().unwrap()));
    file.replace("new").unwrap();
    assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    assert!(link.is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
    if has_attributes {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(&real, "user.why", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"because");
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 2, "nothing is left beside");
}

#[test]
fn a_file_and_its_directory_are_made() {
    let dir = Dir::new("made");
    let path = dir.0.join("docker/daemon.json");
    let file = ConfigFile::read(&path).unwrap();
    assert_eq!(file.text, None);
    file.replace("{}").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    file.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = Dir::new("none");
    let root = dir.0.clone();
    symlink("nowhere", root.join("link")).unwrap();
    for (path, words) in
        [(root.join("link"), "a link to nothing"), (root.clone(), "no regular file")]
    {
        let error = ConfigFile::read(&path).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    fs::write(root.join("latin1"), b"\xe4").unwrap();
    assert!(ConfigFile::read(&root.join("latin1")).is_err());
}
