"""The bill of materials of an image: every package once, by its package URL, valid by CycloneDX's own schema."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from snn_fusion.deploy.sbom import NAME_AND_VERSION, bill
from snn_fusion.errors import SnnFusionError
from snn_fusion.workspace import PACKAGE

ABOUT = {"Id": "sha256:0123", "Created": "2026-11-30T10:00:00.123456789Z"}
LISTED = """deb libssl3 3.0.17-1~deb12u3 amd64
deb libstdc++6 12.2.0-14+deb12u1 amd64
pypi Flask_Cors 6.0.1 any
pypi Flask_Cors 6.0.1 any
pypi torch 2.13.0+cpu any
"""
TOOLS = PACKAGE.parents[1] / ".venv-tools" / "bin" / "python"
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()))
"""


def test_every_package_is_there_once_by_its_package_url() -> None:
    urls = [one["purl"] for one in bill("snn-fusion/service:1", ABOUT, LISTED)["components"]]
    assert urls == [
        "pkg:deb/debian/libssl3@3.0.17-1~deb12u3?arch=amd64",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64",
        "pkg:pypi/flask-cors@6.0.1",
        "pkg:pypi/torch@2.13.0%2Bcpu",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_name_and_version_are_read_from_the_head_only_whichever_way_its_lines_end(tmp_path: Path, end: str) -> None:
    lines = ("Metadata-Version: 2.1", "Name: lava-nc", "Version: 0.10.0", "", "Name: of an example in the text")
    (tmp_path / "METADATA").write_bytes("".join(line + end for line in lines).encode())
    done = subprocess.run(["awk", NAME_AND_VERSION, tmp_path / "METADATA"], capture_output=True, text=True, check=True)
    assert done.stdout == "pypi lava-nc 0.10.0 any\n"


def test_the_bill_of_the_same_image_is_the_same() -> None:
    assert bill("snn-fusion/service:1", ABOUT, LISTED) == bill("snn-fusion/service:1", ABOUT, LISTED)


def test_a_package_without_a_version_is_refused() -> None:
    with pytest.raises(SnnFusionError, match="without name or version: 'pypi broken any'"):
        bill("snn-fusion/service:1", ABOUT, "pypi broken any\n")


@pytest.mark.skipif(not TOOLS.exists(), reason="needs `make tools`")
def test_it_is_valid_by_cyclonedx_own_schema(tmp_path: Path) -> None:
    text = json.dumps(bill("snn-fusion/service:1", ABOUT, LISTED))
    done = subprocess.run([TOOLS, "-c", VALIDATE], input=text, capture_output=True, text=True)
    assert done.stdout == "None\n", done.stdout + done.stderr
