"""How a service runs, from environment variables, all checked when it starts. docs/serving.md lists them.

Each may be given as `..._FILE` instead: the path of a file that holds the value, as containers get their secrets.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.config import load_params
from snn_fusion.errors import BadInput
from snn_fusion.value_files import read_value
from snn_fusion.workspace import project_root

PREFIX = "SNN_FUSION_SERVE_"
TOKEN_LENGTH = 32  # characters that a token without an end has at least


@dataclass(frozen=True)
class Settings:
    """`model`: a version, an alias, or a graph folder; `arithmetic`: `float` or a target; `challenger`: as `model`."""

    model: str = "champion"
    params: str = ""  # the parameters file that names the registered model; else the checkout's params.yaml
    arithmetic: str = "float"
    threads: int = 2
    pressure_ms: float = 250.0
    cache: int = 4096  # answers that are kept
    keys: str = ""  # the key file; without it the service is for this computer only, and asks for no token
    issuer: str = "snn-fusion"
    audience: str = "snn-fusion"
    revoked: str = ""  # a file of tokens' jti, one a line
    rate: float = 100.0  # requests a second of one identity; 0: no limit
    burst: float = 200.0  # requests at once
    redis: str = ""  # the URL of a Redis that keeps rates, revocations and cached answers for several services
    challenger: str = ""
    canary: float = 0.0  # the challenger's share of the requests, 0 ... 1
    drift: float = 0.25  # population stability index up to which rates of spikes have not drifted
    follow_s: float = 0.0  # seconds between looks at the registry for another version of the alias; 0: none
    metrics_token: str = ""  # opens /metrics and nothing else; for Prometheus, whose configuration is not renewed
    drain_s: float = 2.0  # after SIGTERM: so long /ready is red before no connection is taken any more

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises BadInput naming the variable."""
        known = {f"{PREFIX}{name.upper()}": field for name, field in cls.__dataclass_fields__.items()}
        found: dict[str, Any] = {}
        for key, text in environment.items():
            if not key.startswith(PREFIX):
                continue
            name = key if key in known else key.removesuffix("_FILE")
            if name not in known:
                raise BadInput(key, "is not known", f"there are: {', '.join(sorted(known))}, each also as ..._FILE")
            if name != key:
                if name in environment:
                    raise BadInput(key, f"is set, and {name} too", "set one of them")
                text = read_value(key, text)
            found[known[name].name] = _value(key, text, type(known[name].default))
        made = cls(**found)
        made._check()
        return made

    def _check(self) -> None:
        """What their kind does not say. Raises BadInput naming the variable."""
        if self.threads < 1:
            raise BadInput(f"{PREFIX}THREADS", f"is {self.threads}", "1 or more")
        if self.canary > 1:
            raise BadInput(f"{PREFIX}CANARY", f"is {self.canary:g}", "a share: 0 ... 1")
        if self.metrics_token and len(self.metrics_token) < TOKEN_LENGTH:
            what = f"has {len(self.metrics_token)} characters"
            raise BadInput(f"{PREFIX}METRICS_TOKEN", what, f"{TOKEN_LENGTH} or more, drawn at random")
        if self.metrics_token and not self.keys:
            what = "is set, but a service without keys asks for no token"
            raise BadInput(f"{PREFIX}METRICS_TOKEN", what, f"set {PREFIX}KEYS too, or leave it out")
        if self.canary and not self.challenger:
            what = f"is {self.canary:g}, but there is no challenger"
            raise BadInput(f"{PREFIX}CANARY", what, f"set {PREFIX}CHALLENGER, for instance: challenger")
        if self.arithmetic != "float":
            from snn_fusion.targets.names import NAMES  # only here: BentoML's supervisor imports this too

            if self.arithmetic not in NAMES:
                what = f"is {self.arithmetic[:40]!r}"
                raise BadInput(f"{PREFIX}ARITHMETIC", what, f"float, {', '.join(NAMES)}")

    @property
    def registered(self) -> str:
        """The name of the registered model. Raises BadInput if the parameters file cannot be used."""
        return load_params(Path(self.params) if self.params else project_root() / "params.yaml").registry.model

    @property
    def folder(self) -> Path | None:
        """The graph folder, if the model is one."""
        return folder_of(self.model)

    @property
    def follows(self) -> bool:
        """Whether the model is an alias that may come to name another version while the service runs."""
        return bool(self.follow_s) and self.folder is None and not self.model.isdecimal()


def folder_of(name: str) -> Path | None:
    """The graph folder that a model's name means, if it means one."""
    return Path(name) if "/" in name or Path(name).is_dir() else None


def _value(key: str, text: str, kind: type) -> object:
    try:
        value = kind(text)
    except ValueError:
        raise BadInput(key, f"is {text!r}", "a number") from None
    if isinstance(value, int | float) and not 0 <= value < math.inf:
        raise BadInput(key, f"is {text}", "0 or more")
    return value
