"""`snn-fusion keys` and `snn-fusion token`: who may use a service."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from snn_fusion.cli_common import Json, show


class Algorithm(StrEnum):
    EdDSA = "EdDSA"
    RS256 = "RS256"
    HS256 = "HS256"


class RoleName(StrEnum):
    viewer = "viewer"
    predictor = "predictor"
    reviewer = "reviewer"
    admin = "admin"


def keys(
    kid: Annotated[str, typer.Argument(help="Name of the new key, which its tokens will carry")],
    out: Annotated[Path, typer.Option(help="Folder to write to")] = Path("keys"),
    alg: Annotated[Algorithm, typer.Option(help="HS256 is one secret on both sides")] = Algorithm.EdDSA,
    as_json: Json = False,
) -> None:
    """Make a key: KID.private.json signs tokens, keys.json (where it is added to those there) verifies them.

    Keep the private file where tokens are made; the service needs keys.json only: SNN_FUSION_SERVE_KEYS names it.

    **Examples**

        snn-fusion keys 2026-a

        snn-fusion keys 2026-b --alg RS256 --out /etc/snn-fusion
    """
    from snn_fusion.serving.keys import make_key

    private, public = make_key(out, kid, alg.value)
    show({"kid": kid, "private": str(private), "public": str(public)}, as_json)


def token(
    subject: Annotated[
        str, typer.Argument(help="Who it is for: for who registers models, the name in their tag registered_by")
    ],
    key: Annotated[Path, typer.Option(help="The file KID.private.json")],
    role: Annotated[RoleName, typer.Option(help="What its bearer may do; each role may do all that those before may")],
    hours: Annotated[float, typer.Option(help="How long it is good for, at most 744 (31 days)")] = 8.0,
) -> None:
    """Print a token for a service; on stderr, by what name it can be revoked and when it ends.

    What each role may do: docs/serving.md.

    `iss` and `aud` are what the service expects: SNN_FUSION_SERVE_ISSUER and SNN_FUSION_SERVE_AUDIENCE, where set.

    **Examples**

        snn-fusion token anna --role reviewer --key keys/2026-a.private.json

        snn-fusion token line-4 --role predictor --hours 720 --key keys/2026-a.private.json
    """
    from snn_fusion.serving.settings import Settings
    from snn_fusion.serving.tokens import Role, issue

    settings = Settings.from_environment()
    made = issue(key, subject, Role[role.upper()], hours, settings.issuer, settings.audience)
    sys.stdout.write(made.token + "\n")
    ends = datetime.fromtimestamp(made.ends, UTC).isoformat(timespec="seconds")
    sys.stderr.write(f"jti {made.name}, good until {ends}; a line with that jti among the revoked ones ends it\n")
