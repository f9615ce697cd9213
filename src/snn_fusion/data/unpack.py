"""Unpacking what came from elsewhere: an archive can write nothing outside its folder and no more than allowed."""

from __future__ import annotations

import io
import lzma
import re
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from snn_fusion.errors import BadInput

BLOCK = 1 << 20


def unpack(archive: Path, into: Path, members: re.Pattern[str], max_bytes: int) -> int:
    """Unpack the wanted members of a zip or tar archive; returns how many there were.

    Raises BadInput if any entry is absolute, leads out by `..`, or is a link or device, if the wanted ones hold more
    than `max_bytes` (counted while writing), if none is wanted, or if the archive is damaged.
    """
    count, left = 0, max_bytes
    try:
        for name, content in _entries(archive, members):
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            left -= _copy(content, target, left, archive)
            count += 1
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadInput(archive, f"damaged archive: {error}", "remove it and fetch it again") from error
    if not count:
        raise BadInput(archive, f"nothing in it matches {members.pattern}", "is this the right archive?")
    return count


def _entries(archive: Path, members: re.Pattern[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Names to write and bytes to read, after every entry has been checked."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            infos = file.infolist()
            for info in infos:
                kind = stat.S_IFMT(info.external_attr >> 16)
                _check(archive, info.filename, regular=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            for info in infos:
                if found := members.fullmatch(info.filename):
                    with file.open(info) as content:
                        yield found["path"], content
    else:
        with tarfile.open(archive) as tar:
            for entry in tar:
                _check(archive, entry.name, regular=entry.isreg() or entry.isdir())
            for entry in tar.getmembers():
                if found := members.fullmatch(entry.name):
                    with tar.extractfile(entry) or io.BytesIO() as content:
                        yield found["path"], content


def _check(archive: Path, name: str, regular: bool) -> None:
    paths = (PurePosixPath(name), PureWindowsPath(name))
    if any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
        raise BadInput(archive, f"entry {name!r} leads out of the folder", "this archive is not what it should be")
    if not regular:
        raise BadInput(archive, f"entry {name!r} is a link or a device", "this archive is not what it should be")


def _copy(content: IO[bytes], target: Path, limit: int, archive: Path) -> int:
    written = 0
    with target.open("wb") as file:
        while block := content.read(BLOCK):
            written += len(block)
            if written > limit:
                raise BadInput(archive, "unpacks to more than is allowed", "this archive is not what it should be")
            file.write(block)
    return written


def expand_z(path: Path) -> None:
    """Replace `file.Z` (Unix compress) by `file`, with gzip, since Python has no reader for it. Raises BadInput."""
    gzip = shutil.which("gzip")
    if gzip is None:
        raise BadInput(path, "gzip is needed to unpack this file", "install the package gzip")
    with path.with_suffix("").open("wb") as out:
        done = subprocess.run([gzip, "-dc", str(path)], stdout=out, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise BadInput(path, f"damaged: {done.stderr.strip()}", "remove the archive and fetch it again")
    path.unlink()
