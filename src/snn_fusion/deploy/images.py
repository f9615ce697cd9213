"""The images of docker/Dockerfile: built once for what they are made of, and named by its digest."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from snn_fusion.deploy.engine import Engine
from snn_fusion.deploy.secret_files import user_id
from snn_fusion.errors import SnnFusionError
from snn_fusion.registry.processes import ALONE
from snn_fusion.workspace import file_digest, git_commit, project_root

# All that an image may be made of, as .dockerignore lets it through.
SOURCES = ("dags", "docker", "scripts", "src", "toolchains")
FILES = (
    ".dvc/config",
    ".dvcignore",
    "LICENSE",
    "README.md",
    "dvc-options.yaml",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
    "requirements.lock",
)
LEFT_OUT = {".venv", "__pycache__", "state", "wheels"}
CORE = ("service", "mlflow", "postgres", "redis", "nginx")
OF_PROFILE = {
    "pipeline": ("pipeline",),
    "celery": ("pipeline",),
    "monitoring": ("monitoring", "pipeline"),
    "backup": ("backup",),
}
BASE = "SNN_FUSION_BASE"  # environment variables that go into the build
TAG = "SNN_FUSION_TAG"
TORCH_INDEX = "SNN_FUSION_TORCH_INDEX"


def needed(profiles: tuple[str, ...]) -> list[str]:
    """The images that core and `profiles` start."""
    return list(dict.fromkeys([*CORE, *(image for name in profiles for image in OF_PROFILE.get(name, ()))]))


def tag() -> str:
    """$SNN_FUSION_TAG, for images that are there already; else the release and a digest of what they are made of."""
    if given := os.environ.get(TAG):
        return given
    root, state = project_root(), hashlib.sha256()
    for path in [*(root / name for name in FILES), *_files(root)]:
        state.update(f"{path.relative_to(root)}\0{file_digest(path)}\n".encode())
    state.update(f"{user_id()} {os.environ.get(BASE, '')}".encode())
    return f"{version('snn-fusion')}-{state.hexdigest()[:12]}"


def _files(root: Path) -> Iterator[Path]:
    for source in SOURCES:
        for folder, folders, names in os.walk(root / source):
            folders[:] = sorted(set(folders) - LEFT_OUT)
            yield from (Path(folder) / name for name in sorted(names))


def build(engine: Engine, image: str, tag: str, say: Callable[[str], None]) -> str:
    """Build snn-fusion/IMAGE:TAG unless it is there; its full name. Raises SnnFusionError with the end of the log."""
    name = f"snn-fusion/{image}:{tag}"
    if engine.has_image(name):
        return name
    say(f"building {name}")
    root = project_root()
    arguments = {"USER_ID": str(user_id()), "VERSION": version("snn-fusion"), "REVISION": git_commit() or "unknown"}
    chosen = {"BASE": os.environ.get(BASE), "TORCH_INDEX": os.environ.get(TORCH_INDEX)}
    arguments |= {key: value for key, value in chosen.items() if value}
    command = [engine.docker, "build", "--file", str(root / "docker" / "Dockerfile"), "--target", image, "--tag", name]
    for key, value in arguments.items():
        command += ["--build-arg", f"{key}={value}"]
    with ExitStack() as stack:
        for secret, path in _secrets(stack).items():
            command += ["--secret", f"id={secret},src={path}"]
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run([*command, str(root)], env=environment, stdout=log, stderr=subprocess.STDOUT)
        if done.returncode:
            log.seek(0)
            tail = "\n".join(log.read().splitlines()[-40:])
            raise SnnFusionError(f"docker build of {name} failed:\n{tail}")
    return name


def bring_torch() -> None:
    """Copy torch's CPU wheel from the folders of pip's find-links into docker/wheels, where one of them has it."""
    place = project_root() / "docker" / "wheels"
    if any(place.glob("torch-*.whl")):
        return
    for folder in _pip_setting("find-links"):
        for wheel in Path(folder).glob("torch-*+cpu-*.whl") if Path(folder).is_dir() else ():
            shutil.copy(wheel, place)


def _secrets(stack: ExitStack) -> dict[str, Path]:
    """What pip needs to reach its index from here: certificate authorities, and a URL that may hold a password."""
    secrets = {}
    authorities = os.environ.get("PIP_CERT") or next(iter(_pip_setting("cert")), None)
    if authorities and Path(authorities).is_file():
        secrets["ca"] = Path(authorities)
    if index := next(iter(_pip_setting("index-url")), None):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # which nobody else can look into
        (folder / "index").write_text(index)
        secrets["index"] = folder / "index"
    return secrets


def _pip_setting(name: str) -> list[str]:
    """Values of one of pip's settings, from its files and its environment variable."""
    command = [sys.executable, *ALONE, "-m", "pip", "config", "list"]
    asked = subprocess.run(command, capture_output=True, text=True).stdout
    values = re.findall(rf"^(?:global|install|:env:)\.{name}='(.*)'$", asked, re.M)
    return list(dict.fromkeys(" ".join(values).replace("\\n", " ").split()))
