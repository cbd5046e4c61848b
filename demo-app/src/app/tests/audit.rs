//! The audit events of requests.

use std::sync::atomic::Ordering;

use auth_layer::Grant;

use super::{browser::Page, *};
use crate::logging::tests::capture_log;

/// Returns the log of these requests. They run in this thread, whose log is captured.
pub(super) fn log_of(requests: impl AsyncFnOnce()) -> Vec<String> {
    capture_log(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(requests());
    })
}

/// Returns the audit events, each from its name on.
pub(super) fn events(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.split_once(" audit: ")).map(|(_, event)| event).collect()
}

/// Returns the value of a field of an event; empty if it has none.
pub(super) fn field<'e>(event: &'e str, name: &str) -> &'e str {
    let start = format!(" {name}=");
    let value = event.split_once(&start).map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default());
    value.trim_matches('"')
}

pub(super) fn names<'e>(events: &[&'e str]) -> Vec<[&'e str; 2]> {
    events.iter().map(|event| ["event", "outcome"].map(|name| field(event, name))).collect()
}

/// Everything that may happen in a session, with the secrets of each step.
async fn run_sessions(demo: &TestApp, secrets: &mut Vec<String>) {
    let change = |current: &str, new: &str| Some(json!({ "current_password": current, "new_password": new }));
    demo.register("ada").await;
    demo.post("/auth/register", json!({ "username": "ada", "password": "battery staple" })).await;
    demo.post("/auth/login", json!({ "username": "ada", "password": "wrong-horse" })).await;
    let login = demo.log_in("ada").await;
    secrets.extend([login.text("access_token"), login.text("refresh_token")]);
    let access = login.text("access_token");
    let refresh = json!({ "refresh_token": login.text("refresh_token") });
    let next = demo.post("/auth/refresh", refresh.clone()).await;
    let once = demo.with_token("POST", "/auth/single-use", &access, None).await.text("access_token");
    demo.with_token("POST", "/demo/single-use", &once, None).await;
    secrets.extend([next.text("access_token"), next.text("refresh_token"), once]);
    demo.with_token("POST", "/auth/password", &access, change("wrong-horse", "battery staple")).await;
    demo.with_token("POST", "/auth/password", &access, change(PASSWORD, "battery staple")).await;
    demo.with_token("POST", "/auth/password", &access, change("battery staple", PASSWORD)).await;
    let page = demo.open_page("ada").await;
    let newer = Page::after(&demo.page(&page, "POST", "/auth/refresh").await);
    for page in [&page, &newer] {
        secrets.extend([page.access.clone(), page.refresh.clone(), page.csrf.clone()]);
    }
    let sessions = demo.page(&newer, "GET", "/auth/sessions").await.body;
    let other = sessions.as_array().unwrap().iter().find(|session| session["current"] == false).unwrap().clone();
    let other = format!("/auth/sessions/{}", other["session_id"].as_str().unwrap());
    demo.page(&newer, "DELETE", &other).await;
    demo.page(&newer, "DELETE", "/auth/sessions/01939a3c-7d6e-7000-8000-0123456789ab").await;
    demo.page(&newer, "POST", "/auth/logout").await;
    demo.post("/auth/refresh", refresh).await;
    demo.post("/auth/refresh", json!({ "refresh_token": "a.needle.c" })).await;
    let last = demo.log_in("ada").await.text("access_token");
    demo.with_token("POST", "/auth/logout-all", &last, None).await;
    // A token that was typed into the wrong field.
    demo.post("/auth/login", json!({ "username": last, "password": PASSWORD })).await;
    secrets.push(last);
    demo.send(Request::post("/auth/logout?access_token=a.needle.c&code=needle").body(Body::empty()).unwrap()).await;
}

