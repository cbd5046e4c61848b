//! Tests of the program as a process: its connections, its standard error and its traces.

mod connections;
mod log;
mod program;
mod traces;
