//! Both ends of HTTP/1.1 as raw bytes: a client that sends anything, and an upstream that answers
//! anything and records each request that it can parse on each connection.

use super::narthex::Narthex;
use super::tunnel::{connect_as_trusted_proxy, read_head};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The longest wait for anything that must come.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A message's head and body.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body ended as its head says.
    pub complete: bool,
}

impl Message {
    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = |line: &'_ str| -> Option<(usize, bool)> {
            let colon = line.find(':')?;
            Some((colon, line[..colon].eq_ignore_ascii_case(name)))
        };
        self.head.lines().skip(1).find_map(|line| {
            field(line).filter(|(_, found)| *found).map(|(colon, _)| line[colon + 1..].trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    ResponseToHead,
}

/// Reads a message by its framing. Without any, a request has no body, and a response has one that
/// ends with the connection.
pub async fn read_message(stream: &mut (impl AsyncRead + Unpin), kind: Kind) -> Option<Message> {
    let is_response = kind != Kind::Request;
    let head = read_head(stream).await;
    if !head.ends_with("\r\n\r\n") {
        return None;
    }
    let mut message = Message { head, ..Message::default() };
    let status = message.status();
    if kind == Kind::ResponseToHead || is_response && (status < 200 || status == 204 || status == 304) {
        message.complete = true;
        return Some(message);
    }
    let chunked = message.field("transfer-encoding").is_some();
    let length = message.field("content-length").and_then(|length| length.parse::<usize>().ok());
    let mut body = Vec::new();
    message.complete = match (chunked, length) {
        (true, _) => read_chunks(stream, &mut body).await.is_some(),
        (false, Some(length)) => {
            let read = stream.take(length as u64).read_to_end(&mut body).await;
            read.is_ok() && body.len() == length
        }
        (false, None) if is_response => stream.read_to_end(&mut body).await.is_ok(),
        (false, None) => true,
    };
    message.body = body;
    Some(message)
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), body: &mut Vec<u8>) -> Option<()> {
    loop {
        let line = read_line(stream).await?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        if size == 0 {
            while !self::read_line(stream).await?.is_empty() {}
            return Some(());
        }
        stream.read_exact(&mut chunk).await.ok()?;
        body.extend_from_slice(&chunk[..size]);
    }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).ok()
}

/// A client of its own connection.
pub struct Client(pub TcpStream);

impl Client {
    /// Connects as a trusted proxy.
    pub async fn connect(narthex: &Narthex) -> Self {
        Self(connect_as_trusted_proxy(narthex).await)
    }

    /// Sends bytes; an end of the connection is found by reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.0.write_all(bytes.as_ref()).await);
    }

    /// The next response, informational ones left out.
    pub async fn response(&mut self) -> Option<Message> {
        self.response_of(Kind::Response).await
    }

    /// The same of a kind.
    pub async fn response_of(&mut self, kind: Kind) -> Option<Message> {
        let read = async {
            loop {
                let message = read_message(&mut self.0, kind).await?;
                if message.status() >= 200 {
                    return Some(message);
                }
            }
        };
        let timed_out = || Some(Message { head: "nothing in time".to_owned(), ..Message::default() });
        tokio::time::timeout(TIMEOUT, read).await.unwrap_or_else(|_| timed_out())
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        drop(tokio::time::timeout(TIMEOUT, read).await.expect("the end of the connection"));
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// What the upstream does for one target.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// What it writes as soon as it has read the request's head.
    pub response: Vec<u8>,
    /// What it writes on request.
    pub late: Vec<u8>,
    /// Whether it closes the connection then.
    pub closes: bool,
    /// Whether it leaves the request's body for the next request.
    pub leaves_body: bool,
}

/// Signals of what is written late.
#[derive(Default)]
struct Late {
    wanted: Notify,
    written: Notify,
}

/// An upstream of raw bytes.
#[derive(Clone)]
pub struct RawUpstream {
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    scripts: Arc<Mutex<HashMap<String, Scripted>>>,
    late: Arc<Mutex<HashMap<String, Arc<Late>>>>,
}

impl RawUpstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            port: listener.local_addr().unwrap().port(),
            heads: Arc::default(),
            connections: Arc::default(),
            scripts: Arc::default(),
            late: Arc::default(),
        };
        let accepting = upstream.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let upstream = accepting.clone();
                tokio::spawn(async move { upstream.serve(stream).await });
            }
        });
        upstream
    }

    /// Sets the response to requests for `target`.
    pub fn set_response(&self, target: &str, scripted: Scripted) {
        self.scripts.lock().unwrap().insert(target.to_owned(), scripted);
    }

    /// The heads of the requests that it has seen.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// How many connections have carried a request.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many of their request lines hold `text`.
    pub fn count(&self, text: &str) -> usize {
        let heads = self.heads.lock().unwrap();
        heads.iter().filter(|head| head.lines().next().is_some_and(|line| line.contains(text))).count()
    }

    /// Waits until it has seen a request for `target`.
    pub async fn wait_for(&self, target: &str) {
        let seen = async {
            while self.count(&format!(" {target} ")) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(TIMEOUT, seen).await.expect("the upstream sees the request");
    }

    /// Has the late part of the response for `target` written, and waits until it is.
    pub async fn write_late(&self, target: &str) {
        let signals = self.signals(target);
        signals.wanted.notify_one();
        tokio::time::timeout(TIMEOUT, signals.written.notified()).await.expect("the upstream goes on");
    }

    fn signals(&self, target: &str) -> Arc<Late> {
        self.late.lock().unwrap().entry(target.to_owned()).or_default().clone()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut first = true;
        loop {
            let mut head = read_head(&mut stream).await;
            if !head.ends_with("\r\n\r\n") {
                return;
            }
            let line = head.lines().next().unwrap_or_default().to_owned();
            if first {
                self.connections.fetch_add(1, Ordering::SeqCst);
                first = false;
            }
            self.heads.lock().unwrap().push(head.clone());
            let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let scripted = self.scripts.lock().unwrap().get(&target).cloned();
            if let Some(scripted) = scripted {
                if !scripted.leaves_body {
                    drop(read_message(&mut (head.as_bytes()).chain(&mut stream), Kind::Request).await);
                }
                drop(stream.write_all(&scripted.response).await);
                if !scripted.late.is_empty() {
                    let signals = self.signals(&target);
                    signals.wanted.notified().await;
                    drop(stream.write_all(&scripted.late).await);
                    signals.written.notify_one();
                }
                if scripted.closes {
                    return;
                }
                continue;
            }
            let text = std::mem::take(&mut head);
            let Some(message) = read_message(&mut (text.as_bytes()).chain(&mut stream), Kind::Request).await
            else {
                return;
            };
            if !message.complete {
                return;
            }
            let method = line.split(' ').next().unwrap_or_default();
            let body = format!("{method} {target} {}", message.body.len());
            let end = if method == "HEAD" { "" } else { &*body };
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{end}", body.len());
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
