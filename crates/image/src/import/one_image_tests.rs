//! An archive is one image for every program that reads it.

use std::fs;

use super::super::testing::Tar;
use super::*;
use crate::testing::TestDir;

/// A layout whose index and manifests are any texts.
struct Layout(TestDir);

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

impl Layout {
    fn new() -> Self {
        let dir = TestDir::new();
        dir.write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        Self(dir)
    }

    /// Stores a blob. Returns what a descriptor says of it.
    fn blob(&self, text: &str) -> String {
        let digest = Digest::of(text.as_bytes());
        self.0.write(&format!("blobs/sha256/{}", digest.hex()), text);
        format!(r#""digest":"{digest}","size":{}"#, text.len())
    }

    /// The configuration of an image with one layer, and its digest in hexadecimal digits.
    fn config(&self, image: &str) -> (String, String) {
        let text = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#, digest(image));
        (self.blob(&text), Digest::of(text.as_bytes()).hex())
    }

    /// What is in the manifest of an image, without the braces.
    fn manifest(&self, image: &str) -> String {
        let (config, layer) = (self.config(image).0, self.blob(image));
        format!(r#""config":{{{config}}},"layers":[{{{layer}}}]"#)
    }

    /// What a descriptor says of the manifest of an image.
    fn image(&self, image: &str) -> String {
        self.blob(&format!("{{{}}}", self.manifest(image)))
    }

    /// The key of the image to which an index leads, or the error.
    fn open(&self, index: &str, wanted: Option<&str>) -> Result<BaseKey, String> {
        self.0.write("index.json", index);
        match Importable::open(self.0.path(), wanted) {
            Ok(found) => Ok(found.expect("an image").key()),
            Err(error) => Err(sharedroot_sys::chain::chain(&error)),
        }
    }

    #[track_caller]
    fn refuses(&self, index: &str, words: &str) {
        let refused = self.open(index, None).expect_err(index);
        assert!(refused.contains(words), "{index}: {refused}");
    }
}

fn digest(image: &str) -> Digest {
    Digest::of(format!("the tar of {image}").as_bytes())
}

/// The key of an image with one layer.
fn key(image: &str) -> BaseKey {
    BaseKey::of_chain(&digest(image).to_string().parse().unwrap(), None)
}

/// One text that is an index for one program and a manifest for another is two images (CVE-2021-41190).
#[test]
fn an_index_is_no_manifest() {
    let layout = Layout::new();
    let [one, two] = ["one", "two"].map(|image| layout.image(image));
    let (manifest, other) = (layout.manifest("one"), layout.manifest("two"));
    let typed = |of: &str, text: &str| format!(r#"{{"mediaType":"{of}",{text}}}"#);
    let index = |descriptor: &str| format!(r#"{{"manifests":[{descriptor}]}}"#);

    let inner = layout.blob(&typed(INDEX, &format!(r#""manifests":[{{{one}}}]"#)));
    for (kind, descriptor) in [("", &one), (MANIFEST, &one), (INDEX, &inner), ("", &inner)] {
        let kind =
            if kind.is_empty() { String::new() } else { format!(r#""mediaType":"{kind}","#) };
        let found = layout.open(&index(&format!("{{{kind}{descriptor}}}")), None);
        assert_eq!(found, Ok(key("one")), "{kind}");
    }
    let typed_manifest = layout.blob(&typed(MANIFEST, &manifest));
    let found =
        layout.open(&index(&format!(r#"{{"mediaType":"{MANIFEST}",{typed_manifest}}}"#)), None);
    assert_eq!(found, Ok(key("one")));

    let both = format!(r#""manifests":[{{{two}}}],{manifest}"#);
    layout.refuses(&format!("{{{both}}}"), "parts of different types");
    for text in [
        both,
        format!(r#""fsLayers":[],{manifest}"#),
        format!(r#""layers":[],"manifests":[{{{two}}}]"#),
    ] {
        let descriptor = layout.blob(&format!("{{{text}}}"));
        layout.refuses(&index(&format!("{{{descriptor}}}")), "parts of different types");
    }
    layout.refuses(&format!("{{{other}}}"), "leads to no manifest");
    layout.refuses("{}", "neither an index nor a manifest");
    for (described, own, descriptor) in [
        (INDEX, None, &one),
        (MANIFEST, None, &inner),
        (MANIFEST, Some(INDEX), &one),
        (INDEX, Some(MANIFEST), &inner),
        ("", Some(INDEX), &one),
        ("", Some("application/json"), &one),
        (MANIFEST, Some("application/vnd.docker.distribution.manifest.v2+json"), &one),
    ] {
        let inner = format!(r#""manifests":[{{{one}}}]"#);
        let text = if *descriptor == one { &manifest } else { &inner };
        let typed = own.map_or_else(|| descriptor.clone(), |own| layout.blob(&typed(own, text)));
        let kind = if described.is_empty() {
            String::new()
        } else {
            format!(r#""mediaType":"{described}","#)
        };
        layout.refuses(&index(&format!("{{{kind}{typed}}}")), "type");
    }
    layout.refuses(&typed(MANIFEST, &format!(r#""manifests":[{{{one}}}]"#)), "type");
    // What is no image is passed over.
    let unknown = format!(r#"{{"mediaType":"application/vnd.in-toto+json",{two}}},{{{one}}}"#);
    assert_eq!(layout.open(&index(&unknown), None), Ok(key("one")));
}

/// Go reads `Config` as `config`, and of several keys the last.
#[test]
fn a_key_that_go_reads_in_another_way_is_refused() {
    let layout = Layout::new();
    let [one, two] = ["one", "two"].map(|image| layout.image(image));
    layout.refuses(&format!(r#"{{"manifests":[{{{one}}}],"Manifests":[{{{two}}}]}}"#), "for Go");
    layout.refuses(&format!(r#"{{"manifests":[{{{one}}}],"manifests":[{{{two}}}]}}"#), "duplicate");
    layout
        .refuses(&format!(r#"{{"manifests":[{{{one},"Digest":"{}"}}]}}"#, digest("two")), "for Go");
    let variant = r#""platform":{"os":"linux","architecture":"amd64","Variant":"v3"}"#;
    layout.refuses(&format!(r#"{{"manifests":[{{{one},{variant}}}]}}"#), "for Go");

    let ([config, other], [layer, second]) =
        (["one", "two"].map(|i| layout.config(i).0), ["one", "two"].map(|i| layout.blob(i)));
    for more in [
        format!(r#""Config":{{{other}}},"layer\u017f":[{{{second}}}]"#),
        format!(r#""CONFIG":{{{other}}}"#),
        format!(r#""Layers":[{{{second}}}]"#),
        r#""MediaType":"application/vnd.oci.image.index.v1+json""#.to_owned(),
    ] {
        let text = format!(r#"{{"config":{{{config}}},"layers":[{{{layer}}}],{more}}}"#);
        let manifest = layout.blob(&text);
        layout.refuses(&format!(r#"{{"manifests":[{{{manifest}}}]}}"#), "for Go");
    }
    let ids = |image: &str| format!(r#"["{}"]"#, digest(image));
    for (text, words) in [
        (
            format!(
                r#""rootfs":{{"type":"layers","diff_ids":{}}},"RootFS":{{"diff_ids":{}}}"#,
                ids("one"),
                ids("two")
            ),
            "for Go",
        ),
        (
            format!(
                r#""rootfs":{{"type":"layers","diff_ids":{},"Diff_IDs":{}}}"#,
                ids("one"),
                ids("two")
            ),
            "for Go",
        ),
        (
            format!(
                r#""rootfs":{{"type":"layers","diff_ids":{},"diff_ids":{}}}"#,
                ids("one"),
                ids("two")
            ),
            "duplicate",
        ),
    ] {
        let config = layout.blob(&format!("{{{text}}}"));
        let manifest = layout.blob(&format!(r#"{{"config":{{{config}}},"layers":[{{{layer}}}]}}"#));
        layout.refuses(&format!(r#"{{"manifests":[{{{manifest}}}]}}"#), words);
    }
    // A label is a name of the image's own.
    let text = format!(
        r#"{{"rootfs":{{"type":"layers","diff_ids":{}}},"config":{{"Labels":{{"Rootfs":"a","rootfs":"b"}}}}}}"#,
        ids("one")
    );
    let config = layout.blob(&text);
    let manifest = layout.blob(&format!(r#"{{"config":{{{config}}},"layers":[{{{layer}}}]}}"#));
    assert_eq!(layout.open(&format!(r#"{{"manifests":[{{{manifest}}}]}}"#), None), Ok(key("one")));
}

#[test]
fn a_key_of_a_saved_image_that_go_reads_in_another_way_is_refused() {
    let layout = Layout::new();
    let (_, hex) = layout.config("one");
    let (_, second) = layout.config("two");
    let dir = TestDir::new();
    for hex in [&hex, &second] {
        let text = fs::read(layout.0.path().join(format!("blobs/sha256/{hex}"))).unwrap();
        fs::write(dir.path().join(format!("{hex}.json")), text).unwrap();
    }
    let saved = |more: &str| {
        dir.write("manifest.json", &format!(r#"[{{"Config":"{hex}.json","Layers":["l"]{more}}}]"#));
        Importable::open(dir.path(), None).map(|image| image.unwrap().key())
    };
    assert_eq!(saved("").unwrap(), key("one"));
    for more in [format!(r#","config":"{second}.json""#), r#","layers":["m"]"#.to_owned()] {
        let error = sharedroot_sys::chain::chain(&saved(&more).unwrap_err());
        assert!(error.contains("for Go"), "{error}");
    }
}

/// containerd's rule for a host whose variant nobody has configured.
#[test]
fn of_several_variants_the_one_for_this_host_is_taken() {
    let layout = Layout::new();
    let architecture = super::super::platform::architecture();
    let of = |image: &str, variant: &str| {
        let variant =
            if variant.is_empty() { String::new() } else { format!(r#","variant":"{variant}""#) };
        let platform =
            format!(r#""platform":{{"os":"linux","architecture":"{architecture}"{variant}}}"#);
        format!("{{{},{platform}}}", layout.image(image))
    };
    let open = |of: &[String]| layout.open(&format!(r#"{{"manifests":[{}]}}"#, of.join(",")), None);
    assert_eq!(open(&[of("two", "v99"), of("one", "")]), Ok(key("one")));
    assert_eq!(open(&[of("one", ""), of("two", "v99")]), Ok(key("one")));
    let error = open(&[of("one", "v99")]).unwrap_err();
    assert!(error.contains(&format!("but for linux/{architecture}/v99")), "{error}");
}

/// The last image of a name is the one that Docker keeps, and others take the first.
#[test]
fn a_name_of_two_images_names_none() {
    let layout = Layout::new();
    let named = |image: &str, name: &str| {
        let name = format!(r#""annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
        format!("{{{},{name}}}", layout.image(image))
    };
    let open =
        |of: [String; 3]| layout.open(&format!(r#"{{"manifests":[{}]}}"#, of.join(",")), Some("a"));
    assert_eq!(open([named("one", "a"), named("two", "b"), named("one", "a")]), Ok(key("one")));
    let error = open([named("one", "a"), named("two", "b"), named("two", "a")]).unwrap_err();
    assert!(error.contains("several images"), "{error}");

    let dir = TestDir::new();
    let hexes = ["one", "two"].map(|image| layout.config(image).1);
    for hex in &hexes {
        let text = fs::read(layout.0.path().join(format!("blobs/sha256/{hex}"))).unwrap();
        fs::write(dir.path().join(format!("{hex}.json")), text).unwrap();
    }
    let [one, two] = hexes;
    for (last, expected) in [(&one, Some(key("one"))), (&two, None)] {
        let saved = [&one, last]
            .map(|hex| format!(r#"{{"Config":"{hex}.json","RepoTags":["a"],"Layers":["l"]}}"#));
        dir.write("manifest.json", &format!("[{}]", saved.join(",")));
        let found = Importable::open(dir.path(), Some("a"));
        assert_eq!(found.ok().map(|image| image.unwrap().key()), expected);
    }
}

/// Docker reads manifest.json, and containerd reads index.json.
#[test]
fn both_lists_of_an_archive_name_one_image() {
    let layout = Layout::new();
    let [one, two] = ["one", "two"].map(|image| layout.config(image).1);
    let name = r#""annotations":{"io.containerd.image.name":"docker.io/library/a:1"}"#;
    let index = format!(r#"{{"manifests":[{{{},{name}}}]}}"#, layout.image("one"));
    let saved = |hex: &str, tag: &str| {
        format!(r#"{{"Config":"blobs/sha256/{hex}","RepoTags":["{tag}"],"Layers":["l"]}}"#)
    };
    for (list, is_one) in [
        (vec![saved(&one, "a:1")], true),
        (vec![saved(&one, "other:1")], true),
        (vec![saved(&two, "b:1"), saved(&one, "a:1")], true),
        (vec![saved(&two, "b:1"), saved(&one, "c:1")], true),
        (vec![saved(&two, "a:1")], false),
        (vec![saved(&two, "other:1")], false),
        (vec![saved(&one, "a:1"), saved(&two, "a:1")], false),
        (vec![saved(&two, "b:1"), saved(&two, "c:1")], false),
        (vec![], false),
    ] {
        layout.0.write("manifest.json", &format!("[{}]", list.join(",")));
        match layout.open(&index, None) {
            Ok(found) => assert!(is_one && found == key("one"), "{list:?}"),
            Err(error) => {
                assert!(!is_one && error.contains("name different images"), "{list:?}: {error}")
            }
        }
    }
}

/// Programs that read the first, and those that take `/index.json` for another name, would read another image.
#[test]
fn an_archive_has_one_index() {
    let layout = Layout::new();
    let [one, two] =
        ["one", "two"].map(|image| format!(r#"{{"manifests":[{{{}}}]}}"#, layout.image(image)));
    let archive = |files: &[(&str, &str)]| {
        let mut tar = Tar::new();
        for blob in fs::read_dir(layout.0.path().join("blobs/sha256")).unwrap().flatten() {
            let name = format!("blobs/sha256/{}", blob.file_name().to_str().unwrap());
            tar = tar.file(&name, &fs::read_to_string(blob.path()).unwrap());
        }
        tar =
            files.iter().fold(tar.file("oci-layout", ""), |tar, (name, text)| tar.file(name, text));
        let dir = TestDir::new();
        fs::write(dir.path().join("tar"), tar.bytes()).unwrap();
        Importable::open(&dir.path().join("tar"), None).map(|image| image.unwrap().key())
    };
    assert_eq!(archive(&[("index.json", &one)]).unwrap(), key("one"));
    for second in ["index.json", "/index.json", "./index.json", "a/../index.json"] {
        let error = archive(&[("index.json", &one), (second, &two)]).unwrap_err().to_string();
        assert!(error.contains("more than one file index.json"), "{second}: {error}");
    }
}
