"""For each Python program of the tests: names below localhost are this machine's, whatever the resolver says."""
import os
import socket

address = os.environ.get("LOCALHOST_ADDRESS", "127.0.0.1")
resolve = socket.getaddrinfo


def local(host, *arguments, **named):
    name = host.decode() if isinstance(host, bytes) else host
    is_local = isinstance(name, str) and name.endswith(".localhost")
    return resolve(address if is_local else host, *arguments, **named)


socket.getaddrinfo = local
