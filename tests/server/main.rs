//! The server as a process, looked at from outside: with the clients that people use, through
//! crashes, and against clients that mean no good.

mod clients;
mod control;
mod copies;
mod drain;
mod durability;
mod extended;
mod fairness;
mod fixture;
mod garbage;
mod hostile;
mod raw;
mod read_only;
mod recovery;
mod s3;
mod space;
mod transfer;
