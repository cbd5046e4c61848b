//! Authorization codes on two nodes.

use bson::{DateTime, Document, doc};
use futures_util::future::join_all;
use http::{Method, StatusCode, header};
use tests::client::{Client, Response, Tokens};

use crate::fleet::{Fleet, PASSWORD, username};

/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const AUTHORIZATION: [(&str, &str); 5] = [
    ("response_type", "code"),
    ("client_id", "shop"),
    ("redirect_uri", "https://shop.example/cb"),
    ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    ("code_challenge_method", "S256"),
];

/// How often a code is presented at once.
const PRESENTATIONS: usize = 24;

/// Starts two nodes whose OAuth client is `shop`.
async fn fleet() -> Fleet {
    let fleet = Fleet::on_shared_servers(2, true, &["--local-cache", "0", "--rate-limit", "off"]).await;
    let database = fleet.database.as_ref().expect("it is on MongoDB");
    let client = mongodb::Client::with_uri_str(&database.uri).await.unwrap();
    let shop = doc! {
        "_id": "shop",
        "redirect_uris": ["https://shop.example/cb"],
        "scope": "profile",
        "created_at": DateTime::now(),
    };
    client.database(&database.name).collection::<Document>("clients").insert_one(shop).await.unwrap();
    fleet
}

/// Signs in on the page of a node and returns the code for `shop`.
async fn code(node: &Client, name: &str) -> String {
    let page = node.request(Method::GET, "/oauth/authorize").query(&AUTHORIZATION).send().await.unwrap();
    let page = Response::read(page).await.unwrap();
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let (cookie, _) = page.header("set-cookie").split_once(';').unwrap();
    let field = page.text.split("name=\"csrf_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let form = [("csrf_token", field.unwrap()), ("username", name), ("password", PASSWORD)];
    let sent = node.request(Method::POST, "/oauth/authorize").query(&AUTHORIZATION).header(header::COOKIE, cookie);
    let redirect = Response::read(sent.form(&form).send().await.unwrap()).await.unwrap();
    assert_eq!(redirect.status, StatusCode::SEE_OTHER, "{redirect:?}");
    let code = redirect.header("location").split_once("code=").unwrap().1;
    code.split('&').next().unwrap().to_owned()
}

async fn exchange(node: &Client, code: &str) -> Response {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "shop"),
        ("code", code),
        ("redirect_uri", "https://shop.example/cb"),
        ("code_verifier", VERIFIER),
    ];
    node.post_form("/oauth/token", &fields).await.unwrap()
}

/// Fails unless both nodes refuse both tokens.
async fn assert_dead(nodes: [&Client; 2], tokens: &Tokens) {
    for node in nodes {
        assert_eq!(node.me(&tokens.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
        let fields = [("grant_type", "refresh_token"), ("client_id", "shop"), ("refresh_token", &*tokens.refresh)];
        let refused = node.post_form("/oauth/token", &fields).await.unwrap();
        assert_eq!((refused.status, refused.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_code_is_used_once_over_two_nodes() {
    let fleet = fleet().await;
    let (a, b) = fleet.clients();
    let name = username();
    let own = a.sign_up(&name, PASSWORD).await.unwrap();
    for round in 0..8 {
        let code = code(if round % 2 == 0 { &a } else { &b }, &name).await;
        let presented = (0..PRESENTATIONS).map(|number| exchange(if number % 2 == 0 { &a } else { &b }, &code));
        let answers = join_all(presented).await;
        let (granted, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == StatusCode::OK);
        assert_eq!(granted.len(), 1, "{granted:?} {refused:?}");
        for answer in refused {
            assert_eq!((answer.status, answer.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
        }
        assert_dead([&a, &b], &granted[0].tokens()).await;
    }
    let sessions = b.get("/auth/sessions", Some(&own.access)).await.unwrap().json();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "only the login is left: {sessions}");
}

/// Law 4 holds for codes.
#[tokio::test(flavor = "multi_thread")]
async fn oauth_code_does_not_survive_revoke_all_on_the_other_node() {
    let fleet = fleet().await;
    let (a, b) = fleet.clients();
    let name = username();
    a.register(&name, PASSWORD).await.unwrap();
    for (one, other) in [(&a, &b), (&b, &a)] {
        let code = code(one, &name).await;
        let tokens = one.login(&name, PASSWORD).await.unwrap().tokens();
        assert_eq!(other.logout_all(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
        for node in [one, other] {
            let refused = exchange(node, &code).await;
            assert_eq!((refused.status, refused.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
        }
    }
    for _ in 0..16 {
        let code = code(&a, &name).await;
        let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
        let (exchanged, ended) = tokio::join!(exchange(&a, &code), b.logout_all(&tokens.access));
        assert_eq!(ended.unwrap().status, StatusCode::NO_CONTENT);
        if exchanged.status == StatusCode::OK {
            assert_dead([&a, &b], &exchanged.tokens()).await;
        } else {
            assert_eq!((exchanged.status, exchanged.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
        }
    }
}
