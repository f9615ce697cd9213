"""The chain of promotion decisions, and the files that hold it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snn_fusion.errors import BadInput
from snn_fusion.registry import ledger


@pytest.fixture
def record(tmp_path: Path) -> Path:
    entries: list[ledger.Entry] = []
    for version in ("1", "2", "3"):
        entries.append(ledger.following(entries, {"version": version, "promoted": version != "2"}))
    path = tmp_path / "promotions.jsonl"
    path.write_text("".join(entry.line + "\n" for entry in entries))
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
    line = 1 if name == "swapped" else 2
    with pytest.raises(BadInput, match=rf"promotions.jsonl: line {line}: .*restore it from a backup"):
        ledger.read(record)


def test_half_a_line_left_by_a_kill_is_dropped(record: Path) -> None:
    record.write_text(record.read_text() + '{"version": "4", "prom')
    assert len(ledger.read(record)) == 3


def test_a_last_line_whose_newline_an_editor_took_is_kept(record: Path) -> None:
    record.write_bytes(record.read_bytes().rstrip())
    assert len(ledger.read(record)) == 3


def test_a_file_that_is_no_text_is_refused(record: Path) -> None:
    record.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"promotions.jsonl: is no text"):
        ledger.read(record)
