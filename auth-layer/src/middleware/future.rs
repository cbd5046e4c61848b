use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{EarlyResponse, RefusalBody, Shared};
use crate::trust::PendingCheck;

pin_project! {
    /// The response future of [`AuthService`](super::AuthService).
    pub struct ResponseFuture<S, ReqB>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: ResponseState<S, ReqB, S::Future>,
    }
}

pin_project! {
    #[project = ResponseStateProjection]
    enum ResponseState<S, ReqB, F> {
        // The token is being checked. `held` is taken when the check is done.
        Checking { check: PendingCheck, held: Option<HeldRequest<S, ReqB>> },
        // The request was let in.
        Inner { #[pin] future: F },
        // The request was refused.
        Refused { #[pin] refusal: EarlyResponse<ReqB> },
    }
}

struct HeldRequest<S, ReqB> {
    shared: Arc<Shared>,
    request: Request<ReqB>,
    service: S,
}

impl<S: Service<Request<ReqB>>, ReqB: Body> ResponseFuture<S, ReqB> {
    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: ResponseState::Inner { future } }
    }

    pub(super) fn refused(refusal: EarlyResponse<ReqB>) -> Self {
        Self { state: ResponseState::Refused { refusal } }
    }

    /// `service` must have been polled ready.
    pub(super) fn checking(check: PendingCheck, shared: Arc<Shared>, request: Request<ReqB>, service: S) -> Self {
        Self { state: ResponseState::Checking { check, held: Some(HeldRequest { shared, request, service }) } }
    }
}

impl<S, ReqB, ResB> Future for ResponseFuture<S, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ReqB: Body,
    ResB: RefusalBody,
{
    type Output = Result<Response<ResB>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                ResponseStateProjection::Inner { future } => return future.poll(cx),
                ResponseStateProjection::Refused { refusal } => {
                    return refusal.poll(cx).map(|response| Ok(response.map(ResB::refusal)));
                }
                ResponseStateProjection::Checking { check, held } => {
                    let checked = ready!(Pin::new(check).poll(cx));
                    let HeldRequest { shared, mut request, mut service } =
                        held.take().expect("`ResponseFuture` polled after it was done");
                    if checked.is_ok() {
                        shared.outage.learnt();
                    }
                    match shared.trust.conclude(&shared.policy, checked) {
                        Ok(authenticated) => {
                            authenticated.insert_into(request.extensions_mut(), &shared.context);
                            ResponseState::Inner { future: service.call(request) }
                        }
                        Err(error) => ResponseState::Refused { refusal: shared.refuse(error, request) },
                    }
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Request<ReqB>>, ReqB> fmt::Debug for ResponseFuture<S, ReqB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
