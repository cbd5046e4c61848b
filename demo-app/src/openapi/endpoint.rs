//! Ties each route to its description, so that the router takes none without one.

use axum::routing::MethodFilter;
use utoipa::openapi::HttpMethod;

use super::operation::Operation;

/// A route of the API: its method, its path and its description.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// The `operationId`.
    pub(super) id: &'static str,
    pub(super) describe: fn() -> Operation,
}

/// The methods of the API's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

impl From<Method> for MethodFilter {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
            Method::Delete => Self::DELETE,
        }
    }
}

impl From<Method> for HttpMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Post => Self::Post,
            Method::Delete => Self::Delete,
        }
    }
}

/// Declares the endpoints of a module, and a list of them. Each is described by the function that its
/// line ends with, whose name is the operation's id.
macro_rules! endpoints {
    ($all:ident; $($name:ident = $method:ident $path:expr => $describe:ident;)+) => {
        $(pub(crate) const $name: Endpoint = Endpoint {
            method: Method::$method,
            path: $path,
            id: stringify!($describe),
            describe: $describe,
        };)+

        pub(super) const $all: &[Endpoint] = &[$($name),+];
    };
}

pub(super) use endpoints;
