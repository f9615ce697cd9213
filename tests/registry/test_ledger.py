"""The record of promotions: append-only, chained, safe against kills."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from snn_fusion.errors import BadInput
from snn_fusion.registry import ledger


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "promotions.jsonl"
    for version in ("1", "2", "3"):
        ledger.append(path, {"version": version, "promoted": version != "2"})
    return path


def test_each_line_carries_the_digest_of_the_line_before(record: Path) -> None:
    entries = ledger.read(record)
    assert [e.body["version"] for e in entries] == ["1", "2", "3"]
    assert [e.body["previous"] for e in entries] == [ledger.BEGINNING, entries[0].sha256, entries[1].sha256]


@pytest.mark.parametrize(
    ("name", "tamper"),
    [
        ("changed", lambda lines: [lines[0].replace('"promoted": true', '"promoted": false'), *lines[1:]]),
        ("removed", lambda lines: [lines[0], lines[2]]),
        ("swapped", lambda lines: [lines[1], lines[0], lines[2]]),
        ("added", lambda lines: [lines[0], json.dumps({"version": "9", "previous": "0" * 64}), *lines[1:]]),
        ("not JSON", lambda lines: [lines[0], "{", *lines[1:]]),
        ("not an object", lambda lines: [lines[0], "[]", *lines[1:]]),
    ],
)
def test_a_record_that_was_altered_is_refused_with_the_line(record: Path, name: str, tamper) -> None:  # type: ignore[no-untyped-def]
    lines = tamper(record.read_text().splitlines())
    record.write_text("".join(line + "\n" for line in lines))
    before = record.read_bytes()
    line = 1 if name == "swapped" else 2
    with pytest.raises(BadInput, match=rf"promotions.jsonl: line {line}: .*restore the file from a backup"):
        ledger.append(record, {"version": "4"})
    assert record.read_bytes() == before


def test_half_a_line_left_by_a_kill_is_dropped_and_the_chain_goes_on(record: Path) -> None:
    whole = record.read_bytes()
    record.write_bytes(whole + b'{"version": "4", "prom')
    assert len(ledger.read(record)) == 3
    ledger.append(record, {"version": "5"})
    assert record.read_bytes().startswith(whole)
    assert [e.body["version"] for e in ledger.read(record)] == ["1", "2", "3", "5"]


def test_a_last_line_whose_newline_an_editor_took_is_kept(record: Path) -> None:
    record.write_bytes(record.read_bytes().rstrip())
    ledger.append(record, {"version": "4"})
    assert [e.body["version"] for e in ledger.read(record)] == ["1", "2", "3", "4"]


def test_a_full_disk_leaves_the_record_as_it_was(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = record.read_bytes()
    write = os.write

    def full_after_ten_bytes(descriptor: int, data: bytes) -> int:
        if os.fstat(descriptor).st_size > len(before):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", full_after_ten_bytes)
    with pytest.raises(BadInput, match="No space left"):
        ledger.append(record, {"version": "4", "reason": "x" * 100})
    assert record.read_bytes() == before
