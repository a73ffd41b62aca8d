//! An app with WebSockets and event streams, and connections to it.

use super::narthex::Narthex;
use super::tunnel::{head, say, speaks, tls, upstream};
use super::visitor::{Visitor, is};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::cookie::CookieStore as _;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// An app that echoes over WebSockets, and answers everything else by events, ten a second.
pub async fn app() -> u16 {
    upstream(|mut stream| async move {
        if !speaks(&stream).await {
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
        let asked = head(&mut stream).await;
        if asked.starts_with("GET / ") {
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").await;
            return;
        }
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            .await;
        while say(&mut stream, "data: tick\n\n").await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
}

/// The cookies that `visitor` sends to `url`.
pub fn cookies(visitor: &Visitor, url: &str) -> String {
    visitor.jar.cookies(&url.parse().unwrap()).unwrap().to_str().unwrap().to_owned()
}

pub async fn signed_in(narthex: &Narthex, login: &str) -> Visitor {
    let visitor = Visitor::new(narthex);
    is(&visitor.land(&format!("{}/", narthex.origin("app")), login).await, 200);
    visitor
}

pub type Socket = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

pub async fn open_socket(narthex: &Narthex, visitor: &Visitor) -> Socket {
    let url = format!("{}/socket", narthex.origin("app"));
    open_socket_with(narthex, "cookie", &cookies(visitor, &url)).await
}

/// The same with one header's value.
pub async fn open_socket_with(narthex: &Narthex, name: &'static str, value: &str) -> Socket {
    open_socket_at(narthex, "app", name, value).await
}

/// The same at another host.
pub async fn open_socket_at(narthex: &Narthex, host: &str, name: &'static str, value: &str) -> Socket {
    let url = format!("{}/socket", narthex.origin(host));
    let mut request = url.replace("https", "wss").into_client_request().unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    let stream = tls(narthex, host, false).await;
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

pub async fn echoes(socket: &mut Socket, word: &str) -> bool {
    socket.send(Message::text(word)).await.is_ok()
        && matches!(socket.next().await, Some(Ok(Message::Text(text))) if text.as_str() == word)
}
