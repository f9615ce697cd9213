"""From a graph on disk to an artefact on disk, and from an artefact and spikes to what the chip does."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_fusion.errors import BadInput
from snn_fusion.targets.agreement import MOST, against_drawn, against_reference, refuse_deviation
from snn_fusion.targets.akida.target import Akida
from snn_fusion.targets.artefact import load_artefact, save_artefact
from snn_fusion.targets.contract import Artefact, Examples, Mapped, Target, dequantised, with_origins
from snn_fusion.targets.from_nir import program, semantics
from snn_fusion.targets.loihi2.target import Loihi2
from snn_fusion.targets.names import check_name
from snn_fusion.targets.nir_file import read_nir
from snn_fusion.targets.populations import Program, Reset
from snn_fusion.targets.program_file import is_program, load_program
from snn_fusion.targets.spinnaker.target import SpiNNaker
from snn_fusion.targets.toolchain import ToolchainMissing
from snn_fusion.workspace import disk_errors, write_atomic

TARGETS: dict[str, Target] = {one.name: one for one in (Loihi2(), Akida("akida", 1), Akida("akida2", 2), SpiNNaker())}


def target(name: str) -> Target:
    """Raises BadInput listing the targets that there are."""
    return TARGETS[check_name(name)]


def parse_reset(name: str | None) -> Reset | None:
    """Raises BadInput listing the resets that there are."""
    if name is None or name in ("zero", "subtract", "none"):
        return name  # type: ignore[return-value]
    raise BadInput(f"--reset {name}", "there is no such reset", "zero, subtract or none")


def read_program(
    graph: Path, dt: float | None = None, reset: Reset | None = None, reset_delay: int | None = None
) -> tuple[Program, dict[str, Any]]:
    """The program of a graph folder that `train` wrote, of a tuned one, or of a third party's `.nir` file; and what a
    tuned one's folder says beside it, e.g. how recordings are presented.

    A file says neither its step nor its reset: all three must be given for it, and none for a folder, whose sidecar
    has them. Raises BadInput.
    """
    given = {"--dt": dt, "--reset": reset, "--reset-delay": reset_delay}
    if graph.is_dir():
        if any(value is not None for value in given.values()):
            raise BadInput(graph, f"it says itself what {', '.join(given)} would", "leave these out")
        if is_program(graph):
            return load_program(graph)
        from snn_fusion.network.graph import load_graph

        sidecar, file = load_graph(graph).meta, graph / "graph.nir"
        return program(str(file), read_nir(file), *semantics(sidecar)), {}
    missing = [name for name, value in given.items() if value is None]
    if graph.exists() and missing:
        raise BadInput(graph, f"a .nir file does not say {', '.join(missing)}", "give them")
    if dt is not None and not 0 < dt < 10:
        raise BadInput(f"--dt {dt:g}", "is not a step of a recording", "give seconds, e.g. 0.001")
    if reset_delay not in (None, 0, 1):
        raise BadInput(f"--reset-delay {reset_delay}", "is not 0 or 1", "0: within the step, 1: in the next one")
    read = read_nir(graph)
    assert dt is not None and reset is not None and reset_delay is not None
    try:
        return program(str(graph), read, dt, reset, reset_delay), {}
    except RecursionError as error:
        found = "has more linear nodes one after the other than can be followed"
        raise BadInput(graph, found, "multiply some of them out") from error


def compile_graph(
    name: str,
    made: Program,
    out: Path,
    examples: Examples = None,
    meta: Mapping[str, Any] | None = None,
    max_deviation: float = MOST,
) -> dict[str, Any]:
    """Lower a program for a target and write the artefact to `out`; `meta` is kept with it.

    It has to answer the examples, or drawn recordings where none are given, as the reference does. Raises BadInput with
    everything that is wrong, or with the layers that deviate by more than `max_deviation`.
    """
    chip = target(name)
    with _noted(made):
        artefact, warnings = lowered(chip, made, examples, meta or {})
        if examples is None:
            found = against_drawn(made, artefact, chip)
        else:
            found = against_reference(made, artefact, examples, chip.run)
        warnings += refuse_deviation(name, found["deviation"], max_deviation, found.get("carried"))
    warnings += made.notes
    if isinstance(chip, Mapped):
        warnings += _mapped(chip, artefact)
    with _written(out):
        digest, of = save_artefact(out, artefact), "drawn" if examples is None else "given"
    said = {"warnings": warnings} if warnings else {}
    return {"target": name, "artefact": str(out), "digest": digest, "reference": {**found, "of": of}, **said}


@contextlib.contextmanager
def _noted(made: Program) -> Iterator[None]:
    """What is known of the program's own faults is said where a chip refuses it."""
    try:
        yield
    except BadInput as error:
        if not made.notes:
            raise
        raise BadInput(error.where, error.problem, "; ".join([*made.notes, error.remedy])) from error


