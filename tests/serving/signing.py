"""Keys and tokens of the tests: made by the project's own commands, or by hand where they have to be wrong."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt

from snn_fusion.serving.keys import make_key

CLAIMS = {"iss": "snn-fusion", "aud": "snn-fusion", "sub": "anna", "role": "predictor", "jti": "token-1"}
TONE = {"audio": {"samples": [(i % 20) / 20 - 0.5 for i in range(4000)], "rate": 8000}}
ANOTHER = {"audio": {**TONE["audio"], "rate": 16_000}}  # no answer to it is kept


class Signer:
    """A folder of keys; `old` is EdDSA, `new` RS256, `shared` HS256, as far as they are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, kid: str, algorithm: str = "EdDSA") -> Signer:
        make_key(self.folder, kid, algorithm)
        return self

    @property
    def keys(self) -> Path:
        return self.folder / "keys.json"

    def key(self, kid: str) -> jwt.PyJWK:
        return jwt.PyJWK(json.loads((self.folder / f"{kid}.private.json").read_text()))

    def drop(self, kid: str) -> None:
        kept = [one for one in json.loads(self.keys.read_text())["keys"] if one["kid"] != kid]
        replace(self.keys, json.dumps({"keys": kept}))

    def token(self, kid: str = "old", **changes: Any) -> str:
        """Good for a minute; a claim that is None is left out."""
        key = self.key(kid)
        now = int(time.time())
        claims = {**CLAIMS, "iat": now, "exp": now + 60, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key.key, key.algorithm_name, {"kid": kid})

    def bearer(self, kid: str = "old", **changes: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(kid, **changes)}"}


def replace(path: Path, text: str) -> None:
    """In one piece, as docs/serving.md asks for."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.chmod(0o600)
    part.replace(path)


def part(content: object) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
