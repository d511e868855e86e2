//! Manifests, indexes and configurations that are nearly right: here and there a key is in another case, twice, or of another
//! object.

use super::tars::Random;

/// Keys, each in several forms: some are the same key for Go, others are none.
const CONFIG: &[&str] = &["config", "config", "config", "Config", "conﬁg", "\\u0063onfig"];
const LAYERS: &[&str] = &["layers", "layers", "layers", "LAYERS", "layer\u{17f}", "layer\\u017f"];
const MANIFESTS: &[&str] = &["manifests", "manifests", "manife\u{17f}ts", "Manifests"];
const MEDIA_TYPE: &[&str] = &["mediaType", "mediaType", "mediaType", "mediatype", "media_type"];
const ROOTFS: &[&str] = &["rootfs", "rootfs", "rootfs", "rootFS", "rootf\u{17f}", "root"];
const DIFF_IDS: &[&str] = &["diff_ids", "diff_ids", "diff_ids", "diff_IDs", "diffids"];
const TYPE: &[&str] = &["type", "type", "type", "type", "TYPE"];
const DIGEST: &[&str] = &["digest", "digest", "digest", "digest", "digest", "digest", "Digest"];
const SIZE: &[&str] = &["size", "size", "size", "size", "size", "size", "\u{17f}ize", "Size"];
const PLATFORM: &[&str] = &["platform", "platform", "platform", "Platform", "os"];
const ANNOTATIONS: &[&str] = &["annotations", "annotations", "Annotations"];

/// A text that engines may read as a document of an image.
pub fn document(random: &mut Random) -> String {
    let mut parts = Vec::new();
    for _ in 0..=random.below(4) {
        let part = match random.below(5) {
            0 => pair(random, CONFIG, descriptor),
            1 => pair(random, LAYERS, descriptors),
            2 => pair(random, MANIFESTS, descriptors),
            3 => pair(random, MEDIA_TYPE, media_type),
            _ => pair(random, ROOTFS, rootfs),
        };
        parts.push(part);
    }
    let end = *random.of(&["", "", "", "", "", "", " ", "\n", "{}", "x"]);
    format!("{{{}}}{end}", parts.join(","))
}

/// A key and its value; the value is of the wrong kind now and then.
fn pair(random: &mut Random, keys: &[&str], value: fn(&mut Random) -> String) -> String {
    let key = *random.of(keys);
    let value = match random.once_in(30) {
        true => (*random.of(&["null", "1", "\"x\"", "{}", "[]", "[null]"])).to_owned(),
        false => value(random),
    };
    format!("\"{key}\":{value}")
}

fn descriptors(random: &mut Random) -> String {
    let all: Vec<_> = (0..random.below(3)).map(|_| descriptor(random)).collect();
    format!("[{}]", all.join(","))
}

fn descriptor(random: &mut Random) -> String {
    let mut parts = vec![pair(random, DIGEST, digest), pair(random, SIZE, size)];
    for _ in 0..random.below(3) {
        let part = match random.below(5) {
            0 => pair(random, MEDIA_TYPE, media_type),
            1 | 2 => pair(random, PLATFORM, platform),
            3 => pair(random, ANNOTATIONS, annotations),
            _ if random.once_in(3) => pair(random, SIZE, size),
            _ => "\"other\":{\"Digest\":1}".to_owned(),
        };
        parts.push(part);
    }
    format!("{{{}}}", parts.join(","))
}

fn rootfs(random: &mut Random) -> String {
    let kind = pair(random, TYPE, |_| "\"layers\"".to_owned());
    let mut parts = vec![kind, pair(random, DIFF_IDS, digests)];
    if random.once_in(5) {
        parts.push(pair(random, DIFF_IDS, digests));
    }
    format!("{{{}}}", parts.join(","))
}

fn platform(random: &mut Random) -> String {
    let variants = ["", ",\"variant\":\"v2\"", ",\"Variant\":\"v2\"", ",\"OS\":\"linux\""];
    format!("{{\"os\":\"linux\",\"architecture\":\"amd64\"{}}}", random.of(&variants))
}

fn annotations(random: &mut Random) -> String {
    let all = ["{}", "{\"a\":\"1\"}", "{\"a\":\"1\",\"A\":\"2\"}", "{\"a\":\"1\",\"a\":\"2\"}"];
    (*random.of(&all)).to_owned()
}

fn digests(random: &mut Random) -> String {
    format!("[{}]", (0..random.below(3)).map(|_| digest(random)).collect::<Vec<_>>().join(","))
}

fn digest(random: &mut Random) -> String {
    format!("\"sha256:{}\"", random.of(&["a", "b"]).repeat(64))
}

fn size(random: &mut Random) -> String {
    let all = ["1", "2", "20", "1", "2", "20", "1e1", "1.0", "-1", "01", "18446744073709551615"];
    (*random.of(&all)).to_owned()
}

fn media_type(random: &mut Random) -> String {
    let all = ["application/vnd.oci.image.index.v1+json", "application/json", "\\u0061", ""];
    format!("\"{}\"", random.of(&all))
}
