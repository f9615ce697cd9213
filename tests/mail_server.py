"""A mail server on loopback that keeps what it gets; with a certificate it wants TLS and a password."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path


@dataclass
class Mails:
    """Messages, and who logged in with which password (user, password, whether by TLS)."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str, bool]] = field(default_factory=list)


@contextmanager
def mail_server(certificate: tuple[Path, Path] | None = None) -> Iterator[Mails]:
    got = Mails()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        context.load_cert_chain(*certificate)

    class Session(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.lines, self.secure, self.known = self.request.makefile("rb"), False, certificate is None
            self.say("220 here")
            while raw := self.lines.readline():  # of another file after STARTTLS
                verb, _, rest = raw.decode().strip().partition(" ")
                if verb.upper() == "QUIT":
                    return self.say("221 bye")
                self.say(self.answer(verb.upper(), rest))
                if verb.upper() == "STARTTLS":
                    self.request = context.wrap_socket(self.request, server_side=True)
                    self.lines, self.secure = self.request.makefile("rb"), True

        def answer(self, verb: str, rest: str) -> str:
            if verb == "EHLO":
                more = ["AUTH PLAIN"] if self.secure else ["STARTTLS"] if certificate else []
                return "\r\n".join([*(f"250-{one}" for one in ["here", *more]), "250 8BITMIME"])
            if verb == "AUTH":
                _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                got.logins.append((user, password, self.secure))
                self.known = password == "right"
                return "235 fine" if self.known else f"535 not with {password}"
            if verb == "MAIL" and not self.known:
                return "530 who are you"
            if verb == "DATA":
                self.say("354 go on")
                content = b"".join(iter(self.lines.readline, b".\r\n"))
                got.messages.append(message_from_bytes(content, policy=policy.default))
            return "220 go on" if verb == "STARTTLS" else "250 fine"

        def say(self, text: str) -> None:
            self.request.sendall(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that breaks off is none of its business."""

    server = Server(("127.0.0.1", 0), Session)
    got.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield got
    finally:
        server.shutdown()
        server.server_close()
