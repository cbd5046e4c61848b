//! Describes error responses. Status, code, text and headers are those of the errors themselves.

use std::collections::BTreeMap;

use http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        Content, ContentBuilder, Header, HeaderBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder,
        example::{Example, ExampleBuilder},
        schema::{AllOfBuilder, Type},
    },
};

use super::schemas::text;
use crate::error::ApiError;

/// The body of each error response.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`ApiError` writes it")]
pub(super) struct ErrorResponse {
    /// The code, for programs.
    error: String,
    /// The reason, for developers.
    error_description: String,
    /// With status 422: the fields that break a rule, each with the rule.
    #[schema(nullable = false)]
    fields: Option<BTreeMap<String, String>>,
}

/// The form of error responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// A page for the user. What goes wrong before the handler is still JSON.
    Page,
}

/// What the errors of one status have in common.
#[derive(Default)]
struct Group {
    /// Each code, with its descriptions.
    codes: BTreeMap<&'static str, Vec<String>>,
    headers: BTreeMap<String, Header>,
}

/// Returns the responses of these errors, by status.
pub(super) fn responses(errors: Vec<ApiError>, form: Form) -> impl Iterator<Item = (StatusCode, ResponseBuilder)> {
    let mut groups: BTreeMap<StatusCode, Group> = BTreeMap::new();
    for error in errors {
        let (status, code) = error.status_and_code();
        let group = groups.entry(status).or_default();
        let descriptions = group.codes.entry(code).or_default();
        let description = error.description().into_owned();
        if !descriptions.contains(&description) {
            descriptions.push(description);
        }
        let (_, headers) = error.into_status_and_headers();
        group.headers.extend(headers.keys().filter_map(header_of));
    }
    groups.into_iter().map(move |(status, group)| (status, group.into_response(status, form)))
}

impl Group {
    fn into_response(self, status: StatusCode, form: Form) -> ResponseBuilder {
        let lines = self.codes.iter().map(|(code, descriptions)| match form {
            Form::Json => format!("- `{code}`: {}.", descriptions.join("; ")),
            Form::Page => format!("- {}.", descriptions.join("; ")),
        });
        let response = ResponseBuilder::new().description(lines.collect::<Vec<_>>().join("\n"));
        let response = match form {
            Form::Json => response.content("application/json", self.json()),
            Form::Page => {
                let response = response.content("text/html", Content::new(Some(text())));
                if status.is_server_error() { response.content("application/json", self.json()) } else { response }
            }
        };
        self.headers.into_iter().fold(response, |response, (name, header)| response.header(name, header))
    }

    /// Describes the body: an [`ErrorResponse`] with one of the codes.
    fn json(&self) -> Content {
        let codes = text().enum_values(Some(self.codes.keys().copied()));
        let schema = AllOfBuilder::new()
            .item(Ref::from_schema_name(ErrorResponse::name()))
            .item(ObjectBuilder::new().property("error", codes));
        let examples = self.codes.iter().map(|(code, descriptions)| (*code, example(code, &descriptions[0])));
        ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build()
    }
}

fn example(code: &str, description: &str) -> RefOr<Example> {
    let body: Value = json!({ "error": code, "error_description": description });
    ExampleBuilder::new().value(Some(body)).into()
}

/// Describes a header that a client has to act on; `None` for the others.
fn header_of(name: &HeaderName) -> Option<(String, Header)> {
    let (name, schema, description) = match *name {
        header::WWW_AUTHENTICATE => ("WWW-Authenticate", text(), "The challenge (RFC 9110 §11.6.1)"),
        header::RETRY_AFTER => {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
            ("Retry-After", seconds, "The seconds to wait before another try")
        }
        _ => return None,
    };
    Some((name.to_owned(), HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()))
}
