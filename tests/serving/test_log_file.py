"""The log of `snn-fusion serve` stays small, whole lines in the right order, and has one writer."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from snn_fusion.errors import BadInput
from snn_fusion.serving.log_file import rotating


def test_it_is_set_aside_at_its_size_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "serve.log"
    with rotating(path, size=1000, kept=2) as out:
        for number in range(1000):
            out.write(b"line %05d\n" % number)
    files = [path.with_name("serve.log.2"), path.with_name("serve.log.1"), path]
    assert sorted(path.parent.glob("serve.log*")) == sorted(files)
    assert all(0 < one.stat().st_size <= 1000 for one in files)
    lines = [line for one in files for line in one.read_text().splitlines()]
    assert lines == [f"line {number:05}" for number in range(1000 - len(lines), 1000)]


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"

    def write(letter: bytes) -> None:
        for _ in range(200):
            out.write(letter * 99 + b"\n")

    with rotating(path, size=5000, kept=1) as out:
        writers = [threading.Thread(target=write, args=(bytes([letter]),)) for letter in b"abcd"]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
    for line in (path.read_text() + path.with_name("serve.log.1").read_text()).splitlines():
        assert len(line) == 99 and len(set(line)) == 1


def test_what_is_said_without_an_end_of_line_is_kept_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    with rotating(path, size=100_000, kept=1) as out:
        out.write(b"a" * 500_000)
        out.write(b"\nthe last")
    assert path.read_text().endswith("the last")
    assert sum(one.stat().st_size for one in tmp_path.glob("serve.log*")) < 1_000_000


def test_another_service_does_not_write_the_same_log(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    with (
        rotating(path) as out,
        pytest.raises(BadInput, match=r"is written by another service .choose another port"),
        rotating(path),
    ):
        pass
    assert out.closed
    with rotating(path):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_holds_up_nobody_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    path.symlink_to("/dev/full")
    with rotating(path) as out:
        for _ in range(1000):
            out.write(b"lost" * 1000 + b"\n")
