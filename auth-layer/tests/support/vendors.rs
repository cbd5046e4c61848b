//! Tokens as well-known issuers mint them, after their public documentation.

use auth_layer::{
    clock::Timestamp,
    trust::{Issuer, Typ},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::minter::Minter;

/// An issuer with tokens for the audience `orders`, in its own form.
pub(crate) struct Vendor {
    pub(crate) name: &'static str,
    pub(crate) issuer: &'static str,
    pub(crate) minter: Minter,
    pub(crate) jwk_set: String,
    header: Value,
    claims: Value,
    settings: fn(Issuer) -> Issuer,
}

impl Vendor {
    /// Returns all of them.
    pub(crate) fn all() -> Vec<Self> {
        vec![keycloak(), auth0(), entra(), cognito(), google(), pyjwt()]
    }

    /// Returns the issuer, with the settings that its documentation asks for.
    pub(crate) fn trusted(&self) -> Issuer {
        (self.settings)(Issuer::with_jwk_set(self.issuer, &*self.jwk_set))
    }

    /// Returns a new token of one session.
    pub(crate) fn token(&self, now: Timestamp) -> String {
        self.token_with(now, |_| {})
    }

    /// Returns a new token whose claims were changed before it was signed.
    pub(crate) fn token_with(&self, now: Timestamp, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        for (name, value) in [("iat", now.timestamp()), ("nbf", now.timestamp()), ("auth_time", now.timestamp())] {
            if claims.get(name).is_some() {
                claims[name] = value.into();
            }
        }
        claims["exp"] = match claims["exp"].as_f64() {
            #[expect(clippy::cast_precision_loss, reason = "it has seconds")]
            Some(life) => json!(now.timestamp() as f64 + life),
            None => (now.timestamp() + 3_600).into(),
        };
        for name in ["jti", "uti"] {
            if claims.get(name).is_some() {
                claims[name] = Uuid::new_v4().to_string().into();
            }
        }
        change(&mut claims);
        self.minter.mint(self.header.clone(), &claims)
    }
}

/// Keycloak's set also has a key for encryption.
pub(crate) fn keycloak() -> Vendor {
    let (issuer, minter) = ("https://kc.example/realms/main", Minter::rsa("cT4Yl"));
    let mut encryption = Minter::rsa("x9Wza").jwk();
    (encryption["use"], encryption["alg"]) = ("enc".into(), "RSA-OAEP".into());
    Vendor {
        name: "Keycloak",
        issuer,
        jwk_set: json!({ "keys": [encryption, minter.jwk()] }).to_string(),
        minter,
        header: json!({ "typ": "JWT" }),
        claims: json!({
            "iat": 0, "jti": "", "iss": issuer, "aud": ["orders", "account"],
            "sub": "c9b2f8f4-57c1-4a3b-9a0e-3f2a6f5d1e77", "typ": "Bearer", "azp": "web",
            "sid": "0a4f4e0c-3f0b-4a37-8a39-6b7a4a4f7a10", "acr": "1", "allowed-origins": ["https://app.example"],
            "realm_access": { "roles": ["offline_access"] }, "scope": "openid profile email",
            "email_verified": true, "preferred_username": "ada",
        }),
        settings: |issuer| issuer.typ(Typ::AnyJwt).claim("typ", "Bearer").audience("orders").logout_audience("web"),
    }
}

/// Auth0's tokens have no `jti` and no `sid`, and the name of the issuer ends with a slash.
pub(crate) fn auth0() -> Vendor {
    let (issuer, minter) = ("https://tenant.eu.auth0.com/", Minter::rsa("b7sXc"));
    Vendor {
        name: "Auth0",
        issuer,
        jwk_set: minter.jwk_set(),
        minter,
        header: json!({ "typ": "JWT" }),
        claims: json!({
            "iss": issuer, "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
            "aud": ["orders", "https://tenant.eu.auth0.com/userinfo"], "iat": 0, "azp": "8Kz3", "scope": "openid read:orders",
            "permissions": ["read:orders"],
        }),
        settings: |issuer| issuer.typ(Typ::AnyJwt).audience("orders").logout_audience("8Kz3").logout_by_subject(),
    }
}

/// The keys of Entra name no `alg`, and its tokens have `uti` in place of `jti`.
pub(crate) fn entra() -> Vendor {
    let issuer = "https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0";
    let minter = Minter::rsa("kg2LYs2T0CTjIfj4rt6JIynen38");
    let mut jwk = minter.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    (jwk["x5t"], jwk["issuer"]) = (jwk["kid"].clone(), issuer.into());
    Vendor {
        name: "Entra",
        issuer,
        jwk_set: json!({ "keys": [jwk] }).to_string(),
        minter,
        header: json!({ "typ": "JWT", "x5t": "kg2LYs2T0CTjIfj4rt6JIynen38" }),
        claims: json!({
            "aud": "orders", "iss": issuer, "iat": 0, "nbf": 0, "aio": "AXQAi/8T", "azp": "6e74172b", "azpacr": "1",
            "name": "Ada", "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "preferred_username": "ada@example.com",
            "rh": "0.AQ", "scp": "orders.read", "sid": "000e4bd1-2f3c-4d2a-8e5f-2b1e6f9d7c55",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": "9122040d-6c67-4c5b-b112-36a304b66dad",
            "uti": "", "ver": "2.0",
        }),
        settings: |issuer| issuer.typ(Typ::AnyJwt).audience("orders"),
    }
}

/// Cognito's access tokens have no `typ` and no `aud`.
pub(crate) fn cognito() -> Vendor {
    let (issuer, minter) = ("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12", Minter::rsa("1234example="));
    Vendor {
        name: "Cognito",
        issuer,
        jwk_set: minter.jwk_set(),
        minter,
        header: json!({}),
        claims: json!({
            "sub": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "cognito:groups": ["admin"], "iss": issuer, "version": 2,
            "client_id": "7f2k3", "origin_jti": "bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee",
            "event_id": "cccccccc-bbbb-4ccc-8ddd-eeeeeeeeeeee", "token_use": "access", "scope": "orders/read phone",
            "auth_time": 0, "iat": 0, "jti": "", "username": "ada",
        }),
        settings: |issuer| issuer.typ(Typ::AnyJwt).claim("token_use", "access").claim("client_id", "7f2k3"),
    }
}

/// Google's tokens for a service of one's own are ID tokens: no `jti`, no scope.
pub(crate) fn google() -> Vendor {
    let (issuer, minter) = ("https://accounts.google.com", Minter::rsa("c7e04465649ffa606557650c7e65f0a87ae00fe8"));
    Vendor {
        name: "Google",
        issuer,
        jwk_set: minter.jwk_set(),
        minter,
        header: json!({ "typ": "JWT" }),
        claims: json!({
            "aud": "orders", "azp": "worker@project.iam.gserviceaccount.com", "email_verified": true,
            "email": "worker@project.iam.gserviceaccount.com", "iat": 0, "iss": issuer, "sub": "110379527983612345678",
        }),
        settings: |issuer| issuer.typ(Typ::AnyJwt).audience("orders"),
    }
}

/// A script with `PyJWT`: no `kid`, no `iat`, and times with a fraction.
pub(crate) fn pyjwt() -> Vendor {
    let (issuer, minter) = ("batch", Minter::p256("batch-1"));
    Vendor {
        name: "PyJWT",
        issuer,
        jwk_set: minter.jwk_set(),
        minter,
        header: json!({ "typ": "JWT", "kid": null }),
        claims: json!({ "iss": issuer, "sub": "worker-7", "aud": ["orders"], "exp": 3_600.25 }),
        settings: |issuer| issuer.typ(Typ::AnyJwt).audience("orders"),
    }
}
