//! The comparison of passwords, and the rules for new ones.

use std::sync::atomic::Ordering;

use super::*;
use crate::{routes::credentials::FAILURE_FLOOR, state::Identity};

/// `é` and `ö` as one code point each.
const COMPOSED: &str = "caf\u{e9} f\u{f6}rever";
/// The same text with combining accents.
const DECOMPOSED: &str = "cafe\u{301} fo\u{308}rever";

fn credentials(username: &str, password: &str) -> Value {
    json!({ "username": username, "password": password })
}

fn change(current: &str, new: &str) -> Value {
    json!({ "current_password": current, "new_password": new })
}

#[tokio::test(start_paused = true)]
async fn password_hash_unusable_is_wrong_password() {
    let demo = test_app();
    let bcrypt = bcrypt::hash(PASSWORD, 4).unwrap();
    let argon2 = demo.state.passwords.hash(&PASSWORD.to_owned().into()).await.unwrap();
    let hashes = [
        "!".to_owned(),
        String::new(),
        "*".to_owned(),
        PASSWORD.to_owned(),
        "pbkdf2_sha256$870000$c2FsdA$aGFzaGhhc2hoYXNoaGFzaA==".to_owned(),
        "{SSHA}c2FsdGhhc2hzYWx0aGFzaHNhbHRoYXNo".to_owned(),
        "$1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$scrypt$ln=16,r=8,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=64,t=1,p=1".to_owned(),
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ".to_owned(),
        "$argon2id$v=18$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$argon2x$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=64,t=1,p=9$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=4294967295,t=4294967295,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=64,t=4000000,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
        argon2.replace("m=64", "m=sixty"),
        argon2[..argon2.len() - 40].to_owned(),
        bcrypt[..bcrypt.len() - 1].to_owned(),
        bcrypt.replace("$04$", "$31$"),
        bcrypt.replace("$04$", "$03$"),
        bcrypt.replace("$04$", "$99$"),
        bcrypt.replace("$2b$", "$2x$"),
        format!("{}!", &bcrypt[..bcrypt.len() - 1]),
    ];
    for (number, hash) in hashes.into_iter().enumerate() {
        let username = format!("user{number}");
        demo.add_user(&username, hash.clone(), Role::User).await;
        let (begun, hashes) = (Instant::now(), demo.state.passwords.hashes_started.load(Ordering::SeqCst));
        let answer = demo.post("/auth/login", credentials(&username, PASSWORD)).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (StatusCode::UNAUTHORIZED, &json!("invalid_credentials")),
            "{hash}"
        );
        assert_eq!(begun.elapsed(), FAILURE_FLOOR, "{hash}");
        assert_eq!(demo.state.passwords.hashes_started.load(Ordering::SeqCst), hashes + 1, "{hash}");
    }
}

#[tokio::test]
async fn password_hash_unusable_is_wrong_current_password() {
    let demo = test_app();
    demo.add_user("ada", "!".to_owned(), Role::User).await;
    let token = demo.token_of("ada", "ada").await;
    for (current, new) in [(PASSWORD, "battery staple"), ("!", "battery staple")] {
        let answer = demo.change_password(&token, change(current, new)).await;
        assert_eq!((answer.status, &answer.body["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_credentials")));
    }
    assert_eq!(demo.state.users.by_name("ada").await.unwrap().unwrap().password_hash, "!");
}

