//! Request bodies.

use super::*;
use crate::routes::{
    account::{ChangePasswordRequest, RegisterRequest},
    session::{LoginRequest, RefreshRequest},
};

/// Each route that takes a body, with valid members.
const ROUTES: [(&str, &str); 4] = [
    ("/auth/register", r#""username":"bob","password":"correct horse""#),
    ("/auth/login", r#""username":"ada","password":"correct horse""#),
    ("/auth/refresh", r#""refresh_token":"rubbish""#),
    ("/auth/password", r#""current_password":"correct horse","new_password":"battery staple""#),
];

#[tokio::test(start_paused = true)]
async fn body_with_duplicate_member_is_refused_at_any_depth() {
    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    for (path, members) in ROUTES {
        let first = members.split(',').next().unwrap();
        let twice = [
            format!("{{{first},{members}}}"),
            format!("{{{members},{first}}}"),
            format!(r#"{{{members},"x":1,"x":1}}"#),
            format!(r#"{{{members},"x":1,"\u0078":2}}"#),
            format!(r#"{{{members},"x":null,"x":null}}"#),
            format!(r#"{{{members},"deep":{{"x":1,"x":2}}}}"#),
            format!(r#"{{{members},"deep":[[{{"y":[{{"x":1,"y":2,"x":{{}}}}]}}]]}}"#),
        ];
        for body in twice {
            let answer = demo.raw(path, &token, &["application/json"], &body).await;
            assert_eq!(
                (answer.status, &answer.body["error"]),
                (StatusCode::BAD_REQUEST, &json!("invalid_request")),
                "{path} {body}"
            );
        }
    }
    let same_name_elsewhere =
        r#"{"username":"ada","password":"correct horse","a":{"x":1},"b":{"x":1},"c":[{"x":1},{"x":1}]}"#;
    assert_eq!(
        demo.raw("/auth/login", &token, &["application/json"], same_name_elsewhere).await.status,
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn body_other_than_one_utf8_json_object_is_refused() {
    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    let json = &["application/json"][..];
    let deep = format!(r#"{{"x":{}}}"#, "[".repeat(200) + &"]".repeat(200));
    for (path, members) in ROUTES {
        let good = format!("{{{members}}}");
        let cases: [(&[&str], String, u16); 14] = [
            (json, format!("{good} x"), 400),
            (json, format!("{good}{good}"), 400),
            (json, format!("\u{feff}{good}"), 400),
            (json, good.replace('"', "'"), 400),
            (json, "null".to_owned(), 400),
            (json, "1".to_owned(), 400),
            (json, format!("[{good}]"), 400),
            (json, r#"{"x":"\ud800"}"#.to_owned(), 400),
            (json, r#"{"x":1e999}"#.to_owned(), 400),
            (json, deep.clone(), 400),
            (&[], good.clone(), 415),
            (&["text/json"], good.clone(), 415),
            (&["application/json", "text/plain"], good.clone(), 415),
            (&["application/json", "application/json"], good.clone(), 415),
        ];
        for (content_types, body, status) in cases {
            let answer = demo.raw(path, &token, content_types, &body).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["error"]),
                (status, &json!("invalid_request")),
                "{path} {content_types:?} {body}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn body_fields_of_wrong_type_are_named() {
    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    for (path, members) in ROUTES {
        let Value::Object(members) = serde_json::from_str(&format!("{{{members}}}")).unwrap() else {
            panic!("an object")
        };
        for name in members.keys() {
            for wrong in [json!(1), json!(true), json!(null), json!([]), json!(["text"]), json!({}), json!({ "x": 1 })]
            {
                let mut body = members.clone();
                body.insert(name.clone(), wrong.clone());
                let answer = demo.raw(path, &token, &["application/json"], &Value::Object(body).to_string()).await;
                assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {name} {wrong}");
                assert!(answer.body["fields"][name].is_string(), "{path} {name} {wrong}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn body_error_names_all_invalid_fields() {
    const USERNAME: &str = "must be 3 to 64 letters (a-z, A-Z), digits, dots, underscores or hyphens";
    const PASSWORD: &str = "must be 8 to 256 characters";
    const MOST_USED: &str = "is too common; choose another";
    const REQUIRED: &str = "is required";
    const STRING: &str = "must be a string";

    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    let cases = [
        ("/auth/register", json!({}), json!({ "username": REQUIRED, "password": REQUIRED })),
        ("/auth/register", json!({ "username": "a b" }), json!({ "username": USERNAME, "password": REQUIRED })),
        (
            "/auth/register",
            json!({ "username": 1, "password": "short" }),
            json!({ "username": STRING, "password": PASSWORD }),
        ),
        (
            "/auth/register",
            json!({ "username": null, "password": "password" }),
            json!({ "username": REQUIRED, "password": MOST_USED }),
        ),
        (
            "/auth/register",
            json!({ "username": "", "password": "" }),
            json!({ "username": USERNAME, "password": PASSWORD }),
        ),
        ("/auth/register", json!({ "username": "bob", "password": [] }), json!({ "password": STRING })),
        ("/auth/login", json!({ "scope": [] }), json!({ "username": REQUIRED, "password": REQUIRED, "scope": STRING })),
        ("/auth/login", json!({ "username": "ada", "password": "wrong", "scope": 1 }), json!({ "scope": STRING })),
        ("/auth/refresh", json!({ "more": "x" }), json!({ "refresh_token": REQUIRED })),
        ("/auth/refresh", json!({ "refresh_token": true }), json!({ "refresh_token": STRING })),
        ("/auth/password", json!({}), json!({ "current_password": REQUIRED, "new_password": REQUIRED })),
        (
            "/auth/password",
            json!({ "current_password": 7, "new_password": "short" }),
            json!({ "current_password": STRING, "new_password": PASSWORD }),
        ),
    ];
    for (path, body, fields) in cases {
        let answer = demo.raw(path, &token, &["application/json"], &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {body}");
        let expected = json!({
            "error": "invalid_request",
            "error_description": "Some fields are invalid; see `fields`",
            "fields": fields,
        });
        assert_eq!(answer.body, expected, "{path} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_may_omit_optional_and_add_unknown_members() {
    let demo = test_app();
    demo.register("ada").await;
    for more in [json!({}), json!({ "scope": null }), json!({ "more": { "username": 1 }, "fields": [null] })] {
        let mut body = json!({ "username": "ada", "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = demo.post("/auth/login", body.clone()).await;
        assert_eq!((answer.status, &answer.body["scope"]), (StatusCode::OK, &json!("profile")), "{body}");
    }
}

#[test]
fn body_debug_shows_no_secret() {
    let shown = [
        format!("{:?}", read::<RegisterRequest>(json!({ "username": "ada", "password": "hush" }))),
        format!("{:?}", read::<LoginRequest>(json!({ "username": "ada", "password": "hush", "scope": null }))),
        format!("{:?}", read::<RefreshRequest>(json!({ "refresh_token": "hush" }))),
        format!("{:?}", read::<ChangePasswordRequest>(json!({ "current_password": "hush", "new_password": "hush" }))),
    ];
    for shown in shown {
        assert!(shown.contains("Request") && !shown.contains("hush"), "{shown}");
    }
}

fn read<T: serde::de::DeserializeOwned>(body: Value) -> T {
    serde_json::from_value(body).unwrap()
}

impl TestApp {
    async fn raw(&self, path: &str, token: &str, content_types: &[&str], body: &str) -> TestResponse {
        let mut request = Request::post(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        for content_type in content_types {
            request = request.header(header::CONTENT_TYPE, *content_type);
        }
        self.send(request.body(body.to_owned().into()).unwrap()).await
    }
}
