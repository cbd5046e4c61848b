//! Ends streams with their sessions.
//!
//! [`AuthLayer`](crate::AuthLayer) checks a request when it begins. What the request opened may go on
//! for hours. [`Trust::revoked`](crate::Trust::revoked) completes when the session ends, and the
//! adapters here end a stream with it:
//!
//! | stream | adapter | how it ends |
//! | --- | --- | --- |
//! | server-sent events, any stream of results | [`try_until_revoked`] | with the error [`StreamEnd`] |
//! | a body | [`RevocableBody`] | with the error [`StreamEnd`] |
//! | any other stream | [`until_revoked`] | with `None`, and says why |
//! | axum's WebSockets (feature `ws`) | `RevocableSocket` | with a close frame, 1008 or 1013 |
//! | tonic's streams (feature `tonic`) | `grpc::until_revoked` | with `UNAUTHENTICATED` or `UNAVAILABLE` |
//!
//! Nothing passes an adapter after the end is known. An item that the other side has not read yet is
//! not taken back.
//!
//! **Why an error.** A response body that ends early looks complete to the client. With an error,
//! HTTP/1.1 leaves out the last chunk and HTTP/2 resets the stream, so the client knows that
//! something is missing. A browser's `EventSource` connects again and gets 401.
//!
//! ```
//! # use auth_layer::{AuthLayer, Authority, Claims, Trust};
//! use std::{convert::Infallible, time::Duration};
//!
//! use auth_layer::stream::RevocableStream;
//! use axum::{
//!     Router,
//!     extract::State,
//!     response::{IntoResponse, Sse, sse::Event},
//!     routing::get,
//! };
//! use tokio_stream::{StreamExt, wrappers::IntervalStream};
//!
//! async fn events(State(trust): State<Trust>, claims: Claims) -> impl IntoResponse {
//!     let ticks = IntervalStream::new(tokio::time::interval(Duration::from_secs(1)));
//!     let events = ticks.map(|_| Ok::<_, Infallible>(Event::default().data("tick")));
//!     Sse::new(events.try_until_revoked(trust.revoked(&claims)))
//! }
//!
//! fn app(authority: &Authority) -> Router {
//!     Router::new()
//!         .route("/events", get(events))
//!         .layer(AuthLayer::new(authority))
//!         .with_state(Trust::from(authority))
//! }
//! ```
//!
//! [`try_until_revoked`]: RevocableStream::try_until_revoked
//! [`until_revoked`]: RevocableStream::until_revoked

mod body;
#[cfg(feature = "ws")]
mod socket;
mod until;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub use body::RevocableBody;
#[cfg(feature = "ws")]
pub use socket::RevocableSocket;
pub use until::{RevocableStream, TryUntilRevoked, UntilRevoked};

pub use crate::watch::{Revoked, StreamEnd};
