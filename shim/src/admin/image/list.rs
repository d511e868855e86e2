//! `image list`: the bases and their containers.

use serde_json::{Value, json};
use sharedroot_bases::Bases;
use sharedroot_dm::Bytes;

use super::Base;
use crate::admin::for_programs;
use crate::admin::screen::{Column, Line, Screen, table};
use crate::lifecycle::LifecycleError;

const COLUMNS: [Column; 7] = [
    Column::Text("BASE"),
    Column::Figure("SIZE"),
    Column::Figure("USED"),
    Column::Text("STATE"),
    Column::Figure("SHARED"),
    Column::Figure("PRIVATE"),
    Column::Text("IMAGE"),
];

/// Prints every base: its key, size, state, containers and names.
///
/// # Errors
/// [`LifecycleError`].
pub fn list(bases: &Bases, as_json: bool) -> Result<(), LifecycleError> {
    let all = super::all(bases)?;
    if as_json {
        let images: Vec<_> = all.iter().map(|base| json(bases, base)).collect();
        for_programs(json!({ "images": images }));
    } else {
        Screen::here().print(&lines(&all));
    }
    Ok(())
}

/// The bases as a table.
#[must_use]
pub fn lines<'b>(bases: impl IntoIterator<Item = &'b Base>) -> Vec<Line> {
    let rows: Vec<_> = bases.into_iter().map(row).collect();
    table(COLUMNS, &rows)
}

fn row(base: &Base) -> [String; COLUMNS.len()] {
    let state = match (base.volume.is_ready(), base.mounted) {
        (true, true) => "mounted",
        (true, false) => "ready",
        (false, _) => "unfinished",
    };
    [
        base.key.short(),
        base.volume.size.to_string(),
        base.used.map_or("-".to_owned(), |used| Bytes(used).to_string()),
        state.to_owned(),
        base.shared.len().to_string(),
        base.private.len().to_string(),
        // A base without a name already has its key in the first column.
        base.called().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// One base as JSON.
#[must_use]
pub fn json(bases: &Bases, base: &Base) -> Value {
    json!({
        "key": base.key.to_string(),
        "names": base.names,
        "tags": base.tags,
        "snapshot": base.snapshot,
        "volume": base.volume.name.to_string(),
        "size_bytes": base.volume.size.0,
        // Only known for a mounted base: nothing is activated.
        "used_bytes": base.used,
        "ready": base.volume.is_ready(),
        "mounted": base.mounted,
        "mount_point": bases.base_mount(&base.key),
        "shared_by": base.shared,
        "snapshots_of": base.private,
    })
}
