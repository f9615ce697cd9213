"""A `.nir` file that is wrong, or wants more memory than there is, is refused by file, node, field and value."""

from __future__ import annotations

import os
import resource
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snn_fusion.errors import BadInput
from snn_fusion.targets import memory
from snn_fusion.targets.agreement import MOST, refuse_deviation
from snn_fusion.targets.compile import compile_graph, read_program
from snn_fusion.targets.populations import Program
from snn_fusion.targets.reference import simulate


def lif(n: int) -> nir.LIF:
    return nir.LIF(*(np.full(n, v) for v in (0.01, 10.0, 0.0, 1.0)), v_reset=np.zeros(n))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    conv = nir.Conv2d((4, 4), np.ones((3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3))
    pool = nir.SumPool2d(*(np.array([2, 2]),) * 2, np.array([0, 0]))
    nodes = {
        "in": nir.Input(np.array([2, 4, 4])),
        "conv": conv,
        "pool": pool,
        "w": nir.Affine(np.ones((5, 12)), np.ones(5)),
    }
    nodes |= {"lif": lif(5), "out": nir.Output(np.array([5]))}
    names = list(nodes)
    nir.write(tmp_path / "g.nir", nir.NIRGraph(nodes, list(pairwise(names)), type_check=False))
    return tmp_path / "g.nir"


def read(path: Path, dt: float = 0.001) -> Program:
    return read_program(path, dt, "zero", 0)[0]


def put(path: Path, place: str, value: Any) -> None:
    with h5py.File(path, "a") as graph:
        del graph[f"node/{place}"]
        graph[f"node/{place}"] = value


def test_an_edge_that_is_listed_twice_is_refused_in_subgraphs_too(file: Path) -> None:
    assert read(file)["lif"].size == 5
    with h5py.File(file) as graph:
        edges = graph["node/edges"][()].tolist()
    put(file, "edges", [*edges, edges[1]])
    with pytest.raises(BadInput, match=r"g.nir: .*Duplicate edge: \('conv', 'pool'\)"):
        read(file)
    inner = nir.NIRGraph(
        {"a": nir.Input(np.array([2])), "b": nir.Output(np.array([2]))}, [("a", "b")] * 2, type_check=False
    )
    nodes = {"in": nir.Input(np.array([2])), "sub": inner, "lif": lif(2), "out": nir.Output(np.array([2]))}
    edges = [("in", "sub"), ("sub", "lif"), ("lif", "out")]
    nir.write(file, nir.NIRGraph(nodes, edges, type_check=False))
    with pytest.raises(BadInput, match="Duplicate edge"):
        read(file)


def test_an_edge_to_a_node_that_is_not_there_is_refused(file: Path) -> None:
    put(file, "edges", [(b"in", b"conv"), (b"conv", b"nowhere")])
    with pytest.raises(BadInput, match="nowhere"):
        read(file)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("nodes/in/shape", [-2, 4, 4], r"in.shape: declares shape \[-2, 4, 4\]: each size has to be at least 1"),
        ("nodes/in/shape", [0, 4, 4], r"in.shape: declares shape \[0, 4, 4\]"),
        ("nodes/in/shape", [2.5, 4, 4], r"in.shape: declares shape \[2.5"),
        ("nodes/in/shape", [2**40, 2**40, 1], r"in.shape: declares shape .*at most 10,000,000 channels"),
        ("nodes/out/shape", [-5], r"out.shape: declares shape \[-5\]"),
        ("nodes/conv/stride", [0, 1], r"conv.stride: is \[0, 1\] \(give whole numbers from 1"),
        ("nodes/conv/dilation", [1, -1], r"conv.dilation: is \[1, -1\]"),
        ("nodes/conv/padding", [-1, 0], r"conv.padding: is \[-1, 0\]"),
        ("nodes/conv/groups", 0, r"conv.groups: is 0"),
        ("nodes/conv/groups", 2, r"conv.groups: 2 groups do not divide 3 outputs"),
        ("nodes/conv/input_shape", [-4, 4], r"conv.input_shape: declares shape \[-4, 4\]"),
        ("nodes/conv/weight", np.ones((3, 2, 3)), r"conv.weight: has shape \[3, 2, 3\]"),
        ("nodes/conv/bias", np.ones(4), r"conv.bias: has shape \[4\]"),
        ("nodes/pool/kernel_size", [0, 2], r"pool.kernel_size: is \[0, 2\]"),
        ("nodes/pool/stride", [2, 0], r"pool.stride: is \[2, 0\]"),
        ("nodes/w/weight", np.ones((0, 12)), r"w.weight: is empty"),
        ("nodes/w/bias", np.ones(3), r"w.bias: has shape \[3\]"),
        ("nodes/w/weight", np.full((5, 12), b"x"), r"w.weight: holds"),
        (
            "nodes/lif/tau",
            np.ones(3),
            r"lif: parameters of unlike shapes: tau \[3\]|not a readable NIR file: AssertionError",
        ),
    ],
)
def test_shapes_and_numbers_that_no_node_can_have_are_named(file: Path, place: str, value: Any, message: str) -> None:
    put(file, place, value)
    with pytest.raises(BadInput, match=message) as refused:
        read(file)
    assert refused.value.exit_code == 2 and "g.nir" in str(refused.value)


