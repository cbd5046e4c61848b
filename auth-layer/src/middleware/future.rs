use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{AuthBody, Shared};
use crate::{
    authority::Asking,
    claims::CustomClaims,
    store::{Answer, Standing},
};

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
        // A store is being asked; what goes on afterwards waits, to be taken once.
        Asking { answer: Answer<'static, Standing>, waiting: Option<Waiting<S, ReqB, C>> },
        // The request was let in.
        Inner { #[pin] future: F },
        // The request was refused; the answer is taken once.
        Refused { response: Option<Response<Bytes>> },
    }
}

struct Waiting<S, ReqB, C> {
    asking: Asking<C>,
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
    pub(super) fn asking(
        answer: Answer<'static, Standing>,
        asking: Asking<C>,
        shared: Arc<Shared<C>>,
        request: Request<ReqB>,
        service: S,
    ) -> Self {
        Self { state: State::Asking { answer, waiting: Some(Waiting { asking, shared, request, service }) } }
    }
}

impl<S, ReqB, ResB, C> Future for ResponseFuture<S, ReqB, C>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body<Data: From<Bytes>>,
    C: CustomClaims,
{
    type Output = Result<Response<AuthBody<ResB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED_AGAIN: &str = "`ResponseFuture` polled after it was done";

        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Inner { future } => {
                    return future.poll(cx).map_ok(|response| response.map(AuthBody::inner));
                }
                StateProjection::Refused { response } => {
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(response.map(AuthBody::refusal)));
                }
                StateProjection::Asking { answer, waiting } => {
                    let answer = ready!(answer.as_mut().poll(cx));
                    let Waiting { asking, shared, mut request, mut service } = waiting.take().expect(POLLED_AGAIN);
                    match shared.authority.conclude(asking, answer) {
                        Ok(claims) => {
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
