"""Builds a compiled network in PyNN, inside its own environment: `python run.py JOB RESULT`.

JOB is an .npz: `meta` (the artefact's JSON), its arrays, `input.NAME` (n, T, channels), and `task`:

    map       for a virtual board; RESULT gets `mapping` (JSON): placements, routing entries, keys
    compile   the same, and what is decoded from the compiled data: for each population `words.NAME` (synapses, 5) of
              source population, source, target, delay and word with its sign, `neurons.NAME` (N, 10) of s16.15
              parameters, and `shifts.NAME` (cores, 2)
    brian2    the same network in pyNN.brian2; RESULT gets `spikes.NAME` and `potential.NAME` (n, T, N), after the
              reset, and the `seconds` that each recording took
    machine   on a board; RESULT as of brian2, with `mapping`

`board` (JSON) has the version of the (virtual) board, how many times slower than 1 ms a step it runs, and for `machine`
its address or the URL of a spalloc server.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from decode import BIAS, app_keys, decode, sources, waits
from rows import hurry

ONE = 1 << 15


def synapses(arrays, prefix):
    """Source, target and signed word of each synapse, (synapses,) each."""
    indptr, indices, words = (arrays[f"{prefix}.{part}"] for part in ("indptr", "indices", "weights"))
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices, words


def millivolts(words, shifts):
    """A word is a weight times 2^(15 - shift), the shift that of its synapse type."""
    return np.abs(words) * 2.0 ** (np.where(words >= 0, *shifts) - 15)


def times(meta, inputs, recording, steps):
    """For each source, the milliseconds in which each channel spikes."""
    found = {name: [np.flatnonzero(row).astype(float) for row in data[recording].T] for name, data in inputs.items()}
    return {**found, BIAS: [np.arange(steps, dtype=float)]}


# SpiNNaker


def configure(board):
    """What sPyNNaker reads from ~/.spynnaker.cfg; the home is this run's own folder."""
    where = {"virtual_board": True} if board.get("machine") is None else {}
    if not where:
        key = "spalloc_server" if "://" in board["machine"] else "machine_name"
        where = {key: board["machine"]}
    lines = ["[Machine]", f"version = {board['version']}", *(f"{key} = {value}" for key, value in where.items())]
    lines += ["[Reports]", "write_network_graph = False", "[Mode]", "mode = Production", ""]
    Path("~/.spynnaker.cfg").expanduser().write_text("\n".join(lines))


def build(sim, meta, arrays, spike_times):
    """Populations and sources by name, connected."""
    cells = {}
    for name, each in spike_times.items():
        # Given lists that are all empty, the tool trips.
        spikes = [list(one) for one in each] if any(map(len, each)) else []
        cells[name] = sim.Population(len(each), sim.SpikeSourceArray(spikes), label=name)
    for name in meta["order"]:
        one = meta["populations"][name]
        tau = arrays[f"{name}.tau"] / ONE
        cell = sim.IF_curr_delta(
            tau_m=list(tau),
            cm=list(tau),
            v_thresh=list(arrays[f"{name}.threshold"] / ONE),
            v_rest=0.0,
            v_reset=0.0,
            tau_refrac=0.0,
        )
        # The tool takes the shift from these: the least whose power of two is above.
        sums = [0.75 * 2.0**shift for shift in one["shifts"]]
        cells[name] = sim.Population(one["size"], cell, label=name, max_expected_summed_weight=sums)
        cells[name].initialize(v=0.0)
    for name in meta["order"]:
        one = meta["populations"][name]
        for i, way in enumerate(one["incoming"]):
            source, target, words = synapses(arrays, f"{name}.{i}")
            weights = millivolts(words, one["shifts"])
            for kind, chosen in (("excitatory", words > 0), ("inhibitory", words < 0)):
                if chosen.any():
                    rows = np.column_stack([source[chosen], target[chosen], weights[chosen]])
                    sim.Projection(
                        cells[way["source"]],
                        cells[name],
                        sim.FromListConnector(rows, column_names=["weight"]),
                        sim.StaticSynapse(delay=float(waits(meta, name, way))),
                        receptor_type=kind,
                    )
    return cells


