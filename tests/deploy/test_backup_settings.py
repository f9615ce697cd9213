"""Settings, passwords and the schedule of backups: what is refused, and what is due when."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from snn_fusion.backup import drill, state
from snn_fusion.backup.cluster import BackupSet, StanzaInfo, backup_type
from snn_fusion.backup.observed import differences
from snn_fusion.backup.password import check, create_on_first_use, default_password_file, password_file
from snn_fusion.backup.recovery import damage
from snn_fusion.backup.restore import parse_moment
from snn_fusion.backup.schedule import deadline_file, next_command, schedule
from snn_fusion.backup.settings import Settings
from snn_fusion.backup.tools import human_bytes
from snn_fusion.errors import BadInput, SnnFusionError
from snn_fusion.workspace import Workspace

SCRIPTS = Path(__file__).resolve().parents[2] / "docker" / "backup"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"SNN_FUSION_BACKUP_PLAEC": "/x"},
            "PLAEC: is not known .there are: SNN_FUSION_BACKUP_PLACE",
        ),
        ({"SNN_FUSION_BACKUP_KEEP_DAYS": "0"}, "KEEP_DAYS: is '0' .a whole number, 1 or more"),
        ({"SNN_FUSION_BACKUP_EVERY_S": "5"}, "EVERY_S: is '5' .a whole number, 60 or more"),
        ({"SNN_FUSION_BACKUP_DAILY": "25:00"}, "DAILY: is '25:00' .a time of day in UTC"),
        ({"SNN_FUSION_BACKUP_BY": "cron"}, "BY: is 'cron' .container"),
        ({"RESTIC_PASSWORD": "x" * 20}, "RESTIC_PASSWORD: a password in the environment"),
        ({"SNN_FUSION_BACKUP_PASSWORD": "x" * 20}, "write it to a file of mode 600"),
        ({"SNN_FUSION_BACKUP_PLACE": "rest:https://me:pw@host/"}, "holds a password.*SNN_FUSION_BACKUP_PLACE_FILE"),
        ({"SNN_FUSION_BACKUP_PLACE_FILE": "/none"}, "PLACE_FILE: /none cannot be read: No such file"),
        ({"SNN_FUSION_BACKUP_PLACE": "/dev/null"}, "PLACE: /dev/null is a file .name a folder"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(variables: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        Settings.from_environment(environment=variables)
    assert "pw@" not in str(refused.value) and "xxx" not in str(refused.value)


def test_settings_come_from_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("rest:https://me:pw@host/\n")
    found = Settings.from_environment(
        environment={
            "SNN_FUSION_BACKUP_PLACE_FILE": str(tmp_path / "place"),
            "SNN_FUSION_BACKUP_SECOND": "sftp:host:/backups",
            "RESTIC_PASSWORD_FILE": "/run/secrets/backup_password",
            "SNN_FUSION_BACKUP_CONFIGURATION": "/config:/run/secrets",
        }
    )
    assert found.place == "rest:https://me:pw@host/" and found.second == "sftp:host:/backups"
    assert found.password == Path("/run/secrets/backup_password") and found.keep_days == 30
    assert found.configuration == (Path("/config"), Path("/run/secrets"))
    assert Settings.from_environment("sub/folder", {}).place == str(Path.cwd() / "sub" / "folder")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("short", 0o600, "has 5 characters, not 16 or more .make one: .umask 077; head"),
        ("ab" * 10, 0o600, "only 2 characters of the password differ"),
        ("", 0o600, "has 0 characters"),
        ("a-fine-password-0123", 0o644, "everybody can read .* .mode 644. .chmod 600"),
    ],
)
def test_a_weak_or_open_password_is_refused_without_repeating_it(
    tmp_path: Path, content: str, mode: int, said: str
) -> None:
    file = tmp_path / "password"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(BadInput, match=said) as refused:
        check(file)
    assert not content or content not in str(refused.value)


def test_a_password_is_made_on_first_use_and_never_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    settings = Settings(place=str(tmp_path / "place"))
    with pytest.raises(BadInput, match="backup-password: there is no such file, and without the password no backup"):
        password_file(settings)
    assert create_on_first_use(settings) == default_password_file()
    text = default_password_file().read_text()
    assert default_password_file().stat().st_mode & 0o777 == 0o600 and len(text) > 40
    assert create_on_first_use(settings) is None and default_password_file().read_text() == text
    default_password_file().unlink()
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "config").touch()  # backups that were made with a password which is not here
    assert create_on_first_use(settings) is None
    assert create_on_first_use(Settings(place="s3:bucket")) is None


@pytest.mark.parametrize(
    ("whole_h", "ok", "snapshot_s", "expected"),
    [
        (None, False, None, "backup"),  # never
        (12, True, 30, "backup"),  # of yesterday, 01:00 has passed since
        (10, True, 300, "backup --quick"),
        (10, True, 100, None),
        (10, True, None, "backup --quick"),
        (0.01, True, None, None),
        (0.6, False, 10, "backup"),  # one that failed is tried again
        (0.1, False, 300, "backup --quick"),
    ],
)
def test_what_is_due(whole_h: float | None, ok: bool, snapshot_s: int | None, expected: str | None) -> None:
    whole = NOON - timedelta(hours=whole_h) if whole_h is not None else None
    snapshot = NOON - timedelta(seconds=snapshot_s) if snapshot_s is not None else None
    assert next_command(NOON, Settings(daily="01:00"), whole, ok, snapshot) == expected


def test_the_schedule_runs_what_is_due_and_a_drill_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ws, ran, well = Workspace(tmp_path / "home"), list[str](), list[float]()

    def run(command: str) -> None:
        ran.append(command)
        well.append(float(deadline_file().read_text()))  # the health check knows how long this may take
        if command == "backup":
            state.note(ws, "backup", ok=True, bytes=1, verified=True)
            (ws.root / "backups" / "drill.request").write_text("now")
        if command == "drill":
            state.note(ws, "drill", ok=True, seconds=1.0)

    monkeypatch.setattr("snn_fusion.backup.schedule.POLL_S", 0.0)
    schedule(ws, Settings(), run, rounds=3)
    assert ran == ["backup", "backup --quick", "drill"] and not (ws.root / "backups" / "drill.request").exists()
    now = datetime.now(UTC).timestamp()
    assert well[0] > now + 3600 and now < float(deadline_file().read_text()) < now + 600


def test_a_drill_that_the_container_does_is_asked_for_and_its_end_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws, request = Workspace(tmp_path), tmp_path / "backups" / "drill.request"
    verdict = {"ok": True}

    def container(_seconds: float) -> None:
        state.note(ws, "drill", seconds=2.5, error="" if verdict["ok"] else "damaged", **verdict)
        request.unlink()

    monkeypatch.setattr("time.sleep", container)
    assert drill.request(ws)["seconds"] == 2.5
    verdict["ok"] = False
    with pytest.raises(SnnFusionError, match="the backup container: damaged"):
        drill.request(ws)
    monkeypatch.undo()
    with pytest.raises(SnnFusionError, match="has not answered within 0 h: is it running"):
        drill.request(ws, limit_s=0)


def test_the_state_is_what_the_exporter_reads(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    state.note(ws, "backup", ok=True, bytes=12, verified=True)
    state.note(ws, "drill", ok=False, seconds=3.0, error="the champion is another")
    found = state.read(ws)
    assert {name: type(value) for name, value in found["backup"].items()} == {
        "at": str,
        "ok": bool,
        "bytes": int,
        "verified": bool,
        "error": str,
    }
    assert found["drill"]["ok"] is False and found["drill"]["error"] == "the champion is another"
    assert datetime.fromisoformat(found["backup"]["at"]).tzinfo is not None
    state.path(ws).write_text("{half a fi")
    assert state.read(ws) == {} and state.when(ws, "backup") is None


def test_what_differs_is_said() -> None:
    champion = {"version": "3", "graph_digest": "aa", "weights_digest": "bb", "network_digest": "cc"}
    expected = {
        "champion": champion,
        "record": {"decisions": 2, "last": "ff"},
        "answers": {"a": {"label": "7", "scores": [1.0, 2.0]}, "b": {"label": "1", "scores": [3.0, 0.0]}},
    }
    assert differences(expected, expected) == []
    near = {"a": {"label": "7", "scores": [1.0, 2.0000001]}, "b": {"label": "1", "scores": [3.0, 0.0]}}
    assert differences(expected, expected | {"answers": near}) == []
    other = expected | {"champion": champion | {"version": "2"}, "record": None, "answers": {"a": near["b"]}}
    assert differences(expected, other) == [
        "champion: version 2, graph_digest aa, weights_digest bb, network_digest cc instead of "
        "version 3, graph_digest aa, weights_digest bb, network_digest cc",
        "record: none instead of decisions 2, last ff",
        "1 recordings are missing, b first",
        "1 of 2 recordings get another answer, a first",
    ]


def test_a_full_backup_a_week_and_differences_between() -> None:
    def known(*sets: tuple[int, bool]) -> StanzaInfo:
        made = [BackupSet(1, "x", full, NOON - timedelta(days=days), "0/1", 1, 1) for days, full in sets]
        return StanzaInfo({1: 0, 2: 0}, "15", "15-1", 1, tuple(made))

    assert backup_type(known(), 1, NOON) == "full"
    assert backup_type(known((6, True)), 1, NOON) == "diff"
    assert backup_type(known((7, True), (1, False)), 1, NOON) == "full"
    assert backup_type(known((6, True)), 2, NOON) == "full"  # the second repository has none yet


def test_why_postgres_did_not_recover_is_read_from_its_log() -> None:
    log = (
        "2026-11-30 18:58:23.835 P00  ERROR: [042]: unable to get 000000010000000000000005:\n"
        "              repo1: 15-1/0000000100000000/000000010000000000000005-51.zst [FormatError] zst error\n"
        "2026-11-30 18:58:23.836 UTC [8288] LOG:  redo done at 0/4000150 system usage: CPU: user: 0.00 s\n"
        "2026-11-30 18:58:23.836 UTC [8288] FATAL:  recovery ended before configured recovery target was reached\n"
    )
    found = damage(log)
    assert found.reached == "0/4000150"
    assert "000000010000000000000005-51.zst [FormatError]" in str(found) and "recovery ended before" in str(found)


def test_a_moment_is_of_the_local_time_zone_unless_it_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_moment("2026-03-01T13:30:00Z") == datetime(2026, 3, 1, 13, 30, tzinfo=UTC)
    assert parse_moment("2026-03-01T14:30").utcoffset() is not None
    with pytest.raises(BadInput, match=r"--at: 'yesterday' is no moment .for example 2026-03-01T14:30"):
        parse_moment("yesterday")


def test_bytes_are_said_as_people_read_them() -> None:
    assert [human_bytes(count) for count in (999, 1500, 2e9, 3e15)] == ["999 B", "1.5 KB", "2.0 GB", "3000.0 TB"]


def test_the_container_is_well_while_its_schedule_comes_round(tmp_path: Path) -> None:
    def well() -> bool:
        env = os.environ | {"TMPDIR": str(tmp_path)}
        return subprocess.run([SCRIPTS / "healthy.sh"], env=env, capture_output=True).returncode == 0

    assert not well()
    for seconds in (60, -1):
        (tmp_path / deadline_file().name).write_text(f"{time.time() + seconds:.0f}\n")
        assert well() == (seconds > 0)


def test_the_cipher_of_pgbackrest_comes_from_the_secret_into_a_file_of_ours(tmp_path: Path) -> None:
    def write(password: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "secret").write_text(password + "\n")
        env = os.environ | {
            "SNN_FUSION_BACKUP_PASSWORD_FILE": str(tmp_path / "secret"),
            "PGBACKREST_CONFIG_INCLUDE_PATH": str(tmp_path / "conf"),
            **variables,
        }
        return subprocess.run([SCRIPTS / "cipher.sh"], env=env, capture_output=True, text=True)

    done, made = write("3pCg/+5yTmH2wq_a-Zk="), tmp_path / "conf" / "cipher.conf"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert made.read_text() == "[global]\nrepo1-cipher-pass=3pCg/+5yTmH2wq_a-Zk=\n"
    assert made.stat().st_mode & 0o777 == 0o600
    done = write("3pCg/+5yTmH2wq_a-Zk=", SNN_FUSION_BACKUP_SECOND="/second/files")
    assert done.returncode == 0 and "\nrepo2-path=/second/postgres\n" in made.read_text()
    assert made.read_text().count("cipher-pass=3pCg/+5yTmH2wq_a-Zk=\n") == 2
    for password, said in (("short", "has 5 characters, not 16"), ("two words and more", "letters, digits and _")):
        refused = write(password)
        assert refused.returncode == 2 and said in refused.stderr and password not in refused.stderr
