//! The server as a process, looked at from outside: with the clients that people use, through
//! crashes, and against clients that mean no good.

#[path = "../kill/client.rs"]
#[expect(clippy::disallowed_methods, reason = "a client in real time")]
mod client;
mod clients;
mod control;
mod copies;
mod diff;
mod drain;
mod durability;
mod extended;
mod fairness;
mod fixture;
mod flatten;
mod garbage;
mod group;
mod hand_over;
mod hostile;
mod raw;
mod read_only;
mod recovery;
mod resize;
mod s3;
mod shell;
mod space;
mod transfer;
mod writers;