LINE = nir.Conv1d(8, np.ones((3, 2, 3)), 1, 0, 1, 1, np.zeros(3))
MAP = nir.Conv2d((4, 4), np.ones((3, 2, 3, 3)), 1, 0, 1, 1, np.zeros(3))
SUM, MEAN = (kind(*(np.array([n, n]) for n in (2, 2, 0))) for kind in (nir.SumPool2d, nir.AvgPool2d))
FLAT = nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1)
SHAPES = {nir.Conv1d: [2, 8]}  # else [2, 4, 4]
HUGE = [1_000_000, 1_000_000]


def write_alone(path: Path, node: Any, fields: dict[str, Any]) -> None:
    """A file of an input, a node with these fields, and a neuron for all that it sends."""
    size = {nir.Conv1d: 18, nir.Conv2d: 12, nir.Flatten: 32}.get(type(node), 8)
    shape = SHAPES.get(type(node), [2, 4, 4])
    nodes = {"in": nir.Input(np.array(shape)), "x": node, "lif": lif(size), "out": nir.Output(np.array([size]))}
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(nodes)), type_check=False))
    for field, value in fields.items():
        put(path, f"nodes/x/{field}", value)


@pytest.mark.parametrize(
    ("node", "fields", "message"),
    [
        (MAP, {"padding": HUGE}, r"x: a padding of \[1000000, 1000000\] around \[4, 4\]"),
        (MAP, {"padding": [0, 5]}, r"x: a padding of \[0, 5\] around \[4, 4\]"),
        (LINE, {"padding": 1_000_000}, r"x: a padding of \[0, 1000000\] around \[1, 8\]"),
        (LINE, {"padding": -1}, "x.padding: is -1"),
        (LINE, {"stride": 0}, "x.stride: is 0"),
        (LINE, {"dilation": 0}, "x.dilation: is 0"),
        (LINE, {"dilation": 1_000_000}, "does not fit into"),
        (LINE, {"groups": -1}, "x.groups: is -1"),
        (LINE, {"input_shape": 9}, r"\[2, 8\] comes in, \[2, 9\] is expected"),
        (MAP, {"dilation": HUGE}, "does not fit into"),
        (MAP, {"stride": [2**40, 1]}, "x.stride: is"),
        (MAP, {"groups": 2**40}, "x.groups: is"),
        *((pool, {"padding": HUGE}, "is more than half of the kernel") for pool in (SUM, MEAN)),
        *((pool, {"kernel_size": HUGE}, "does not fit into") for pool in (SUM, MEAN)),
        *((pool, {"kernel_size": [-1, 2]}, "x.kernel_size: is") for pool in (SUM, MEAN)),
        *((pool, {"kernel_size": [2**40, 2]}, "x.kernel_size: is") for pool in (SUM, MEAN)),
        *((pool, {"stride": [-2, 2]}, "x.stride: is") for pool in (SUM, MEAN)),
        (SUM, {"kernel_size": HUGE, "padding": [500_000, 500_000]}, r"\[2, 3, 3\] comes from in, \[8\]"),
        (FLAT, {"start_dim": 99}, "x: start_dim 99 and end_dim -1 of 3 dimensions"),
        (FLAT, {"start_dim": -99}, "x: start_dim -99 and"),
        (FLAT, {"end_dim": 99}, "x: start_dim 0 and end_dim 99 of 3"),
        (FLAT, {"start_dim": 2, "end_dim": 1}, "x: start_dim 2 and end_dim 1"),
        (FLAT, {"start_dim": 1.5}, "not a readable NIR file|start_dim 1.5"),
    ],
)
def test_what_a_node_makes_of_its_input_is_checked_before_memory_is_taken(
    tmp_path: Path, node: Any, fields: dict[str, Any], message: str
) -> None:
    write_alone(tmp_path / "g.nir", node, {})
    assert read(tmp_path / "g.nir")["lif"].size
    write_alone(tmp_path / "g.nir", node, fields)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput, match=message) as refused:
        read(tmp_path / "g.nir")
    assert refused.value.exit_code == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


@pytest.mark.parametrize(("node", "size"), [(MAP, 12), (LINE, 18)])
def test_one_bias_for_all_channels_of_a_convolution_counts_everywhere(tmp_path: Path, node: Any, size: int) -> None:
    for bias in (np.array([2.0]), np.array(2.0), np.full(3, 2.0)):
        write_alone(tmp_path / "g.nir", node, {"bias": bias})
        np.testing.assert_allclose(read(tmp_path / "g.nir")["lif"].bias, np.full(size, 2.0))


