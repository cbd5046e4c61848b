//! The harness of the integration tests: real servers, processes of the demo application, and a
//! client.
//!
//! - [`servers`] starts real servers, fetches missing ones, and breaks them on request.
//! - [`node`] starts the demo application as a process, and kills it.
//! - [`landed`] builds the version of it that landed last.
//! - [`relay`] sits between a node and its servers, and stops the node at any step.
//! - [`client`] calls it, with valid requests or raw bytes.
//! - [`clients`] does so with client libraries in other languages.
//! - [`packages`] installs such libraries.
//! - [`linters`] read the files in `deploy` that no test can run.
//! - [`promtool`] checks rules and metrics of Prometheus.
//!
//! Every process started here ends with the test process, even if that is killed: see [`process`].

pub mod client;
pub mod clients;
pub mod command;
pub mod landed;
pub mod linters;
mod made_once;
pub mod node;
mod on_path;
pub mod packages;
pub mod process;
pub mod promtool;
pub mod relay;
pub mod servers;
