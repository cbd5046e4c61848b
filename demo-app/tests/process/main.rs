//! Tests of the program as a process: its connections and its standard error.

mod connections;
mod log;
mod program;
