//! Sends requests over several connections and measures each latency; also the upstream app.
//!
//! Both run in one thread that never sleeps: waking a sleeping thread would be charged to the
//! proxy, more often for a slow one. Idle connections are polled less often, because each poll
//! costs CPU time of the socket's peer and of the neighbouring core.

use super::proxies::Proxy;
use super::tls::{self, Over};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The app's response.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n";
/// Empty polls after which a connection is polled less often.
const MOST_IDLE: u32 = 20_000;
/// Interval of these polls, in rounds.
const SELDOM: u32 = 64;
/// Number of pause instructions between rounds: about one microsecond.
const PAUSES: usize = 50;
/// Timeout of each wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The protocol of requests.
#[derive(Clone, Copy)]
pub enum Way {
    /// By HTTP/1.1 without TLS.
    Plain,
    /// Over TLS.
    Tls(Over),
}

/// The load generator, and the app, which responds at once.
pub struct Load {
    listener: TcpListener,
    accepted: RefCell<Vec<Pipe>>,
    /// Number of polls by the app.
    looks: Cell<u32>,
}

/// A connection, with the bytes received since the end of the last message.
struct Pipe {
    stream: TcpStream,
    buffer: Vec<u8>,
    length: usize,
    /// Number of empty polls since the last bytes.
    idle: u32,
}

/// A connection to a proxy, with its request in progress.
struct Client {
    pipe: Pipe,
    begun: Instant,
    /// The length of the response, once its head has arrived.
    wanted: Option<usize>,
}

impl Load {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, accepted: RefCell::default(), looks: Cell::default() }
    }

    /// Returns the port of the app.
    pub fn upstream(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Sends `count` of a proxy's `requests` in turn, beginning with the one at `from`, over as
    /// many connections as `way` says. Returns the latencies.
    pub fn run(
        &self,
        proxy: &Proxy,
        way: Way,
        requests: &[Vec<u8>],
        (from, count): (usize, usize),
        connections: usize,
    ) -> Vec<Duration> {
        // Otherwise the app would poll the previous proxy's connections for most of this turn: a
        // slower proxy would find less work at a time and cost more per request.
        self.accepted.borrow_mut().iter_mut().for_each(|pipe| pipe.idle = MOST_IDLE);
        let over = match way {
            Way::Plain => return self.plain(proxy.port, requests, (from, count), connections),
            Way::Tls(over) => over,
        };
        tls::run(self, over, proxy.tls_port, requests, (from, count), connections)
    }

    /// Polls connections without traffic, as when waiting for a proxy, until `done`.
    pub fn wait(&self, connections: usize, done: impl Fn() -> bool) {
        let connect = |_| Pipe::new(TcpStream::connect(("127.0.0.1", self.upstream())).unwrap());
        let mut clients: Vec<Pipe> = (0..connections).map(connect).collect();
        while !done() {
            assert!(clients.iter_mut().all(Pipe::read), "the app closed the connection");
            if !self.answer() {
                pause();
            }
        }
    }

    fn plain(
        &self,
        port: u16,
        requests: &[Vec<u8>],
        (from, count): (usize, usize),
        connections: usize,
    ) -> Vec<Duration> {
        let mut unsent = (from..from + count).map(|at| &requests[at % requests.len()]);
        let mut times = Vec::with_capacity(count);
        let client = |request: &Vec<u8>| Client::new(port, request);
        let mut clients: Vec<Client> = unsent.by_ref().take(connections).map(client).collect();
        let mut last = Instant::now();
        while !clients.is_empty() {
            let before = times.len();
            clients.retain_mut(|client| {
                let Some(time) = client.answered() else { return true };
                times.push(time);
                last = client.begun + time;
                unsent.next().map(|request| client.send(request)).is_some()
            });
            if !self.answer() && times.len() == before {
                pause();
            }
            assert!(last.elapsed() < PATIENCE, "the proxy does not answer");
        }
        times
    }

    /// Returns the length of the assertion in a proxy's first request.
    pub fn assertion(&self, proxy: &Proxy) -> usize {
        self.accepted.borrow_mut().clear();
        let running = proxy.start(self, &[]);
        drop(running);
        // One of the connections only checks that the app is up.
        let accepted = self.accepted.borrow();
        let text = |pipe: &Pipe| String::from_utf8_lossy(&pipe.buffer).into_owned();
        let assertion =
            |text: String| Some(text.lines().find_map(|l| l.strip_prefix("x-amzn-oidc-data: "))?.len());
        accepted.iter().map(text).find_map(assertion).expect("an assertion")
    }

    /// Answers all requests at the app; returns whether there may have been any.
    pub fn answer(&self) -> bool {
        let mut accepted = self.accepted.borrow_mut();
        let look = self.looks.get().wrapping_add(1);
        self.looks.set(look);
        if !look.is_multiple_of(SELDOM) {
            // Idle proxies' connections are not polled each time.
            return accepted.iter_mut().filter(|pipe| pipe.idle < MOST_IDLE).fold(false, |any, pipe| {
                pipe.respond();
                any || pipe.idle == 0
            });
        }
        if let Ok((stream, _)) = self.listener.accept() {
            accepted.push(Pipe::new(stream));
        }
        accepted.retain_mut(Pipe::respond);
        true
    }
}

fn pause() {
    (0..PAUSES).for_each(|_| std::hint::spin_loop());
}

impl Pipe {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, buffer: vec![0; 16384], length: 0, idle: 0 }
    }

    /// Answers a complete request; returns whether the connection is open.
    fn respond(&mut self) -> bool {
        let before = self.length;
        let open = self.read();
        self.idle = if self.length == before { self.idle.saturating_add(1) } else { 0 };
        if open && self.arrived().ends_with(b"\r\n\r\n") {
            self.length = 0;
            return self.stream.write_all(ANSWER).is_ok();
        }
        open
    }

    /// Returns the received part of the message.
    fn arrived(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Reads available bytes; returns whether the connection is open.
    fn read(&mut self) -> bool {
        match self.stream.read(&mut self.buffer[self.length..]) {
            Ok(0) => false,
            Ok(read) => {
                self.length += read;
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

impl Client {
    fn new(port: u16, request: &[u8]) -> Self {
        let pipe = Pipe::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
        let mut client = Self { pipe, begun: Instant::now(), wanted: None };
        client.send(request);
        client
    }

    fn send(&mut self, request: &[u8]) {
        (self.pipe.length, self.wanted, self.begun) = (0, None, Instant::now());
        self.pipe.stream.write_all(request).unwrap();
    }

    /// Returns the latency once the response is complete.
    fn answered(&mut self) -> Option<Duration> {
        let before = self.pipe.length;
        assert!(self.pipe.read(), "the proxy closed the connection");
        let arrived = self.pipe.arrived();
        if arrived.len() == before {
            return None;
        }
        let head = || arrived.windows(4).position(|window| window == b"\r\n\r\n");
        self.wanted = self.wanted.or_else(|| head().map(|at| at + 4 + content_length(&arrived[..at])));
        self.wanted.filter(|wanted| arrived.len() >= *wanted)?;
        let time = self.begun.elapsed();
        assert!(arrived.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(arrived));
        Some(time)
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\ncontent-length: ";
    let at = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME)).unwrap();
    let digits = head[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