def mapping(board, label_of):
    """Where everything lies, as JSON: placements, routing entries and keys of the board."""
    from spynnaker.pyNN.data import SpynnakerDataView as View

    steps = View.get_plan_n_timestep()
    placements = []
    for place in View.iterate_placemements():
        vertex = place.vertex
        name = label_of.get(id(vertex.app_vertex)) if vertex.app_vertex else None
        part = vertex.vertex_slice if name else None
        placements.append(
            {
                "x": place.x,
                "y": place.y,
                "p": place.p,
                "vertex": name or type(vertex).__name__,
                "first": part.lo_atom if part else None,
                "neurons": part.n_atoms if part else None,
                "sdram": int(vertex.sdram_required.get_total_sdram(steps)),
            }
        )
    tables = [{"x": t.x, "y": t.y, "entries": t.number_of_entries} for t in View.get_precompressed()]
    keys = [{"source": key[0], "delayed": key[1], "key": at} for at, key in sorted(app_keys(label_of).items())]
    machine = View.get_machine()
    return {
        "version": board["version"],
        "chips": machine.n_chips,
        "cores": machine.total_available_user_cores,
        "placements": placements,
        "routing": tables,
        "keys": keys,
    }


def spinnaker(job, meta, arrays, inputs):
    board = json.loads(str(job["board"]))
    configure(board)
    import pyNN.spiNNaker as sim  # noqa: N813

    hurry()
    n, steps = next(iter(inputs.values())).shape[:2]
    result = {}
    # Each recording of a board is a simulation of its own: the tool cannot give a source that is there other spikes,
    # since it looks its neurons up in a list by an array.
    for b in range(n if str(job["task"]) == "machine" else 1):
        sim.setup(timestep=1.0, time_scale_factor=board["slowdown"])
        spike_times = {k: v for k, v in times(meta, inputs, b, steps).items() if k in sources(meta, inputs)}
        cells = build(sim, meta, arrays, spike_times)
        label_of = {id(cell._vertex): name for name, cell in cells.items()}
        for name in meta["order"]:
            cells[name].record(["spikes", "v"])
        sim.run(steps + max(meta["depth"].values()) + 1)
        result["mapping"] = np.array(json.dumps(mapping(board, label_of)))
        if str(job["task"]) == "compile":
            result |= decode(meta, label_of)
        if str(job["task"]) == "machine":
            collect(result, cells, meta, b, n, steps)
            sim.end()
    return result


def collect(result, cells, meta, b, n, steps):
    """Spikes and potentials of a recording. The tool records V before it updates it: a step's is in the next row."""
    for name in meta["order"]:
        segment = cells[name].get_data(clear=True).segments[-1]
        at = [np.rint(np.asarray(train.rescale("ms"))).astype(int) for train in segment.spiketrains]
        who = np.repeat(np.arange(len(at)), [len(one) for one in at])
        traces = np.asarray(segment.analogsignals[0])[1:]
        keep(result, meta, name, b, (n, steps), (np.concatenate(at), who), traces)


def keep(result, meta, name, b, shape, spikes, traces):
    """What a population did in recording b, from its own first step on: steps and neurons of its spikes, and (T, N)."""
    begin, steps = meta["depth"][name], shape[1]
    shape = (*shape, meta["populations"][name]["size"])
    spiked = result.setdefault(f"spikes.{name}", np.zeros(shape, np.uint8))
    potential = result.setdefault(f"potential.{name}", np.zeros(shape))
    at, who = spikes[0] - begin, spikes[1]
    inside = (at >= 0) & (at < steps)
    spiked[b, at[inside], who[inside]] = 1
    kept = traces[begin:][:steps]
    potential[b, : len(kept)] = kept


# brian2


