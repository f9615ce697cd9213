"""Key files: JSON Web Keys (RFC 7517), each with its `kid` and the one algorithm that it is for.

    {"keys": [{"kid": "2026-a", "alg": "EdDSA", "kty": "OKP", "crv": "Ed25519", "x": "..."}]}

Several keys at once make rotation: add the new one, sign with it, remove the old one when its last token is over.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from snn_fusion.errors import BadInput

KINDS = {"EdDSA": ("OKP", "Ed25519"), "RS256": ("RSA", None), "HS256": ("oct", None)}  # algorithm: kty, crv
SECRET = 32  # bytes of an HS256 secret, at least: as long as its hash
RSA_BITS = 2048  # at least
KID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth"}  # members of a JWK that only the signer may have


def read_keys(path: Path) -> dict[str, jwt.PyJWK]:
    """The keys that verify tokens, by their `kid`. Raises BadInput."""
    content = _json(path)
    found = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(found, list) or not found:
        raise BadInput(path, "has no keys", 'write {"keys": [...]} with `snn-fusion keys`')
    keys: dict[str, jwt.PyJWK] = {}
    for i, one in enumerate(found):
        where = f"{path}: keys[{i}]"
        kid, key = _key(one, where)
        if kid in keys:
            raise BadInput(where, f"kid {kid} comes twice", "give each key a kid of its own")
        if PRIVATE & one.keys():
            raise BadInput(where, "is a private key", "the service needs the public part only")
        keys[kid] = key
    if any(key.key_type == "oct" for key in keys.values()):
        _only_ours(path)
    return keys


def read_signing_key(path: Path) -> tuple[str, jwt.PyJWK]:
    """A private key or secret that signs tokens, and its `kid`. Raises BadInput."""
    content = _json(path)
    kid, key = _key(content, str(path))
    if key.key_type != "oct" and "d" not in content:
        raise BadInput(path, "is a public key", "name the private key's file")
    _only_ours(path)
    return kid, key


def make_key(folder: Path, kid: str, algorithm: str) -> tuple[Path, Path]:
    """A new key: its signing file `KID.private.json` (mode 0600), and `keys.json`, to which its other half is added.

    Raises BadInput for a kid that exists.
    """
    if not KID.fullmatch(kid):
        raise BadInput("--kid", f"is {kid[:70]!r}", "1 ... 64 letters, digits, dots, dashes and underscores")
    if algorithm not in KINDS:
        raise BadInput("--alg", f"is {algorithm[:20]!r}", f"one of {', '.join(KINDS)}")
    signing, public = folder / f"{kid}.private.json", folder / "keys.json"
    known = _json(public)["keys"] if read_if_there(public) else []
    if signing.exists() or any(one["kid"] == kid for one in known):
        raise BadInput(signing, f"there is a key {kid} already", "give the new key another --kid")
    private, other = _pair(algorithm)
    named = {"kid": kid, "alg": algorithm, "use": "sig"}
    folder.mkdir(parents=True, exist_ok=True)
    _write(signing, named | private)
    _write(public, {"keys": [*known, named | other]})
    return signing, public


def read_if_there(path: Path) -> dict[str, jwt.PyJWK]:
    return read_keys(path) if path.exists() else {}


def _pair(algorithm: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What signs and what verifies, as members of a JWK."""
    if algorithm == "HS256":
        secret: dict[str, Any] = HMACAlgorithm.to_jwk(secrets.token_bytes(2 * SECRET), as_dict=True)
        return secret, secret
    if algorithm == "EdDSA":
        edwards = Ed25519PrivateKey.generate()
        return OKPAlgorithm.to_jwk(edwards, True), OKPAlgorithm.to_jwk(edwards.public_key(), True)
    rsa: RSAPrivateKey = generate_private_key(65537, 3072)
    both = RSAAlgorithm.to_jwk(rsa, True), RSAAlgorithm.to_jwk(rsa.public_key(), True)
    return _bare(both[0]), _bare(both[1])


def _bare(key: Mapping[str, Any]) -> dict[str, Any]:
    """Without key_ops, which `use` says already."""
    return {name: value for name, value in key.items() if name != "key_ops"}


def _key(one: Any, where: str) -> tuple[str, jwt.PyJWK]:
    if not isinstance(one, dict):
        raise BadInput(where, "is not an object", "one JSON Web Key")
    kid, algorithm = one.get("kid"), one.get("alg")
    if not isinstance(kid, str) or not KID.fullmatch(kid):
        raise BadInput(f"{where}.kid", "is missing, or not a name", "1 ... 64 of A-Z a-z 0-9 . _ -")
    if algorithm not in KINDS:  # the token's header never chooses: it would choose `none`
        raise BadInput(f"{where}.alg", "is missing, or not one that is taken", f"one of {', '.join(KINDS)}")
    kty, curve = KINDS[algorithm]
    if one.get("kty") != kty or one.get("crv") != curve:
        raise BadInput(f"{where}.kty", f"does not fit {algorithm}", f"{kty}{f', crv {curve}' if curve else ''}")
    try:
        key = jwt.PyJWK(one, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:  # whose text may quote the key
        raise BadInput(where, f"is not a key ({type(error).__name__})", "make one with `snn-fusion keys`") from None
    if kty == "oct" and len(key.key) < SECRET:
        raise BadInput(f"{where}.k", f"is a secret of {len(key.key)} bytes", f"at least {SECRET}, made at random")
    if kty == "RSA" and key.key.key_size < RSA_BITS:
        raise BadInput(f"{where}.n", f"is of {key.key.key_size} bits", f"at least {RSA_BITS}")
    return kid, key


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(path, f"cannot be read: {error.strerror}", "make keys with `snn-fusion keys`") from None
    except (ValueError, RecursionError):
        raise BadInput(path, "is not JSON", "make keys with `snn-fusion keys`") from None


def _only_ours(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise BadInput(path, "holds a secret that others on this computer may read or change", f"chmod 600 {path}")


def _write(path: Path, content: Any) -> None:
    """In one piece, and never readable for others, not even for a moment."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as out:
        json.dump(content, out, indent=1)
    part.replace(path)
