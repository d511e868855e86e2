//! Options of a runtime, in the `options` of Create and on the standard input of `start`.

#![expect(
    missing_docs,
    reason = "the fields are those of the definition in fixtures/, which explains them"
)]

use super::named;

/// `containerd.runc.v1`.
pub mod runc {
    use prost::Message;

    use super::named;

    /// Options of runc's shim, which containerd, CRI and `ctr` give.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Options {
        #[prost(bool, tag = "1")]
        pub no_pivot_root: bool,
        #[prost(bool, tag = "2")]
        pub no_new_keyring: bool,
        #[prost(string, tag = "3")]
        pub shim_cgroup: String,
        #[prost(uint32, tag = "4")]
        pub io_uid: u32,
        #[prost(uint32, tag = "5")]
        pub io_gid: u32,
        #[prost(string, tag = "6")]
        pub binary_name: String,
        #[prost(string, tag = "7")]
        pub root: String,
        #[prost(bool, tag = "9")]
        pub systemd_cgroup: bool,
        #[prost(string, tag = "10")]
        pub criu_image_path: String,
        #[prost(string, tag = "11")]
        pub criu_work_path: String,
        #[prost(string, tag = "12")]
        pub task_api_address: String,
        #[prost(uint32, tag = "13")]
        pub task_api_version: u32,
    }

    /// Options of a checkpoint.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct CheckpointOptions {
        #[prost(bool, tag = "1")]
        pub exit: bool,
        #[prost(bool, tag = "2")]
        pub open_tcp: bool,
        #[prost(bool, tag = "3")]
        pub external_unix_sockets: bool,
        #[prost(bool, tag = "4")]
        pub terminal: bool,
        #[prost(bool, tag = "5")]
        pub file_locks: bool,
        #[prost(string, repeated, tag = "6")]
        pub empty_namespaces: Vec<String>,
        #[prost(string, tag = "7")]
        pub cgroups_mode: String,
        #[prost(string, tag = "8")]
        pub image_path: String,
        #[prost(string, tag = "9")]
        pub work_path: String,
    }

    /// The exec that a process belongs to.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct ProcessDetails {
        #[prost(string, tag = "1")]
        pub exec_id: String,
    }

    named!("containerd.runc.v1": Options, CheckpointOptions, ProcessDetails);
}

/// `runtimeoptions.v1`.
pub mod any_runtime {
    use prost::Message;

    use super::named;

    /// Options of any runtime: Docker makes this message from `options` in daemon.json.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Options {
        #[prost(string, tag = "1")]
        pub type_url: String,
        #[prost(string, tag = "2")]
        pub config_path: String,
        #[prost(bytes = "vec", tag = "3")]
        pub config_body: Vec<u8>,
    }

    named!("runtimeoptions.v1": Options);
}
