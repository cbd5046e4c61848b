use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{RefusalBody, Shared};
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
        // The request was refused; the answer is taken once.
        Refused { response: Option<Response<Bytes>> },
    }
}

struct HeldRequest<S, ReqB> {
    shared: Arc<Shared>,
    request: Request<ReqB>,
    service: S,
}

impl<S: Service<Request<ReqB>>, ReqB> ResponseFuture<S, ReqB> {
    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: ResponseState::Inner { future } }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: ResponseState::Refused { response: Some(response) } }
    }

    /// `service` must have been polled ready.
    pub(super) fn checking(check: PendingCheck, shared: Arc<Shared>, request: Request<ReqB>, service: S) -> Self {
        Self { state: ResponseState::Checking { check, held: Some(HeldRequest { shared, request, service }) } }
    }
}

impl<S, ReqB, ResB> Future for ResponseFuture<S, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: RefusalBody,
{
    type Output = Result<Response<ResB>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED_AGAIN: &str = "`ResponseFuture` polled after it was done";

        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                ResponseStateProjection::Inner { future } => return future.poll(cx),
                ResponseStateProjection::Refused { response } => {
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(response.map(ResB::refusal)));
                }
                ResponseStateProjection::Checking { check, held } => {
                    let checked = ready!(Pin::new(check).poll(cx));
                    let HeldRequest { shared, mut request, mut service } = held.take().expect(POLLED_AGAIN);
                    if checked.is_ok() {
                        shared.outage.learnt();
                    }
                    match shared.trust.conclude(&shared.policy, checked) {
                        Ok(authenticated) => {
                            authenticated.insert_into(request.extensions_mut(), &shared.context);
                            ResponseState::Inner { future: service.call(request) }
                        }
                        Err(error) => ResponseState::Refused { response: Some(shared.refuse(error, &request)) },
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
