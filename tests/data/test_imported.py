"""Imports beside a run: source folders never change, what a run validated stays, and a kill leaves before or after."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from snn_fusion.config import Params
from snn_fusion.data.imported import SNAPSHOT, SWITCH, collect, lay_out, read_files, read_imported, write_files
from snn_fusion.data.ingest import import_recordings
from snn_fusion.data.manifest import Row, load, read_manifest, write_manifest
from snn_fusion.data.recording import SENSES, Sense
from snn_fusion.workspace import Workspace, file_digest
from tests.data.small_files import write_imu, write_own, write_wav


def take_in(params: Params, ws: Workspace, folder: Path, **options: Any) -> dict[str, Any]:
    return import_recordings(params, ws, source=folder, **options)


def pin(ws: Workspace) -> list[Row]:
    """What `validate` leaves of what is imported now, as far as an import looks at it."""
    imported = read_imported(ws)
    write_manifest(ws.path("validated", "recordings.parquet"), imported.rows)
    write_files(ws.path("validated", SNAPSHOT), imported, {})
    return list(imported.rows)


def check_readable(ws: Workspace, rows: list[Row]) -> None:
    """Every file is there, with the content that the manifest says."""
    for row in rows:
        for sense, ref in row.senses.items():
            assert file_digest(ws.path("recordings", ref.path)) == ref.sha256
            load(ws.path("recordings"), ref, sense)


def louder(own: Path) -> Path:
    write_wav(own / "sound" / "0.wav", [0.9, -0.9] * 500)
    return own


def test_a_source_that_is_imported_again_leaves_a_run_what_it_began_with(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    own = write_own(tmp_path / "lab")
    take_in(params, workspace, own)
    pinned = pin(workspace)
    result = take_in(params, workspace, louder(own))
    assert (result["new_recordings"], result["recordings"], result["up_to_date"]) == (1, 4, False)
    check_readable(workspace, pinned)
    now = list(read_imported(workspace).rows)
    check_readable(workspace, now)
    assert [row.id for row in now] == [row.id for row in pinned]
    assert now[0].senses["audio"].sha256 != pinned[0].senses["audio"].sha256


def test_a_source_that_shrinks_leaves_a_run_what_it_began_with(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    take_in(params, workspace, write_own(tmp_path / "big", 6), name="lab")
    pinned = pin(workspace)
    assert take_in(params, workspace, write_own(tmp_path / "small", 4), name="lab")["recordings"] == 4
    check_readable(workspace, pinned)


def folders(ws: Workspace) -> set[str]:
    return {one.name for one in ws.path("recordings").iterdir() if one.is_dir()}


def test_a_source_folder_goes_when_neither_import_nor_run_names_it(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    own = write_own(tmp_path / "lab")
    take_in(params, workspace, own)
    pin(workspace)
    take_in(params, workspace, louder(own))
    assert len(folders(workspace)) == 2
    pinned = pin(workspace)
    with FileLock(workspace.path(".lock")):  # a stage is at work
        collect(workspace)
        assert len(folders(workspace)) == 2
    collect(workspace)
    assert len(folders(workspace)) == 1
    check_readable(workspace, pinned)
    assert not list(workspace.path(".old").iterdir())


def test_content_that_comes_back_is_what_it_was(params: Params, workspace: Workspace, tmp_path: Path) -> None:
    own = write_own(tmp_path / "lab")
    take_in(params, workspace, own)
    first, sound = read_imported(workspace), (own / "sound" / "0.wav").read_bytes()
    pin(workspace)
    take_in(params, workspace, louder(own))
    (own / "sound" / "0.wav").write_bytes(sound)
    assert take_in(params, workspace, own)["recordings"] == 4
    assert read_imported(workspace).digest == first.digest
    check_readable(workspace, list(read_imported(workspace).rows))


def test_an_import_waits_for_no_stage(params: Params, workspace: Workspace, tmp_path: Path) -> None:
    own = write_own(tmp_path / "lab")
    workspace.root.mkdir(parents=True)
    with FileLock(workspace.path(".lock")):
        assert take_in(params, workspace, own)["recordings"] == 4


def test_an_import_of_a_folder_does_not_wait_for_public_sets_that_come_in(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.root.mkdir(parents=True)
    with FileLock(workspace.path(".fetch.lock")):
        assert take_in(params, workspace, write_own(tmp_path / "lab"))["recordings"] == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from snn_fusion.config import load_params
from snn_fusion.data.ingest import import_recordings
from snn_fusion.workspace import Workspace

home, own, renames, params = sys.argv[1:]
left = int(renames)

def dying(real):
    def move(self, target):
        global left
        if Path(target).parent == Path(home, "recordings"):
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return real(self, target)
    return move

Path.rename = dying(Path.rename)
replace, Path.replace = Path.replace, dying(Path.replace)
import_recordings(load_params(Path(params)), Workspace(Path(home)), source=Path(own), name="lab")
"""


