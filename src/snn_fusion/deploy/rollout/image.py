"""The image that is to run: does it exist, is it the service's, and does it fit the database?"""

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
texts = [path.read_text() for path in folder.glob("*.py")]
def named(key):
    return {name for text in texts for name in re.findall(rf'^{key}(?:: [^=]+)? = "(\\w+)"', text, re.M)}
print(*(named("revision") - named("down_revision")))
"""


@dataclass(frozen=True)
class Image:
    """`digest` is the engine's; `name` is what the user calls it."""

    name: str
    digest: str

    @property
    def short(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]


def find(engine: Engine, name: str) -> Image:
    """The image of the service with this name. Raises BadInput."""
    try:
        description: dict[str, Any] = json.loads(engine.run("image", "inspect", name))[0]
    except SnnFusionError:
        build = f"docker build --file docker/Dockerfile --target service --tag {name} ."
        raise BadInput("--image", f"{name}: no such image here", f"docker pull {name}, or {build}") from None
    title = ((description.get("Config") or {}).get("Labels") or {}).get(TITLE)
    if title != REPOSITORY:
        what = f"{name} is {f'the image {title}' if title else 'no image of this project'}"
        raise BadInput("--image", what, f"an image of docker/Dockerfile's target `service`, such as {REPOSITORY}:TAG")
    return Image(name, description["Id"])


def pin(engine: Engine, image: Image) -> str:
    """Tag it by its digest: a name that no later build takes, and that keeps it from being pruned. Returns the name."""
    name = f"{REPOSITORY}:id-{image.short}"
    engine.run("image", "tag", image.digest, name)
    return name


def check_schema(stack: Stack, image: Image) -> None:
    """Raises BadInput if the registry's database has another schema than the image's MLflow is made for."""
    run = ["run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python", image.digest, "-c", SCHEMA]
    try:
        expected = stack.engine.run(*run).strip()
    except SnnFusionError as error:
        raise BadInput("--image", f"{image.name}: its schema cannot be read: {error}", "build it again") from None
    sql = "SELECT version_num FROM alembic_version"
    command = ["psql", "--no-psqlrc", "-h", "/tmp", "-U", "postgres", "-d", "mlflow", "-Atc", sql]
    current = stack.run("exec", "-T", "postgres", *command).strip()
    if current != expected:
        made_for = expected or "an unknown version"
        what = f"{image.name} is made for version {made_for} of the registry's schema, the database has {current}"
        remedy = "an image of the stack's own release; `snn-fusion up` of another release migrates the database first"
        raise BadInput("--image", what, remedy)
