//! `features`: what the engine supports.

use sharedroot_engine::{Choice, exec_features, features};

use super::file_error::file_error;
use crate::cli::Global;
use crate::config::Config;
use crate::lifecycle::{LifecycleError, choice};
use crate::output::say;

/// Prints the features of the engine of new containers. A delegate takes the place of this process. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn print(global: &Global, config: &Config) -> Result<u8, LifecycleError> {
    match choice(global, config)? {
        Choice::Libcontainer => {
            say!("{:#}", features());
            Ok(0)
        }
        Choice::Delegate(program) => {
            let source = exec_features(&program);
            Err(file_error("execute", &program.path, source))
        }
    }
}
