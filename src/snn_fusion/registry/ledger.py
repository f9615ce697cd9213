"""The record of every promotion decision: one JSON line each, only ever appended, each sealed by the one before it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors

BEGINNING = "0" * 64  # `previous` of the first line
TAMPERED = "the record has been altered; restore the file from a backup before promoting again"


@dataclass(frozen=True)
class Entry:
    """One decision as it was written, and the SHA-256 of its line."""

    body: Mapping[str, Any]
    sha256: str


def read(path: Path) -> list[Entry]:
    """All decisions, oldest first. Raises BadInput naming the line at which the chain is broken.

    Half a line at the end is what a kill during `append` leaves: its decision was never acted on, and it is left out.
    """
    entries: list[Entry] = []
    previous = BEGINNING
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}: line {number}"
        try:
            body = json.loads(line)
        except ValueError as error:
            raise BadInput(where, f"not JSON: {error}", TAMPERED) from None
        if not isinstance(body, dict) or body.get("previous") != previous:
            found = body.get("previous") if isinstance(body, dict) else None
            raise BadInput(where, f"does not follow from the line before: previous {found}, not {previous}", TAMPERED)
        previous = _seal(line)
        entries.append(Entry(body, previous))
    return entries


def append(path: Path, body: Mapping[str, Any]) -> Entry:
    """Add a decision and wait until it is on the disk. The caller holds the workspace's lock.

    Raises BadInput if the record is broken or the disk is full; the file is then as it was.
    """
    entries = read(path)
    sealed = {**body, "previous": entries[-1].sha256 if entries else BEGINNING}
    line = json.dumps(sealed, sort_keys=True).encode()
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = sum(len(one) + 1 for one in _lines(path))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            end = min(whole, os.fstat(descriptor).st_size)
            os.ftruncate(descriptor, end)  # drops the half line of a kill, nothing else
            newline = b"\n" * (whole - end)  # one that an editor took
            _write(descriptor, newline + line + b"\n", end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return Entry(sealed, _seal(line))


def _write(descriptor: int, data: bytes, end: int) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _lines(path: Path) -> list[bytes]:
    """The file's lines, without half a line at the end (no newline, not JSON)."""
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    try:
        json.loads(tail)
    except ValueError:
        return lines
    return [*lines, tail]


def _seal(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