#[test]
fn audit_has_each_event_of_a_session_once() {
    let mut ids = Vec::new();
    let lines = log_of(async || {
        let demo = test_app();
        run_sessions(&demo, &mut Vec::new()).await;
        ids.push(demo.state.users.by_name("ada").await.unwrap().unwrap().user_id.to_string());
    });
    let events = events(&lines);
    let expected = [
        ["registration", "granted"],
        ["registration", "refused"],
        ["sign_in", "refused"],
        ["sign_in", "granted"],
        ["password_change", "refused"],
        ["password_change", "granted"],
        ["password_change", "granted"],
        ["sign_in", "granted"],
        ["session_ended", "granted"],
        ["session_ended", "refused"],
        ["logout", "granted"],
        ["refresh", "refused"],
        ["refresh", "refused"],
        ["sign_in", "granted"],
        ["logout_all", "granted"],
        ["sign_in", "refused"],
    ];
    assert_eq!(names(&events), expected, "{events:#?}");
    assert!(events.iter().all(|event| field(event, "address") == "192.0.2.1"), "{events:#?}");
    for (name, at, value) in [
        ("user_id", 0, ids[0].as_str()),
        ("username", 0, "ada"),
        ("reason", 1, "username_taken"),
        ("reason", 2, "invalid_credentials"),
        ("username", 2, "ada"),
        ("method", 2, "login"),
        ("user_id", 2, ""),
        ("method", 3, "login"),
        ("client_id", 3, "demo-app"),
        ("user_id", 3, ids[0].as_str()),
        ("reason", 4, "invalid_credentials"),
        ("user_id", 5, ids[0].as_str()),
        ("method", 7, "cookie"),
        ("reason", 9, "not_found"),
        ("user_id", 11, ids[0].as_str()),
        ("user_id", 12, ""),
    ] {
        assert_eq!(field(events[at], name), value, "{name} of {}", events[at]);
    }
    // The session that a page ends is the one of the first sign-in.
    assert_eq!(field(events[8], "about"), field(events[3], "session_id"));
    assert_eq!(field(events[10], "session_id"), field(events[7], "session_id"));
    assert!(events[11].contains("over") || events[11].contains("revoked"), "{}", events[11]);
    assert!(events[15].contains(r#"username="(not a username)""#), "{}", events[15]);
}

#[test]
fn audit_and_log_hold_no_secret() {
    let mut secrets = vec![PASSWORD.to_owned(), "battery staple".into(), "wrong-horse".into(), "needle".into()];
    let lines = log_of(async || run_sessions(&test_app(), &mut secrets).await);
    assert!(secrets.len() > 12 && lines.len() > 30, "{} {}", secrets.len(), lines.len());
    // Every part of a token but its header, which is the same for all.
    let parts = secrets.iter().flat_map(|secret| match secret.split_once('.') {
        Some((_, rest)) => rest.split('.').collect::<Vec<_>>(),
        None => vec![secret.as_str()],
    });
    for part in parts {
        let leak = lines.iter().find(|line| line.contains(part));
        assert_eq!(leak, None, "{part}");
    }
}

#[test]
fn audit_has_a_reuse_once_beside_the_librarys_line() {
    let lines = log_of(async || {
        let demo = test_app();
        demo.register("ada").await;
        let first = json!({ "refresh_token": demo.log_in("ada").await.text("refresh_token") });
        let second = demo.post("/auth/refresh", first.clone()).await.text("refresh_token");
        demo.post("/auth/refresh", json!({ "refresh_token": second })).await;
        for _ in 0..2 {
            assert_eq!(demo.post("/auth/refresh", first.clone()).await.status, StatusCode::UNAUTHORIZED);
        }
    });
    let events = events(&lines);
    let names = names(&events);
    assert_eq!(names[2..], [["refresh_reuse", "refused"], ["refresh", "refused"]], "{events:#?}");
    assert_eq!(field(events[2], "session_id"), field(events[1], "session_id"));
    assert_eq!(field(events[2], "client_id"), "demo-app");
    assert_eq!(lines.iter().filter(|line| line.contains("refresh_token_reuse")).count(), 1, "{lines:#?}");
}

#[test]
fn audit_tells_failures_and_lost_clients_from_refusals() {
    let lines = log_of(async || {
        let demo = test_app();
        demo.register("ada").await;
        let access = demo.log_in("ada").await.text("access_token");
        demo.store.fail_after_revoke.store(true, Ordering::SeqCst);
        demo.with_token("POST", "/auth/logout", &access, None).await;
        demo.store.fail_fence.store(true, Ordering::SeqCst);
        demo.post("/auth/login", json!({ "username": "ada", "password": PASSWORD })).await;
        demo.store.fail_fence.store(false, Ordering::SeqCst);
        // The wait after a wrong password outlasts this client.
        let login = demo.post("/auth/login", json!({ "username": "ada", "password": "wrong-horse" }));
        let gone = tokio::time::timeout(std::time::Duration::from_millis(50), login).await;
        assert!(gone.is_err(), "it was answered");
    });
    let events = events(&lines);
    let expected = [["logout", "failed"], ["sign_in", "failed"], ["sign_in", "abandoned"]];
    assert_eq!(names(&events)[2..], expected, "{events:#?}");
    assert_eq!(field(events[2], "reason"), "temporarily_unavailable");
}

#[test]
fn audit_of_a_password_change_does_not_depend_on_its_client() {
    let lines = log_of(async || {
        let demo = test_app();
        demo.register("ada").await;
        let access = demo.log_in("ada").await.text("access_token");
        let gate = Arc::clone(&demo.users.replace_gate).acquire_owned().await.unwrap();
        let change = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
        tokio::select! {
            _ = demo.with_token("POST", "/auth/password", &access, Some(change)) => panic!("it is not reported yet"),
            replaced = demo.users.replaced.acquire() => replaced.unwrap().forget(),
        }
        drop(gate);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    let events = events(&lines);
    assert_eq!(names(&events)[2..], [["password_change", "granted"]], "{events:#?}");
}

/// Nothing that a forged token says about its owner is believed.
#[test]
fn audit_of_a_refused_refresh_names_the_owner_of_a_signed_token_alone() {
    let lines = log_of(async || {
        let demo = test_app();
        demo.register("ada").await;
        let other = authority(&demo.store, &demo.clock, &Config::parse_from(["demo-app"]));
        let other = other.keys(Keyring::new(SigningKey::generate().unwrap())).build().unwrap();
        let identity = Identity { username: "ada".into() };
        for authority in [&other, &demo.state.authority] {
            let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
            let grant = Grant::new("other").custom(&identity).unwrap();
            let pair = authority.sign_in(sign_in, grant).await.unwrap();
            demo.post("/auth/refresh", json!({ "refresh_token": pair.refresh_token })).await;
        }
    });
    let events = events(&lines);
    let clients: Vec<&str> = events[1..].iter().map(|event| field(event, "client_id")).collect();
    assert_eq!(clients, ["", "other"], "{events:#?}");
}
