//! How full the pool is, as text and as JSON.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sharedroot_bases::{Bases, RootfsError};
use sharedroot_dm::{Backing, Blocks, Bytes, Error, Pool, PoolName, PoolStatus};

use crate::admin::for_programs;
use crate::admin::screen::{Colour, Line, Screen};

/// What is known of a pool.
#[derive(Debug)]
pub struct Figures {
    name: PoolName,
    made: Option<Made>,
    /// Whether the first container makes the pool: only on loop files.
    made_on_use: bool,
}

#[derive(Debug)]
struct Made {
    volumes: usize,
    data_path: PathBuf,
    metadata_path: PathBuf,
    /// `None` if the pool is not active.
    status: Option<PoolStatus>,
}

impl Figures {
    /// The figures of an existing pool.
    ///
    /// # Errors
    /// [`Error`] of an active pool whose status cannot be read.
    pub fn of(pool: &Pool) -> Result<Self, Error> {
        // A pool that is being changed is suspended for a moment, and still has a status.
        let status = match pool.status() {
            Err(_) if !pool.is_active()? => None,
            asked => Some(asked?),
        };
        let made = Made {
            volumes: pool.volumes()?.len(),
            data_path: pool.data_path().to_owned(),
            metadata_path: pool.metadata_path().to_owned(),
            status,
        };
        Ok(Self { name: pool.name().clone(), made: Some(made), made_on_use: false })
    }

    /// The figures of the configured pool, whether it exists or not.
    ///
    /// # Errors
    /// The errors of [`Figures::of`], and those of a store that cannot be read.
    pub fn known(bases: &Bases) -> Result<Self, RootfsError> {
        if let Some(pool) = bases.known_pool_if_made()? {
            return Ok(Self::of(pool)?);
        }
        let config = &bases.config().pool;
        let made_on_use = matches!(config.backing, Backing::Loop { .. });
        Ok(Self { name: config.name.clone(), made: None, made_on_use })
    }

    /// Prints the figures.
    pub fn print(&self, as_json: bool) {
        if as_json {
            for_programs(self.to_json());
        } else {
            let screen = Screen::here();
            screen.print(&self.lines(screen));
        }
    }

    /// The JSON has the same keys whatever is known.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let part = |blocks: Option<Blocks>, block: Bytes| {
            blocks.map(|blocks| {
                json!({
                    "used_bytes": blocks.used * block.0,
                    "total_bytes": blocks.total * block.0,
                    "percent": blocks.percent(),
                })
            })
        };
        let made = self.made.as_ref();
        let status = made.and_then(|made| made.status.as_ref());
        json!({
            "pool": self.name.to_string(),
            "exists": made.is_some(),
            "active": status.is_some(),
            "mode": status.map(|s| s.mode.to_string()),
            "needs_check": status.map(|s| s.needs_check),
            "transaction_id": status.and_then(|s| s.transaction_id),
            "data": status.and_then(|s| part(s.data, s.block)),
            "metadata": status.and_then(|s| part(s.metadata, s.metadata_block)),
            "volumes": made.map(|made| made.volumes),
            "data_path": made.map(|made| &made.data_path),
            "metadata_path": made.map(|made| &made.metadata_path),
        })
    }

    /// The pool's name and how full it is, in one line after `head`.
    #[must_use]
    pub fn fill(&self, head: &str, screen: Screen) -> Line {
        let name = &self.name;
        let state = match &self.made {
            None => "not made yet".to_owned(),
            Some(Made { status: None, .. }) => "inactive".to_owned(),
            Some(Made { status: Some(s), .. }) => {
                let [data, metadata] = [part(s.data, s.block), part(s.metadata, s.metadata_block)];
                let percent = [s.data, s.metadata].into_iter().flatten().map(Blocks::percent).max();
                let bar = percent.map_or(String::new(), |percent| screen.bar(percent));
                let text = format!("{head}{bar}{name}: data {data}, metadata {metadata}");
                return Line { text, colour: percent.and_then(Colour::of_fill) };
            }
        };
        Line::plain(format!("{head}{name}: {state}"))
    }

    /// The figures as text.
    #[must_use]
    pub fn lines(&self, screen: Screen) -> Vec<Line> {
        let name = &self.name;
        let Some(made) = &self.made else {
            let by_container = if self.made_on_use { " or the first container" } else { "" };
            return vec![Line::plain(format!(
                "the pool {name} is not made yet; `sharedroot pool create`{by_container} makes it"
            ))];
        };
        let mode = made.status.as_ref().map_or("inactive".to_owned(), |s| s.mode.to_string());
        let fill = |what, blocks: Option<(Option<Blocks>, Bytes)>, path: &Path| {
            let percent = blocks.and_then(|(blocks, _)| blocks).map(Blocks::percent);
            let bar = percent.map_or(String::new(), |percent| screen.bar(percent));
            let part = blocks.map_or(String::new(), |(blocks, block)| part(blocks, block) + "  ");
            let text = format!("{what:<9} {bar}{part}{}", path.display());
            Line { text, colour: percent.and_then(Colour::of_fill) }
        };
        let [data, metadata] = match &made.status {
            None => [None, None],
            Some(s) => [Some((s.data, s.block)), Some((s.metadata, s.metadata_block))],
        };
        let mut lines = vec![
            Line::plain(format!("pool      {name} ({mode})")),
            fill("data", data, &made.data_path),
            fill("metadata", metadata, &made.metadata_path),
            Line::plain(format!("volumes   {}", made.volumes)),
        ];
        if made.status.as_ref().is_some_and(|status| status.needs_check) {
            let text = "the metadata needs a check: stop the containers, then `sharedroot pool \
                        deactivate` and `sharedroot pool activate`";
            lines.push(Line { text: text.to_owned(), colour: Some(Colour::Red) });
        }
        lines
    }
}

/// How much of the data or the metadata is in use.
fn part(blocks: Option<Blocks>, block: Bytes) -> String {
    let Some(blocks) = blocks else { return "unknown".to_owned() };
    let [used, total] = [blocks.used, blocks.total].map(|n| Bytes(n * block.0));
    format!("{used} of {total} ({} %)", blocks.percent())
}

#[cfg(test)]
impl Figures {
    /// The figures of a pool that is not made yet.
    pub fn example() -> Self {
        let name = "default".parse().expect("a name");
        Self { name, made: None, made_on_use: true }
    }
}
