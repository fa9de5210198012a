//! Krait: virtual disks over NBD.
