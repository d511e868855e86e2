//! Where messages go: the log file that the caller named, in runc's form, standard error, and the journal.
//!
//! | message | log file | standard error | journal |
//! |---|---|---|---|
//! | error | yes | yes | yes |
//! | warning | yes | without a log file | yes |
//! | information | yes | with `--debug` and no log file | yes |
//! | [`STORY`]: what happened to the container | with `--debug` | with `--debug` and no log file | yes |
//! | [`ASIDE`]: information that a story message has, too | yes | with `--debug` and no log file | no |
//! | debug, with the time of each step | with `--debug` | with `--debug` and no log file | with `--debug` |
//! | the engine's message: its place in the engine's source, not its text | with `--debug` | with `--debug` and no log file | no |
//!
//! Story messages are not in the log file: an engine keeps the log file in memory as long as the container lives, and it would
//! have a line for every health check. The text of an engine's message may have the environment and the arguments of a
//! container in it, so it is never written. No message of this program has them: all are in this repository, and
//! `tests/tests/vm_journal.rs` checks them.
//!
//! Docker shows the `msg` of the last line whose `level` is `error`. So exactly one such line is written, by `run` in lib.rs.

mod journal;
mod whole;

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use sharedroot_sys::chain::readable;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub use journal::deliver;
pub use whole::whole;

use crate::cli::{Cli, LogFormat};
use crate::output::say_aside;

/// The target of a message that tells what happened to the container of the command.
pub const STORY: &str = "sharedroot::story";
/// The target of a message whose information a story message has, too.
pub const ASIDE: &str = "sharedroot::aside";

/// Starts logging for this process.
///
/// # Errors
/// The log file cannot be opened.
pub fn start(cli: &Cli) -> std::io::Result<()> {
    let global = &cli.global;
    let file = global.log.as_deref().map(open).transpose()?.map(Mutex::new);
    let (reader, writer) = std::io::pipe()?;
    for end in [std::os::fd::AsFd::as_fd(&reader), std::os::fd::AsFd::as_fd(&writer)] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let _ = ENGINE_WRITER.set(writer.try_clone()?);
    let lines =
        Lines { file, format: global.log_format, debug: global.debug, engine: Mutex::new(writer) };
    let _ = ENGINE_WORDS.set(Mutex::new(reader));
    journal::begin(&cli.verb);
    // A second call in one process would be a mistake in this program. The first call stays in force.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    // An engine shows its user the last error in the log file. Of a panic it would show the exit code only.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(
            "this is a fault of sharedroot or of a library in it, please report it: {panic}"
        );
    }));
    Ok(())
}

/// Opens a regular file, or the FIFO that containerd's shim has made.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The reading end of a pipe with what the engine logged as errors. The processes that it cloned write to the pipe, too: they
/// set up the container, and cannot return a text to their parent in another way.
static ENGINE_WORDS: OnceLock<Mutex<PipeReader>> = OnceLock::new();

/// The writing end of the pipe.
static ENGINE_WRITER: OnceLock<PipeWriter> = OnceLock::new();

/// The first error that the engine logged. The first is the closest to the cause: each caller in the engine logs the error again.
#[must_use]
pub fn engine_words() -> Option<String> {
    let mut text = [0_u8; 4096];
    let read = ENGINE_WORDS.get()?.lock().ok()?.read(&mut text).ok()?;
    let first = text[..read].split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(first).into_owned()).filter(|words| !words.is_empty())
}

/// Replaces what the engine logged by `words`. The next call of [`engine_words`] returns them, also in another process.
pub fn explain(words: &str) {
    while engine_words().is_some() {}
    if let Some(mut writer) = ENGINE_WRITER.get() {
        let _ = writer.write_all(format!("{}\n", words.replace('\n', " ")).as_bytes());
    }
}

struct Lines {
    engine: Mutex<PipeWriter>,
    file: Option<Mutex<File>>,
    format: LogFormat,
    debug: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        let (level, ours) = (*metadata.level(), is_ours(metadata));
        // The engine logs each error that it returns. The returned error is reported.
        self.debug
            || (!ours && level == Level::ERROR)
            || (ours && (self.writes(metadata) || (journal::is_told() && level <= Level::INFO)))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        (!self.debug).then_some(LevelFilter::INFO)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        if !is_ours(metadata) {
            self.engines(metadata, &text.0);
            return;
        }
        let text = readable(&text.0);
        if metadata.target() != ASIDE {
            journal::keep(*metadata.level(), &text);
        }
        if self.writes(metadata) {
            let level = match *metadata.level() {
                Level::ERROR => "error",
                Level::WARN => "warning",
                Level::INFO => "info",
                _ => "debug",
            };
            self.write(level, &text);
        }
    }
}

impl Lines {
    /// Whether a message of this program goes to the log file, or to standard error if there is no log file.
    fn writes(&self, metadata: &tracing::Metadata<'_>) -> bool {
        // A terminal gets what went wrong. The log file also gets what was decided.
        let most = if self.file.is_some() { Level::INFO } else { Level::WARN };
        self.debug || (*metadata.level() <= most && metadata.target() != STORY)
    }

    /// Handles a message of the engine.
    fn engines(&self, metadata: &tracing::Metadata<'_>, words: &str) {
        if *metadata.level() == Level::ERROR
            && let Ok(mut engine) = self.engine.lock()
        {
            let _ = engine.write_all(format!("{}\n", words.replace('\n', " ")).as_bytes());
        }
        if self.debug {
            let line = metadata.line().unwrap_or_default();
            self.write("debug", &format!("the engine is at line {line} of {}", metadata.target()));
        }
    }

    fn write(&self, level: &str, text: &str) {
        match &self.file {
            Some(file) => {
                let line = line(self.format, level, text, &now());
                if let Ok(mut file) = file.lock() {
                    let _ = file.write_all(line.as_bytes());
                }
                if level == "error" {
                    say_aside!("sharedroot: {text}");
                }
            }
            None => say_aside!("sharedroot: {level}: {text}"),
        }
    }
}

fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target().starts_with("sharedroot")
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

fn line(format: LogFormat, level: &str, msg: &str, time: &str) -> String {
    match format {
        LogFormat::Json => {
            format!("{}\n", serde_json::json!({ "level": level, "msg": msg, "time": time }))
        }
        LogFormat::Text => format!("time={time:?} level={level} msg={msg:?}\n"),
    }
}

/// The text of a message, and the fields of the message after the text.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}{}", self.0);
        } else {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_have_the_keys_that_docker_reads() {
        let text = line(LogFormat::Json, "error", "a \"quoted\"\nreason", "2026-01-02T03:04:05Z");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"quoted\"\nreason");
        assert_eq!(value["time"], "2026-01-02T03:04:05Z");
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn no_message_has_the_number_of_an_error() {
        let (mut read, written) = std::io::pipe().unwrap();
        let (_, engine) = std::io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(written));
        let lines = Lines {
            file: Some(Mutex::new(file)),
            format: LogFormat::Json,
            debug: false,
            engine: Mutex::new(engine),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let error = std::io::Error::from_raw_os_error(2);
            tracing::warn!("open /x: {error}");
            tracing::error!(error = %error, "open /y");
        });
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        let said: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["msg"].to_string())
            .collect();
        let missing = "No such file or directory";
        assert_eq!(
            said,
            [format!("\"open /x: {missing}\""), format!("\"open /y error={missing}\"")]
        );
    }
}
