"""A check of the pre-deployment list: what was seen, or what is wrong with its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from snn_fusion.errors import BadInput, SnnFusionError

State = Literal["pass", "fail", "skipped"]


class NotApplicable(Exception):
    """This installation has nothing for the check to look at; the message says why."""


@dataclass(frozen=True)
class Check:
    """`look` returns what it saw, raises an SnnFusionError for a failure, or NotApplicable."""

    group: str
    name: str
    look: Callable[[], str]


@dataclass(frozen=True)
class Outcome:
    group: str
    name: str
    state: State
    seen: str
    remedy: str = ""


def run(check: Check) -> Outcome:
    """A check that cannot be made has failed: an operator must not take it for a pass."""
    try:
        return Outcome(check.group, check.name, "pass", check.look())
    except NotApplicable as error:
        return Outcome(check.group, check.name, "skipped", str(error))
    except BadInput as error:
        return Outcome(check.group, check.name, "fail", f"{error.where}: {error.problem}", error.remedy)
    except (SnnFusionError, OSError) as error:
        return Outcome(check.group, check.name, "fail", str(error))
