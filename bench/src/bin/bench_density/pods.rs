//! Pods, whichever program creates them.

use sharedroot_bench::Clock;

/// The name of the operation that creates a pod.
pub const CREATE: &str = "create";
/// The name of the operation that deletes a pod.
pub const DELETE: &str = "delete";

/// The pods of one mode, by number. Several threads may ask at once, each for another pod.
pub trait Pods: Sync {
    /// Creates and starts a pod, step by step.
    fn create(&self, pod: usize) -> Clock;

    /// Ends and deletes a pod.
    fn delete(&self, pod: usize) -> Clock;

    /// The process id of a running pod.
    fn pid(&self, pod: usize) -> i32;

    /// Reads what an engine would have made a moment ago: every pod's directories and the files of the layer database.
    fn warm(&self);

    /// The cgroup above all pods.
    fn cgroup(&self) -> &str;

    /// The layer of each image. The pods have the images in turn.
    fn layers(&self) -> &[std::path::PathBuf];

    /// Milliseconds of the engine's list of containers, if there is one.
    fn list(&self) -> Option<f64>;

    /// The engine's own process for each container, by its `comm`, if there is one.
    fn shim(&self) -> Option<&'static str>;
}
