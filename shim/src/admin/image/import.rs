//! `image import`: a base made from outside of any engine.

use std::path::Path;
use std::time::{Duration, Instant};

use std::io::{IsTerminal, Write};

use crate::image::Importable;
use crate::image::catalog::ImageName;
use crate::lifecycle::LifecycleError;
use crate::output::{say, say_aside};
use crate::record::private_dir;
use crate::rootfs::{RootfsError, Storage};

/// Makes the base of what `source` holds, gives it a name, and prints its key.
///
/// # Errors
/// [`LifecycleError`]; nothing is left of what was begun.
pub fn import(storage: &Storage, source: &Path, name: Option<&str>) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    let given: Option<ImageName> = name.map(str::parse).transpose().map_err(|_| {
        let wanted = "a name of an image: letters, digits and . _ - / : @, at most 255";
        LifecycleError::Argument { flag: "image import", value: name.unwrap_or("").into(), wanted }
    })?;
    let image = Importable::open(source, name).map_err(RootfsError::from)?;
    let imported = match &image {
        Some(image) => {
            let mut progress = Progress::of(image.stored_bytes().map_err(RootfsError::from)?);
            storage.import_image(image, |passed| progress.show(passed))?
        }
        None => storage.import_directory(source)?,
    };
    // The source's own name is a wish: one that is none is not taken.
    let own = image.as_ref().and_then(|image| image.name()?.parse().ok());
    let name = given.or(own);
    if let Some(name) = &name {
        storage.change_catalog(|catalog| catalog.name(name.clone(), &imported.key))?;
    }
    if imported.was_there {
        tracing::info!("the base {} was there already", imported.key);
    }
    say!("{}", imported.key);
    Ok(())
}

/// One line on a terminal, drawn again as the work goes on; nothing where nobody looks, or for what is quick.
struct Progress {
    total: u64,
    terminal: bool,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    fn of(total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { total, terminal, started: Instant::now(), drawn: None }
    }

    fn show(&mut self, passed: u64) {
        const PATIENCE: Duration = Duration::from_secs(1);
        const EVERY: Duration = Duration::from_millis(100);
        let idle = self.drawn.is_none_or(|drawn| drawn.elapsed() > EVERY);
        if !self.terminal || self.started.elapsed() < PATIENCE || !idle {
            return;
        }
        self.drawn = Some(Instant::now());
        let percent = (passed * 100).checked_div(self.total).unwrap_or(100).min(100);
        let bar = "#".repeat(usize::try_from(percent / 4).unwrap_or(0));
        let (passed, total) = (passed >> 20, self.total >> 20);
        let mut terminal = std::io::stderr();
        let _ = write!(terminal, "\r[{bar:<25}] {percent:>3} %  {passed} of {total} MiB unpacked")
            .and_then(|()| terminal.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            say_aside!("\r\x1b[K");
        }
    }
}
