//! `/metrics`, `/healthz` and `/readyz`, on a separate listener.

use crate::gateway::Shutdown;
use crate::handlers::AppState;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::{Encoder as _, TextEncoder};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower_service::Service as _;

/// The maximum time of a connection, which serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of connections; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// The pause after a failure to accept a connection, for example because no file descriptor is
/// left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `shutdown` changes. Requests in progress are finished.
pub async fn serve(listener: TcpListener, pool: Arc<AppState>, shutdown: watch::Receiver<Option<Shutdown>>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(pool);
    accept(listener, router, shutdown, CONNECTION_TIMEOUT).await;
}

/// Accepts connections until `shutdown` changes. Closes each connection after `timeout`.
async fn accept(
    listener: TcpListener,
    router: Router,
    mut shutdown: watch::Receiver<Option<Shutdown>>,
    timeout: Duration,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            _ = shutdown.changed() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, router.clone(), permit);
                connections.spawn(tokio::time::timeout(timeout, connection));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one request. Errors are ignored, because clients cause them: they disconnect, or do not
/// send HTTP.
async fn serve_connection(stream: TcpStream, router: Router, permit: Option<OwnedSemaphorePermit>) {
    let service = service_fn(move |request| router.clone().call(request));
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
    drop(permit);
}

/// Responds whether the store is available, which sign-ins need.
async fn ready(State(pool): State<Arc<AppState>>) -> impl IntoResponse {
    match pool.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}

async fn metrics() -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4")], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain")],
            error.to_string().into_bytes(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_client_that_sends_no_whole_head_is_let_go_and_the_others_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ending, ended) = watch::channel(None);
        let router = Router::new().route("/healthz", get(|| async { "alive\n" }));
        let serving = tokio::spawn(accept(listener, router, ended, Duration::from_millis(500)));
        let mut silent = Vec::new();
        // There are more connections than are served concurrently.
        for _ in 0..2 * MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HT").await.unwrap();
            silent.push(stream);
        }
        let mut text = String::new();
        let asking = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            stream.read_to_string(&mut text).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(30), asking).await.expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("alive\n"), "{text}");
        drop(ending);
        tokio::time::timeout(Duration::from_secs(30), serving).await.expect("the end").unwrap();
    }
}
