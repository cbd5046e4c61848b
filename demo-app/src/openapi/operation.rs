//! Builds the description of one operation.

use std::{collections::BTreeMap, time::Duration};

use auth_layer::{Rejection, oauth::TokenErrorKind, rejection::RejectionKind};
use http::StatusCode;
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Array, ContentBuilder, HeaderBuilder, OneOfBuilder, RefOr, Required, ResponseBuilder, Schema,
        example::ExampleBuilder,
        path::{self, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::Object,
        security::SecurityRequirement,
    },
};

use super::{
    endpoint::{Endpoint, Method},
    errors::{self, Form},
    schemas::{Schemas, text},
    security,
};
use crate::{error::ApiError, oauth::AUTHORIZE};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// An operation whose description is being written.
#[must_use]
pub(crate) struct Operation {
    operation: OperationBuilder,
    parameters: Vec<ParameterBuilder>,
    body: Option<RequestBodyBuilder>,
    security: Vec<SecurityRequirement>,
    responses: Vec<(StatusCode, ResponseBuilder)>,
    errors: Vec<ApiError>,
    form: Form,
    proofs: Proofs,
    takes_cookies: bool,
    schemas: Schemas,
}

/// What proofs of possession are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proofs {
    Nothing,
    /// A token that is bound to a key is presented.
    OfTokens,
    /// The tokens to issue are bound to the proof's key.
    OfRequests,
}

impl Operation {
    /// Begins the description. Each operation can meet a defect or an outage.
    pub(super) fn new(tag: &str, summary: &str) -> Self {
        Self {
            operation: OperationBuilder::new().tag(tag).summary(Some(summary)),
            parameters: Vec::new(),
            body: None,
            security: Vec::new(),
            responses: Vec::new(),
            errors: vec![ApiError::Internal, ApiError::unavailable()],
            form: Form::Json,
            proofs: Proofs::Nothing,
            takes_cookies: false,
            schemas: Schemas::default(),
        }
    }

    /// Says what the summary leaves out.
    pub(super) fn detail(mut self, text: &str) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    /// Demands an access token with these scopes.
    pub(super) fn access_token(mut self, scopes: &[&str]) -> Self {
        self.takes_cookies = true;
        self.token(security::access_token(scopes))
    }

    /// Demands an access token that was issued to the first-party client.
    pub(super) fn first_party_token(self) -> Self {
        self.access_token(&[]).fails([ApiError::ForeignClient])
    }

    /// Demands a single-use token.
    pub(super) fn single_use_token(self) -> Self {
        self.token(security::single_use_token())
    }

    fn token(mut self, security: Vec<SecurityRequirement>) -> Self {
        self.security = security;
        self.proofs = Proofs::OfTokens;
        let kinds = [
            RejectionKind::MissingCredentials,
            RejectionKind::InvalidToken,
            RejectionKind::InvalidRequest,
            RejectionKind::InvalidProof,
            RejectionKind::NonceNeeded,
        ];
        self.header("DPoP", "The proof of possession for a token that is bound to a key (RFC 9449)")
            .fails(kinds.map(|kind| ApiError::Auth(Rejection::new(kind))))
    }

    /// Takes a refresh token: in the body, or in its cookie.
    pub(super) fn refresh_token(mut self) -> Self {
        self.takes_cookies = true;
        self.security = security::refresh_token();
        self.fails([ApiError::InvalidGrant])
    }

    /// Takes a client's credentials. A public client has none, and is named in the form.
    pub(super) fn client(mut self) -> Self {
        self.security = security::client();
        self.fails([TokenErrorKind::InvalidClient.into()])
    }

    /// Demands the credentials of a confidential client.
    pub(super) fn confidential_client(mut self) -> Self {
        self.security = security::confidential_client();
        self.fails([TokenErrorKind::InvalidClient.into()])
    }

    /// Takes a proof of possession (RFC 9449 §5).
    pub(super) fn proof(mut self, text: &str) -> Self {
        self.proofs = Proofs::OfRequests;
        self.header("DPoP", text).fails([TokenErrorKind::InvalidDpopProof.into(), TokenErrorKind::UseDpopNonce.into()])
    }

    /// Takes a header.
    pub(super) fn header(self, name: &str, description: &str) -> Self {
        self.parameter(ParameterIn::Header, name, Required::False, text().build(), description)
    }

    /// Takes a parameter of the query.
    pub(super) fn query(self, name: &str, schema: impl Into<Object>, description: &str) -> Self {
        self.parameter(ParameterIn::Query, name, Required::False, schema, description)
    }

    /// Demands a parameter of the query.
    pub(super) fn required_query(self, name: &str, schema: impl Into<Object>, description: &str) -> Self {
        self.parameter(ParameterIn::Query, name, Required::True, schema, description)
    }

    /// Takes a parameter of the path.
    pub(super) fn in_path(self, name: &str, schema: impl Into<Object>, description: &str) -> Self {
        self.parameter(ParameterIn::Path, name, Required::True, schema, description)
    }

