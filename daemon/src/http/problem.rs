//! What is wrong with a request, as a problem document (RFC 9457).

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use rrd_proto::{Refusal, json};
use serde::Serialize;

use super::guard::READ_ONLY;

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    hint: Option<String>,
    /// How it may be asked instead.
    allow: &'static str,
}

/// The document.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct ProblemDocument<'a> {
    /// Always `about:blank`: the status says what kind it is.
    r#type: &'a str,
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// What is wrong, in a sentence.
    detail: &'a str,
    /// What to do.
    hint: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), hint: None, allow: READ_ONLY }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn allow(self, allow: &'static str) -> Self {
        Self { allow, ..self }
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn hinted(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let Self { status, detail, hint, allow } = &self;
        let document = ProblemDocument {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail,
            hint: hint.as_deref(),
        };
        let mut response = Response::new(Body::from(json::document(&document).unwrap_or_default()));
        *response.status_mut() = *status;
        let headers = response.headers_mut();
        let content = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, content);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match *status {
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Bearer realm=\"rrd\"");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            _ => {}
        }
        response
    }
}

impl From<Refusal> for Problem {
    /// Another host cannot be asked.
    fn from(refusal: Refusal) -> Self {
        let Refusal { message, facts: _, hint } = refusal;
        Self { hint, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }
}
