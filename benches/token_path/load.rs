//! Requests in turn over some connections, each answer read and timed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What the upstream answers.
pub const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n";

/// Sends `count` of `requests` in turn, beginning with the one at `from`, over as many connections; answers how long
/// each took.
pub fn load(port: u16, requests: &[Vec<u8>], from: usize, count: usize, connections: usize) -> Vec<Duration> {
    let each = |connection: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut buffer, mut times) = ([0; 4096], Vec::with_capacity(count / connections));
        for i in 0..count / connections {
            let begun = Instant::now();
            stream.write_all(&requests[(from + i * connections + connection) % requests.len()]).unwrap();
            let (mut length, mut wanted) = (0, None);
            while wanted.is_none_or(|wanted| length < wanted) {
                let read = stream.read(&mut buffer[length..]).unwrap();
                assert!(read > 0, "the proxy closed the connection");
                length += read;
                let head = buffer[..length].windows(4).position(|window| window == b"\r\n\r\n");
                wanted = wanted.or(head.map(|at| at + 4 + content_length(&buffer[..at])));
            }
            times.push(begun.elapsed());
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..length]));
        }
        times
    };
    std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..connections).map(|connection| scope.spawn(move || each(connection))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\ncontent-length: ";
    let at = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME)).unwrap();
    let digits = head[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// An app that answers at once.
pub fn upstream() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let (mut buffer, mut length) = ([0; 16384], 0);
                while let Ok(read @ 1..) = stream.read(&mut buffer[length..]) {
                    length += read;
                    if buffer[..length].ends_with(b"\r\n\r\n") {
                        length = 0;
                        if stream.write_all(ANSWER).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    port
}