def brian2(job, meta, arrays, inputs):
    import brian2
    import pyNN.brian2 as sim

    # `numpy` has nothing to compile; `cython` is faster where there is time for that, and a compiler.
    brian2.prefs.codegen.target = json.loads(str(job["board"])).get("codegen", "numpy")
    brian2.defaultclock.dt = 1 * brian2.ms  # the clock of sources of spikes
    sim.setup(timestep=1.0)
    # Leak, then what arrives, then threshold and reset. By default what arrives comes behind the threshold, and a reset
    # wipes it out; and in a step that begins with it, it is lost to a neuron that has just spiked.
    sim.simulator.state.network.schedule = ["start", "groups", "synapses", "thresholds", "resets", "end"]
    cells = brian2_cells(sim, meta, arrays, inputs)
    brian2_synapses(sim, meta, arrays, cells)
    n, steps = next(iter(inputs.values())).shape[:2]
    result = {}
    seconds = []
    # Spikes go to brian2's own groups, and come from its monitors: PyNN would make an object of each neuron's.
    for b in range(n):
        for name, each in times(meta, inputs, b, steps).items():
            if name in cells:
                channel = np.repeat(np.arange(len(each)), [len(one) for one in each])
                cells[name].brian2_group.set_spikes(channel, np.concatenate(each) * brian2.ms)
        started = time.perf_counter()
        sim.run(steps + max(meta["depth"].values()))
        seconds.append(time.perf_counter() - started)
        for name in meta["order"]:
            monitors = cells[name].recorder._devices
            at, who = np.rint(monitors["spikes"].t / brian2.ms).astype(int), np.asarray(monitors["spikes"].i)
            keep(result, meta, name, b, (n, steps), (at, who), np.asarray(monitors["v"].v / brian2.mV).T)
            cells[name].recorder.clear()
        sim.reset()
    return {**result, "seconds": np.array(seconds)}


def brian2_cells(sim, meta, arrays, inputs):
    cells = {}
    for name, channels in sources(meta, inputs).items():
        channels = max(channels, 2)  # of one channel PyNN makes no array
        cells[name] = sim.Population(channels, sim.SpikeSourceArray(spike_times=[[]] * channels), label=name)
    for name in meta["order"]:
        # The decay is the one that the chip computes; exp(-1000) is 0.
        tau = -1 / np.log(np.maximum(arrays[f"{name}.decay"] / ONE, 1e-300))
        tau = np.where(arrays[f"{name}.decay"] == 0, 1e-3, tau)
        cell = sim.IF_curr_delta(
            tau_m=tau,
            cm=tau,
            v_rest=0.0,
            v_reset=0.0,
            v_thresh=(arrays[f"{name}.threshold"] - 0.5) / ONE,
            tau_refrac=0.0,
        )
        cells[name] = sim.Population(len(tau), cell, label=name)
        cells[name].initialize(v=0.0)
        cells[name].record(["spikes", "v"])
    return cells


def brian2_synapses(sim, meta, arrays, cells):
    from brian2 import ms, mV
    from pyNN.connectors import Connector

    class Direct(Connector):
        """All synapses at once; PyNN's own connector sets them one by one."""

        def __init__(self, *columns):
            super().__init__()
            self.columns = columns

        def connect(self, projection):
            source, target, weights, delay = self.columns
            made = projection._brian2_synapses[0][0]
            made.connect(i=source, j=target)
            made.weight = weights * mV
            made.delay = delay * ms

    for name in meta["order"]:
        for i, way in enumerate(meta["populations"][name]["incoming"]):
            source, target, words = synapses(arrays, f"{name}.{i}")
            if len(words) == 0:
                continue
            # A delta synapse adds to V; the current of a chip acts times 1 - decay.
            weights = millivolts(words, meta["populations"][name]["shifts"]) * np.sign(words)
            weights = weights * (1 - arrays[f"{name}.decay"] / ONE)[target]
            columns = (source, target, weights, float(waits(meta, name, way) - 1))
            sim.Projection(cells[way["source"]], cells[name], Direct(*columns), sim.StaticSynapse())


def main():
    with np.load(sys.argv[1], allow_pickle=False) as job:
        arrays = dict(job)
    meta = json.loads(str(arrays["meta"]))
    inputs = {name: arrays.pop(f"input.{name}") for name in meta["inputs"]}
    task = brian2 if str(arrays["task"]) == "brian2" else spinnaker
    np.savez(sys.argv[2], **task(arrays, meta, arrays, inputs))


if __name__ == "__main__":
    main()
