//! Open files that go from one process to another beside a line (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut, Read, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::limits::MAX_PASSED;

/// Room for the most files.
const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_PASSED));

/// Sends a line, and copies of these files with its first byte.
///
/// # Errors
/// `InvalidInput` if these are too many; else what the socket says.
pub(super) fn send(mut stream: &UnixStream, line: &[u8], files: &[OwnedFd]) -> io::Result<()> {
    if files.is_empty() {
        return stream.write_all(line);
    }
    let files: Vec<BorrowedFd<'_>> = files.iter().map(OwnedFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if files.len() > MAX_PASSED || !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(stream, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(&line[sent..])
}

/// A stream that keeps the files that come with what is read of it.
#[derive(Debug)]
pub(super) struct Receiving {
    stream: UnixStream,
    files: Vec<OwnedFd>,
}

impl Receiving {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, files: Vec::new() }
    }

    pub(super) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// The files that have come since the last call.
    pub(super) fn take(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.files)
    }
}

impl Read for Receiving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(into)];
        let message = recvmsg(&self.stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for passed in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = passed {
                self.files.extend(files);
            }
        }
        Ok(message.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn files_come_with_the_line_that_they_were_sent_with() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut reader = BufReader::new(Receiving::new(there));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"known").unwrap();
        let files = vec![OwnedFd::from(file), OwnedFd::from(tempfile::tempfile().unwrap())];
        send(&here, b"two\n", &files).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let mut passed = reader.get_mut().take();
        assert_eq!((line.as_str(), passed.len()), ("two\n", 2));
        let mut text = String::new();
        let mut first = File::from(passed.remove(0));
        std::io::Seek::rewind(&mut first).unwrap();
        first.read_to_string(&mut text).unwrap();
        assert_eq!(text, "known");
        send(&here, b"none\n", &[]).unwrap();
        reader.read_line(&mut line).unwrap();
        assert!(line.ends_with("none\n") && reader.get_mut().take().is_empty());
    }

    #[test]
    fn too_many_files_are_refused_and_to_a_closed_end_nothing_is_sent() {
        let (here, there) = UnixStream::pair().unwrap();
        let files =
            |count| (0..count).map(|_| here.try_clone().unwrap().into()).collect::<Vec<_>>();
        let error = send(&here, b"x\n", &files(MAX_PASSED + 1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        drop(there);
        let error = send(&here, b"x\n", &files(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
