//! The routers under test, each with a token that it accepts.

use std::{hint::black_box, time::Duration};

use auth_layer::{
    Authority, Grant, SessionId, UserId, clock::SystemClock, dpop::PROOF_HEADER, keys::Algorithm, store::MemoryStore,
    trust::CheckOrder,
};
use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, Uri, header::AUTHORIZATION},
};
use futures_util::FutureExt;
use tokio::runtime::Runtime;
use tower::Service;

use crate::{
    peers::{
        self, Tenant,
        key::{AUDIENCE, ISSUER, Key},
    },
    prover::{ORIGIN, Prover},
};

/// Another issuer, whose tokens have the same claims.
const OTHER_ISSUER: &str = "https://other.example";

pub(crate) const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Hs256, Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256];

/// The way in which a router lets requests in. All are compared with the bare router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A layer that passes every request on: axum's own cost for any layer.
    EmptyLayer,
    /// This crate, with the token checked within the lease.
    Known,
    /// Like `Known`, with a handler that takes typed custom claims.
    KnownTyped,
    /// Like `Known`, through two layers of one authority with different policies.
    KnownTwice,
    /// Like `Known`, with a token of another issuer, which has no record.
    KnownForeign,
    /// Like `Known`, with a token that is bound to a key and a new proof on each request.
    KnownProven,
    /// This crate without a lease: the token was verified before, and an in-memory store is asked
    /// on each request.
    Asked,
    /// This crate without an in-process cache: each request decodes, looks up and verifies.
    Anew,
    /// A middleware written by hand with jsonwebtoken.
    ByHand,
    /// axum-jwt-auth.
    AxumJwtAuth,
}

impl Way {
    pub(crate) const ALL: [Self; 10] = [
        Self::EmptyLayer,
        Self::Known,
        Self::KnownTyped,
        Self::KnownTwice,
        Self::KnownForeign,
        Self::KnownProven,
        Self::Asked,
        Self::Anew,
        Self::ByHand,
        Self::AxumJwtAuth,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EmptyLayer => "a layer that does nothing",
            Self::Known => "auth-layer, within the lease",
            Self::KnownTyped => "auth-layer, within the lease, typed claims",
            Self::KnownTwice => "auth-layer, within the lease, two policies",
            Self::KnownForeign => "auth-layer, within the lease, another issuer's token",
            Self::KnownProven => "auth-layer, within the lease, a proof each time",
            Self::Asked => "auth-layer, store asked",
            Self::Anew => "auth-layer, nothing cached",
            Self::ByHand => "jsonwebtoken by hand",
            Self::AxumJwtAuth => "axum-jwt-auth",
        }
    }

    /// Builds this router and its token. Call it inside `runtime`: the time limits need its clock.
    pub(crate) fn door(self, key: &Key, runtime: &Runtime) -> Door {
        const LEASE: Duration = Duration::from_hours(6);
        let (lease, entries) = match self {
            Self::Asked => (Duration::ZERO, 1_000),
            Self::Anew => (Duration::ZERO, 0),
            _ => (LEASE, 1_000),
        };
        let authority = |issuer| {
            Authority::builder(issuer, MemoryStore::new())
                .audience(AUDIENCE)
                .keys(key.ring())
                .access_ttl(Duration::from_hours(12))
                .local_cache(lease)
                .local_cache_limits(entries, 64 << 20)
                .check_order(CheckOrder::RecordFirst)
                .build()
                .unwrap()
        };
        let issuing: Authority = authority(if self == Self::KnownForeign { OTHER_ISSUER } else { ISSUER });
        // The other issuer's store is not asked.
        let authority = if self == Self::KnownForeign { authority(ISSUER) } else { issuing.clone() };
        let router = match self {
            Self::EmptyLayer => {
                peers::bare().layer(tower::util::MapRequestLayer::new(|request: Request<Body>| request))
            }
            Self::Known | Self::Asked | Self::Anew => peers::layered(&authority),
            Self::KnownTyped => peers::typed(&authority),
            Self::KnownTwice => peers::layered_twice(&authority),
            Self::KnownForeign => peers::with_issuer(&authority, OTHER_ISSUER, &key.ring()),
            Self::KnownProven => peers::with_proofs(&authority, ORIGIN),
            Self::ByHand => peers::hand_written(key),
            Self::AxumJwtAuth => peers::axum_jwt_auth(key),
        };
        // A running service has seen revocations, so this one has too.
        runtime.block_on(authority.revoke_session(SessionId::generate())).expect("the store is in memory");
        let prover = (self == Self::KnownProven).then(|| Prover::new(&SystemClock::new()));
        let token = runtime.block_on(token(&issuing, self == Self::KnownTyped, prover.as_ref()));
        let scheme = if prover.is_some() { "DPoP" } else { "Bearer" };
        let credentials = HeaderValue::try_from(format!("{scheme} {token}")).expect("tokens are ASCII");
        let mut door = Door { router, credentials, proofs: prover.map(|prover| (prover, token)) };
        // The first request fills caches and is not measured.
        let request = door.request();
        door.knock(request);
        door
    }
}

pub(crate) struct Door {
    router: Router,
    credentials: HeaderValue,
    /// What makes the proofs, and the token that they are for.
    proofs: Option<(Prover, String)>,
}

impl Door {
    /// Returns the bare router with the same credentials.
    pub(crate) fn bare(&self) -> Self {
        Self { router: peers::bare(), credentials: self.credentials.clone(), proofs: None }
    }

    pub(crate) fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/me");
        request.headers_mut().insert(AUTHORIZATION, self.credentials.clone());
        if let Some((prover, token)) = &self.proofs {
            let proof = prover.text(&Method::GET, "/me", Some(token));
            request.headers_mut().insert(PROOF_HEADER, HeaderValue::try_from(proof).expect("proofs are ASCII"));
        }
        request
    }

    pub(crate) fn knock(&mut self, request: Request<Body>) {
        let answered = self.router.call(request).now_or_never().expect("nothing here waits");
        let Ok(response) = answered;
        assert_eq!(black_box(response).status(), StatusCode::OK);
    }
}

/// Signs in and returns a valid access token.
async fn token(authority: &Authority, typed: bool, prover: Option<&Prover>) -> String {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.expect("the store is in memory");
    let grant = Grant::new("demo-app").scope("profile".parse().expect("a scope"));
    let grant = if typed { grant.custom(&Tenant { tenant: 7 }).expect("a JSON object") } else { grant };
    let grant = match prover {
        Some(prover) => grant.bound_to(&prover.proof()),
        None => grant,
    };
    authority.sign_in(sign_in, grant).await.expect("the store is in memory").access_token
}
