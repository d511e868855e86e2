//! What the server asks a helper for: one operation on one container. It is a file in memory, because a message of a socket
//! could be too long.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use prost::Message;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use sharedroot_task::messages::envelope::{KeyValue, Request};
use sharedroot_task::{Call, NotACall, SERVICES, ttrpc};

/// The metadata with the bundle.
const BUNDLE: &str = "bundle";

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The operation, as containerd would call it.
    pub call: Call,
    /// The container's bundle.
    pub bundle: PathBuf,
}

impl Order {
    /// Writes the order.
    ///
    /// # Errors
    /// memfd_create(2)'s and write(2)'s.
    pub fn write(&self) -> io::Result<OwnedFd> {
        let bundle = self.bundle.to_str();
        let bundle = bundle.ok_or_else(|| io::Error::other("the bundle's path is no text"))?;
        let request = Request {
            service: SERVICES[0].to_owned(),
            method: self.call.method().to_string(),
            payload: self.call.payload(),
            metadata: vec![KeyValue { key: BUNDLE.to_owned(), value: bundle.to_owned() }],
            ..Request::default()
        };
        let mut file = File::from(memfd_create("order", MemfdFlags::CLOEXEC)?);
        file.write_all(&request.encode_to_vec())?;
        seek(&file, SeekFrom::Start(0))?;
        Ok(file.into())
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// There is no order in the file.
    pub fn read(file: OwnedFd) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes)?;
        let request = Request::decode(bytes.as_slice()).map_err(io::Error::other)?;
        let Request { service, method, payload, metadata, .. } = request;
        let bundle = metadata.into_iter().find(|of| of.key == BUNDLE);
        let bundle = bundle.ok_or_else(|| io::Error::other("an order without a bundle"))?;
        let request = ttrpc::Request { service, method, payload, ..ttrpc::Request::default() };
        let call = Call::parse(&request).map_err(|error: NotACall| io::Error::other(error))?;
        Ok(Self { call, bundle: bundle.value.into() })
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_task::messages::task::PidsRequest;

    use super::*;

    #[test]
    fn an_order_comes_back_as_it_was() {
        let call = Call::Pids(PidsRequest { id: "c1".to_owned() });
        let order = Order { call, bundle: "/run/b 1".into() };
        assert_eq!(Order::read(order.write().unwrap()).unwrap(), order);
        let empty = memfd_create("order", MemfdFlags::CLOEXEC).unwrap();
        assert!(Order::read(empty).is_err());
    }
}
