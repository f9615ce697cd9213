"""Processes that are kept alive: real ones, killed in every way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.registry import log_files
from snn_fusion.registry.log_files import RotatingLog, new_run_log, prune
from snn_fusion.registry.processes import end_all, left_of, started
from snn_fusion.registry.services import Service, Services, end_leftovers
from snn_fusion.workspace import Workspace

# Starts a child in its own session, as Airflow does for tasks, and one in ours; says so, and sleeps.
PARENT = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
subprocess.Popen(sleep); subprocess.Popen(sleep, start_new_session=True)
print("up", flush=True)
time.sleep(300)
"""


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service("parent", [sys.executable, "-c", PARENT], os.environ, tmp_path / "parent.log")
    wait_for(lambda: "up" in made.log_file.read_text())
    yield made
    made.stop()


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if started(pid) is not None]


def test_a_killed_process_is_started_again_later_each_time_and_what_it_left_is_ended(service: Service) -> None:
    pauses = []
    for _ in range(2):
        killed = service.pid
        members = [one.pid for one in left_of(killed, service.since)]
        assert len(members) == 3
        os.kill(killed, signal.SIGKILL)
        said = ""
        while not said:
            said = service.keep_alive() or ""
        assert "parent ended by SIGKILL; it is started again in" in said
        # A child in a session of its own cannot be told from a stranger's once its parent is gone.
        mine = [pid for pid in members if pid == killed or started(pid) is None or os.getsid(pid) == killed]
        assert len(mine) >= 2 and not alive(mine)
        end_all([psutil.Process(pid) for pid in alive(members)])
        pauses.append(float(said.split(" in ")[1].split(" s")[0]))
        wait_for(lambda: service.keep_alive() == f"parent runs again, as process {service.pid}")
        assert service.pid != killed
        wait_for(lambda: len(left_of(service.pid, service.since)) == 3)
    assert pauses == [1, 2]


def test_stopping_ends_children_also_those_in_sessions_of_their_own(service: Service) -> None:
    members = [one.pid for one in left_of(service.pid, service.since)]
    service.stop()
    assert len(members) == 3 and not alive(members)


def test_a_process_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    bad = Service("bad", [sys.executable, "-c", "raise SystemExit('no database')"], os.environ, tmp_path / "bad.log")
    with pytest.raises(SnnFusionError, match=r"(?s)bad ended with exit code 1; the end of .*bad.log:\n.*no database"):
        wait_for(lambda: bad.check_alive())
    bad.stop()


KILLED = """
import os, signal, sys
from pathlib import Path
from snn_fusion.registry.services import Service, Services
sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
with Services(Path(sys.argv[1])) as services:
    services.add(Service("sleeper", sleep, os.environ, Path(sys.argv[1] + ".log")))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_start_ends_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    record = tmp_path / "ui.json"
    done = subprocess.run([sys.executable, "-c", KILLED, str(record)], capture_output=True, text=True, timeout=100)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = json.loads(record.read_text())["services"]
    assert alive([left["pid"]])
    stranger = json.loads(record.read_text())
    stranger["services"][0]["since"] -= 100  # the number was given to another process since
    record.write_text(json.dumps(stranger))
    assert end_leftovers(record, "snn-fusion ui") == [] and alive([left["pid"]])
    record.write_text(json.dumps({**stranger, "services": [left]}))
    assert end_leftovers(record, "snn-fusion ui") == ["sleeper"]
    assert not alive([left["pid"]]) and not record.exists()


def test_a_second_one_beside_the_first_is_refused(tmp_path: Path) -> None:
    record = tmp_path / "ui.json"
    with Services(record), pytest.raises(BadInput, match=rf"already running, as process {os.getpid()}"):
        end_leftovers(record, "snn-fusion ui")
    assert end_leftovers(record, "snn-fusion ui") == []


def test_a_log_is_appended_to_and_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "MAX_BYTES", 1000)
    for start in range(2):
        log = RotatingLog(tmp_path / "x.log")
        for n in range(20):
            log.write(f"start {start}, line {n}\n")
        log.close()
    assert "start 0, line 0\nstart 0, line 1\n" in (tmp_path / "x.log").read_text()
    for n in range(1000):
        log = RotatingLog(tmp_path / "x.log") if n == 0 else log
        log.write(f"more {n}")
    log.close()
    files = sorted(one.name for one in tmp_path.iterdir())
    assert files == ["x.log", "x.log.1", "x.log.2", "x.log.3", "x.log.4"]
    assert all(one.stat().st_size <= 1000 for one in tmp_path.iterdir())


def test_logs_of_runs_overwrite_none_and_the_oldest_go(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "RUNS", 3)
    logs = workspace.path("logs")
    made = [new_run_log(logs, "retrain-20260101-020000") for _ in range(5)]
    assert len(set(made)) == 5
    runs = [workspace.path("airflow", "logs", "dag_id=retrain", f"run_id={n}", "task_id=x", "1.log") for n in range(5)]
    days = [workspace.path("airflow", "logs", "dag_processor", day, "x.log") for day in ("2026-01-01", "2026-01-02")]
    for n, file in enumerate([*made, *runs]):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        at = file if file in made else file.parents[1]
        os.utime(at, (n, n))
    for file in days:
        file.parent.mkdir(parents=True)
        file.write_text("x")
    os.utime(days[0].parent, (0, 0))
    prune(workspace)
    assert [file.exists() for file in made] == [file.exists() for file in runs] == [False] * 2 + [True] * 3
    assert [file.exists() for file in days] == [False, True]
