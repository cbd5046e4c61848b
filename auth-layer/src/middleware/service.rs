use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{EarlyResponse, RefusalBody, ResponseFuture, Shared};
use crate::{
    credentials::uses_dpop,
    rejection::Rejection,
    trust::{AuthError, RequestCheck, RequestHead},
};

/// The service that [`AuthLayer`](super::AuthLayer) makes.
pub struct AuthService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> AuthService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for AuthService<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone,
    ReqB: Body,
    ResB: RefusalBody,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let shared = &self.shared;
        match shared.trust.check(&shared.policy, &shared.context, RequestHead::from(&request)) {
            RequestCheck::Done(Ok(authenticated)) => {
                authenticated.insert_into(request.extensions_mut(), &shared.context);
                ResponseFuture::inner(self.inner.call(request))
            }
            RequestCheck::Done(Err(error)) => ResponseFuture::refused(shared.refuse(error, request)),
            RequestCheck::Pending(pending) => {
                // The service that was polled ready goes along; an unready clone stays.
                let unready = self.inner.clone();
                let ready = mem::replace(&mut self.inner, unready);
                ResponseFuture::checking(pending, Arc::clone(shared), request, ready)
            }
        }
    }
}

impl Shared {
    /// Refuses a request, and logs the cause.
    pub(super) fn refuse<B: Body>(&self, error: AuthError, request: Request<B>) -> EarlyResponse<B> {
        match &error {
            AuthError::Unavailable(cause) => self.outage.refused(cause),
            AuthError::InvalidToken(fault) => tracing::debug!(%fault, "a token is not accepted"),
            AuthError::InvalidProof(fault) => tracing::debug!(%fault, "a proof of possession is not accepted"),
            AuthError::Denied(denied) => tracing::debug!(%denied, "a good token is not enough"),
            AuthError::MissingCredentials | AuthError::InvalidRequest(_) => {}
        }
        let rejection = Rejection::from(error).for_layer(&self.context, uses_dpop(request.headers()));
        let response = rejection.into_response_to(&request);
        EarlyResponse::new(request, response)
    }
}

impl<S: Clone> Clone for AuthService<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug> fmt::Debug for AuthService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(feature = "tonic")]
impl<S: tonic::server::NamedService> tonic::server::NamedService for AuthService<S> {
    const NAME: &'static str = S::NAME;
}