def _mapped(chip: Mapped, artefact: Artefact) -> list[str]:
    """Warnings. Raises BadInput if the vendor's tool cannot put the network on the chip."""
    try:
        chip.fits(artefact)
    except ToolchainMissing as missing:
        return [f"whether it maps onto the chip is not known: {missing}"]
    return []


def lowered(chip: Target, made: Program, examples: Examples, meta: Mapping[str, Any]) -> tuple[Artefact, list[str]]:
    """The artefact with `meta` beside its own, and what is warned of. Raises BadInput."""
    warnings = [str(v) for v in chip.check(made, examples) if v.warning]
    artefact = with_origins(chip.lower(made, examples), made)
    return replace(artefact, meta={**artefact.meta, **meta}), warnings


def run_artefact(folder: Path, spikes: Path, out: Path, record: bool) -> dict[str, Any]:
    """Run an artefact on `spikes` (n, T, C) of an .npz and write `spikes` and `potential` (n, T, K) to another.

    Inputs lie side by side in C, in the order of the artefact. With `record` each population's are written too, as
    NAME.spikes and NAME.potential. Potentials are in the network's own unit. Raises BadInput.
    """
    artefact = load_artefact(folder)
    inputs = load_spikes(spikes, artefact.meta["inputs"])
    assert inputs is not None
    outputs = target(artefact.target).run(artefact, inputs)
    found = {}
    for name in artefact.meta["order"] if record else ():
        found[f"{name}.spikes"] = outputs.spikes[name].astype(np.uint8)
        found[f"{name}.potential"] = dequantised(artefact, name, outputs.potential[name])
    answer = artefact.meta["output"]
    found["spikes"] = outputs.spikes[answer].astype(np.uint8)
    found["potential"] = dequantised(artefact, answer, outputs.potential[answer])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **found)
    with _written(out):
        write_atomic(out, buffer.getvalue())
    return {"target": artefact.target, "recordings": len(found["spikes"]), "out": str(out)}


@contextlib.contextmanager
def _written(out: Path) -> Iterator[None]:
    """Raises BadInput where nothing can be written."""
    try:
        with disk_errors(out):
            yield
    except OSError as error:
        raise BadInput(f"--out {out}", f"cannot be written: {error.strerror}", "name another place") from error


def load_spikes(path: Path | None, inputs: Mapping[str, int]) -> dict[str, npt.NDArray[Any]] | None:
    """`spikes` (n, T, C) of an .npz, parted into inputs. Raises BadInput."""
    return None if path is None else _split(path, _load(path), inputs)


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values: npt.NDArray[Any] = arrays["spikes"]
    except FileNotFoundError as error:
        raise BadInput(path, "there is no such file", "give an .npz with an array `spikes`") from error
    except KeyError as error:
        raise BadInput(path, "has no array `spikes`", "save spikes (n, T, C) under that name") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise BadInput(path, f"not a readable .npz: {error}", "write it with numpy.savez") from error
    if values.ndim != 3 or values.dtype.kind not in "biuf":
        raise BadInput(f"{path}: spikes", f"{values.dtype} of shape {list(values.shape)}", "give numbers (n, T, C)")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadInput(f"{path}: spikes", "hold NaN or infinity", "leave out or replace these values")
    if values.size == 0:
        raise BadInput(
            f"{path}: spikes", f"are none: shape {list(values.shape)}", "give a recording of a step at least"
        )
    return values


def _split(path: Path, values: npt.NDArray[Any], inputs: Mapping[str, int]) -> dict[str, npt.NDArray[Any]]:
    if values.shape[2] != sum(inputs.values()):
        wanted = " + ".join(f"{name} {channels}" for name, channels in inputs.items())
        raise BadInput(f"{path}: spikes", f"has {values.shape[2]} channels, not {sum(inputs.values())}", wanted)
    ends = np.cumsum(list(inputs.values()))[:-1]
    return dict(zip(inputs, np.split(values, ends, axis=2), strict=True))
