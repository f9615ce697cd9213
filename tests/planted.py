"""A folder with Python files that have the names of modules: whatever runs one of them leaves a mark."""

from __future__ import annotations

from pathlib import Path

# Of the standard library, of those that we start, and one that is looked for and usually not there.
NAMES = ("argparse", "pickle", "signal", "uuid", "snn_fusion", "dvc", "uvicorn", "airflow", "mlflow", "socks")
MARK = "was-run"


def plant(folder: Path) -> None:
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(folder / MARK)!r}, 'a').write(__name__ + ' ')")


def was_run(folder: Path) -> str:
    """Which of them were, if any."""
    return (folder / MARK).read_text() if (folder / MARK).exists() else ""
