"""A mail server whose behavior the recipient's name chooses.

usage: smtp-server.py PORT FOLDER MODE CERT KEY [USER PASSWORD]
MODE is implicit, starttls, plain (no STARTTLS) or inject (bytes in plain text after the consent to STARTTLS).
Accepted messages are appended to FOLDER/accepted.jsonl, a line each."""
import asyncio
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

port, folder, mode, cert, key = int(sys.argv[1]), pathlib.Path(sys.argv[2]), *sys.argv[3:6]
user = sys.argv[6:8]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)


def seen(name):
    """Whether a file of this name exists; it does from now on."""
    file = folder / f"seen-{name}"
    before = file.exists()
    file.touch()
    return before


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name.startswith("reject"):
            return f"550 5.1.1 <{address}>: no such user"
        if name.startswith("later") and not seen(name):
            return "451 4.7.1 try again later"
        if name.startswith("tarpit"):
            await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        name = envelope.rcpt_tos[0].split("@")[0]
        if name.startswith("hang"):
            await asyncio.sleep(3600)
        if name.startswith("refuse-text"):
            return "554 5.7.1 spam"
        text = envelope.content.decode()
        line = {"to": envelope.rcpt_tos[0], "from": envelope.mail_from, "text": text, "tls": session.ssl is not None,
                "user": session.auth_data.login.decode() if session.auth_data else None}
        with (folder / "accepted.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if name.startswith("close") and not seen(name):
            server.transport.abort()
            await asyncio.sleep(3600)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    accepted = [data.login.decode(), data.password.decode()] == user
    return AuthResult(success=accepted, handled=False, auth_data=data)


def protocol():
    more = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": mode != "plain"} if user else {}
    if mode == "implicit":
        # The connection is encrypted before the protocol sees it.
        more["auth_require_tls"] = False
    if mode == "starttls":
        more |= {"tls_context": context, "require_starttls": True}
    return SMTP(Handler(), hostname="mail.test", loop=asyncio.get_running_loop(), **more)


async def inject(reader, writer):
    writer.write(b"220 mail.test\r\n")
    await reader.readline()
    writer.write(b"250-mail.test\r\n250 STARTTLS\r\n")
    await reader.readline()
    writer.write(b"220 go ahead\r\n250-mail.test\r\n250 8BITMIME\r\n250 OK\r\n250 OK\r\n354 go\r\n250 OK\r\n")
    await writer.drain()
    try:
        await writer.start_tls(context)
        while await reader.readline():
            pass
    except (ssl.SSLError, ConnectionError):
        pass


async def main():
    loop = asyncio.get_running_loop()
    if mode == "inject":
        server = await asyncio.start_server(inject, "127.0.0.1", port)
    else:
        server = await loop.create_server(protocol, "127.0.0.1", port, ssl=context if mode == "implicit" else None)
    print("ready", flush=True)
    # The test's process closes standard input when it ends.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


loop = asyncio.new_event_loop()
loop.create_task(main()).add_done_callback(lambda _: loop.stop())
try:
    loop.run_forever()
finally:
    import os
    os._exit(0)
