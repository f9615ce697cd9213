"""`snn-fusion import`, run as users run it: strict, quarantined, killed, at once, on a full disk."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from snn_fusion.config import load_params
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import load, read_manifest
from snn_fusion.data.table import NAME
from snn_fusion.errors import BadInput
from snn_fusion.workspace import Workspace, tree_digest
from tests.conftest import ROOT
from tests.data.small_files import write_imu, write_mirror, write_own, write_wav

SNN_FUSION = Path(sys.executable).with_name("snn-fusion")


class Cli:
    """The command in a folder of its own, with params.yaml there and no way to the network."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.ws = folder, Workspace(folder / "home")
        self.params(sources=["fsdd", "nmnist", "pendigits"])
        nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
        dropped = {"SNN_FUSION_DATA_DIR", "no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"}
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        self.env = kept | nowhere | {"SNN_FUSION_HOME": str(self.ws.root), "COLUMNS": "200"}

    def params(self, **data: Any) -> None:
        raw = yaml.safe_load((ROOT / "params.yaml").read_text())
        raw["data"] |= data
        (self.folder / "params.yaml").write_text(yaml.safe_dump(raw))

    def start(self, *words: object, **more: Any) -> subprocess.Popen[str]:
        command = [str(SNN_FUSION), "import", "--json", *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.env, **pipes, **more)

    def run(self, *words: object, code: int = 0, **more: Any) -> tuple[dict[str, Any], str]:
        """The result and what was said on stderr."""
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=100)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return json.loads(out) if code == 0 else {}, err

    def import_here(self, source: Path | None, **options: Any) -> dict[str, Any]:
        """The same without a process of its own, which takes a second: for what a test only needs to have happened."""
        params = load_params(self.folder / "params.yaml")
        return import_recordings(params, self.ws, **({"source": source, "name": None, "quarantine": False} | options))

    def ids(self) -> list[str]:
        return [row.id for row in read_manifest(self.ws.path("recordings", "manifest.parquet"))]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "project")


def test_a_folder_of_ones_own_is_imported_whole(cli: Cli, tmp_path: Path) -> None:
    own = write_own(tmp_path / "lab")
    result, _ = cli.run("--from", own)
    assert result["recordings"] == result["new_recordings"] == 4
    assert result["sources"] == {"lab": {"audio": 4, "events": 4, "imu": 4}}
    assert (result["quarantined"], result["synthetic"], result["up_to_date"]) == (0, False, False)
    assert result["hint"] == "add lab to data.sources in params.yaml to train on it"
    recordings = cli.ws.path("recordings")
    assert (recordings / "lab" / "sound" / "1.wav").read_bytes() == (own / "sound" / "1.wav").read_bytes()
    for row in read_manifest(recordings / "manifest.parquet"):
        assert row.id.startswith("lab/") and row.source == "lab"
        for sense, ref in row.senses.items():
            load(recordings, ref, sense)
    assert cli.import_here(recordings / "lab", name="copy")["recordings"] == 8


def test_importing_again_changes_nothing_and_adding_one_counts_one(cli: Cli, tmp_path: Path) -> None:
    own = write_own(tmp_path / "lab")
    cli.import_here(own)
    again, _ = cli.run("--from", own)
    assert (again["up_to_date"], again["recordings"], again["new_recordings"]) == (True, 4, 0)
    write_wav(own / "sound" / "new.wav")
    with (own / NAME).open("a") as table:
        table.write("take9,yes,train,s9,sound/new.wav,,\n")
    more = cli.import_here(own)
    assert (more["up_to_date"], more["recordings"], more["new_recordings"]) == (False, 5, 1)


def test_other_sources_stay_without_being_copied(cli: Cli, tmp_path: Path) -> None:
    cli.import_here(write_mirror(tmp_path / "mirror"))
    kept = cli.ws.path("recordings", "fsdd", "recordings", "0_ann_0.wav")
    inode = kept.stat().st_ino
    result = cli.import_here(write_own(tmp_path / "lab"), name="session-7")
    assert set(result["sources"]) == {"fsdd", "nmnist", "pendigits", "session-7"}
    assert result["new_recordings"] == 4
    assert kept.stat().st_ino == inode


