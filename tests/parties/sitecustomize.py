"""For each Python program of the tests: names below localhost are this machine's, whatever the resolver says."""
import socket

resolve = socket.getaddrinfo


def local(host, *arguments, **named):
    name = host.decode() if isinstance(host, bytes) else host
    is_local = isinstance(name, str) and name.endswith(".localhost")
    return resolve("127.0.0.1" if is_local else host, *arguments, **named)


socket.getaddrinfo = local
