//! The gRPC services.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use auth_layer::Grant;
use http::Version;
use prost::Message;
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{self, NotServing, ServiceUnknown, Serving},
    health_client::HealthClient,
};
use tonic_prost_build::FileDescriptorSet;
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use super::{operations::user_reads, *};
use crate::grpc::{
    DESCRIPTORS,
    pb::{self, WhoAmIRequest, WhoAmIResponse, identity_client::IdentityClient},
};

/// Calls `WhoAmI`, with these credentials if there are any.
async fn who_am_i(demo: &TestApp, credentials: &str) -> Result<tonic::Response<WhoAmIResponse>, Status> {
    let metadata: &[_] = if credentials.is_empty() { &[] } else { &[("authorization", credentials)] };
    who_am_i_with(demo, metadata).await
}

async fn who_am_i_with(
    demo: &TestApp,
    metadata: &[(&'static str, &str)],
) -> Result<tonic::Response<WhoAmIResponse>, Status> {
    let mut request = tonic::Request::new(WhoAmIRequest {});
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    IdentityClient::new(app(demo.state.clone())).who_am_i(request).await
}

/// Opens a session of `subject` at this client.
async fn token_of(demo: &TestApp, subject: &str, grant: Grant) -> String {
    let sign_in = demo.state.authority.begin_sign_in(subject.parse::<auth_layer::Subject>().unwrap()).await.unwrap();
    format!("Bearer {}", demo.state.authority.sign_in(sign_in, grant).await.unwrap().access_token)
}

#[tokio::test]
async fn grpc_who_am_i_returns_user_and_scopes() {
    let demo = test_app();
    demo.register("Ada").await;
    let access = demo.log_in("ada").await.text("access_token");
    let user_id = demo.with_token("GET", "/me", &access, None).await.text("user_id");
    let answer = who_am_i(&demo, &format!("Bearer {access}")).await.unwrap();
    assert!(answer.metadata().contains_key("x-request-id"));
    let expected = WhoAmIResponse { user_id, username: "Ada".into(), scopes: vec!["profile".into()] };
    assert_eq!(answer.into_inner(), expected);
}

#[tokio::test]
async fn grpc_who_am_i_serves_users_of_every_client_and_no_client_itself() {
    let demo = test_app();
    let grant = Grant::new("another").scope("a b".parse().unwrap());
    let grant = grant.custom(&Identity { username: "Ada".into() }).unwrap();
    let answer = who_am_i(&demo, &token_of(&demo, "42", grant).await).await.unwrap().into_inner();
    let scopes = vec!["a".into(), "b".into()];
    assert_eq!(answer, WhoAmIResponse { user_id: "42".into(), username: "Ada".into(), scopes });

    // As `client_credentials` issues them: without a username.
    let of_client = token_of(&demo, "billing", Grant::new("billing")).await;
    assert_eq!(who_am_i(&demo, &of_client).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn grpc_call_of_an_http_route_is_unimplemented_and_carries_nothing_out() {
    let demo = test_app();
    demo.register("ada").await;
    let login = demo.log_in("ada").await;
    let access = login.text("access_token");
    let refresh = json!({ "refresh_token": login.text("refresh_token") }).to_string();
    let new_user = json!({ "username": "bob", "password": PASSWORD }).to_string();
    let revoke = format!("client_id=demo-app&token={}", login.text("refresh_token"));
    for (path, body) in [
        ("/auth/logout", ""),
        ("/auth/logout-all", ""),
        ("/auth/single-use", ""),
        ("/auth/refresh", &*refresh),
        ("/auth/register", &new_user),
        ("/oauth/revoke", &revoke),
        ("/oauth/token", "grant_type=client_credentials"),
        ("/me", ""),
        ("/nowhere", ""),
    ] {
        for content_type in ["application/grpc", "application/grpc+json"] {
            let call = Request::post(path).version(Version::HTTP_2).header(header::CONTENT_TYPE, content_type);
            let call = call.header(header::AUTHORIZATION, format!("Bearer {access}"));
            let answer = demo.send(call.body(body.to_owned().into()).unwrap()).await;
            let member = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!((answer.status, &answer.body), (StatusCode::OK, &Value::Null), "{path}");
            assert_eq!(member("grpc-status").as_deref(), Some("12"), "{path} {content_type}");
            assert_eq!(member("content-type").as_deref(), Some("application/grpc"), "{path}");
        }
    }
    assert_eq!(demo.with_token("GET", "/me", &access, None).await.status, StatusCode::OK, "the session goes on");
    assert!(demo.state.users.by_name("bob").await.unwrap().is_none());
    // Over HTTP/1.1 it is no gRPC call.
    let plain = Request::post("/auth/logout").header(header::CONTENT_TYPE, "application/grpc");
    let plain = plain.header(header::AUTHORIZATION, format!("Bearer {access}")).body(Body::empty()).unwrap();
    assert_eq!(demo.send(plain).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn grpc_who_am_i_refuses_what_is_no_good_access_token() {
    let demo = test_app();
    demo.register("ada").await;
    let login = demo.log_in("ada").await;
    let (access, refresh) = (login.text("access_token"), login.text("refresh_token"));
    let once = demo.with_token("POST", "/auth/single-use", &access, None).await.text("access_token");
    let refused =
        ["", "Basic YTpi", "Bearer", "Bearer rubbish", &format!("Bearer {refresh}"), &format!("Bearer {once}")];
    for credentials in refused {
        let status = who_am_i(&demo, credentials).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{credentials}: {status:?}");
    }
    assert_eq!(demo.with_token("POST", "/auth/logout", &access, None).await.status, StatusCode::NO_CONTENT);
    let revoked = who_am_i(&demo, &format!("Bearer {access}")).await.unwrap_err();
    assert_eq!(revoked.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn grpc_who_am_i_is_unavailable_without_the_store() {
    let demo = test_app();
    demo.register("ada").await;
    let credentials = format!("Bearer {}", demo.log_in("ada").await.text("access_token"));
    demo.store.fail_checks.store(true, Ordering::SeqCst);
    assert_eq!(who_am_i(&demo, &credentials).await.unwrap_err().code(), Code::Unavailable);
    demo.store.fail_checks.store(false, Ordering::SeqCst);
    who_am_i(&demo, &credentials).await.unwrap();
}

#[tokio::test]
async fn grpc_who_am_i_takes_a_cookie_with_its_csrf_token() {
    let demo = test_app();
    demo.register("ada").await;
    let page = demo.open_page("ada").await;
    let cookie = ("cookie", &*format!("__Host-access={}", page.access));
    let forged = who_am_i_with(&demo, &[cookie]).await.unwrap_err();
    assert_eq!(forged.code(), Code::PermissionDenied, "{forged:?}");
    let answer = who_am_i_with(&demo, &[cookie, ("x-csrf-token", &page.csrf)]).await.unwrap();
    assert_eq!(answer.get_ref().username, "ada");
    let authorization = ("authorization", &*format!("Bearer {}", page.access));
    let both = who_am_i_with(&demo, &[cookie, authorization]).await.unwrap_err();
    assert_eq!(both.code(), Code::Unauthenticated, "{both:?}");
}

/// Sends a gRPC request and returns the HTTP status and the gRPC status of the headers.
async fn send_grpc(demo: &TestApp, path: &str, body: impl Into<Body>) -> (u16, Option<Code>) {
    let request = Request::post(path).version(Version::HTTP_2).header(header::CONTENT_TYPE, "application/grpc");
    let mut request = request.body(body.into()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4000))));
    let response = app(demo.state.clone()).oneshot(request).await.unwrap();
    let code = response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    (response.status().as_u16(), code)
}

#[tokio::test]
async fn grpc_methods_that_do_not_exist_are_unimplemented() {
    let demo = test_app();
    let unknown = ["/", "/demo.v1.Identity/Nope", "/demo.v1.Identity", "/no.Service/Call", "/auth/login", "/healthz"];
    for path in unknown {
        assert_eq!(send_grpc(&demo, path, "").await, (200, Some(Code::Unimplemented)), "{path}");
    }
}

#[tokio::test]
async fn grpc_methods_that_are_described_are_served() {
    let demo = test_app();
    let sets = DESCRIPTORS.map(|set| FileDescriptorSet::decode(set).unwrap());
    let mut served = 0;
    for file in sets.iter().flat_map(|set| &set.file) {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let (status, code) = send_grpc(&demo, &path, "").await;
                assert!(status == 200 && code != Some(Code::Unimplemented), "{path}: {status} {code:?}");
                served += 1;
            }
        }
    }
    assert_eq!(served, 5);
}

#[tokio::test]
async fn grpc_paths_answer_other_requests_as_http() {
    let demo = test_app();
    demo.register("ada").await;
    let token = format!("Bearer {}", demo.log_in("ada").await.text("access_token"));
    let (who, check) = ("/demo.v1.Identity/WhoAmI", "/grpc.health.v1.Health/Check");
    let (http1, http2) = (Version::HTTP_11, Version::HTTP_2);
    let cases = [
        ("GET", who, http2, "application/grpc", "", 405),
        ("GET", check, http2, "application/grpc", "", 405),
        ("POST", who, http1, "application/grpc", "", 401),
        ("POST", who, http1, "application/grpc", &token, 415),
        ("POST", who, http2, "application/json", "", 401),
        ("POST", who, http2, "application/grpc-web", &token, 415),
        ("POST", check, http1, "application/grpc", "", 415),
        ("POST", check, http2, "application/json", "", 415),
    ];
    for (method, path, version, content_type, credentials, status) in cases {
        let mut request = Request::builder().method(method).uri(path).version(version);
        if !credentials.is_empty() {
            request = request.header(header::AUTHORIZATION, credentials);
        }
        let request = request.header(header::CONTENT_TYPE, content_type).body(Body::empty()).unwrap();
        let answer = demo.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {version:?} {content_type}: {}", answer.body);
    }
}

#[tokio::test]
async fn grpc_message_that_cannot_be_read_is_the_clients_fault() {
    let demo = test_app();
    let check = "/grpc.health.v1.Health/Check";
    let large = vec![0; BODY_LIMIT + 1];
    let invalid: [&[u8]; 9] = [
        b"",
        b"\0\0\0\0",
        b"\0\0\0\0\x01",
        b"\0\xff\xff\xff\xff\x0a",
        b"\0\0\0\0\x01\xff",
        b"\0\0\0\0\x03\x0a\x01\xff",
        b"\0\0\0\0\0\0\0\0\0\0",
        b"\x02\0\0\0\0",
        b"{\"service\": \"\"}",
    ];
    for body in invalid {
        let answer = send_grpc(&demo, check, body.to_vec()).await;
        assert_eq!(answer, (200, Some(Code::InvalidArgument)), "{body:x?}");
    }
    assert_eq!(send_grpc(&demo, check, large).await, (200, Some(Code::ResourceExhausted)));
    // gRPC's specification: compressed without saying how MUST fail with INTERNAL.
    assert_eq!(send_grpc(&demo, check, &b"\x01\0\0\0\0"[..]).await, (200, Some(Code::Internal)));
    // The status of a call that is served comes after the headers.
    assert_eq!(send_grpc(&demo, check, &b"\0\0\0\0\0"[..]).await, (200, None));
}

#[tokio::test(start_paused = true)]
async fn grpc_message_that_never_arrives_ends_the_call() {
    let demo = test_app();
    let silent = futures_util::stream::pending::<Result<&[u8], std::convert::Infallible>>();
    let answer = send_grpc(&demo, "/grpc.health.v1.Health/Watch", Body::from_stream(silent)).await;
    assert_eq!(answer, (200, Some(Code::DeadlineExceeded)));
}

fn health(demo: &TestApp) -> HealthClient<Router> {
    HealthClient::new(app(demo.state.clone()))
}

/// Begins to watch a service.
async fn watch(mut client: HealthClient<Router>, service: &str) -> Streaming<HealthCheckResponse> {
    client.watch(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner()
}

/// Waits for the next status.
async fn next(changes: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    changes.message().await.unwrap().expect("the stream goes on").status()
}

#[tokio::test(start_paused = true)]
async fn grpc_health_check_follows_the_store() {
    let demo = test_app();
    let mut client = health(&demo);
    for (fails, expected) in [(false, Serving), (true, NotServing), (false, Serving)] {
        demo.users.fail_reads.store(fails, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(1)).await;
        for service in ["", "demo.v1.Identity"] {
            let answer = client.check(HealthCheckRequest { service: service.into() }).await.unwrap();
            assert_eq!(answer.get_ref().status(), expected, "{service}");
        }
    }
    let unknown = client.check(HealthCheckRequest { service: "no.Service".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn grpc_health_watch_outlives_the_deadline_and_follows_the_store() {
    let demo = test_app();
    for service in ["", "demo.v1.Identity"] {
        let mut changes = watch(health(&demo), service).await;
        assert_eq!(next(&mut changes).await, Serving);
        assert!(timeout(Duration::from_mins(10), changes.message()).await.is_err(), "nothing has changed");
        demo.users.fail_reads.store(true, Ordering::SeqCst);
        assert_eq!(next(&mut changes).await, NotServing);
        demo.users.fail_reads.store(false, Ordering::SeqCst);
        assert_eq!(next(&mut changes).await, Serving);
    }
    let mut changes = watch(health(&demo), "no.Service").await;
    assert_eq!(next(&mut changes).await, ServiceUnknown);
    assert!(timeout(Duration::from_mins(10), changes.message()).await.is_err(), "it stays open");
}

#[tokio::test(start_paused = true)]
async fn grpc_health_watchers_share_one_check_a_second() {
    let demo = test_app();
    let client = health(&demo);
    let mut watchers = JoinSet::new();
    for _ in 0..100 {
        let mut changes = watch(client.clone(), "").await;
        watchers.spawn(async move { while changes.message().await.is_ok() {} });
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let checks = user_reads(&demo);
    assert!((30..=61).contains(&checks), "{checks}");
    watchers.shutdown().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(user_reads(&demo), checks, "nobody watches");
}

/// Returns a message of this type for a stream of one.
fn one<T: Send + 'static>(message: T) -> impl futures_util::Stream<Item = T> + Send {
    futures_util::stream::once(async { message })
}

#[tokio::test]
async fn grpc_reflection_lists_and_describes_the_services_in_both_versions() {
    let demo = test_app();
    let app = app(demo.state.clone());
    let expected = [
        "demo.v1.Identity",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    let expected = BTreeSet::from(expected.map(str::to_owned));

    let mut client = ServerReflectionClient::new(app.clone());
    let mut ask = async |question| {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut answers = client.server_reflection_info(one(question)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("not a list")
    };
    assert_eq!(list.service.into_iter().map(|service| service.name).collect::<BTreeSet<_>>(), expected);
    let symbol = MessageRequest::FileContainingSymbol("demo.v1.Identity".into());
    let MessageResponse::FileDescriptorResponse(files) = ask(symbol).await else { panic!("no file") };
    let set = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    assert_eq!(files.file_descriptor_proto, [set.file[0].encode_to_vec()]);

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(app);
    let question = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let question = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers = client.server_reflection_info(one(question)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("not a list")
    };
    assert_eq!(list.service.into_iter().map(|service| service.name).collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn grpc_streams_end_when_the_server_stops() {
    let demo = test_app();
    let mut changes = watch(health(&demo), "").await;
    assert_eq!(next(&mut changes).await, Serving);
    let mut client = ServerReflectionClient::new(app(demo.state.clone()));
    let questions = futures_util::stream::pending();
    let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
    demo.shutdown.begin();
    assert_eq!(changes.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
}
