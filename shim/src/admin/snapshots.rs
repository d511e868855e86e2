//! How many snapshots the snapshotter has, and what they take of the pool.

use serde_json::{Value, json};
use sharedroot_bases::{Bases, SnapshotFigures};
use sharedroot_dm::Bytes;
use sharedroot_sys::chain::chain;

/// The figures, or why they are not known: `status` and others show the rest all the same.
#[derive(Debug, Clone)]
pub struct Snapshots(pub Result<SnapshotFigures, String>);

impl Snapshots {
    /// The figures now.
    pub fn now(bases: &Bases) -> Self {
        Self(bases.snapshot_figures().map_err(|error| chain(&error)))
    }

    /// The same keys whatever is known.
    pub fn to_json(&self) -> Value {
        let known = self.0.as_ref().ok();
        let bytes =
            |of: fn(&SnapshotFigures) -> Option<Bytes>| known.and_then(of).map(|size| size.0);
        json!({
            "layers": known.map(|known| known.layers),
            "active": known.map(|known| known.active),
            "views": known.map(|known| known.views),
            "layer_bytes": bytes(|known| known.layer_bytes),
            "active_bytes": bytes(|known| known.active_bytes),
        })
    }

    /// The figures in words; none where there are no snapshots.
    pub fn words(&self) -> Option<String> {
        let SnapshotFigures { layers, active, views, layer_bytes, active_bytes } = match &self.0 {
            Ok(none) if none.layers + none.active + none.views == 0 => return None,
            Ok(known) => known,
            Err(why) => return Some(format!("cannot be counted: {why}")),
        };
        let with =
            |size: &Option<Bytes>| size.map_or(String::new(), |size| format!(" with {size}"));
        let (in_layers, in_active) = (with(layer_bytes), with(active_bytes));
        Some(format!("{layers} layers{in_layers}, {active} active{in_active}, {views} views"))
    }
}

#[cfg(test)]
impl Snapshots {
    /// Three layers with 2 MiB, and one container's snapshot.
    pub fn example() -> Self {
        let (layer_bytes, active_bytes) = (Some(Bytes::mib(2)), Some(Bytes::kib(64)));
        Self(Ok(SnapshotFigures { layers: 3, active: 1, views: 0, layer_bytes, active_bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_counted_where_there_are_any() {
        let example = Snapshots::example();
        let words = "3 layers with 2 MiB, 1 active with 64 KiB, 0 views";
        assert_eq!(example.words().as_deref(), Some(words));
        assert_eq!(
            example.to_json(),
            json!({ "layers": 3, "active": 1, "views": 0, "layer_bytes": 2 << 20, "active_bytes": 64 << 10 })
        );
        let none = Snapshots(Ok(SnapshotFigures::default()));
        assert_eq!(none.words(), None);
        let inactive = SnapshotFigures { views: 2, ..SnapshotFigures::default() };
        let inactive = Snapshots(Ok(inactive)).words();
        assert_eq!(inactive.as_deref(), Some("0 layers, 0 active, 2 views"));
        let unknown = Snapshots(Err("why".to_owned()));
        assert_eq!(unknown.words().as_deref(), Some("cannot be counted: why"));
        let keys = |value: Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(unknown.to_json()), keys(none.to_json()));
        assert!(unknown.to_json()["layers"].is_null());
    }
}
