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
use crate::{authority::Pending, claims::CustomClaims};

pin_project! {
    /// The response future of [`AuthService`](super::AuthService).
    pub struct ResponseFuture<S, ReqB, C>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: State<S, ReqB, C, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, C, F> {
        // The token is being checked; what goes on afterwards waits, to be taken once.
        Checking { check: Pending<C>, waiting: Option<Waiting<S, ReqB, C>> },
        // The request was let in.
        Inner { #[pin] future: F },
        // The request was refused; the answer is taken once.
        Refused { response: Option<Response<Bytes>> },
    }
}

struct Waiting<S, ReqB, C> {
    shared: Arc<Shared<C>>,
    request: Request<ReqB>,
    service: S,
}

impl<S: Service<Request<ReqB>>, ReqB, C> ResponseFuture<S, ReqB, C> {
    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    /// `service` has been polled ready.
    pub(super) fn checking(check: Pending<C>, shared: Arc<Shared<C>>, request: Request<ReqB>, service: S) -> Self {
        Self { state: State::Checking { check, waiting: Some(Waiting { shared, request, service }) } }
    }
}

impl<S, ReqB, ResB, C> Future for ResponseFuture<S, ReqB, C>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: RefusalBody,
    C: CustomClaims,
{
    type Output = Result<Response<ResB>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED_AGAIN: &str = "`ResponseFuture` polled after it was done";

        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Inner { future } => return future.poll(cx),
                StateProjection::Refused { response } => {
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(response.map(ResB::refusal)));
                }
                StateProjection::Checking { check, waiting } => {
                    let checked = ready!(Pin::new(check).poll(cx));
                    let Waiting { shared, mut request, mut service } = waiting.take().expect(POLLED_AGAIN);
                    match checked {
                        Ok(claims) => {
                            shared.outage.learnt();
                            request.extensions_mut().insert(claims);
                            State::Inner { future: service.call(request) }
                        }
                        Err(error) => State::Refused { response: Some(shared.refuse(&error, &request)) },
                    }
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Request<ReqB>>, ReqB, C> fmt::Debug for ResponseFuture<S, ReqB, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
