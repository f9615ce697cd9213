"""Who asks, and what they may do: JSON Web Tokens (RFC 7519), verified by pyjwt; roles, each with all that is below.

A token names its key (`kid`), and the key has one algorithm: neither `none` nor another algorithm over the same key is
ever tried. It must say who (`sub`), as what (`role`), since when and until when (`iat`, `exp`: at most 31 days), from
whom (`iss`), for whom (`aud`), and have a name by which it can be revoked (`jti`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import jwt

from snn_fusion.errors import BadInput
from snn_fusion.serving.keys import read_keys, read_signing_key
from snn_fusion.serving.logs import log
from snn_fusion.serving.names import USABLE, alike, usable
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.watched import Watched

LONGEST = 8192  # characters of a token
LONGEST_H = 744  # hours that a token may be good for: 31 days
LIFETIME = f"at most {LONGEST_H} hours, from iat to exp"
REQUIRED = ["exp", "iat", "aud", "iss", "sub", "jti"]
REGISTERED_BY = "registered_by"  # a version's tag: see docs/registry.md
WHY = {  # what is said of each error of pyjwt; its own texts may quote the token
    jwt.ExpiredSignatureError: ("is expired", "a new one"),
    jwt.ImmatureSignatureError: ("is not valid yet", "wait, or compare the clocks"),
    jwt.InvalidAudienceError: ("is for another audience", "one whose aud is this service"),
    jwt.InvalidIssuerError: ("is from another issuer", "one whose iss is this service's issuer"),
    jwt.InvalidAlgorithmError: ("has another algorithm than its key", "the algorithm of the key that kid names"),
    jwt.InvalidSignatureError: ("has a wrong signature", "one signed with the key that kid names"),
    jwt.MissingRequiredClaimError: ("lacks a claim", f"{', '.join(REQUIRED)} and role"),
}


class Role(IntEnum):
    VIEWER = 1
    PREDICTOR = 2
    REVIEWER = 3
    ADMIN = 4


@dataclass(frozen=True)
class Identity:
    """Who asks: `subject` of the token, or what stands for one where no token is asked for; `token`: its jti."""

    subject: str
    role: Role
    token: str = ""

    @property
    def known(self) -> bool:
        """Whether a token said so."""
        return bool(self.token)


class Tokens:
    """Verifies tokens by the key file `keys`, and refuses those that the file `revoked` names, a jti a line."""

    def __init__(self, keys: Path, issuer: str, audience: str, revoked: Path | None = None) -> None:
        """Raises BadInput if one of the files cannot be used."""
        self.issuer, self.audience = issuer, audience
        self._keys = Watched(keys, read_keys)
        self._revoked = Watched(revoked, _names) if revoked else None
        self._files()

    def identity(self, token: str) -> Identity:
        """Raises Problem: 401 for a token that is not good, 503 while a file cannot be used."""
        if len(token) > LONGEST:
            raise _refused(f"has {len(token):,} characters", f"at most {LONGEST:,}")
        keys, revoked = self.usable()
        try:
            key = keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise _refused("is signed with a key that is not known", "a kid of the service's key file")
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self.audience,
                issuer=self.issuer,
                options={"require": REQUIRED},
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise _refused(*WHY.get(type(error), ("is not a JSON Web Token", "header.claims.signature"))) from None
        found = _identity(claims)
        if found.token in revoked:
            raise revoked_token()
        return found

    def usable(self) -> tuple[Mapping[str, jwt.PyJWK], frozenset[str]]:
        """The keys, and what is revoked. Raises Problem 503 while a file cannot be used."""
        try:
            return self._files()
        except BadInput as error:
            log.error("tokens cannot be checked", extra={"fields": {"why": str(error)}})
            raise Problem(503, "token", "cannot be checked now", "the log says why") from None

    def _files(self) -> tuple[Mapping[str, jwt.PyJWK], frozenset[str]]:
        return self._keys.get(), self._revoked.get() if self._revoked else frozenset()


def revoked_token() -> Problem:
    return _refused("is revoked", "a new one")


class Issued(NamedTuple):
    """`name` is the jti, by which it can be revoked; `ends` in seconds since 1970."""

    token: str
    name: str
    ends: int


def issue(key_file: Path, subject: str, role: Role, hours: float, issuer: str, audience: str) -> Issued:
    """A token for whoever holds the signing key. Raises BadInput."""
    if not 0 < hours <= LONGEST_H:
        raise BadInput("--hours", f"is {hours:g}", f"above 0, up to {LONGEST_H} (31 days)")
    if not usable(subject):
        raise BadInput("SUBJECT", f"{subject[:40]!r} has {len(subject)} characters and is no usable name", USABLE)
    kid, key = read_signing_key(key_file)
    now = int(time.time())
    claims: dict[str, Any] = {
        **{"iss": issuer, "aud": audience, "sub": subject, "role": role.name.lower()},
        **{"iat": now, "exp": now + max(1, round(3600 * hours)), "jti": uuid.uuid4().hex},
    }
    return Issued(jwt.encode(claims, key.key, key.algorithm_name, {"kid": kid}), claims["jti"], claims["exp"])


def may_promote(identity: Identity, version_tags: Mapping[str, str]) -> None:
    """Nobody decides on their own work. Raises Problem 403.

    Without keys there is nobody to tell apart, and whoever asks could promote at the command line just as well.
    """
    author = version_tags.get(REGISTERED_BY)
    if identity.role < Role.REVIEWER:
        raise Problem(403, "role", f"{identity.role.name.lower()} may not promote", "reviewer or admin")
    if not identity.known:
        return
    if not author:
        raise Problem(403, "version", f"has no tag {REGISTERED_BY}", "register it again, so that this is known")
    if alike(author, identity.subject):
        raise Problem(403, "version", "was registered by you", "another reviewer has to promote it")


def _identity(claims: Mapping[str, Any]) -> Identity:
    """Signed is not yet sane: the claims as they will be compared and logged."""
    subject, name, role = claims["sub"], claims["jti"], claims.get("role")
    for field, value in (("sub", subject), ("jti", name)):
        if not usable(value):
            raise _refused(f"has no usable {field}", USABLE)
    if int(claims["exp"]) - int(claims["iat"]) > 3600 * LONGEST_H:
        raise _refused("is good for too long", LIFETIME)
    roles = {one.name.lower(): one for one in Role}
    if not isinstance(role, str) or role not in roles:
        raise _refused("has no usable role", f"one of {', '.join(roles)}")
    return Identity(subject, roles[role], name)


def _refused(problem: str, limit: str) -> Problem:
    return Problem(401, "token", problem, limit)


def _names(path: Path) -> frozenset[str]:
    """One a line; what follows # is a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise BadInput(path, "is not text", "a jti a line") from None
    return frozenset(name for line in lines if (name := line.split("#")[0].strip()))
