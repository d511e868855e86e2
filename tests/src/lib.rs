//! Black-box tests of sharedroot: what they need to run commands, containers and Docker, and to see what is left over.
//!
//! The tests are in `tests/`; `hack/test` runs them inside the lab's guests. One that runs elsewhere fails and says so.
//!
//! | file | its story |
//! |---|---|
//! | `command.rs` | a command with its output, its status and a time limit |
//! | `lab.rs` | where a test may run; waiting; files that a test changes and puts back |
//! | `census.rs` | what the host has, and what is left over of it |
//! | `kernel_view.rs` | one process as the kernel shows it |
//! | `kept.rs` | snapshots that outlive their container |
//! | `attack.rs` | what an attacker has: an image under each kind of root, a racing process |
//! | `beside.rs` | the same with runc and with ours |
//! | `bundle.rs` | bundles made from the guest's static busybox |
//! | `cri.rs` | a node of Kubernetes without its kubelet, and its pods |
//! | `stack.rs` | an image without an engine, and bundles on it |
//! | `pool.rs` | the pool made, taken away and looked at behind sharedroot's back |
//! | `package.rs` | the packages, and a later version of one |
//! | `driver.rs` | containers of Docker's overlay2 driver without Docker |
//! | `layout.rs` | OCI layouts written by hand |
//! | `tree.rs` | a whole tree as lines, and an image as overlay shows it |
//! | `runtime.rs` | an OCI runtime called directly |
//! | `said.rs` | all that commands said: their log, their streams, the journal |
//! | `docker.rs` | containers and images of a real Docker |
//! | `documented.rs` | what `--json` prints, held against its documentation |
//! | `doctor.rs` | `sharedroot doctor`, and its remedy pasted |
//! | `selinux.rs` | labels, enforcing and permissive, and what the policy denied |
//! | `view.rs` | a base that can be written, for what only SELinux denies |
//! | `daemon.rs` | the Docker daemon with more runtimes |

pub mod attack;
pub mod beside;
pub mod bundle;
pub mod census;
pub mod command;
pub mod cri;
pub mod daemon;
pub mod docker;
pub mod doctor;
pub mod documented;
pub mod driver;
pub mod kept;
pub mod kernel_view;
pub mod lab;
pub mod layout;
pub mod package;
pub mod pool;
pub mod runtime;
pub mod said;
pub mod selinux;
pub mod stack;
pub mod tree;
pub mod view;