def test_the_default_sources_come_from_the_mirror_and_then_stay(cli: Cli, tmp_path: Path) -> None:
    cli.env["SNN_FUSION_DATA_DIR"] = str(write_mirror(tmp_path / "mirror"))
    result, _ = cli.run()
    assert set(result["sources"]) == {"fsdd", "nmnist", "pendigits"} and not result["synthetic"]
    assert "fsdd/0_ann_0" in cli.ids() and "nmnist/Train/0/00001" in cli.ids() and "pendigits/tes-0001" in cli.ids()
    for source in result["sources"]:
        assert cli.ws.path("recordings", source, NAME).is_file()
    del cli.env["SNN_FUSION_DATA_DIR"]
    assert cli.run()[0]["up_to_date"]


def test_a_neighbouring_shared_data_is_used(cli: Cli, tmp_path: Path) -> None:
    write_mirror(tmp_path / "shared" / "data")
    assert set(cli.run()[0]["sources"]) == {"fsdd", "nmnist", "pendigits"}


def damage(own: Path) -> Path:
    """Three kinds of damage in a folder of five recordings."""
    (own / "sound" / "0.wav").write_bytes((own / "sound" / "0.wav").read_bytes()[:500])
    (own / "camera" / "1.bin").write_bytes(b"1234567")
    (own / "touch" / "2.csv").unlink()
    return own


def test_strict_import_lists_every_damaged_file_and_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    cli.import_here(write_mirror(tmp_path / "mirror"))
    before = tree_digest(cli.ws.path("recordings"))
    _, err = cli.run("--from", damage(write_own(tmp_path / "lab", 5)), code=2)
    assert "3 damaged" in err and "--quarantine" in err
    assert "sound/0.wav: truncated: the header promises 1800 bytes of sound, 456 are there" in err
    assert "camera/1.bin: truncated: 7 bytes is not a multiple of 5" in err
    assert "recordings.csv: row 4: imu: no such file 'touch/2.csv'" in err
    assert tree_digest(cli.ws.path("recordings")) == before


def test_quarantine_sets_damaged_files_aside_with_their_reasons(cli: Cli, tmp_path: Path) -> None:
    result, _ = cli.run("--from", damage(write_own(tmp_path / "lab", 5)), "--quarantine")
    assert (result["recordings"], result["quarantined"]) == (2, 3)
    assert cli.ids() == ["lab/take3", "lab/take4"]
    aside = json.loads(cli.ws.path("recordings", "quarantine.json").read_text())
    assert {(one["source"], one["path"]) for one in aside} == {
        ("lab", "sound/0.wav"),
        ("lab", "camera/1.bin"),
        ("lab", "recordings.csv: row 4: imu"),
    }
    assert all(one["reason"] for one in aside)


def test_a_folder_with_nothing_good_is_refused_even_with_quarantine(cli: Cli, tmp_path: Path) -> None:
    own = write_own(tmp_path / "lab", 1)
    (own / "sound" / "0.wav").write_bytes(b"")
    _, err = cli.run("--from", own, "--quarantine", code=2)
    assert "zero length: the file is empty" in err
    assert not cli.ws.path("recordings").exists()


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("nowhere", None, "nowhere: no such folder"),
        (".", None, "no recordings in this folder (expected recordings.csv"),
        ("lab", "a b", "--name: 'a b' cannot be a source's name"),
        ("lab", "../x", "--name: '../x' cannot be a source's name"),
        ("mirror", "x", "mirror holds fsdd, nmnist, pendigits, which keep their names"),
    ],
)
def test_wrong_options_say_what_to_do(cli: Cli, source: str, name: str | None, message: str) -> None:
    write_own(cli.folder / "lab")
    write_mirror(cli.folder / "mirror")
    with pytest.raises(BadInput) as caught:
        cli.import_here(cli.folder / source, name=name)
    assert message in str(caught.value)


def test_a_folder_that_is_not_there_exits_with_2(cli: Cli) -> None:
    assert "nowhere: no such folder (name a folder of recordings)" in cli.run("--from", "nowhere", code=2)[1]


def test_a_source_that_is_not_imported_is_named_with_the_command(cli: Cli) -> None:
    cli.params(sources=["lab"])
    _, err = cli.run(code=2)
    assert "params.yaml: data.sources: 'lab' is not imported (run `snn-fusion import --from DIR --name lab`" in err


