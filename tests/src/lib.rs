//! What integration tests stand on: real servers, real processes of the demo application, and a client to talk to it.
//!
//! - [`servers`] starts the real ones, fetching them where they are not installed, and breaks them on request.
//! - [`node`] starts the demo application as a process, and kills it.
//! - [`landed`] builds the version of it that landed last.
//! - [`relay`] stands between a node and its servers, and stops it at any step.
//! - [`client`] speaks to it, politely or not.
//!
//! Whatever is started here ends with the test process, however that ends: see [`process`].

pub mod client;
pub mod landed;
pub mod node;
pub mod process;
pub mod relay;
pub mod servers;
