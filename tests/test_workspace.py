"""A stage's folder is put in place whole or not at all: killed, run twice at once, on a full disk."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snn_fusion.errors import BadInput
from snn_fusion.workspace import STAMP, Workspace, digest, disk_errors, tree_digest, write_atomic

HEAD = """
import json, os, sys, time
from pathlib import Path
from snn_fusion.workspace import Workspace
ws = Workspace(Path(sys.argv[1]))
"""


def process(body: str, ws: Workspace) -> subprocess.Popen[str]:
    code = HEAD + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(ws.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def make(ws: Workspace, text: str, version: str = "1") -> dict[str, Any]:
    def work(out: Path) -> dict[str, Any]:
        (out / "result.txt").write_text(text)
        return {"text": text}

    return ws.build("stage", {"version": version}, work)


def files(ws: Workspace) -> dict[str, str]:
    folder = ws.path("stage")
    return {p.name: p.read_text() for p in folder.iterdir() if p.name != STAMP}


def leftovers(ws: Workspace) -> list[str]:
    return sorted(str(p.relative_to(ws.root)) for name in (".building", ".old") for p in ws.path(name).rglob("*"))


def test_same_inputs_are_not_worked_on_again(workspace: Workspace) -> None:
    assert make(workspace, "first") == {"text": "first", "up_to_date": False}
    assert make(workspace, "second") == {"text": "first", "up_to_date": True}
    assert make(workspace, "third", version="2") == {"text": "third", "up_to_date": False}
    assert files(workspace) == {"result.txt": "third"}
    assert leftovers(workspace) == []


def test_stamp_records_inputs_result_and_the_digest_of_the_files(workspace: Workspace) -> None:
    make(workspace, "first")
    stamp = workspace.stamp("stage")
    assert stamp["inputs"] == {"version": "1"} and stamp["result"] == {"text": "first"}
    workspace.path("stage", STAMP).unlink()
    assert stamp["digest"] == tree_digest(workspace.path("stage"))


def test_digest_depends_on_content_and_names_and_on_nothing_else(tmp_path: Path) -> None:
    digests = []
    for name, file, text in (("a", "f", "x"), ("b", "f", "x"), ("c", "g", "x"), ("d", "f", "y")):
        write_atomic(tmp_path / name / file, text)
        digests.append(tree_digest(tmp_path / name))
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_digest_keeps_parts_apart() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest(b"abc"), digest(["ab", "c"])}) == 5


def test_failing_work_leaves_the_earlier_result(workspace: Workspace) -> None:
    make(workspace, "first")

    def work(out: Path) -> dict[str, Any]:
        (out / "half.txt").write_text("half")
        raise BadInput("file: field", "is bad")

    with pytest.raises(BadInput, match="file: field: is bad"):
        workspace.build("stage", {"version": "2"}, work)
    assert files(workspace) == {"result.txt": "first"}
    assert leftovers(workspace) == []
    assert make(workspace, "again")["up_to_date"]


SLOW = """
def work(out):
    (out / "half.txt").write_text("half")
    Path(sys.argv[1], "reached").touch()
    for _ in range(600):  # a signal that comes right before one long sleep would be seen only after it
        time.sleep(0.1)
ws.build("stage", {"version": "2"}, work)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_the_middle_leaves_the_earlier_result_and_runs_again(workspace: Workspace, number: int) -> None:
    make(workspace, "first")
    with process(SLOW, workspace) as stage:
        wait_for(workspace.path("reached"))
        stage.send_signal(number)
        stage.wait(10)
    assert files(workspace) == {"result.txt": "first"}
    assert make(workspace, "second", version="2") == {"text": "second", "up_to_date": False}
    assert files(workspace) == {"result.txt": "second"}
    assert leftovers(workspace) == []


# Dies right before the n-th rename, whichever that is: of the stamp, of the old folder, of the new one.
DIES_AT_RENAME = """
count = 0
def dying(event, args):
    global count
    if event == "os.rename" and "stage" in str(args[0]):
        count += 1
        if count == {nth}:
            os.kill(os.getpid(), 9)
sys.addaudithook(dying)
def work(out):
    (out / "result.txt").write_text("second")
    return {{"text": "second"}}
ws.build("stage", {{"version": "2"}}, work)
"""


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_killed_at_any_rename_leaves_a_whole_result(workspace: Workspace, nth: int) -> None:
    make(workspace, "first")
    with process(DIES_AT_RENAME.format(nth=nth), workspace) as stage:
        assert stage.wait(20) == -signal.SIGKILL
    assert make(workspace, "first") == {"text": "first", "up_to_date": True}
    assert files(workspace) == {"result.txt": "first"}
    assert make(workspace, "second", version="2") == {"text": "second", "up_to_date": False}
    assert leftovers(workspace) == []


