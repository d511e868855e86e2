//! OCI layouts written by a test, so that their content can be anything.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::lab::TempDir;

/// A layout in a directory for one test.
#[derive(Debug)]
pub struct Layout {
    dir: TempDir,
    /// The digests of the layers' blobs, without the algorithm.
    pub layers: Vec<String>,
}

/// `sha256:` and the digest.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A layer of plain entries: type, name, link target, content.
pub fn layer(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, link, content) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1000);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).expect("write into memory");
    }
    tar.into_inner().expect("end a tar in memory")
}

impl Layout {
    /// A layout with these layers: each one as its stored blob, and as the tar in that blob.
    #[track_caller]
    pub fn new(layers: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut layout = Self { dir: TempDir::new("layout"), layers: Vec::new() };
        fs::create_dir_all(layout.path("blobs/sha256")).expect("make a directory");
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|(blob, _)| layout.blob(blob, "application/vnd.oci.image.layer.v1.tar+gzip"))
            .collect();
        let name = |d: &Value| {
            d["digest"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned()
        };
        layout.layers = descriptors.iter().map(name).collect();
        let diff_ids: Vec<String> = layers.iter().map(|(_, tar)| digest(tar)).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config =
            layout.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
        layout.manifest(&config, &descriptors);
        fs::write(layout.path("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).expect("write");
        layout
    }

    /// A layout with layers that are not compressed.
    #[track_caller]
    pub fn plain(layers: &[Vec<u8>]) -> Self {
        Self::new(&layers.iter().map(|tar| (tar.clone(), tar.clone())).collect::<Vec<_>>())
    }

    /// Writes a manifest and the index that leads to it.
    pub fn manifest(&self, config: &Value, layers: &[Value]) {
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let manifest = self
            .blob(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
        self.index(&[manifest]);
    }

    /// Writes index.json.
    pub fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(self.path("index.json"), index.to_string()).expect("write index.json");
    }

    /// The descriptor of the only manifest.
    pub fn descriptor(&self) -> Value {
        let index = fs::read_to_string(self.path("index.json")).expect("read index.json");
        serde_json::from_str::<Value>(&index).expect("JSON")["manifests"][0].clone()
    }

    /// Stores a blob, and returns its descriptor.
    pub fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = digest(bytes);
        let name = digest.trim_start_matches("sha256:");
        fs::write(self.path(&format!("blobs/sha256/{name}")), bytes).expect("write a blob");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// The path of a file in the layout.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.0.join(name)
    }

    /// The layout's directory.
    pub fn str(&self) -> &str {
        self.dir.str()
    }
}
