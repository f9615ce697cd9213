"""The public sets: what is on record, and the way from an archive at its home to recordings that can be read."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from snn_fusion.data import download as download_module
from snn_fusion.data import fetch as fetch_module
from snn_fusion.data import synthetic
from snn_fusion.data.fetch import fetch
from snn_fusion.data.folder import check_contents, list_source
from snn_fusion.data.public import PUBLIC_SETS, Archive
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace
from tests.data.file_server import FileServer, serving
from tests.data.small_files import bin_bytes, segment, write_mirror, write_wav, z_bytes

PEN = segment("8", strokes=[[(1, 1), (2, 2)]]).replace("  ", " ").encode()


def test_every_set_says_where_it_is_from_and_under_which_licence() -> None:
    assert set(PUBLIC_SETS) == {"fsdd", "nmnist", "pendigits"}
    for one in PUBLIC_SETS.values():
        assert one.licence.startswith("CC BY") and "doi:" in one.citation
        for archive in one.archives:
            assert archive.url.startswith("https://")
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", archive.checksum)


def zip_of(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The three sets' archives, small, at a home on this machine; no mirror anywhere."""
    wav = write_wav(tmp_path / "a.wav").read_bytes()
    events = bin_bytes([(10, 1, 1, 1), (20, 2, 2, 0)])
    top = "free-spoken-digit-dataset-1.0.9"
    names = [f"{top}/recordings/{digit}_theo_{take}.wav" for digit in "01" for take in (0, 9)]
    content = {
        "fsdd": [tar_of({**dict.fromkeys(names, wav), f"{top}/README.md": b"hello", f"{top}/utils/x.py": b"1"})],
        "nmnist": [
            zip_of({"Train/0/00002.bin": events, "Train/1/00004.bin": events}),
            zip_of({"Test/0/00003.bin": events}),
        ],
        "pendigits": [zip_of({"pendigits-orig.tra.Z": z_bytes(PEN), "pendigits-orig.tes.Z": z_bytes(PEN), "x": b""})],
    }
    with serving({f"/{name}{n}": data for name, list_ in content.items() for n, data in enumerate(list_)}) as site:
        for name, public in PUBLIC_SETS.items():
            archives = tuple(
                replace(archive, url=f"{site.url}/{name}{n}", checksum=f"sha256:{hashlib.sha256(data).hexdigest()}")
                for n, (archive, data) in enumerate(zip(public.archives, content[name], strict=True))
            )
            monkeypatch.setitem(PUBLIC_SETS, name, replace(public, archives=archives))
        monkeypatch.setattr(download_module, "WAIT_S", 0.01)
        monkeypatch.setattr(fetch_module, "mirrors", lambda: [])
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "SNN_FUSION_DATA_DIR"):
            monkeypatch.delenv(variable, raising=False)
        yield site


def test_all_sets_come_from_their_home_in_the_layout_of_the_mirror(workspace: Workspace, home: FileServer) -> None:
    sources = fetch(["fsdd", "nmnist", "pendigits"], [], workspace, 0)
    found = {}
    for source in sources:
        assert (source.origin, source.temporary) == ("download", True)
        rows, errors = list_source(source.name, source.root)
        good, damaged = check_contents(source.root, rows)
        assert (errors, damaged) == ([], []) and good == rows
        found[source.name] = [row.id for row in rows]
    assert found == {
        "fsdd": ["0_theo_0", "0_theo_9", "1_theo_0", "1_theo_9"],
        "nmnist": ["Train/0/00002", "Train/1/00004", "Test/0/00003"],
        "pendigits": ["tra-0000", "tes-0000"],
    }


def test_what_is_imported_is_not_fetched(workspace: Workspace, home: FileServer) -> None:
    assert fetch(["fsdd", "nmnist"], ["fsdd", "nmnist"], workspace, 0) == []
    assert home.asked == []


def test_an_archive_with_another_checksum_changes_nothing(
    workspace: Workspace, home: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = PUBLIC_SETS["pendigits"]
    wrong = replace(public.archives[0], checksum=f"sha256:{'0' * 64}")
    monkeypatch.setitem(PUBLIC_SETS, "pendigits", replace(public, archives=(wrong,)))
    with pytest.raises(BadInput, match=f"wrong checksum: expected sha256:{'0' * 64}, found sha256:"):
        fetch(["pendigits"], [], workspace, 0)
    assert not workspace.path("downloads", "pendigits").exists()


def test_an_archive_that_leads_out_is_refused(
    workspace: Workspace, home: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zip_of({"pendigits-orig.tra.Z": z_bytes(PEN), "../../evil": b"x"})
    home.files["/evil"] = data
    archive = Archive(
        f"{home.url}/evil",
        "evil.zip",
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        PUBLIC_SETS["pendigits"].archives[0].members,
        1000,
    )
    monkeypatch.setitem(PUBLIC_SETS, "pendigits", replace(PUBLIC_SETS["pendigits"], archives=(archive,)))
    with pytest.raises(BadInput, match=r"evil\.zip: entry '\.\./\.\./evil' leads out of the folder"):
        fetch(["pendigits"], [], workspace, 0)
    assert not list(workspace.root.parent.rglob("evil"))


def test_a_set_that_alone_cannot_be_had_is_an_error_that_names_it(workspace: Workspace, home: FileServer) -> None:
    del home.files["/nmnist1"]
    with pytest.raises(BadInput, match=r"data\.sources: cannot be had: nmnist: http.*: HTTP 404") as caught:
        fetch(["fsdd", "nmnist", "pendigits"], [], workspace, 0)
    assert "SNN_FUSION_DATA_DIR" in caught.value.remedy


def test_where_no_set_can_be_had_synthetic_recordings_are_made(
    workspace: Workspace, home: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "generate", partial(synthetic.generate, recordings_per_label=2))
    home.files.clear()
    (source,) = fetch(["fsdd", "nmnist", "pendigits"], [], workspace, 0)
    assert (source.name, source.origin) == ("synthetic", "generator")
    rows, errors = list_source("synthetic", source.root)
    assert errors == [] and {row.split for row in rows} == {"train", "test"}


def test_a_mirror_comes_before_the_public_home(
    workspace: Workspace, home: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: object
) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    (mirror / "pendigits" / "pendigits-orig.tra").unlink()
    (mirror / "pendigits" / "pendigits-orig.tes").unlink()
    monkeypatch.setenv("SNN_FUSION_DATA_DIR", str(mirror))
    monkeypatch.setattr(fetch_module, "mirrors", lambda: [mirror])
    sources = fetch(["fsdd", "nmnist", "pendigits"], [], workspace, 0)
    assert [(source.name, source.origin) for source in sources] == [
        ("fsdd", "mirror"),
        ("nmnist", "mirror"),
        ("pendigits", "download"),
    ]
    assert len(home.asked) == 1
    assert "has no pendigits: fetching from the public home" in capfd.readouterr().err  # type: ignore[attr-defined]


def test_a_name_that_means_nothing_is_refused_before_anything_is_fetched(
    workspace: Workspace, home: FileServer
) -> None:
    with pytest.raises(BadInput, match=r"params\.yaml: data\.sources: 'lab' is not imported .*--name lab"):
        fetch(["fsdd", "lab"], [], workspace, 0)
    assert home.asked == []
