"""Downloads against a real server: killed and resumed, cut off, changed, refused."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from snn_fusion.data import download as module
from snn_fusion.data.download import Unreachable, download
from snn_fusion.errors import BadInput
from snn_fusion.workspace import disk_errors
from tests.data.file_server import FileServer, serving

DATA = np.random.default_rng(0).integers(0, 256, 1_500_000).astype(np.uint8).tobytes()
SHA256 = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(module, "WAIT_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving({"/file": DATA}) as server:
        yield server


@pytest.mark.parametrize("checksum", [SHA256, f"md5:{hashlib.md5(DATA).hexdigest()}"])
def test_a_file_is_fetched_once(tmp_path: Path, site: FileServer, checksum: str) -> None:
    for _ in range(2):
        download(f"{site.url}/file", tmp_path / "deep" / "file", checksum)
    assert (tmp_path / "deep" / "file").read_bytes() == DATA
    assert site.asked == [""]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_a_killed_download_goes_on_where_it_was(tmp_path: Path, site: FileServer) -> None:
    site.pause_s = 0.02
    part = tmp_path / "file.part"
    call = f"from pathlib import Path; from snn_fusion.data.download import download as d; d({f'{site.url}/file'!r}, "
    process = subprocess.Popen([sys.executable, "-c", call + f"Path({str(tmp_path / 'file')!r}), {SHA256!r})"])
    while not part.exists() or part.stat().st_size < 300_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = part.stat().st_size
    assert have < len(DATA) and not (tmp_path / "file").exists()
    site.pause_s = 0.0
    download(f"{site.url}/file", tmp_path / "file", SHA256)
    assert site.asked == ["", f"bytes={have}-"]
    assert site.sent[1] == len(DATA) - have
    assert (tmp_path / "file").read_bytes() == DATA


def test_broken_connections_are_taken_up_again_as_long_as_something_comes(tmp_path: Path, site: FileServer) -> None:
    site.cut_after = [200_000] * 6
    download(f"{site.url}/file", tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == DATA
    assert len(site.asked) == 7 and site.asked[1] == "bytes=200000-"


def test_a_server_without_ranges_sends_it_all_again(tmp_path: Path, site: FileServer) -> None:
    site.ranges = False
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    download(f"{site.url}/file", tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("part", [DATA, DATA + b"more"])
def test_a_part_that_is_whole_or_too_long_ends_as_the_file(tmp_path: Path, site: FileServer, part: bytes) -> None:
    (tmp_path / "file.part").write_bytes(part)
    download(f"{site.url}/file", tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_wrong_checksum_names_expected_and_found_and_leaves_nothing(tmp_path: Path, site: FileServer) -> None:
    expected = f"sha256:{'0' * 64}"
    with pytest.raises(BadInput, match=f"/file: wrong checksum: expected {expected}, found {SHA256}"):
        download(f"{site.url}/file", tmp_path / "file", expected)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_from_earlier_is_fetched_again(tmp_path: Path, site: FileServer) -> None:
    (tmp_path / "file").write_bytes(DATA[:-1])
    download(f"{site.url}/file", tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_busy_server_is_asked_again(tmp_path: Path, site: FileServer) -> None:
    site.statuses = [503, 429]
    download(f"{site.url}/file", tmp_path / "file", SHA256)
    assert len(site.asked) == 3


def test_a_missing_file_is_not_asked_for_twice(tmp_path: Path, site: FileServer) -> None:
    with pytest.raises(Unreachable, match="/other: cannot be fetched: HTTP 404 Not Found"):
        download(f"{site.url}/other", tmp_path / "file", SHA256)
    assert len(site.asked) == 1


def test_no_server_ends_after_a_few_tries(tmp_path: Path, site: FileServer) -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9/file: cannot be fetched: .*refused"):
        download("http://127.0.0.1:9/file", tmp_path / "file", SHA256)


def test_a_full_disk_is_named(tmp_path: Path, site: FileServer) -> None:
    (tmp_path / "file.part").symlink_to("/dev/full")
    with (
        pytest.raises(BadInput, match=r"cannot write: No space left on device \(free some space"),
        disk_errors(tmp_path),
    ):
        download(f"{site.url}/file", tmp_path / "file", SHA256)
