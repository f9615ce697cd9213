"""`snn-fusion evaluate` as it is typed: exit codes, what goes to standard output and what to standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snn_fusion.cli import main

from .conftest import MakeGraph

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `snn-fusion evaluate ARGUMENTS`: exit code, standard output, standard error."""
    monkeypatch.setenv("SNN_FUSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["snn-fusion", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


def test_json_on_standard_output_is_nothing_but_json(run: Run, graph_folder: Path, folder: Path) -> None:
    code, out, err = run("--data", folder, "--model", graph_folder, "--json", "-")
    assert code == 0
    assert json.loads(out)["accuracy"]["clean"]["fused"]["n"] == 20
    assert "missing_events" in err
    shares = "in the window, of what went on in the recordings: audio 100.0%, events 100.0%, imu 100.0%"
    assert shares in err


def test_json_goes_to_a_file_and_the_summary_to_the_terminal(
    run: Run, graph_folder: Path, folder: Path, tmp_path: Path
) -> None:
    code, out, _ = run("--data", folder, "--model", graph_folder, "--json", tmp_path / "out.json")
    assert code == 0 and "hard conditions" in out
    assert json.loads((tmp_path / "out.json").read_text())["schema"] == 1


def test_what_is_wrong_exits_2_and_says_what_and_where(
    run: Run, make_graph: MakeGraph, graph_folder: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    strange = make_graph(classes=("left", "right"))
    cases = [
        (("--data", tmp_path / "empty", "--model", graph_folder), str(tmp_path / "empty")),
        (("--data", tmp_path / "nowhere", "--model", graph_folder), "no such folder"),
        (("--data", folder, "--model", tmp_path / "empty"), "graph"),
        (("--data", folder, "--model", strange), "it knows: left, right"),
        (("--data", folder, "--model", graph_folder, "--json", tmp_path), "is a folder"),
        ((), "this stage has not been run"),
    ]
    for arguments, said in cases:
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and said in err, (arguments, err)


def test_unknown_labels_are_named_before_pytorch_is_imported_and_a_recording_read(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    """Which takes seconds; of the file that is listed, no more than its name is looked at."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "one.wav").write_bytes(b"no sound")
    (tmp_path / "lab" / "recordings.csv").write_text("id,label,audio\none,upwards,one.wav\n")
    lines = [
        "import sys",
        "from pathlib import Path",
        "from snn_fusion.benchmark.stage import evaluate_folder",
        "from snn_fusion.errors import BadInput",
        "try:",
        "    evaluate_folder(None, None, Path(sys.argv[1]), Path(sys.argv[2]))",
        "except BadInput as error:",
        "    assert 'torch' not in sys.modules and 'numba' not in sys.modules",
        "    print(error)",
    ]
    words = [sys.executable, "-c", "\n".join(lines), make_graph(classes=("left", "right")), tmp_path / "lab"]
    said = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True, timeout=120).stdout
    assert "1 recordings: label: unknown to the network" in said and "one (one.wav): 'upwards'" in said
    assert "it knows: left, right" in said
