"""Shared by all tests: real recordings where they lie, and a workspace of each test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does, before torch is imported
# Shared by all tests and what they start, for speed; the command has them in each workspace. "": beside the source, so
# that a clone with a link to the source finds what is compiled.
os.environ.setdefault("NUMBA_CACHE_DIR", "")
os.environ.setdefault("MPLCONFIGDIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "matplotlib"))
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "torch"))

from snn_fusion.config import Params, load_params
from snn_fusion.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent

# The first example of a property may compile, and cores are shared: how long one takes says nothing.
settings.register_profile("here", deadline=None)
settings.load_profile("here")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The local mirror of the public recordings."""
    folder = Path(os.environ.get("SNN_FUSION_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not (folder / "fsdd").is_dir():
        pytest.skip(f"no real recordings at {folder}; set SNN_FUSION_DATA_DIR")
    return folder


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SNN_FUSION_HOME", str(tmp_path / "home"))
    return Workspace(tmp_path / "home")
