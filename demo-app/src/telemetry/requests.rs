//! The handles of the metrics of requests.
//!
//! To look a handle up, the recorder hashes its name and labels, which are allocated first. So each
//! handle is looked up with the first request that needs it, and kept.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Method, StatusCode};
use metrics::{Counter, Histogram};
use tonic::Code;

use super::{GRPC_CALLS, HTTP_REQUESTS};
use crate::methods::{self, KNOWN};

/// What is shown in place of the pattern of a path that has no route.
const NO_ROUTE: &str = "-";

/// The label of all methods that are not known.
const OTHER_METHOD: &str = "other";

/// The labels of a request's end: the classes of status, and the place of none.
const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "abandoned"];

/// The number of status codes of gRPC.
const CODES: usize = Code::Unauthenticated as usize + 1;

/// The metrics of all routes. Cloning it copies a pointer.
///
/// The router's patterns bound their number: a client cannot add one.
#[derive(Clone, Default)]
pub(super) struct Routes(Arc<ArcSwap<HashMap<Arc<str>, Arc<RouteMetrics>>>>);

impl Routes {
    /// Returns the metrics of a pattern of the router; `None` is a path that has none.
    pub(super) fn get(&self, pattern: Option<&str>) -> Arc<RouteMetrics> {
        let route = pattern.unwrap_or(NO_ROUTE);
        if let Some(known) = self.0.load().get(route) {
            return Arc::clone(known);
        }
        let new = Arc::new(RouteMetrics::new(route));
        // If two requests come here at once, both have the same handles of the recorder.
        self.0.rcu(|known| {
            let mut routes = HashMap::clone(known);
            routes.insert(Arc::clone(&new.route), Arc::clone(&new));
            routes
        });
        new
    }
}

/// The metrics of a route: one handle for each method and class of status, and for each status of
/// gRPC.
pub(crate) struct RouteMetrics {
    route: Arc<str>,
    durations: [[OnceLock<Histogram>; STATUSES.len()]; KNOWN.len() + 1],
    calls: [OnceLock<Counter>; CODES],
}

impl RouteMetrics {
    fn new(route: &str) -> Self {
        Self { route: route.into(), durations: Default::default(), calls: Default::default() }
    }

    /// Returns the route's pattern, `-` if it has none.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// Records a request that was answered, or abandoned without a status.
    pub(crate) fn record_request(&self, method: &Method, status: Option<StatusCode>, took: Duration) {
        let method = methods::place(method).unwrap_or(KNOWN.len());
        let status = match status.map(|status| status.as_u16() / 100) {
            Some(class @ 1..=4) => usize::from(class) - 1,
            Some(_) => 4,
            None => 5,
        };
        let duration = self.durations[method][status].get_or_init(|| {
            let method = KNOWN.get(method).map_or(OTHER_METHOD, Method::as_str);
            metrics::histogram!(
                HTTP_REQUESTS, "route" => Arc::clone(&self.route), "method" => method, "status" => STATUSES[status]
            )
        });
        duration.record(took);
    }

    /// Counts a gRPC call. A code that gRPC does not know is one of `UNKNOWN`.
    pub(crate) fn count_call(&self, code: u32) {
        let code = Code::from(i32::try_from(code).unwrap_or(-1)) as usize;
        let calls = self.calls[code].get_or_init(
            || metrics::counter!(GRPC_CALLS, "route" => Arc::clone(&self.route), "code" => code.to_string()),
        );
        calls.increment(1);
    }
}
