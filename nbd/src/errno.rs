//! The error numbers of the protocol, which are not those of the host.

use std::fmt;

/// Why a request failed, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Errno {
    /// The export is read-only.
    Perm = 1,
    /// The data cannot be read or written.
    Io = 5,
    /// No memory for the request.
    NoMem = 12,
    /// The request makes no sense.
    Invalid = 22,
    /// Beyond the end of the export, or the storage is full.
    NoSpace = 28,
    /// Too long for an unfragmented reply.
    Overflow = 75,
    /// The operation cannot be done fast.
    NotSupported = 95,
    /// The server is going down.
    Shutdown = 108,
}

impl Errno {
    /// All error numbers of the protocol.
    pub const ALL: [Self; 8] = [
        Self::Perm,
        Self::Io,
        Self::NoMem,
        Self::Invalid,
        Self::NoSpace,
        Self::Overflow,
        Self::NotSupported,
        Self::Shutdown,
    ];

    /// The number on the wire; never zero.
    pub fn to_wire(self) -> u32 {
        self as u32
    }

    /// The error of a number; one that the protocol does not name counts as invalid, zero as none.
    pub fn from_wire(number: u32) -> Option<Self> {
        if number == 0 {
            return None;
        }
        let known = Self::ALL.into_iter().find(|errno| errno.to_wire() == number);
        Some(known.unwrap_or(Self::Invalid))
    }

    /// The specification name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Perm => "NBD_EPERM",
            Self::Io => "NBD_EIO",
            Self::NoMem => "NBD_ENOMEM",
            Self::Invalid => "NBD_EINVAL",
            Self::NoSpace => "NBD_ENOSPC",
            Self::Overflow => "NBD_EOVERFLOW",
            Self::NotSupported => "NBD_ENOTSUP",
            Self::Shutdown => "NBD_ESHUTDOWN",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn numbers_survive_the_wire() {
        for errno in Errno::ALL {
            assert_eq!(Errno::from_wire(errno.to_wire()), Some(errno));
        }
    }

    #[test]
    fn zero_is_no_error_and_an_unknown_number_is_invalid() {
        assert_eq!(Errno::from_wire(0), None);
        assert_eq!(Errno::from_wire(77), Some(Errno::Invalid));
    }
}
