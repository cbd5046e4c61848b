use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::{Anonymous, RefusalBody, ResponseFuture, Shared};
use crate::{
    authority::{AuthError, Check},
    bearer::bearer_credentials,
    claims::CustomClaims,
    rejection::Rejection,
};

/// The service that [`AuthLayer`](super::AuthLayer) makes.
pub struct AuthService<S, C> {
    inner: S,
    shared: Arc<Shared<C>>,
}

impl<S, C> AuthService<S, C> {
    pub(super) fn new(inner: S, shared: Arc<Shared<C>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, C, ReqB, ResB> Service<Request<ReqB>> for AuthService<S, C>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone,
    ResB: RefusalBody,
    C: CustomClaims,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let shared = &self.shared;
        let check = match bearer_credentials(request.headers()) {
            Ok(Some(credentials)) => {
                shared.authority.check(shared.kind, credentials.as_bytes(), || Ok(credentials.token()?))
            }
            Ok(None) if shared.optional => {
                request.extensions_mut().insert(Anonymous { realm: shared.realm.clone() });
                return ResponseFuture::inner(self.inner.call(request));
            }
            Ok(None) => Check::Done(Err(AuthError::MissingCredentials)),
            Err(error) => Check::Done(Err(error.into())),
        };
        match check {
            Check::Done(Ok(claims)) => {
                request.extensions_mut().insert(claims);
                ResponseFuture::inner(self.inner.call(request))
            }
            Check::Done(Err(error)) => ResponseFuture::refused(shared.refuse(&error, &request)),
            Check::Pending(pending) => {
                // The service that was polled ready goes along; the clone that stays has yet to be polled.
                let unready = self.inner.clone();
                let ready = mem::replace(&mut self.inner, unready);
                ResponseFuture::checking(pending, Arc::clone(shared), request, ready)
            }
        }
    }
}

impl<C> Shared<C> {
    /// The answer to a request that is not let in.
    pub(super) fn refuse<B>(&self, error: &AuthError, request: &Request<B>) -> Response<Bytes> {
        match error {
            AuthError::Unavailable(cause) => self.outage.refused(cause),
            AuthError::InvalidToken(fault) => tracing::debug!(%fault, "a token is not accepted"),
            AuthError::MissingCredentials | AuthError::InvalidRequest(_) => {}
        }
        Rejection::from(error).with_realm(self.realm.clone()).into_response_to(request)
    }
}

impl<S: Clone, C> Clone for AuthService<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for AuthService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(feature = "tonic")]
impl<S: tonic::server::NamedService, C> tonic::server::NamedService for AuthService<S, C> {
    const NAME: &'static str = S::NAME;
}
