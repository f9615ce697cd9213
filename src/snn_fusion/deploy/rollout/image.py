"""The image that is to run: is it there, is it of the service, and does it fit the database?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from snn_fusion.deploy.engine import Engine, Stack
from snn_fusion.errors import BadInput, SnnFusionError

REPOSITORY = "snn-fusion/service"
TITLE = "org.opencontainers.image.title"
# Prints the version of the database's schema that the image's MLflow is made for, from its own migrations: the one that
# no other follows. Nothing of MLflow is imported.
SCHEMA = """
import importlib.util, pathlib, re
folder = pathlib.Path(importlib.util.find_spec("mlflow").origin).parent / "store" / "db_migrations" / "versions"
texts = [one.read_text() for one in folder.glob("*.py")]
def all_named(key):
    return {name for text in texts for name in re.findall(rf'^{key}(?:: [^=]+)? = "(\\w+)"', text, re.M)}
print(*(all_named("revision") - all_named("down_revision")))
"""


@dataclass(frozen=True)
class Image:
    """`digest` is the engine's; `name` what it was asked for by."""

    name: str
    digest: str

    @property
    def pinned(self) -> str:
        """A name that no later build gives to another image."""
        return f"{REPOSITORY}:id-{self.digest.removeprefix('sha256:')[:12]}"


def find(engine: Engine, name: str) -> Image:
    """The image of the service that has this name here. Raises BadInput."""
    try:
        found: dict[str, Any] = json.loads(engine.run("image", "inspect", name))[0]
    except SnnFusionError:
        remedy = (
            f"docker pull {name}, or build it: docker build --file docker/Dockerfile --target service --tag {name} ."
        )
        raise BadInput("--image", f"{name}: no such image here", remedy) from None
    title = ((found.get("Config") or {}).get("Labels") or {}).get(TITLE)
    if title != REPOSITORY:
        what = f"{name} is {f'the image {title}' if title else 'no image of this project'}"
        raise BadInput("--image", what, f"one of docker/Dockerfile's target `service`, such as {REPOSITORY}:TAG")
    return Image(name, found["Id"])


def keep(engine: Engine, image: Image) -> str:
    """Give it its pinned name, so that it is not removed as one without a name; that name."""
    engine.run("image", "tag", image.digest, image.pinned)
    return image.pinned


def check_schema(stack: Stack, image: Image) -> None:
    """Raises BadInput if the registry's database has another schema than the image's MLflow is made for."""
    run = ["run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python", image.digest, "-c", SCHEMA]
    try:
        expected = stack.engine.run(*run).strip()
    except SnnFusionError as error:
        raise BadInput("--image", f"{image.name} cannot be asked for its schema: {error}", "build it again") from None
    sql = "SELECT version_num FROM alembic_version"
    command = ["psql", "--no-psqlrc", "-h", "/tmp", "-U", "postgres", "-d", "mlflow", "-Atc", sql]
    found = stack.run("exec", "-T", "postgres", *command).strip()
    if found != expected:
        made_for = expected or "an unknown version"
        what = f"{image.name} is made for {made_for} of the registry's schema, the database has {found}"
        remedy = (
            "an image of the same release as the stack; `snn-fusion up` of another release migrates the database first"
        )
        raise BadInput("--image", what, remedy)
