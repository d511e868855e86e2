//! The spawner: a process with one thread, one socket and no other descriptor. It clones a helper for each operation, and does
//! nothing else. So no helper has memory, locks or descriptors of an operation before it.
//!
//! A helper is a child of the server, which so learns of its end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use sharedroot_sys::clone3::{Relation, fork};

/// What a helper gets.
#[derive(Debug)]
pub struct Given {
    /// The file with the order.
    pub order: OwnedFd,
    /// The socket for the report.
    pub report: OwnedFd,
}

/// That a helper runs, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub struct Announced {
    /// The number that the server gave to the operation.
    pub number: u64,
    /// The helper's process ID, or the error number of clone3(2).
    pub helper: Result<u32, i32>,
}

/// Serves until the server ends. `help` runs in each helper.
///
/// # Errors
/// The socket cannot be used.
pub fn run(socket: OwnedFd, help: impl Fn(Given)) -> io::Result<()> {
    while let Some((number, given)) = take(socket.as_fd())? {
        let helper = match fork(None, Relation::Sibling) {
            Ok(None) => {
                drop(socket);
                help(given);
                leave();
            }
            Ok(Some(pid)) => Ok(pid.as_raw().unsigned_abs()),
            Err(error) => Err(error.raw_os_error().unwrap_or(0)),
        };
        drop(given);
        announce(socket.as_fd(), &Announced { number, helper })?;
    }
    Ok(())
}

#[expect(clippy::exit, reason = "a helper must not return into the spawner's loop")]
fn leave() -> ! {
    std::process::exit(0)
}

/// The server's side: asks for a helper.
///
/// # Errors
/// The spawner has ended, or does not read.
pub fn ask(socket: BorrowedFd<'_>, number: u64, given: &Given) -> io::Result<()> {
    let descriptors = [given.order.as_fd(), given.report.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(&number.to_le_bytes())], &mut control, flags)?;
    Ok(())
}

/// The spawner's side: waits for an operation. None if the server has ended.
fn take(socket: BorrowedFd<'_>) -> io::Result<Option<(u64, Given)>> {
    loop {
        let mut number = [0_u8; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut number)];
        let read = match recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            read => read?.bytes,
        };
        if read == 0 {
            return Ok(None);
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                descriptors.extend(sent);
            }
        }
        let given = <[OwnedFd; 2]>::try_from(descriptors)
            .map_err(|_| io::Error::other("a request without its descriptors"))?;
        let [order, report] = given;
        return Ok(Some((u64::from_le_bytes(number), Given { order, report })));
    }
}

fn announce(socket: BorrowedFd<'_>, announced: &Announced) -> io::Result<()> {
    let (pid, error) = match announced.helper {
        Ok(pid) => (pid, 0),
        Err(error) => (0, error),
    };
    let mut message = [0_u8; 16];
    message[..8].copy_from_slice(&announced.number.to_le_bytes());
    message[8..12].copy_from_slice(&pid.to_le_bytes());
    message[12..].copy_from_slice(&error.to_le_bytes());
    rustix::net::send(socket, &message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The server's side: what the spawner has announced, without waiting. None if there is nothing.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] if the spawner has ended.
pub fn announced(socket: BorrowedFd<'_>) -> io::Result<Option<Announced>> {
    let mut message = [0_u8; 16];
    loop {
        match rustix::net::recv(socket, &mut message, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Ok((16, _)) => break,
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => return Err(error.into()),
        }
    }
    let [number, rest] = [&message[..8], &message[8..]];
    let number = u64::from_le_bytes(number.try_into().unwrap_or_default());
    let pid = u32::from_le_bytes(rest[..4].try_into().unwrap_or_default());
    let error = i32::from_le_bytes(rest[4..].try_into().unwrap_or_default());
    let helper = if pid == 0 { Err(error) } else { Ok(pid) };
    Ok(Some(Announced { number, helper }))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn requests_and_announcements_pass_the_socket() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        assert_eq!(announced(ours.as_fd()).unwrap(), None);
        let (reader, writer) = io::pipe().unwrap();
        ask(ours.as_fd(), 77, &Given { order: reader.into(), report: writer.into() }).unwrap();
        let (number, given) = take(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(number, 77);
        rustix::io::write(&given.report, b"x").unwrap();
        assert_eq!(rustix::io::read(&given.order, &mut [0_u8; 2]), Ok(1));
        for helper in [Ok(5), Err(11)] {
            let one = Announced { number, helper };
            announce(theirs.as_fd(), &one).unwrap();
            assert_eq!(announced(ours.as_fd()).unwrap(), Some(one));
        }
        drop(theirs);
        let ended = announced(ours.as_fd()).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
    }
}
