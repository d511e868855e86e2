//! How a helper tells the server its result: one message on a socket of their own, with the descriptors that the server keeps.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use prost::Message;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use sharedroot_task::messages::{Any, Status};
use sharedroot_task::{Code, Outcome, Pids, Refusal};

/// The most bytes of a report: the process IDs of a container that uses all numbers of the kernel (4,194,304) would take more,
/// and are refused.
const MOST: usize = 8 << 20;

/// The most descriptors that come with a report: each kind at most once, but for the reading ends of two outputs.
const MOST_KEPT: usize = 14;

/// What the server keeps of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Keep {
    /// A writing end of the client's input FIFO. While the server has it, the process does not read the end of the file.
    Input = 1,
    /// A reading end of an output FIFO that the process writes itself. While the server has it, the process is not ended by
    /// SIGPIPE.
    Output = 2,
    /// The master of the process's terminal.
    Terminal = 3,
    /// The end of the client's input FIFO from which the server reads.
    ClientInput = 4,
    /// The end of the client's output FIFO to which the server writes.
    ClientOutput = 5,
    /// The end of the client's FIFO for the standard error to which the server writes.
    ClientError = 6,
    /// A reading end of [`Self::ClientOutput`].
    OutputReader = 7,
    /// A reading end of [`Self::ClientError`].
    ErrorReader = 8,
    /// The end of a pipe to which the server writes what the process reads.
    ProcessInput = 9,
    /// The end of a pipe from which the server reads what the process writes.
    ProcessOutput = 10,
    /// The end of a pipe from which the server reads what the process writes to its standard error.
    ProcessError = 11,
    /// A process that takes the output, as a pidfd.
    Logger = 12,
    /// The container's `memory.events`.
    MemoryEvents = 13,
}

/// The result of a helper.
#[derive(Clone, PartialEq, Message)]
pub struct Report {
    /// Why the operation failed.
    #[prost(message, optional, tag = "1")]
    pub failed: Option<Status>,
    /// The process that was started, or 0.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    /// Whether the process shares its PID namespace.
    #[prost(bool, tag = "3")]
    pub shared_pids: bool,
    /// The processes of the container.
    #[prost(uint32, repeated, tag = "4")]
    pub pids: Vec<u32>,
    /// The figures of the cgroup.
    #[prost(message, optional, tag = "5")]
    pub stats: Option<Any>,
    /// What the descriptors are that come with the message, in their order.
    #[prost(enumeration = "Keep", repeated, tag = "6")]
    pub kept: Vec<i32>,
}

/// What the helper was to do, and so what its report means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Make a container.
    Create,
    /// Start an exec.
    Exec,
    /// List the processes.
    Pids,
    /// Read the figures.
    Stats,
    /// Anything else.
    Other,
}

impl Report {
    /// What the report means for the state machine.
    pub fn outcome(self, kind: Kind) -> Outcome {
        if let Some(Status { code, message, .. }) = self.failed {
            return Outcome::Failed(Refusal::Failed { code: Code::of(code), text: message });
        }
        match (kind, self.stats) {
            (Kind::Create, _) => {
                let pids = if self.shared_pids { Pids::Shared } else { Pids::Own };
                Outcome::Created { pid: self.pid, pids }
            }
            (Kind::Exec, _) => Outcome::Started { pid: self.pid },
            (Kind::Pids, _) => Outcome::Pids(self.pids),
            (Kind::Stats, Some(stats)) => Outcome::Stats(stats),
            (Kind::Stats, None) => Outcome::Failed(Refusal::WrongResult),
            (Kind::Other, _) => Outcome::Done,
        }
    }
}

/// Sends the report. The socket is blocking, and the server reads it.
///
/// # Errors
/// The server has ended.
pub fn send(socket: BorrowedFd<'_>, report: &Report, kept: &[OwnedFd]) -> io::Result<()> {
    let bytes = report.encode_to_vec();
    let kept: Vec<_> = kept.iter().map(AsFd::as_fd).collect();
    // A message of no bytes brings no descriptors.
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_KEPT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !kept.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&kept)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let sent = sendmsg(socket, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL)?;
    let rest = [&length[sent..], &bytes].concat();
    let mut rest = rest.as_slice();
    while !rest.is_empty() {
        rest = &rest[rustix::net::send(socket, rest, SendFlags::NOSIGNAL)?..];
    }
    Ok(())
}

