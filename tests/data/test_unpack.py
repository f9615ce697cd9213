"""An archive writes nothing outside its folder and no more than it may."""

from __future__ import annotations

import io
import re
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from snn_fusion.data.unpack import expand_z, unpack
from snn_fusion.errors import BadInput
from tests.data.small_files import z_bytes

MEMBERS = re.compile(r"[^/]+/(?P<path>data/.+\.bin)")


def make_zip(path: Path, entries: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, entries: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_wanted_members_are_unpacked_and_others_left(tmp_path: Path, make: object) -> None:
    entries = {"set-1/data/0/a.bin": b"abc", "set-1/data/b.bin": b"", "set-1/README": b"no"}
    archive = make(tmp_path / "archive", entries)  # type: ignore[operator]
    assert unpack(archive, tmp_path / "out", MEMBERS, 100) == 2
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"data/0/a.bin": b"abc", "data/b.bin": b""}


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["set/../../evil.bin", "../evil.bin", "/evil.bin", "set\\..\\evil.bin", "C:\\evil.bin"]
)
def test_an_entry_that_leads_out_refuses_the_whole_archive(tmp_path: Path, make: object, name: str) -> None:
    archive = make(tmp_path / "archive", {"set/data/good.bin": b"abc", name: b"evil"})  # type: ignore[operator]
    with pytest.raises(BadInput, match=f"archive: entry {re.escape(repr(name))} leads out of the folder"):
        unpack(archive, tmp_path / "out", MEMBERS, 100)
    assert not list(tmp_path.rglob("*.bin"))


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"set/data/x.bin": b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    with pytest.raises(BadInput, match=r"entry 'set/data/x\.bin' is a link or a device"):
        unpack(archive, tmp_path / "out", MEMBERS, 100)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {"set/data/x.bin": b""}, kind)
    with pytest.raises(BadInput, match=r"entry 'set/data/x\.bin' is a link or a device"):
        unpack(archive, tmp_path / "out", MEMBERS, 100)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_more_bytes_than_allowed_are_refused_while_writing(tmp_path: Path, make: object) -> None:
    bomb = make(tmp_path / "bomb", {"set/data/x.bin": b"\0" * 50_000_000})  # type: ignore[operator]
    assert bomb.stat().st_size < 100_000
    with pytest.raises(BadInput, match="bomb: unpacks to more than is allowed"):
        unpack(bomb, tmp_path / "out", MEMBERS, 3_000_000)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.bin")) <= 3_000_000


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_damaged_archive_is_named(tmp_path: Path, make: object) -> None:
    archive = make(tmp_path / "archive", {"set/data/x.bin": bytes(range(256)) * 40})  # type: ignore[operator]
    data = bytearray(archive.read_bytes())
    data[60:90] = bytes(30)
    archive.write_bytes(data)
    with pytest.raises(BadInput, match="archive: damaged archive"):
        unpack(archive, tmp_path / "out", MEMBERS, 10**6)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing in it matches"):
        unpack(make_zip(tmp_path / "a.zip", {"other.txt": b""}), tmp_path / "out", MEMBERS, 100)


def test_a_z_file_is_expanded_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "pen.tra.Z"
    path.write_bytes(z_bytes(b"hello, hello"))
    expand_z(path)
    assert (tmp_path / "pen.tra").read_bytes() == b"hello, hello" and not path.exists()


def test_without_gzip_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BadInput, match="gzip is needed to unpack this file \\(install the package gzip\\)"):
        expand_z(tmp_path / "pen.tra.Z")


def test_a_damaged_z_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pen.tra.Z").write_bytes(b"\x1f\x9d\x90" + b"\xff" * 50)
    with pytest.raises(BadInput, match=r"pen\.tra\.Z: damaged"):
        expand_z(tmp_path / "pen.tra.Z")
