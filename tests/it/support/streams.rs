//! An app with WebSockets and event streams, and connections to it.

use super::narthex::Narthex;
use super::tunnel::{connect_tls, has_request, read_head, start_upstream, try_write};
use super::visitor::{Visitor, assert_status};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::cookie::CookieStore as _;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Starts an app that echoes over WebSockets, and answers other requests by ten events a second.
/// Returns its port.
pub async fn start_stream_app() -> u16 {
    start_upstream(|mut stream| async move {
        if !has_request(&stream).await {
            return;
        }
        let mut bytes = [0; 4096];
        let count = stream.peek(&mut bytes).await.unwrap();
        if String::from_utf8_lossy(&bytes[..count]).to_lowercase().contains("upgrade: websocket") {
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() && socket.send(message).await.is_err() {
                    return;
                }
            }
            return;
        }
        let asked = read_head(&mut stream).await;
        if asked.starts_with("GET / ") {
            try_write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                .await;
            return;
        }
        try_write(
            &mut stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
        )
        .await;
        while try_write(&mut stream, "data: tick\n\n").await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
}

/// Returns the cookies that `visitor` sends to `url`.
pub fn cookie_header(visitor: &Visitor, url: &str) -> String {
    visitor.jar.cookies(&url.parse().unwrap()).unwrap().to_str().unwrap().to_owned()
}

/// Signs a new visitor in to the app.
pub async fn signed_in_visitor(narthex: &Narthex, login: &str) -> Visitor {
    let visitor = Visitor::new(narthex);
    assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("app")), login).await, 200);
    visitor
}

pub type Socket = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

/// Opens a WebSocket with the cookies of `visitor`.
pub async fn open_socket(narthex: &Narthex, visitor: &Visitor) -> Socket {
    let url = format!("{}/socket", narthex.origin("app"));
    open_socket_with_header(narthex, "cookie", &cookie_header(visitor, &url)).await
}

/// Opens a WebSocket with one header field.
pub async fn open_socket_with_header(narthex: &Narthex, name: &'static str, value: &str) -> Socket {
    open_socket_at_host(narthex, "app", name, value).await
}

/// Opens a WebSocket at another host with one header field.
pub async fn open_socket_at_host(narthex: &Narthex, host: &str, name: &'static str, value: &str) -> Socket {
    let url = format!("{}/socket", narthex.origin(host));
    let mut request = url.replace("https", "wss").into_client_request().unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    let stream = connect_tls(narthex, host, false).await;
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

/// Sends `word`, and returns whether it comes back.
pub async fn echoes(socket: &mut Socket, word: &str) -> bool {
    socket.send(Message::text(word)).await.is_ok()
        && matches!(socket.next().await, Some(Ok(Message::Text(text))) if text.as_str() == word)
}
