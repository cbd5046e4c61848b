//! The operations on accounts.

use std::collections::BTreeMap;

use auth_layer::{Rejection, rejection::RejectionKind};
use http::StatusCode;
use serde_json::json;

use super::{
    ACCOUNTS,
    endpoint::{Endpoint, Method, endpoints},
    operation::{Operation, rate_limited},
    schemas::{USER_ID, claims_example, integer, matching},
};
use crate::{
    error::ApiError,
    routes::account::{ChangePasswordRequest, MeResponse, RegisterRequest, RegisterResponse},
    users::UserSummary,
};

endpoints! {
    ACCOUNT_ENDPOINTS;

    REGISTER = Post "/auth/register" => register;
    CHANGE_PASSWORD = Post "/auth/password" => change_password;
    ME = Get "/me" => me;
    LIST_USERS = Get "/admin/users" => list_users;
}

fn register() -> Operation {
    Operation::new(ACCOUNTS, "Registers a user")
        .detail("A username is unique regardless of case. A password must not be one of the 3,000 most used.")
        .json::<RegisterRequest>(json!({ "username": "ada", "password": "correct horse" }))
        .answers::<RegisterResponse>(
            StatusCode::CREATED,
            "The user is registered",
            json!({ "user_id": USER_ID, "username": "ada" }),
        )
        .fails([ApiError::UsernameTaken, rate_limited()])
}

fn change_password() -> Operation {
    Operation::new(ACCOUNTS, "Changes the password")
        .detail("All other sessions of the user end. After a 503 the same session may repeat the request.")
        .first_party_token()
        .json::<ChangePasswordRequest>(json!({ "current_password": "correct horse", "new_password": "battery staple" }))
        .answers_empty(StatusCode::NO_CONTENT, "The password is changed, and the other sessions have ended")
        .fails([ApiError::InvalidCredentials, rate_limited()])
}

fn me() -> Operation {
    Operation::new(ACCOUNTS, "Returns the user and the claims of the token")
        .access_token(&[])
        .answers::<MeResponse>(
            StatusCode::OK,
            "The user",
            json!({ "user_id": USER_ID, "username": "ada", "claims": claims_example() }),
        )
        .fails([ApiError::NotAUser])
}

fn list_users() -> Operation {
    Operation::new(ACCOUNTS, "Lists users by name")
        .detail("Fewer users than `limit` mean that there are no more.")
        .access_token(&["admin"])
        .query("limit", integer(1, 100).default(Some(json!(100))), "How many users to list at most")
        .query("after", matching("^[A-Za-z0-9._-]{3,64}$"), "Lists the users whose names come after this one")
        .answers_list::<UserSummary>(
            "The users",
            json!([{
                "user_id": USER_ID,
                "username": "ada",
                "role": "user",
                "disabled": false,
                "created_at": "2026-11-30T09:00:00.000Z",
            }]),
        )
        .fails([
            ApiError::InvalidRequest("The query cannot be read"),
            ApiError::InvalidFields(BTreeMap::new()),
            ApiError::Auth(Rejection::new(RejectionKind::InsufficientScope("admin".parse().unwrap_or_default()))),
            ApiError::ForeignClient,
            ApiError::NotAUser,
        ])
}