@pytest.mark.parametrize("how", [{"fillvalue": 0.0}, {"compression": "gzip", "fillvalue": 1.0}])
def test_what_is_small_on_disk_and_large_in_memory_is_refused_before_it_is_read(file: Path, monkeypatch, how) -> None:
    with h5py.File(file, "a") as graph:
        del graph["node/nodes/w/weight"]
        graph.create_dataset("node/nodes/w/weight", (22_000, 22_000), "f4", chunks=(1000, 1000), **how)
    assert file.stat().st_size < 200_000
    monkeypatch.setattr(memory, "available", lambda: 16 * 10**9)
    monkeypatch.setattr(nir, "read", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(BadInput, match=r"w/weight: shape \[22000, 22000\].* needs about 96.8 GB, 16.0 GB of memory"):
        read(file)


def test_a_small_kernel_on_a_large_map_is_refused_by_what_it_becomes(file: Path, monkeypatch) -> None:
    put(file, "nodes/in/shape", [2, 1000, 1000])
    put(file, "nodes/conv/input_shape", [1000, 1000])
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    with pytest.raises(BadInput, match=r"conv: a kernel of .* needs about 10.8 GB"):
        read(file)


def test_a_leading_batch_dimension_of_one_is_left_out(file: Path) -> None:
    wanted = read(file)
    put(file, "nodes/in/shape", [1, 2, 4, 4])
    found = read(file)
    x = (np.random.default_rng(0).random((2, 20, 32)) < 0.3).astype(float)
    np.testing.assert_array_equal(
        simulate(found, {"in": x}).potential["lif"], simulate(wanted, {"in": x}).potential["lif"]
    )
    put(file, "nodes/in/shape", [3, 2, 4, 4])
    with pytest.raises(BadInput, match=r"\[3, 2, 4, 4\] comes in"):
        read(file)


def test_if_neurons_whose_step_is_the_fault_are_told_so(tmp_path: Path) -> None:
    once = nir.IF(r=np.ones(3), v_threshold=np.ones(3), v_reset=np.zeros(3))
    nodes = {
        "in": nir.Input(np.array([3])),
        "w": nir.Linear(0.3 * np.eye(3)),
        "n": once,
        "out": nir.Output(np.array([3])),
    }
    nir.write(tmp_path / "if.nir", nir.NIRGraph(nodes, [("in", "w"), ("w", "n"), ("n", "out")], type_check=False))
    with pytest.raises(BadInput, match=r"n: r is 1, so that 0.0001 of an input.*give --dt 1 or write r = 10000"):
        compile_graph("loihi2", read(tmp_path / "if.nir", 1e-4), tmp_path / "chip")
    compile_graph("loihi2", read(tmp_path / "if.nir", 1), tmp_path / "chip")


def test_advice_is_what_was_not_done_yet() -> None:
    for given_, deviation, helps in (
        (False, 0.1, "give --examples from its use"),
        (True, 0.1, "choose a chip of more bits"),
        (True, None, "give --examples to which all layers respond"),
    ):
        with pytest.raises(BadInput) as refused:
            refuse_deviation("loihi2", {"a": deviation}, MOST, None if given_ else {})
        assert helps in refused.value.remedy and (helps in ("give --examples from its use")) == (not given_)


VALUES = st.one_of(
    st.integers(-3, 9),
    st.floats(allow_nan=True),
    st.lists(st.integers(-2, 5), max_size=4),
    st.just(b"same"),
    st.just(""),
)
PLACES = ["in/shape", "conv/stride", "conv/padding", "conv/groups", "conv/input_shape", "conv/weight", "conv/bias"]
PLACES += ["pool/kernel_size", "pool/padding", "w/weight", "w/bias", "lif/tau", "lif/r", "lif/v_threshold", "out/shape"]


@settings(
    max_examples=5000 if os.environ.get("NIGHTLY") else 60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.dictionaries(st.sampled_from(PLACES), VALUES, min_size=1, max_size=3), st.data())
def test_whatever_a_file_holds_it_is_a_program_or_refused(file: Path, changes: dict[str, Any], data: Any) -> None:
    whole = file.read_bytes()
    names = ["in", "conv", "pool", "w", "lif", "out"]
    try:
        for place, value in changes.items():
            put(file, f"nodes/{place}", value)
        pairs = data.draw(st.none() | st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=7))
        if pairs:
            put(file, "edges", [(a.encode(), b.encode()) for a, b in pairs])
        try:
            assert read(file).populations
        except BadInput as refused:
            assert "g.nir" in str(refused)
    finally:
        file.write_bytes(whole)
