use std::fs;

use super::*;
use crate::testing::TestDir;

/// A file of holes takes no room, but the digest takes hours.
#[test]
fn a_directory_has_a_bound_in_bytes_with_the_holes() {
    let dir = TestDir::new();
    dir.write("dir/file", "12345");
    fs::hard_link(dir.path().join("dir/file"), dir.path().join("again")).unwrap();
    let import = |most| directory(dir.path(), most).map(|image| image.key);
    import(5).unwrap();
    assert!(matches!(import(4), Err(ImportError::Large { .. })));
    File::create(dir.path().join("holes")).unwrap().set_len(1 << 40).unwrap();
    let error = import((1 << 40) + 4).unwrap_err();
    assert!(matches!(error, ImportError::Large { .. }), "{error}");
}