def test_without_network_or_mirror_synthetic_recordings_stand_in_loudly(cli: Cli, tmp_path: Path) -> None:
    """They were made by an earlier import, so that this test need not wait for the generator."""
    cli.import_here(write_own(tmp_path / "made"), name="synthetic")
    result, err = cli.run()
    assert result["synthetic"] is True and set(result["sources"]) == {"synthetic"}
    assert "THIS RUN USES SYNTHETIC RECORDINGS" in err and "SNN_FUSION_DATA_DIR" in err


def test_only_some_sources_to_be_had_is_an_error_that_names_the_others(cli: Cli, tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    shutil.rmtree(mirror / "nmnist")
    cli.env["SNN_FUSION_DATA_DIR"] = str(mirror)
    _, err = cli.run(code=2)
    assert "data.sources: cannot be had: nmnist: https://" in err and "fsdd:" not in err
    assert not cli.ws.path("recordings").exists()
    cli.params(sources=["fsdd", "pendigits"])
    assert set(cli.run()[0]["sources"]) == {"fsdd", "pendigits"}  # the mirror is in the process's environment


def wait_for(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not holds():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)


@pytest.mark.parametrize("files", [0, 30])
def test_killed_at_any_moment_and_started_again_gives_the_same(cli: Cli, tmp_path: Path, files: int) -> None:
    own = write_own(tmp_path / "lab", 150)
    cli.import_here(write_mirror(tmp_path / "mirror"))
    before = tree_digest(cli.ws.path("recordings"))
    building = cli.ws.path(".building", "recordings")
    process = cli.start("--from", own)
    wait_for(lambda: building.exists() and len(list((building / "lab").glob("*/*"))) >= files, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert tree_digest(cli.ws.path("recordings")) == before
    cli.run("--from", own)
    uninterrupted = Cli(tmp_path / "other")
    uninterrupted.import_here(tmp_path / "mirror")
    uninterrupted.import_here(own)
    assert cli.ws.digest("recordings") == uninterrupted.ws.digest("recordings")
    assert not building.exists()


def test_killed_between_the_two_renames_loses_no_source(cli: Cli, tmp_path: Path) -> None:
    cli.import_here(write_mirror(tmp_path / "mirror"))
    cli.ws.path(".old").mkdir(exist_ok=True)
    cli.ws.path("recordings").rename(cli.ws.path(".old", "recordings"))
    assert set(cli.import_here(write_own(tmp_path / "lab"))["sources"]) == {"fsdd", "nmnist", "pendigits", "lab"}


def test_a_recordings_folder_that_was_tampered_with_is_named(cli: Cli, tmp_path: Path) -> None:
    cli.import_here(write_own(tmp_path / "lab"))
    shutil.rmtree(cli.ws.path("recordings", "lab"))
    with pytest.raises(BadInput, match=r"recordings: damaged: no folder lab \(remove .* and import again"):
        cli.import_here(write_own(tmp_path / "other"))


def test_two_imports_at_once_end_as_one_after_the_other(cli: Cli, tmp_path: Path) -> None:
    folders = [write_own(tmp_path / name, 40) for name in ("a", "b")]
    processes = [cli.start("--from", folder) for folder in (*folders, folders[0])]
    for process in processes:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
    assert sorted({one.split("/")[0] for one in cli.ids()}) == ["a", "b"]
    assert len(cli.ids()) == 80


def test_a_disk_without_room_is_named_and_the_earlier_recordings_stay(cli: Cli, tmp_path: Path) -> None:
    cli.import_here(write_mirror(tmp_path / "mirror"))
    before = tree_digest(cli.ws.path("recordings"))
    own = write_own(tmp_path / "lab")
    write_imu(own / "touch" / "0.csv", "t_us,a[1]\n" + "".join(f"{n * 1000},0\n" for n in range(20_000)))

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    _, err = cli.run("--from", own, code=2, preexec_fn=no_room)
    assert "cannot write: File too large (free some space or point SNN_FUSION_HOME at another disk" in err
    assert tree_digest(cli.ws.path("recordings")) == before
    assert not cli.ws.path(".building", "recordings").exists()
    assert cli.import_here(own)["new_recordings"] == 4


def test_the_real_mirror_is_imported_within_seconds(cli: Cli, mirror: Path) -> None:
    start = time.monotonic()
    result, _ = cli.run("--from", mirror)
    assert time.monotonic() - start < 60  # 6 s on an idle machine
    assert result["quarantined"] == 0
    assert set(result["sources"]) <= {"fsdd", "nmnist", "pendigits"}
    assert cli.import_here(mirror)["up_to_date"]
