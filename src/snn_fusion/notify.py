"""Tell people what they should hear of: a failed run, a new champion, a refusal. By mail and by web hook.

Nothing is sent where nothing is configured. A message that cannot be sent is a warning, never an error: what it tells
of has happened all the same. Addresses of web hooks and passwords are secrets, and in no warning.
"""

from __future__ import annotations

import json
import os
import re
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from snn_fusion import log_lines
from snn_fusion.errors import BadInput

PREFIX = "SNN_FUSION_NOTIFY_"
SECRETS = ("WEBHOOK", "SMTP_PASSWORD")  # each may be in a file that NAME_FILE names
SEND_S = 10.0
UNSET = "unset"  # what `snn-fusion up` writes into the files of secrets that only their owner has
NOT_ENCRYPTED = "the server offers no TLS, and a password is not sent without"


@dataclass(frozen=True)
class Settings:
    """Where messages go; empty: not by this way. `smtp` is HOST:PORT, port 465 for TLS from the start."""

    webhook: str = ""
    mail: str = ""  # addresses, separated by commas
    mail_from: str = "snn-fusion@localhost"
    smtp: str = "localhost:25"
    smtp_user: str = ""
    smtp_password: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises BadInput for a file that cannot be read, or a value that cannot be meant."""
        found = {name: environment.get(f"{PREFIX}{name.upper()}", "") for name in cls.__dataclass_fields__}
        for name in SECRETS:
            if path := environment.get(f"{PREFIX}{name}_FILE"):
                found[name.lower()] = _read(f"{PREFIX}{name}_FILE", path)
        return cls(**{name: value for name, value in found.items() if value}).checked()

    def checked(self) -> Self:
        """Raises BadInput naming the variable, and never a secret's value."""
        if self.webhook and not re.match(r"https?://[^/\s]", self.webhook):
            raise BadInput(
                f"{PREFIX}WEBHOOK", "is not a URL of http or https", "such as https://chat.example.org/hooks/1"
            )
        if not re.fullmatch(r"[^:\s]+:\d{1,5}", self.smtp):
            raise BadInput(f"{PREFIX}SMTP", f"is {self.smtp!r}", "HOST:PORT, such as mail.example.org:587")
        return self


def notify(kind: str, title: str, text: str = "", **fields: str) -> list[str]:
    """Send to every way that is configured; what could not be sent and why, which is also logged.

    `kind` is one word for machines: `failed`, `champion`, `refused`, `test`. `fields` go into the web hook's JSON.
    """
    try:
        settings = Settings.from_environment()
    except BadInput as error:
        return _warn([str(error)])
    ways: dict[str, Callable[[], None]] = {}
    fields |= {"kind": kind} | {k: v for k, v in log_lines.context().items() if k in ("request_id", "run_id")}
    if settings.webhook:
        message = {"text": f"{title}\n{text}".strip(), **fields}
        ways["web hook"] = lambda: _post(settings.webhook, message)
    if settings.mail:
        ways["mail"] = lambda: _mail(settings, title, text, fields)
    problems = []
    for way, send in ways.items():
        try:
            send()
        except Exception as error:  # whatever a server, a name or a certificate does to it
            problems.append(f"a notification could not be sent by {way}: {_reason(error)}")
    return _warn(problems)


def _post(url: str, message: Mapping[str, str]) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "snn-fusion"}
    request = urllib.request.Request(url, json.dumps(message).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=SEND_S):
        pass


def _mail(settings: Settings, title: str, text: str, fields: Mapping[str, str]) -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = " ".join(title.split()), settings.mail_from, settings.mail
    message.set_content("\n".join([text, "", *(f"{name}: {value}" for name, value in fields.items())]).lstrip())
    host, port = settings.smtp.rsplit(":", 1)
    secure = ssl.create_default_context()
    with (
        smtplib.SMTP_SSL(host, int(port), timeout=SEND_S, context=secure)
        if port == "465"
        else smtplib.SMTP(host, int(port), timeout=SEND_S)
    ) as server:
        if port != "465" and server.ehlo() and server.has_extn("starttls"):
            server.starttls(context=secure)
        if settings.smtp_user:
            if not isinstance(server.sock, ssl.SSLSocket):
                raise ConnectionError(NOT_ENCRYPTED)
            server.login(settings.smtp_user, settings.smtp_password)
        server.send_message(message)


def _reason(error: Exception) -> str:
    """What went wrong, without the address, which may be a secret, and without a server's words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"SMTP {error.smtp_code}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if str(cause) == NOT_ENCRYPTED:
        return NOT_ENCRYPTED
    words = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None)
    return f"{type(cause).__name__}{f', {words}' if words else ''}"


def _read(variable: str, path: str) -> str:
    try:
        content = Path(path).read_text().strip()
    except OSError as error:
        raise BadInput(variable, f"{path}: {error.strerror}", "name a file with the secret in one line") from None
    return "" if content == UNSET else content


def _warn(problems: list[str]) -> list[str]:
    for problem in problems:
        log_lines.console().print(problem, style="yellow", highlight=False, markup=False, soft_wrap=True)
    return problems
