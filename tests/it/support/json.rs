//! Answers in JSON. axum's own would have `serde_json` read more than what stands there
//! (`Cargo.toml`).

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// An answer that says this.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], serde_json::to_vec(&self.0).unwrap()).into_response()
    }
}
