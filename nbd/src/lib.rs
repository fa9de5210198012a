//! The NBD server protocol as a state machine: bytes in, bytes out, no I/O.
