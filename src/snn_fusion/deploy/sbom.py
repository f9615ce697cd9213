"""What an image is made of, as a CycloneDX 1.6 bill of materials: Debian's packages and Python's.

The packages are read from the image itself, not from the files that it was built from.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from snn_fusion.deploy.engine import Engine
from snn_fusion.errors import SnnFusionError
from snn_fusion.workspace import disk_errors, write_atomic

# Of the head of a METADATA file, whose lines may end in Windows' way.
NAME_AND_VERSION = (
    r"""{sub(/\r$/, "")} /^Name:/ {n = $2} /^Version:/ {v = $2} /^$/ {exit} END {print "pypi", n, v, "any"}"""
)
# Of an image without Python, too: a line for each package, its fields apart by a blank, which none of them can hold.
LIST = rf"""
dpkg-query --show --showformat='deb ${{Package}} ${{Version}} ${{Architecture}}\n'
find / -xdev -path '*.dist-info/METADATA' 2>/dev/null | while read -r file; do
    awk '{NAME_AND_VERSION}' "$file"
done
"""


def write(engine: Engine, image: str, folder: Path) -> Path:
    """Write folder/NAME.cdx.json for the image `snn-fusion/NAME:TAG`, unless that is there for this very image.

    Raises SnnFusionError if the image cannot run.
    """
    about = json.loads(engine.run("image", "inspect", image))[0]
    path = folder / f"{image.rpartition('/')[2].partition(':')[0]}.cdx.json"
    if path.exists() and json.loads(path.read_bytes())["serialNumber"] == serial_number(about):
        return path
    isolated = ("--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--entrypoint=sh")
    listed = engine.run("run", *isolated, image, "-c", LIST)
    with disk_errors(folder):
        write_atomic(path, json.dumps(bill(image, about, listed), indent=1) + "\n")
    return path


def bill(image: str, about: dict[str, Any], listed: str) -> dict[str, Any]:
    """The bill of `image` from `docker image inspect` and the lines of LIST. Raises SnnFusionError for another line."""
    components = []
    for line in sorted(set(listed.splitlines())):
        fields = line.split()
        if len(fields) != 4:
            raise SnnFusionError(f"{image}: a package without name or version: {line!r}")
        components.append(component(*fields))
    name, _, tag = image.rpartition(":")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(about),
        "version": 1,
        "metadata": {
            "timestamp": about["Created"],
            "component": {"type": "container", "bom-ref": "image", "name": name, "version": tag},
            "properties": [{"name": "docker:image:id", "value": about["Id"]}],
        },
        "components": components,
    }


def serial_number(about: dict[str, Any]) -> str:
    """Of the bill of an image, by the image's own id."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, about['Id'])}"


def component(kind: str, name: str, version: str, architecture: str) -> dict[str, str]:
    """A package with its package URL (https://github.com/package-url/purl-spec)."""
    if kind == "deb":
        url = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?arch={architecture}"
    else:
        url = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version, safe='')}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}
