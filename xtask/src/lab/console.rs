//! UML's management console: a socket on which the guest's kernel answers. The kernel answers in an interrupt, so it answers
//! whatever its processes do (arch/um/drivers/mconsole.h in the kernel).

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const MAGIC: u32 = 0xcafe_babe;
const VERSION: u32 = 2;
/// The size of the text of a request or a reply.
const TEXT: usize = 512;
/// How long to wait for an answer. A kernel without a fault answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The console of one guest.
#[derive(Debug)]
pub struct Console {
    socket: UnixDatagram,
}

impl Console {
    /// Opens the console of the guest with the directory `dir`. The console's files are in `uml/` there.
    pub fn open(dir: &Path) -> Result<Self> {
        let own = dir.join("asks");
        let _ = std::fs::remove_file(&own);
        let socket = UnixDatagram::bind(&own).with_context(|| format!("bind {}", own.display()))?;
        let console = dir.join("uml/mconsole");
        socket.connect(&console).with_context(|| format!("connect to {}", console.display()))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// The kernel's answer to a command such as `version` or `sysrq w`.
    pub fn ask(&self, command: &str) -> Result<String> {
        ensure!(command.len() < TEXT, "a command of at most {TEXT} bytes");
        let length = u32::try_from(command.len())?;
        let mut request: Vec<u8> =
            [MAGIC, VERSION, length].iter().flat_map(|word| word.to_ne_bytes()).collect();
        request.extend(command.as_bytes());
        request.resize(12 + TEXT, 0);
        self.socket.send(&request).with_context(|| format!("ask {command:?}"))?;
        let mut answer = String::new();
        loop {
            // The fields: error, a flag for more replies, length, text.
            let mut reply = [0; 12 + TEXT];
            let got = self.socket.recv(&mut reply).context("no answer")?;
            ensure!(got >= 12, "an answer of {got} bytes");
            let word =
                |at: usize| u32::from_ne_bytes(reply[at..at + 4].try_into().expect("4 bytes"));
            let end = got.min(12 + word(8) as usize);
            answer += &String::from_utf8_lossy(&reply[12..end]).replace('\0', "");
            ensure!(word(0) == 0, "{command}: {answer}");
            if word(4) == 0 {
                return Ok(answer);
            }
        }
    }
}
