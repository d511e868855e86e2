//! The library of the black-box tests: it runs commands, containers and Docker, and finds what is left over.
//!
//! The tests are in `tests/`. `hack/test` runs them in guests of the lab. A test on another machine fails and says so.
//!
//! | file | its story |
//! |---|---|
//! | `command.rs` | a command with its output, its status and a time limit |
//! | `lab.rs` | where a test may run; waiting; files that a test changes and restores |
//! | `census.rs` | everything on the host that a runtime may make, and what is left over |
//! | `kernel_view.rs` | one process as the kernel shows it |
//! | `kept.rs` | snapshots that outlive their container |
//! | `attack.rs` | the means of an attacker: an image under each kind of root, a racing process |
//! | `beside.rs` | the same work with runc and with sharedroot, compared |
//! | `bundle.rs` | bundles made from the guest's static busybox |
//! | `cri.rs` | a node of Kubernetes without its kubelet, and its pods |
//! | `stack.rs` | an image without an engine, and bundles on it |
//! | `pool.rs` | the pool, checked and removed without sharedroot |
//! | `scatter.rs` | a root that is written all over, and what it takes of the pool |
//! | `package.rs` | the packages, and a later version of one |
//! | `driver.rs` | containers of Docker's overlay2 driver without Docker |
//! | `layout.rs` | OCI layouts written by a test |
//! | `tree.rs` | a whole tree as lines, and an image as overlay shows it |
//! | `runtime.rs` | an OCI runtime called directly |
//! | `said.rs` | everything that commands write: to their log, their streams, the journal |
//! | `of_env.rs` | the runtime that `RUNTIME` names |
//! | `engines.rs` | which containerd the guest has |
//! | `docker.rs` | containers and images of a real Docker |
//! | `documented.rs` | the output of `--json`, compared with its documentation |
//! | `doctor.rs` | `sharedroot doctor`, and its remedy run |
//! | `selinux.rs` | labels, enforcing and permissive, and what the policy denied |
//! | `view.rs` | a base that can be written, so that only SELinux denies access |
//! | `shim.rs` | containerd with a shim, called by ctr |
//! | `containerd_client.rs` | containerd's own tests of containers and tasks |
//! | `snapshotter.rs` | the snapshotter, and containerd with it |
//! | `shim_socket.rs` | a shim that a test calls at its socket |
//! | `panic.rs` | what a descriptor of a root can do to the host |
//! | `daemon.rs` | the Docker daemon with more runtimes |
//! | `systemd.rs` | units of systemd, and the cgroups of processes in them |

pub mod attack;
pub mod beside;
pub mod bundle;
pub mod census;
pub mod command;
pub mod containerd_client;
pub mod cri;
pub mod daemon;
pub mod docker;
pub mod doctor;
pub mod documented;
pub mod driver;
pub mod engines;
pub mod kept;
pub mod kernel_view;
pub mod lab;
pub mod layout;
mod of_env;
pub mod package;
pub mod panic;
pub mod podman;
pub mod pool;
pub mod runtime;
pub mod said;
pub mod scatter;
pub mod selinux;
pub mod shim;
pub mod shim_socket;
pub mod snapshotter;
pub mod stack;
pub mod systemd;
pub mod tree;
pub mod view;
