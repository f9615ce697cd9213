"""Options of the stack: kept between runs, and refused by name; an engine that is missing is said with its remedy."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from snn_fusion.deploy import engine, images, stack
from snn_fusion.deploy.engine import Engine, Stack
from snn_fusion.deploy.options import PROFILES, Options
from snn_fusion.errors import BadInput

GB = 10**9


def test_options_are_kept_and_only_those_given_change(tmp_path: Path) -> None:
    Options().changed(host="snn.example.org", https_port=8443, profiles=("pipeline", "celery")).save(tmp_path)
    again = Options.load(tmp_path).changed(host=None, https_port=9443, profiles=None)
    assert (again.host, again.https_port, again.profiles) == ("snn.example.org", 9443, ("pipeline", "celery"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": "Not a host"}, "--host: 'Not a host' is not a host name"),
        ({"http_port": 0}, "--http-port: is 0"),
        ({"http_port": 443}, "--https-port: is 443, as --http-port"),
        ({"profiles": ("pipelines",)}, "--profile: pipelines is not known"),
        ({"metrics_from": ("10.0.0.1/8",)}, "network: 10.0.0.1/8 has host bits set"),
        ({"subnet": "172.31.300"}, "--subnet: is '172.31.300'"),
        ({"data": "/nowhere"}, "--data: /nowhere: no such folder"),
        ({"backups": "/nowhere"}, "--backups: /nowhere: no such folder .mount the disk"),
        ({"second": "/proc/1"}, r"--second: /proc/1 belongs to user 0, and the containers run as user \d+ .chown"),
        ({"rate": 0}, "--rate: is 0"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_by_its_name(given: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Options().changed(**given)


@pytest.mark.parametrize("content", ["{", '{"host": 3}', '{"hosts": "a"}'])
def test_a_damaged_file_of_options_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    with pytest.raises(BadInput, match=r"stack\.json: cannot be used: .* \(delete it and give the options again\)"):
        Options.load(tmp_path)


def test_postgres_archives_its_log_only_where_the_container_that_makes_the_archive_runs(tmp_path: Path) -> None:
    archives = {
        profile: Options(profiles=(profile,)).environment(tmp_path, "1")["SNN_FUSION_ARCHIVE"] for profile in PROFILES
    }
    assert {profile for profile, archive in archives.items() if archive == "yes"} == {"backup"}


def test_no_secret_is_in_what_compose_is_given(tmp_path: Path) -> None:
    given = Options().environment(tmp_path, "1")
    assert not [name for name in given if "PASSWORD" in name or "TOKEN" in name or "SECRET" in name]


def test_without_docker_the_remedy_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"docker: is not installed \(install it: https://docs\.docker\.com"):
        engine.find()


def test_a_docker_without_an_engine_is_told_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path / "docker", 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"its engine cannot be used: Cannot connect .*\(start it"):
        engine.find()


def test_a_client_without_buildx_is_passed_over_for_one_that_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = '[ "$1" = info ] && { echo \'{"MemTotal": 9, "DockerRootDir": "/d"}\'; exit 0; }\n'
    old = 'case "$1" in version) echo 20.10.24;; compose) echo 5.6.1;; *) exit 1;; esac'
    for folder, script in (("new", 'case "$1" in version) echo 28.2.2;; *) exit 1;; esac'), ("old", old)):
        (tmp_path / folder).mkdir()
        _program(tmp_path / folder / "docker", info + script)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "new"), str(tmp_path / "old")]))
    found = engine.find()
    assert found.docker == str(tmp_path / "old" / "docker") and found.memory == 9
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "new")]))
    with pytest.raises(BadInput, match="cannot build with BuildKit"):
        engine.find()


def test_too_little_memory_and_a_port_in_use_are_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large = (Engine("docker", ("compose",), memory, "/nowhere") for memory in (2 * GB, 64 * GB))
    monkeypatch.setattr(Stack, "containers", lambda self: {})
    nothing = Stack(large, Path("compose.yaml"), "1", "", (), {})
    with pytest.raises(BadInput, match=r"docker: has 2 GB of memory, these profiles need 12"):
        stack.check_room(small, Options(), nothing)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"--https-port: {port} on 127\.0\.0\.1 cannot be used: Address already in"):
            stack.check_room(large, Options(bind="127.0.0.1", http_port=1, https_port=port), nothing)


def test_a_tag_is_of_what_the_images_are_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNN_FUSION_TAG", raising=False)
    before = images.tag()
    assert images.tag() == before
    monkeypatch.setenv("SNN_FUSION_BASE", "mirror.example.org/debian:bookworm-slim")
    assert images.tag() != before
    monkeypatch.setenv("SNN_FUSION_TAG", "1.2.3")
    assert images.tag() == "1.2.3"


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