# The source's folder, then the switch, then four files are put in place.
@pytest.mark.parametrize(("renames", "recordings"), [(1, 3), (2, 5), (4, 5)])
def test_an_import_that_is_killed_in_the_switch_is_there_whole_or_not_at_all(
    params: Params, workspace: Workspace, tmp_path: Path, renames: int, recordings: int
) -> None:
    from tests.conftest import ROOT

    take_in(params, workspace, write_own(tmp_path / "old", 3), name="lab")
    before = read_imported(workspace)
    own = write_own(tmp_path / "new", 5)
    arguments = [str(workspace.root), str(own), str(renames), str(ROOT / "params.yaml")]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == -9, done.stderr
    after = read_imported(workspace)
    assert len(after.rows) == recordings
    assert (after.digest == before.digest) == (recordings == 3)
    assert len(after.inputs) == 2 and set(after.origins) == {"lab"}
    check_readable(workspace, list(after.rows))
    assert not workspace.path("recordings", SWITCH).exists()
    assert take_in(params, workspace, own, name="lab")["recordings"] == 5


def test_a_workspace_made_before_source_folders_had_versions_is_read_and_goes_on(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    """recordings/ was a stage's folder, its digest one over all files."""
    own = write_own(tmp_path / "lab")
    take_in(params, workspace, own)
    made, rest = read_imported(workspace), workspace.path("recordings")
    stamp = rest / "stage.json"
    stamp.write_text(stamp.read_text().replace(made.digest, "0" * 64))
    workspace.path(".old").mkdir(exist_ok=True)
    rest.rename(workspace.path(".old", "recordings"))  # killed between its two renames
    assert take_in(params, workspace, own)["up_to_date"]
    assert read_imported(workspace) == made


def test_another_workspace_gets_the_recordings_of_a_run_and_moves_with_it(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    own = write_own(tmp_path / "lab")
    take_in(params, workspace, own)
    pinned = pin(workspace)
    take_in(params, workspace, louder(own))
    place = Workspace(workspace.path("checkpoints", "speakers", "ann"))
    lay_out(workspace, workspace.path("validated", SNAPSHOT), place)
    assert read_imported(place).rows == tuple(pinned)
    moved = Workspace(tmp_path / "elsewhere")
    shutil.move(workspace.root, moved.root)
    there = Workspace(moved.path("checkpoints", "speakers", "ann"))
    check_readable(there, list(read_files(there.path("recordings")).rows))


def test_an_import_says_what_is_new_by_source_and_what_of_it_a_run_would_use(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    own = write_own(tmp_path / "lab-7")
    unused = take_in(params, workspace, own)
    assert (unused["new"], unused["new_in_data_sources"]) == ({"lab-7": 4}, {})
    assert unused["hint"] == "add lab-7 to data.sources in params.yaml to train on it"
    wider = params.model_copy(update={"data": params.data.model_copy(update={"sources": ["fsdd", "lab-*"]})})
    more = take_in(wider, workspace, louder(own))
    assert (more["new"], more["new_in_data_sources"]) == ({"lab-7": 1}, {"lab-7": 1}) and "hint" not in more
    assert read_manifest(workspace.path("recordings", "manifest.parquet")) == list(read_imported(workspace).rows)


def test_an_import_counts_only_what_a_run_picks_and_has_a_branch_for(
    params: Params, workspace: Workspace, tmp_path: Path
) -> None:
    def changed(branch: tuple[Sense, ...] = SENSES, **data: Any) -> Params:
        sizes = {sense: params.network.branch[sense] for sense in branch}
        network = params.network.model_copy(update={"branch": sizes})
        wanted = params.data.model_copy(update={"sources": ["fsdd", "lab*"], **data})
        return params.model_copy(update={"data": wanted, "network": network})

    own = write_own(tmp_path / "lab", n=12)
    (own / "recordings.csv").write_text(
        "id,label,split,imu\n" + "".join(f"t{i},yes,{'test' if i > 7 else 'train'},touch/{i}.csv\n" for i in range(12))
    )
    without = take_in(changed(branch=("audio", "events")), workspace, own)
    assert (without["new"], without["new_in_data_sources"]) == ({"lab": 12}, {})
    again = take_in(changed(), workspace, own, name="lab-2")
    assert again["new_in_data_sources"] == {"lab-2": 12}
    some = take_in(changed(most_per_class=3), workspace, own, name="lab-3")
    assert (some["new"], some["new_in_data_sources"]) == ({"lab-3": 12}, {"lab-3": 6})  # 3 of each split
    write_imu(own / "touch" / "12.csv", "t_us,acc_x[m/s^2]\n0,0.7\n10000,1.5\n20000,0.5\n")
    with (own / "recordings.csv").open("a") as table:
        table.write("t12,yes,train,touch/12.csv\n")
    one = take_in(changed(most_per_class=3, split="leave-out:nobody"), workspace, own, name="lab-3")
    assert (one["new"], one["new_in_data_sources"]) == ({"lab-3": 1}, {})  # the seed picks others
