"""A stage that has nothing to do ends before it imports what takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from snn_fusion.data.manifest import write_manifest

HEAVY = ("torch", "numba", "great_expectations", "mlflow", "matplotlib", "pandas", "scipy", "nir", "dvc")
STAGES = {
    "import": "snn_fusion.validation.at_import",
    "validate": "snn_fusion.validation.stage",
    "encode": "snn_fusion.encoding.stage",
    "train": "snn_fusion.training.stage",
    "evaluate": "snn_fusion.benchmark.stage",
    "speakers": "snn_fusion.benchmark.speakers",
    "tune, compile": "snn_fusion.targets.stage",
    "benchmark, compare": "snn_fusion.benchmark.chip_stage",
    "register": "snn_fusion.registry.register",
    "promote": "snn_fusion.registry.promote",
    "push": "snn_fusion.registry.versioning",
    "package": "snn_fusion.serving.package",
}


def test_modules_of_the_stages_import_nothing_that_takes_seconds() -> None:
    modules = ["snn_fusion.cli", *STAGES.values()]
    lines = [
        "import importlib, sys",
        f"for module in {modules!r}:",
        "    importlib.import_module(module)",
        f"    found = [name for name in {HEAVY!r} if name in sys.modules]",
        "    assert not found, (module, found)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_reading_what_is_imported_needs_no_pandas(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.parquet", [])
    lines = [
        "import sys",
        "from pathlib import Path",
        "from snn_fusion.data.manifest import read_manifest",
        f"read_manifest(Path({str(tmp_path / 'manifest.parquet')!r}))",
        "assert 'pandas' not in sys.modules",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