#[tokio::test(start_paused = true)]
async fn password_in_nfc_equals_password_in_nfd() {
    for (registered, other) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)] {
        let demo = test_app();
        assert_eq!(demo.post("/auth/register", credentials("ada", registered)).await.status, StatusCode::CREATED);
        for password in [registered, other] {
            let login = demo.post("/auth/login", credentials("ada", password)).await;
            assert_eq!(login.status, StatusCode::OK, "{}", password.escape_unicode());
        }
        let token = demo.post("/auth/login", credentials("ada", other)).await.text("access_token");
        let changed = demo.change_password(&token, change(other, "\u{1f40e} tro\u{308}tzdem")).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT);
        let login = demo.post("/auth/login", credentials("ada", "\u{1f40e} tr\u{f6}tzdem")).await;
        assert_eq!(login.status, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn password_hash_of_unnormalized_text_matches_and_is_upgraded() {
    let demo = test_app();
    let made = demo.state.passwords.hash(&DECOMPOSED.to_owned().into()).await.unwrap();
    demo.add_user("ada", made.clone(), Role::User).await;
    assert_eq!(demo.post("/auth/login", credentials("ada", DECOMPOSED)).await.status, StatusCode::OK);
    let renewed = demo.state.users.by_name("ada").await.unwrap().unwrap().password_hash;
    assert_ne!(renewed, made);
    assert_eq!(demo.post("/auth/login", credentials("ada", COMPOSED)).await.status, StatusCode::OK);
    assert_eq!(demo.state.users.by_name("ada").await.unwrap().unwrap().password_hash, renewed, "once");
}

#[tokio::test(start_paused = true)]
async fn password_length_is_counted_in_nfc() {
    let demo = test_app();
    let cases = [
        ("e\u{301}".repeat(7), 422),
        ("e\u{301}".repeat(8), 201),
        ("e\u{301}".repeat(256), 201),
        ("e\u{301}".repeat(257), 422),
        ("\u{3b1}\u{313}\u{300}\u{345}".repeat(256), 201),
        // NFC splits this code point in two.
        ("\u{958}".repeat(128), 201),
        ("\u{958}".repeat(129), 422),
        ("\u{0}\u{1}\u{7f}\u{fffe}\u{10ffff}\u{e000}\u{378}\u{feff}".to_owned(), 201),
    ];
    for (number, (password, status)) in cases.into_iter().enumerate() {
        let answer = demo.post("/auth/register", credentials(&format!("user{number}"), &password)).await;
        assert_eq!(answer.status.as_u16(), status, "case {number}");
        if status == 201 {
            let login = demo.post("/auth/login", credentials(&format!("user{number}"), &password)).await;
            assert_eq!(login.status, StatusCode::OK, "case {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn password_most_used_is_refused_when_set_but_not_at_login() {
    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    for common in ["password", "12345678", "Password1", "QWERTYUIOP", "webster1"] {
        let refused = demo.post("/auth/register", credentials("bob", common)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{common}");
        assert!(refused.body["fields"]["password"].is_string(), "{common}");
        let refused = demo.change_password(&token, change(PASSWORD, common)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{common}");
        assert!(refused.body["fields"]["new_password"].is_string(), "{common}");
    }
    let hash = demo.state.passwords.hash(&"password".to_owned().into()).await.unwrap();
    demo.add_user("eve", hash, Role::User).await;
    let login = demo.post("/auth/login", credentials("eve", "password")).await;
    assert_eq!(login.status, StatusCode::OK);
    let changed = demo.change_password(&login.text("access_token"), change("password", PASSWORD)).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn password_change_hides_whether_new_is_current() {
    let demo = test_app();
    demo.register("ada").await;
    let (other, mine) = (demo.log_in("ada").await.text("access_token"), demo.log_in("ada").await.text("access_token"));
    let guessed = demo.change_password(&mine, change("wrong horse", PASSWORD)).await;
    assert_eq!((guessed.status, &guessed.body["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_credentials")));
    assert_eq!(demo.with_token("GET", "/me", &other, None).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn password_change_shares_login_limit() {
    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    for _ in 0..10 {
        let wrong = demo.change_password(&token, change("wrong horse", "battery staple")).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    let hashed = demo.state.passwords.hashes_started.load(Ordering::SeqCst);
    let limited = demo.change_password(&token, change(PASSWORD, "battery staple")).await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(demo.post("/auth/login", credentials("Ada", PASSWORD)).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(demo.state.passwords.hashes_started.load(Ordering::SeqCst), hashed);
}

/// A retry of a completed change tests the new password, which counts as a try.
#[tokio::test(start_paused = true)]
async fn password_change_repeats_count_toward_limit() {
    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    let changed = demo.change_password(&token, change(PASSWORD, "battery staple")).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    let hashed = demo.state.passwords.hashes_started.load(Ordering::SeqCst);
    for number in 0..20 {
        demo.change_password(&token, change("wrong horse", &format!("guess {number:04}"))).await;
    }
    assert_eq!(demo.state.passwords.hashes_started.load(Ordering::SeqCst), hashed + 10);
}

#[tokio::test]
async fn password_change_finds_user_by_token_subject() {
    let demo = test_app();
    demo.register("ada").await;
    let bob = credentials("bob", "bob's password");
    assert_eq!(demo.post("/auth/register", bob.clone()).await.status, StatusCode::CREATED);
    // Simulates a rename: bob was called ada when he signed in.
    let token = demo.token_of("bob", "ada").await;
    let refused = demo.change_password(&token, change(PASSWORD, "battery staple")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "ada's password is not bob's");
    let changed = demo.change_password(&token, change("bob's password", "battery staple")).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    demo.log_in("ada").await;
    assert_eq!(demo.post("/auth/login", credentials("bob", "battery staple")).await.status, StatusCode::OK);
    assert_eq!(demo.post("/auth/login", bob).await.status, StatusCode::UNAUTHORIZED);
}

impl TestApp {
    async fn change_password(&self, token: &str, body: Value) -> TestResponse {
        self.with_token("POST", "/auth/password", token, Some(body)).await
    }

    /// Issues an access token of this user that carries another name.
    pub(super) async fn token_of(&self, username: &str, name: &str) -> String {
        let user = self.state.users.by_name(username).await.unwrap().unwrap();
        let sign_in = self.state.authority.begin_sign_in(user.user_id).await.unwrap();
        let grant = auth_layer::Grant::new("demo-app")
            .scope("profile".parse().unwrap())
            .custom(&Identity { username: name.to_owned() })
            .unwrap();
        self.state.authority.sign_in(sign_in, grant).await.unwrap().access_token
    }
}
