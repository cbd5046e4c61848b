//! The program as a process: what it does with its connections and with standard error.

mod connections;
mod log;
mod program;
