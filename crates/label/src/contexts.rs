//! What the files of the policy say of containers: lxc_contexts(5), and a file of the same form that the package
//! container-selinux has for podman, Docker and CRI-O.

use std::path::{Path, PathBuf};

use sharedroot_sys::chain::chain;

use super::LabelError;

/// The file of container-selinux, which the engines read, too.
const OF_CONTAINERS: &str = "/usr/share/containers/selinux/contexts";

/// The key of the label of read-only content that containers share.
const RO_FILE: &str = "ro_file";
/// The key of the label of the processes of containers.
const PROCESS: &str = "process";

/// The text of both files, that of the policy first; the reason in the place of a file that cannot be read.
#[derive(Debug)]
pub struct Contexts(Vec<(PathBuf, Result<String, String>)>);

impl Contexts {
    /// Reads the files of this host. A file that cannot be read has no entry, and the error for a missing entry names the reason.
    #[must_use]
    pub fn of_host() -> Self {
        let of_policy = selinux::path::lxc_contexts().map(Path::to_owned);
        let files = [of_policy.unwrap_or("lxc_contexts".into()), OF_CONTAINERS.into()];
        Self(files.map(|path| (path.clone(), read(&path))).into())
    }

    /// The label of read-only content that containers share: the entry `ro_file`.
    ///
    /// # Errors
    /// [`LabelError::NoEntry`].
    pub fn ro_file(&self) -> Result<&str, LabelError> {
        self.entry(RO_FILE)
    }

    /// The label of the processes of containers: the entry `process`.
    ///
    /// # Errors
    /// [`LabelError::NoEntry`].
    pub fn process(&self) -> Result<&str, LabelError> {
        self.entry(PROCESS)
    }

    fn entry(&self, key: &'static str) -> Result<&str, LabelError> {
        let texts = self.0.iter().filter_map(|(_, text)| text.as_deref().ok());
        texts.filter_map(|text| value(text, key)).next().ok_or_else(|| {
            let looked = |(path, text): &(PathBuf, Result<String, String>)| match text {
                Ok(_) => path.display().to_string(),
                Err(why) => format!("{} ({why})", path.display()),
            };
            let looked = self.0.iter().map(looked).collect::<Vec<_>>().join(" nor in ");
            LabelError::NoEntry { key, looked }
        })
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| chain(&error))
}

/// The value of the line `KEY = "…"`.
fn value<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim() == wanted && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of Debian 12 and 13.
    const DEBIAN: &str = "process = \"system_u:system_r:container_t:s0\"\n\
        content = \"system_u:object_r:virt_var_lib_t:s0\"\n\
        file = \"system_u:object_r:container_file_t:s0\"\n\
        ro_file = \"system_u:object_r:container_ro_file_t:s0\"\n\
        sandbox_lxc_process = \"system_u:system_r:container_t:s0\"\n";

    fn contexts(texts: [Result<&str, &str>; 2]) -> Contexts {
        let paths = ["/policy/lxc_contexts", "/containers/contexts"].map(PathBuf::from);
        let texts = texts.map(|text| text.map(str::to_owned).map_err(str::to_owned));
        Contexts(paths.into_iter().zip(texts).collect())
    }

    #[test]
    fn a_key_is_a_whole_word() {
        assert_eq!(value(DEBIAN, RO_FILE), Some("system_u:object_r:container_ro_file_t:s0"));
        assert_eq!(value(DEBIAN, PROCESS), Some("system_u:system_r:container_t:s0"));
        assert_eq!(value("ro_file=\"x\"", RO_FILE), Some("x"));
        for none in ["file = \"x\"", "", "ro_file", "ro_file = \"\"", "# ro_file \"x\""] {
            assert_eq!(value(none, RO_FILE), None, "{none:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_entry_is_read_back(before in "[a-qs-z_ =\"#\n]{0,80}", label in "[a-z_]{1,9}:[a-z0-9:,.]{1,9}") {
            let text = format!("{before}\nro_file = \"{label}\"\nprocess = x\n");
            assert_eq!(value(&text, RO_FILE), Some(&*label), "{text}");
            assert_eq!(value(&before, RO_FILE), None, "{before}");
        }
    }

    #[test]
    fn the_policys_own_file_goes_first() {
        let both = contexts([Ok("ro_file = \"one\"\n"), Ok(DEBIAN)]);
        assert_eq!(both.ro_file().unwrap(), "one");
        assert_eq!(both.process().unwrap(), "system_u:system_r:container_t:s0");
        let one = contexts([Err("no such file"), Ok(DEBIAN)]);
        assert_eq!(one.ro_file().unwrap(), "system_u:object_r:container_ro_file_t:s0");
    }

    #[test]
    fn what_is_in_neither_is_an_error_that_names_both() {
        let none = contexts([Ok("file = \"x\"\n"), Err("no such file")]);
        let said = none.ro_file().unwrap_err().to_string();
        for word in ["`ro_file`", "/policy/lxc_contexts", "/containers/contexts (no such file)"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}
