"""Runs a compiled network in lava-nc, inside its own environment: `python run.py JOB RESULT`.

JOB is an .npz: `meta` (the artefact's JSON), its arrays, and `input.NAME` (n, T, channels). RESULT gets, for every
population, `spikes.NAME` and `potential.NAME` (n, T, N): v after the reset, or u where the artefact says that the
answer is the current; and `seconds`, what lava's run took. Needs lava-nc alone. One run a process: lava's runtime
cannot be started twice.
"""

import dataclasses
import json
import sys
import time
from functools import partial

import numpy as np

# lava's var_model gives mutable defaults to data classes, which Python 3.11 refuses unless they can be hashed.
plain = dataclasses.dataclass
dataclasses.dataclass = partial(plain, unsafe_hash=True)
import lava.magma.compiler.var_model  # noqa: E402, F401

dataclasses.dataclass = plain

from lava.magma.core.decorator import implements, requires  # noqa: E402
from lava.magma.core.model.py.model import PyLoihiProcessModel  # noqa: E402
from lava.magma.core.model.py.ports import PyInPort, PyRefPort  # noqa: E402
from lava.magma.core.model.py.type import LavaPyType  # noqa: E402
from lava.magma.core.process.ports.ports import InPort, RefPort  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.process import LIFReset  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402


def build(meta, arrays, inputs, steps, gap):
    """The network's neurons by population, connected, for recordings of `steps` steps with `gap` between them."""
    cells = {}
    interval = steps + gap
    for name in meta["order"]:
        one = meta["populations"][name]
        cells[name] = LIFReset(
            shape=(one["size"],),
            du=one["du"],
            dv=one["dv"],
            vth=one["vth"],
            bias_mant=arrays[f"{name}.bias_mant"],
            bias_exp=arrays[f"{name}.bias_exp"],
            reset_interval=interval,
            reset_offset=(1 + meta["depth"][name]) % interval,
        )
    for name in meta["order"]:
        one = meta["populations"][name]
        for i, way in enumerate(one["incoming"]):
            weights = dense(arrays, f"{name}.{i}", size(meta, way["source"]), one["size"])
            # A connection hands on one step later; what the network wants beyond that is waited for.
            extra = way["delay"] + meta["depth"][name] - meta["depth"].get(way["source"], 0) - 1
            options = {"weight_exp": way["exponent"], "sign_mode": SignMode.MIXED}
            if way["source"] in meta["inputs"]:
                data = inputs[way["source"]]
                graded = {"num_message_bits": 24} if data.max(initial=0) > 1 or data.min(initial=0) < 0 else {}
                # Delayed within each recording: what passes its end does not come into the next one.
                late = np.zeros_like(data)
                late[:, extra:steps] = data[:, : steps - extra] if extra < steps else 0
                flat = late.reshape(-1, data.shape[2]).T
                source = RingBuffer(data=np.ascontiguousarray(flat))
                synapses = Dense(weights=weights, **graded, **options)
            elif extra > 0:
                source, delays = cells[way["source"]], np.full(weights.shape, extra, int)
                synapses = DelayDense(weights=weights, delays=delays, **options)
            else:
                source, synapses = cells[way["source"]], Dense(weights=weights, **options)
            source.s_out.connect(synapses.s_in)
            synapses.a_out.connect(cells[name].a_in)
    return cells


def dense(arrays, prefix, sources, targets):
    """Weights as lava has them, (target, source)."""
    out = np.zeros((sources, targets), int)
    indptr, indices = arrays[f"{prefix}.indptr"], arrays[f"{prefix}.indices"]
    out[np.repeat(np.arange(sources), np.diff(indptr)), indices] = arrays[f"{prefix}.weights"]
    return out.T


def size(meta, name):
    return meta["inputs"].get(name) or meta["populations"][name]["size"]