/// A report on its way.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    kept: Vec<OwnedFd>,
}

/// What has come of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More may come.
    Open,
    /// Nothing more comes.
    Ended,
}

impl Incoming {
    /// Reads what has come, without waiting.
    ///
    /// # Errors
    /// The socket cannot be read, or the report is too long.
    pub fn read(&mut self, socket: BorrowedFd<'_>) -> io::Result<Progress> {
        let mut buffer = [0_u8; 16 << 10];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_KEPT))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let mut into = [IoSliceMut::new(&mut buffer)];
            let read = match recvmsg(socket, &mut into, &mut control, flags) {
                Err(Errno::AGAIN) => return Ok(Progress::Open),
                Err(Errno::INTR) => continue,
                read => read?.bytes,
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(kept) = message {
                    self.kept.extend(kept);
                }
            }
            if read == 0 {
                return Ok(Progress::Ended);
            }
            if self.bytes.len() + read > MOST || self.kept.len() > MOST_KEPT {
                return Err(io::Error::other("the report is too long"));
            }
            self.bytes.extend_from_slice(&buffer[..read]);
        }
    }

    /// The report with its descriptors; none if the helper ended before it was whole.
    pub fn take(self) -> Option<(Report, Vec<(Keep, OwnedFd)>)> {
        let (length, bytes) = self.bytes.split_first_chunk()?;
        if usize::try_from(u32::from_le_bytes(*length)) != Ok(bytes.len()) {
            return None;
        }
        let report = Report::decode(bytes).ok()?;
        let keeps: Option<Vec<_>> =
            report.kept.iter().map(|keep| Keep::try_from(*keep).ok()).collect();
        let keeps = keeps.filter(|keeps| keeps.len() == self.kept.len())?;
        Some((report, keeps.into_iter().zip(self.kept).collect()))
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_report_comes_with_its_descriptors() {
        let (ours, theirs) = pair();
        let (reader, writer) = std::io::pipe().unwrap();
        let kept = vec![Keep::Output.into(), Keep::Input.into()];
        let report = Report { pid: 7, kept, ..Report::default() };
        let mut incoming = Incoming::default();
        assert_eq!(incoming.read(ours.as_fd()).unwrap(), Progress::Open);
        send(theirs.as_fd(), &report, &[reader.into(), writer.into()]).unwrap();
        drop(theirs);
        assert_eq!(incoming.read(ours.as_fd()).unwrap(), Progress::Ended);
        let (got, kept) = incoming.take().unwrap();
        assert_eq!(got, report);
        let keeps: Vec<_> = kept.iter().map(|(keep, _)| *keep).collect();
        assert_eq!(keeps, [Keep::Output, Keep::Input]);
        rustix::io::write(&kept[1].1, b"x").unwrap();
        assert_eq!(rustix::io::read(&kept[0].1, &mut [0_u8; 2]), Ok(1));
    }

    #[test]
    fn a_report_that_is_cut_is_none() {
        for bytes in [&b""[..], &[1, 0, 0], &[9, 0, 0, 0, 1]] {
            let incoming = Incoming { bytes: bytes.to_vec(), kept: Vec::new() };
            assert!(incoming.take().is_none(), "{bytes:?}");
        }
        let report = Report { kept: vec![Keep::Input.into()], ..Report::default() };
        let bytes = report.encode_to_vec();
        let bytes = [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], &bytes].concat();
        assert!(Incoming { bytes, kept: Vec::new() }.take().is_none(), "a descriptor is missing");
    }

    #[test]
    fn a_report_means_what_the_helper_was_to_do() {
        let report = Report { pid: 7, ..Report::default() };
        let created = Outcome::Created { pid: 7, pids: Pids::Own };
        assert_eq!(report.clone().outcome(Kind::Create), created);
        assert_eq!(report.clone().outcome(Kind::Exec), Outcome::Started { pid: 7 });
        assert_eq!(report.clone().outcome(Kind::Other), Outcome::Done);
        let refused = Outcome::Failed(Refusal::WrongResult);
        assert_eq!(report.clone().outcome(Kind::Stats), refused, "no figures");
        let failed = Some(Code::NotFound.status("x"));
        let Outcome::Failed(Refusal::Failed { code, text }) =
            Report { failed, ..report }.outcome(Kind::Create)
        else {
            panic!()
        };
        assert_eq!((code, text.as_str()), (Code::NotFound, "x"));
    }
}