TURNS = """
def work(out):
    with open(Path(sys.argv[1], "turns"), "a") as turns:
        turns.write("in\\n"); turns.flush(); time.sleep(0.4); turns.write("out\\n")
    return {}
result = ws.build("stage", {"version": "1"}, work)
print(json.dumps(result))
"""


def test_two_at_once_work_once_and_both_get_the_result(workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True)
    both = [process(TURNS, workspace) for _ in range(2)]
    results = [json.loads(one.communicate(timeout=30)[0]) for one in both]
    assert sorted(result["up_to_date"] for result in results) == [False, True]
    assert workspace.path("turns").read_text() == "in\nout\n"


def test_the_one_who_waits_is_told_for_whom(workspace: Workspace) -> None:
    with process(SLOW, workspace) as holder:
        wait_for(workspace.path("reached"))
        with process("ws.build('other', {}, lambda out: {})", workspace) as waiting:
            assert waiting.stderr
            line = waiting.stderr.readline()
            holder.kill()
            waiting.communicate(timeout=20)
    assert f"process {holder.pid}" in line and "`stage`" in line
    assert waiting.returncode == 0


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 64 KB: what a full disk does, without filling one."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path, small_files: None) -> None:
    file = tmp_path / "file"
    write_atomic(file, "earlier")
    with pytest.raises(OSError):
        write_atomic(file, b"x" * 100_000)
    assert file.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KB of its own; mounting one takes root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_full_disk_is_named_with_a_remedy_and_loses_nothing(full_disk: Path) -> None:
    ws = Workspace(full_disk / "home")
    make(ws, "first")
    with pytest.raises(BadInput, match=r"No space left on device.*SNN_FUSION_HOME") as refused:
        make(ws, "x" * 500_000, version="2")
    assert str(full_disk) in refused.value.where
    assert files(ws) == {"result.txt": "first"}
    assert leftovers(ws) == []
    assert make(ws, "second", version="2")["text"] == "second"


def test_other_errors_of_the_system_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "absent").read_text()


def test_a_full_disk_is_recognised_where_a_library_wrapped_it(tmp_path: Path) -> None:
    for said in ("(sqlite3.OperationalError) database or disk is full", "[Errno 28] No space left on device: 'a'"):
        full = r"cannot write: (database or disk is full|No space left on device) \(free some space"
        with pytest.raises(BadInput, match=full), disk_errors(tmp_path):
            try:
                raise KeyError(said)
            except KeyError:
                raise RuntimeError("the library failed") from None
    with pytest.raises(RuntimeError, match="something else"), disk_errors(tmp_path):
        raise RuntimeError("something else")
    with pytest.raises(BadInput, match="as it was"), disk_errors(tmp_path):
        raise BadInput("as it was: No space left on device", "")


def test_unreadable_stamp_names_the_file_and_the_remedy(workspace: Workspace) -> None:
    make(workspace, "first")
    workspace.path("stage", STAMP).write_text('{"inputs": ')
    with pytest.raises(BadInput, match=r"stage\.json: not JSON: .*remove .*stage and run the stage again"):
        make(workspace, "second")


def test_a_stage_that_was_not_run_names_the_command(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match=r"has not been run .*snn-fusion train"):
        workspace.digest("trained")


def test_home_variable_moves_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SNN_FUSION_HOME", str(tmp_path / "elsewhere"))
    assert Workspace.default().root == tmp_path / "elsewhere"
    monkeypatch.delenv("SNN_FUSION_HOME")
    assert Workspace.default().root.name == "workspace"


def test_written_files_are_whole_for_a_reader_at_any_moment(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomic(file, "a" * 100_000)
    before = file.stat().st_ino
    write_atomic(file, "b" * 100_000)
    assert file.stat().st_ino != before
    assert set(file.read_text()) == {"b"}
