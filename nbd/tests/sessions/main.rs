//! Whole sessions: real clients and servers, arbitrary bytes, mutations, split streams, and the document.

mod clients;
mod document;
mod fuzz;
mod memory_server;
mod scripts;
mod servers;
mod tools;
