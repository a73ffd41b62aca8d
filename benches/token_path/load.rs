//! Requests in turn over some connections, each answer read and timed; and the app that they are for.
//!
//! Both are one thread that never sleeps: a proxy would be charged for waking a thread that waits for it, the more the less
//! there is for them to do, which is to say the slower it is. Nor does it hurry: where nothing has come, it looks again a
//! little later, since each poll of a socket slows its user and the neighbouring core.

use super::proxies::Proxy;
use super::tls::{self, Over};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// What the app answers.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n";
/// How often nothing may have come over a connection before it is looked at seldom.
const MOST_IDLE: u32 = 20_000;
/// Every how many times that is.
const SELDOM: u32 = 64;
/// Number of spin hints between two polls: about a microsecond.
const PAUSES: usize = 50;
/// How long anybody is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How requests come to a proxy.
#[derive(Clone, Copy)]
pub enum Way {
    /// By HTTP/1.1 without TLS.
    Plain,
    /// Over TLS.
    Tls(Over),
}

/// The load, and the app that answers it at once, as long as there is load.
pub struct Load {
    listener: TcpListener,
    accepted: RefCell<Vec<Pipe>>,
    /// How often the app has looked for requests.
    looks: Cell<u32>,
}

/// A connection, and what has come over it since the last message ended.
struct Pipe {
    stream: TcpStream,
    buffer: Vec<u8>,
    length: usize,
    /// How often it was looked at since anything came.
    idle: u32,
}

/// A connection to a proxy, with the request that is under way.
struct Client {
    pipe: Pipe,
    begun: Instant,
    /// How long the answer is, once its head is there.
    wanted: Option<usize>,
}

impl Load {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, accepted: RefCell::default(), looks: Cell::default() }
    }

    /// Where the app listens.
    pub fn upstream(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Sends `count` of a proxy's `requests` in turn, beginning with the one at `from`, `way`, over as many connections;
    /// answers how long each took.
    pub fn run(
        &self,
        proxy: &Proxy,
        way: Way,
        requests: &[Vec<u8>],
        (from, count): (usize, usize),
        connections: usize,
    ) -> Vec<Duration> {
        // The app would poll the previous proxy's connections for most of this turn: a proxy whose load is
        // slower finds less to do at a time, and costs more a request.
        self.accepted.borrow_mut().iter_mut().for_each(|pipe| pipe.idle = MOST_IDLE);
        let over = match way {
            Way::Plain => return self.plain(proxy.port, requests, (from, count), connections),
            Way::Tls(over) => over,
        };
        tls::run(self, over, proxy.tls_port, requests, (from, count), connections)
    }

    /// Waits over so many connections as it waits for a proxy, for answers that do not come, until something else is `done`.
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

    /// How long the assertion is that the app gets with a proxy's first request.
    pub fn assertion(&self, proxy: &Proxy) -> usize {
        self.accepted.borrow_mut().clear();
        let running = proxy.start(self, &[]);
        drop(running);
        // One of them is only asked whether the app is there.
        let accepted = self.accepted.borrow();
        let text = |pipe: &Pipe| String::from_utf8_lossy(&pipe.buffer).into_owned();
        let assertion =
            |text: String| Some(text.lines().find_map(|l| l.strip_prefix("x-amzn-oidc-data: "))?.len());
        accepted.iter().map(text).find_map(assertion).expect("an assertion")
    }

    /// Answers every request that has arrived at the app; returns whether any may have arrived.
    pub fn answer(&self) -> bool {
        let mut accepted = self.accepted.borrow_mut();
        let look = self.looks.get().wrapping_add(1);
        self.looks.set(look);
        if !look.is_multiple_of(SELDOM) {
            // Connections of proxies whose turn it is not are not looked at each time.
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

    /// Answers the request that has arrived, if any; returns whether the connection is open.
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

    /// The bytes of the message so far.
    fn arrived(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Reads what there is; answers whether the connection is open.
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

    /// How long the request took, once its answer is there.
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
