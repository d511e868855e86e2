//! What is asked of each client.

use sharedroot_bench::Clock;

use crate::arm::Arm;

/// The operations.
pub const START: &str = "start";
pub const EXEC: &str = "exec";
pub const DELETE: &str = "delete";

/// The names under which the time of the client itself is kept: a call that asks for the engine's version.
pub const CLIENT: &str = "client";
pub const VERSION: &str = "version";

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A static program of some kB that waits.
    Pause,
    /// `sleep` of an image that has `true`, too.
    Sleep,
}

/// A client of the engine. Each step of a clock is one call of the client's program.
pub trait Client {
    type Container;
    /// What the benchmark calls the client.
    const NAME: &'static str;
    /// What a start makes.
    const UNIT: &'static str;
    /// The arms that the client can have.
    const ARMS: &'static [Arm];
    /// The figures that have a target: operation, step, and the largest ratio.
    const TARGETS: &'static [(&'static str, &'static str, f64)];
    /// The target of the memory of a container.
    const MEMORY: Option<f64>;

    /// Asks for the engine's version: what each call takes whatever it asks for.
    fn version(&self) -> Clock;
    /// Makes a container and starts it.
    fn start(&self, arm: Arm, work: Work) -> (Clock, Self::Container);
    /// Runs `true` in a container that sleeps.
    fn exec(&self, container: &Self::Container) -> Clock;
    /// Ends the container and removes it.
    fn delete(&self, container: Self::Container) -> Clock;
}
