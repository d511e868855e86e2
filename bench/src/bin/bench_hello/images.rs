//! The lab's images, and the first useful work of each.

use crate::ready::Work;

/// One image.
#[derive(Debug)]
pub struct Image {
    pub name: &'static str,
    /// The command, instead of the image's own command.
    command: &'static [&'static str],
    /// The directories that the program writes to, which are a tmpfs if the root is read-only.
    tmpfs: &'static [&'static str],
    pub work: Work,
    pub by_default: bool,
}

impl Image {
    /// The words behind `docker run` and the arm's flags.
    pub fn words(&self, readonly: bool) -> Vec<&'static str> {
        let tmpfs = if readonly { self.tmpfs } else { &[] };
        let mut words: Vec<_> = tmpfs.iter().flat_map(|at| ["--tmpfs", *at]).collect();
        if !self.work.is_printed() {
            words.push("--detach");
        }
        words.push(self.name);
        words.extend(self.command);
        words
    }

    /// An image that shares no layer with this one. Its container reads everything that every container needs beside its image.
    pub fn neighbour(&self) -> &'static Self {
        image(if self.name == "busybox" { "pause" } else { "busybox" })
    }
}

/// The image with this name. Panics with all names if there is none.
pub fn image(name: &str) -> &'static Image {
    let names = IMAGES.each_ref().map(|image| image.name).join(", ");
    IMAGES
        .iter()
        .find(|image| image.name == name)
        .unwrap_or_else(|| panic!("--images: {name:?} is none of {names}"))
}

/// All images. Images with few files come first.
pub static IMAGES: [Image; 7] = [
    Image { name: "pause", command: &[], tmpfs: &[], work: Work::Runs("pause"), by_default: true },
    Image {
        name: "busybox",
        command: &["sh", "-c", "echo hello"],
        tmpfs: &[],
        work: Work::Prints("hello"),
        by_default: true,
    },
    Image {
        name: "debian",
        command: &["perl", "-we", "use strict; use POSIX; print 'hello ', floor(1.5)"],
        tmpfs: &[],
        work: Work::Prints("hello 1"),
        by_default: true,
    },
    Image {
        name: "python",
        command: &[
            "python3",
            "-c",
            "import json, ssl, urllib.request; print(json.dumps({'hello': ssl.HAS_TLSv1_3}))",
        ],
        tmpfs: &[],
        work: Work::Prints(r#"{"hello": true}"#),
        by_default: true,
    },
    Image {
        name: "redis",
        command: &[],
        tmpfs: &[],
        work: Work::Answers { port: 6379, to: "PING\r\n", with: "+PONG" },
        by_default: true,
    },
    Image {
        name: "nginx",
        command: &[],
        tmpfs: &["/run", "/var/lib/nginx", "/var/log/nginx"],
        work: Work::Answers { port: 80, to: "GET / HTTP/1.0\r\n\r\n", with: "HTTP/1.1 200 " },
        by_default: true,
    },
    // Large files that nobody reads. Its work is that of debian, to show that the size of a base does not matter.
    Image {
        name: "awkward",
        command: &["bash", "-c", "echo hello"],
        tmpfs: &[],
        work: Work::Prints("hello"),
        by_default: false,
    },
];