    fn parameter(
        mut self,
        place: ParameterIn,
        name: &str,
        required: Required,
        schema: impl Into<Object>,
        description: &str,
    ) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required);
        self.parameters.push(parameter.schema(Some(schema.into())).description(Some(description)));
        self
    }

    /// Takes a JSON body.
    pub(super) fn json<T: ToSchema>(mut self, example: Value) -> Self {
        let content = ContentBuilder::new().schema(Some(self.schemas.refer_to::<T>())).example(Some(example));
        self.body = Some(RequestBodyBuilder::new().content(JSON, content.build()).required(Some(Required::True)));
        self.fails([
            ApiError::MalformedBody("The body is not JSON"),
            ApiError::BodyTimeout,
            ApiError::TooLarge,
            ApiError::UnsupportedMediaType,
            ApiError::InvalidFields(BTreeMap::new()),
        ])
    }

    /// Takes a form, with an example for each way to fill it in.
    pub(super) fn form<T: ToSchema>(mut self, examples: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let examples =
            examples.into_iter().map(|(name, value)| (name, ExampleBuilder::new().value(Some(value)).build()));
        let content = ContentBuilder::new().schema(Some(self.schemas.refer_to::<T>())).examples_from_iter(examples);
        self.body = Some(RequestBodyBuilder::new().content(FORM, content.build()).required(Some(Required::True)));
        self.fails([ApiError::BodyTimeout, ApiError::TooLarge])
    }

    /// Lets the request come without the body.
    pub(super) fn optional_body(mut self, description: &str) -> Self {
        let optional = |body: RequestBodyBuilder| body.required(Some(Required::False)).description(Some(description));
        self.body = self.body.map(optional);
        self
    }

    /// Answers with JSON.
    pub(super) fn answers<T: ToSchema>(mut self, status: StatusCode, description: &str, example: Value) -> Self {
        let schema = self.schemas.refer_to::<T>();
        self.responds(status, description, JSON, schema, [("example", example)])
    }

    /// Answers with a JSON array.
    pub(super) fn answers_list<T: ToSchema>(mut self, description: &str, example: Value) -> Self {
        let schema = Array::new(self.schemas.refer_to::<T>());
        self.responds(StatusCode::OK, description, JSON, schema, [("example", example)])
    }

    /// Answers with one of two JSON bodies.
    pub(super) fn answers_either<T: ToSchema, U: ToSchema>(
        mut self,
        description: &str,
        examples: [(&'static str, Value); 2],
    ) -> Self {
        let schema = OneOfBuilder::new().item(self.schemas.refer_to::<T>()).item(self.schemas.refer_to::<U>());
        self.responds(StatusCode::OK, description, JSON, schema, examples)
    }

    /// Answers with a text of this type.
    pub(super) fn answers_text(self, content_type: &str, description: &str) -> Self {
        self.responds(StatusCode::OK, description, content_type, text(), [])
    }

    fn responds<const N: usize>(
        mut self,
        status: StatusCode,
        description: &str,
        content_type: &str,
        schema: impl Into<RefOr<Schema>>,
        examples: [(&'static str, Value); N],
    ) -> Self {
        let examples = examples.map(|(name, value)| (name, ExampleBuilder::new().value(Some(value)).build()));
        let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples);
        let response = ResponseBuilder::new().description(description).content(content_type, content.build());
        self.responses.push((status, response));
        self
    }

    /// Answers without a body.
    pub(super) fn answers_empty(mut self, status: StatusCode, description: &str) -> Self {
        self.responses.push((status, ResponseBuilder::new().description(description)));
        self
    }

    /// Names a header of the response that was described last.
    pub(super) fn with_header(mut self, name: &str, description: &str) -> Self {
        if let Some((status, response)) = self.responses.pop() {
            self.responses.push((status, with_header(response, name, description)));
        }
        self
    }

    /// Adds errors that the operation answers with.
    pub(super) fn fails(mut self, errors: impl IntoIterator<Item = ApiError>) -> Self {
        self.errors.extend(errors);
        self
    }

    /// Answers errors with pages for the user.
    pub(super) fn fails_with_pages(mut self) -> Self {
        self.form = Form::Page;
        self
    }

    /// Completes the description with what the endpoint's middleware does.
    pub(super) fn build(mut self, endpoint: &Endpoint) -> (path::Operation, Schemas) {
        if endpoint.method != Method::Get && endpoint.path != AUTHORIZE {
            if self.takes_cookies {
                self = self.header("X-CSRF-Token", "The session's `csrf_token`, for a request with cookies");
            }
            // A request may carry our cookies wherever it goes.
            self = self.fails([ApiError::Csrf, ApiError::Auth(Rejection::new(RejectionKind::InvalidRequest))]);
        }
        let proofs = self.proofs;
        let errors = errors::responses(self.errors, self.form);
        // What the operation itself says of a status replaces what is said of errors in general.
        let responses = errors.chain(self.responses).map(|(status, response)| {
            let has_nonce =
                proofs == Proofs::OfRequests || proofs == Proofs::OfTokens && status == StatusCode::UNAUTHORIZED;
            let response = if has_nonce {
                with_header(response, "DPoP-Nonce", "The nonce for the next proof, where nonces are demanded")
            } else {
                response
            };
            (status.as_str().to_owned(), response.build())
        });
        let parameters = Some(self.parameters).filter(|parameters| !parameters.is_empty());
        let operation = self
            .operation
            .operation_id(Some(endpoint.id))
            .parameters(parameters)
            .request_body(self.body.map(RequestBodyBuilder::build))
            .securities(Some(self.security))
            .responses(responses.collect::<utoipa::openapi::Responses>());
        if self.form == Form::Json {
            self.schemas.refer_to::<errors::ErrorResponse>();
        }
        (operation.build(), self.schemas)
    }
}

fn with_header(response: ResponseBuilder, name: &str, description: &str) -> ResponseBuilder {
    response.header(name, HeaderBuilder::new().schema(Some(text())).description(Some(description)).build())
}

/// Returns the error for too many attempts.
pub(super) fn rate_limited() -> ApiError {
    ApiError::RateLimited(Duration::from_secs(1))
}