class Trace(AbstractProcess):
    """Writes what a population shows, step by step, to two files that are there already. lava's own Monitor shows
    the same, but hands back one value a message: a minute for 20 recordings."""

    def __init__(self, shape, files):
        super().__init__(shape=shape, files=files)
        self.spikes = InPort(shape=shape)
        self.potential = RefPort(shape=shape)


@implements(proc=Trace, protocol=LoihiProtocol)
@requires(CPU)
class TraceModel(PyLoihiProcessModel):
    spikes: PyInPort = LavaPyType(PyInPort.VEC_DENSE, int)
    potential: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, int)

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.rows = [np.load(file, mmap_mode="r+") for file in proc_params["files"]]

    def run_spk(self):
        self.rows[0][self.time_step - 1] = self.spikes.recv()

    def post_guard(self):
        return True

    def run_post_mgmt(self):
        self.rows[1][self.time_step - 1] = self.potential.read()


def trace(cells, meta, total):
    """The rows, one a step, in which each population's spikes and potentials will be."""
    found = {}
    for i, (name, cell) in enumerate(cells.items()):
        files = [f"{kind}{i}.npy" for kind in ("spikes", "potential")]
        rows = [np.lib.format.open_memmap(file, "w+", np.int32, (total, *cell.s_out.shape)) for file in files]
        for each in rows:
            each[:] = np.iinfo(np.int32).min  # no value of lava's: a row that was not written is a mismatch
        keeper = Trace(cell.s_out.shape, files)
        cell.s_out.connect(keeper.spikes)
        keeper.potential.connect_var(cell.v if meta["populations"][name]["memory"] else cell.u)
        found[name] = dict(zip(("spikes", "potential"), rows, strict=True))
    return found


def on_board():
    """The same processes on a board: their neurons and synapses in neuro-cores, sources and traces on the host.

    Needs Intel's extension of lava, which its research community has. Not tried: none was at hand.
    """
    from lava.magma.core.run_configs import Loihi2HwCfg
    from lava.utils import loihi

    if not loihi.is_installed():
        sys.exit("Loihi 2: Intel's extension of lava is not installed in this environment, so no board can be reached")
    loihi.use_slurm_host(loihi_gen=loihi.ChipGeneration.N3B3)
    return Loihi2HwCfg()


def main():
    with np.load(sys.argv[1], allow_pickle=False) as job:
        arrays = dict(job)
    meta, board = json.loads(str(arrays.pop("meta"))), arrays.pop("board", "no")
    inputs = {name: arrays.pop(f"input.{name}").astype(np.int32) for name in meta["inputs"]}
    n, steps = next(iter(inputs.values())).shape[:2]
    # Spikes that wait in a connection longer than a layer's own lateness would reach the next recording: let them out.
    longest = max((way["delay"] for one in meta["populations"].values() for way in one["incoming"]), default=0)
    gap = 2 * longest + (1 + max(meta["depth"].values()) if longest else 0)
    padded = {name: np.pad(data, ((0, 0), (0, gap), (0, 0))) for name, data in inputs.items()}
    cells = build(meta, arrays, padded, steps, gap)
    deepest = max(meta["depth"].values())
    total = n * (steps + gap) + deepest + 1
    traces = trace(cells, meta, total)
    config = on_board() if str(board) == "yes" else Loihi2SimCfg(select_tag="fixed_pt")
    started = time.perf_counter()
    next(iter(cells.values())).run(condition=RunSteps(num_steps=total), run_cfg=config)
    result = {"seconds": np.array(time.perf_counter() - started)}
    for name, kinds in traces.items():
        begin = meta["depth"][name]  # lava counts steps from 1: its row 0 is step 1, and a layer is that late
        for kind, rows in kinds.items():
            kept = rows[begin : begin + n * (steps + gap)].reshape(n, steps + gap, -1)
            result[f"{kind}.{name}"] = kept[:, :steps]
    np.savez(sys.argv[2], **result)  # before stop(), which may hang
    next(iter(cells.values())).stop()


if __name__ == "__main__":
    main()
