//! The server as a process, looked at from outside: with the clients that people use, through
//! crashes, and against clients that mean no good.

mod clients;
mod control;
mod durability;
mod fixture;
mod hostile;
mod s3;
mod space;
