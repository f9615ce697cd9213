"""Promotion decisions as a chain: one JSON line each, sealed by the SHA-256 of the line before. See record.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.errors import BadInput

BEGINNING = "0" * 64  # `previous` of the first line
TAMPERED = "the record has been altered; restore it from a backup before promoting again"


@dataclass(frozen=True)
class Entry:
    """One decision, the line that it was written as, and the SHA-256 of that line."""

    body: Mapping[str, Any]
    line: str
    sha256: str


def chain(lines: Sequence[str], where: str | Path) -> list[Entry]:
    """The decisions on these lines, oldest first. Raises BadInput naming the line at which the chain is broken."""
    entries: list[Entry] = []
    previous = BEGINNING
    for number, line in enumerate(lines, start=1):
        place = f"{where}: line {number}"
        try:
            body = json.loads(line)
        except ValueError as error:
            raise BadInput(place, f"not JSON: {error}", TAMPERED) from None
        if not isinstance(body, dict) or body.get("previous") != previous:
            found = body.get("previous") if isinstance(body, dict) else None
            raise BadInput(place, f"does not follow from the line before: previous {found}, not {previous}", TAMPERED)
        entries.append(Entry(body, line, previous := seal(line)))
    return entries


def read(path: Path) -> list[Entry]:
    """The decisions in a file. Raises BadInput naming the line at which the chain is broken.

    Half a line at the end is what a kill left in files of earlier releases: its decision was never acted on, and it is
    left out.
    """
    try:
        lines = path.read_text().split("\n")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise BadInput(path, f"is no text: {error}", TAMPERED) from None
    *whole, tail = lines
    try:
        json.loads(tail)
    except ValueError:
        return chain(whole, path)
    return chain([*whole, tail], path)  # an editor took the newline


def following(entries: Sequence[Entry], body: Mapping[str, Any]) -> Entry:
    """The entry that puts `body` at the end of the chain."""
    sealed = {**body, "previous": entries[-1].sha256 if entries else BEGINNING}
    line = json.dumps(sealed, sort_keys=True)
    return Entry(sealed, line, seal(line))


def seal(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
