//! The calls of device-mapper without anything around them. The arm "raw" uses them.

use std::path::PathBuf;

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions};

/// The open control device.
pub struct Kernel(DM);

/// The used blocks of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Blocks of 4 KiB.
    pub metadata: u64,
    /// Blocks of the pool's own size.
    pub data: u64,
}

fn name(text: &str) -> &DmName {
    DmName::new(text).expect("the benchmark's names are short and plain")
}

impl Kernel {
    pub fn new() -> Self {
        Self(DM::new().expect("open /dev/mapper/control"))
    }

    pub fn message(&self, pool: &str, text: &str) {
        let sent = self.0.target_msg(&DevId::Name(name(pool)), None, text);
        sent.unwrap_or_else(|e| panic!("message {pool} {text}: {e}"));
    }

    /// Creates a device with three calls: create, load, resume.
    pub fn activate(&self, device: &str, sectors: u64, params: &str) -> PathBuf {
        let (id, options) = (DevId::Name(name(device)), DmOptions::private);
        let created = self.0.device_create(name(device), None, options());
        let created = created.unwrap_or_else(|e| panic!("create {device}: {e}"));
        let table = [(0, sectors, "thin".to_owned(), params.to_owned())];
        self.0
            .table_load(&id, &table, options())
            .unwrap_or_else(|e| panic!("load {device} {params}: {e}"));
        self.0.device_suspend(&id, options()).unwrap_or_else(|e| panic!("resume {device}: {e}"));
        PathBuf::from(format!("/dev/dm-{}", created.device().minor))
    }

    pub fn remove(&self, device: &str) {
        let removed = self.0.device_remove(&DevId::Name(name(device)), DmOptions::private());
        removed.unwrap_or_else(|e| panic!("remove {device}: {e}"));
    }

    /// `MAJOR:MINOR`, as tables want it.
    pub fn number(&self, device: &str) -> String {
        let info = self.0.device_info(&DevId::Name(name(device)));
        let number = info.unwrap_or_else(|e| panic!("info {device}: {e}")).device();
        format!("{}:{}", number.major, number.minor)
    }

    /// The used blocks of a pool, after a commit of its metadata.
    pub fn used(&self, pool: &str) -> Used {
        let options = DmOptions::default().set_flags(DmFlags::empty());
        let (_, lines) = self
            .0
            .table_status(&DevId::Name(name(pool)), options)
            .unwrap_or_else(|e| panic!("status {pool}: {e}"));
        let line = &lines.first().expect("a pool has one target").3;
        // thin-provisioning.rst: transaction id, metadata used/total, data used/total, ...
        let used = |field: usize| {
            let text = line.split_whitespace().nth(field).and_then(|f| f.split('/').next());
            text.and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("status of {pool}: {line}"))
        };
        Used { metadata: used(1), data: used(2) }
    }
}
