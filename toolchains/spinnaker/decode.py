"""What sPyNNaker compiled, read back from the bytes that it would load: synaptic words, parameters, shifts."""

import numpy as np

BIAS = "<bias>"


def waits(meta, name, way):
    """Steps on the chip from a source's spike to the step that it acts in."""
    return way["delay"] + meta["depth"][name] - meta["depth"].get(way["source"], 0)


def sources(meta, inputs):
    """Channels of each source of spikes: the inputs, and the bias if anything has one."""
    used = {way["source"] for one in meta["populations"].values() for way in one["incoming"]}
    return {**meta["inputs"], **({BIAS: 1} if BIAS in used else {})}


def decode(meta, label_of):
    """What the compiled data holds, from the regions of each core in the tool's database."""
    import sqlite3

    from spynnaker.pyNN.data import SpynnakerDataView as View

    found = {name: {"words": [], "neurons": [], "shifts": []} for name in meta["order"]}
    keys = app_keys(label_of)
    database = sqlite3.connect(View.get_ds_database_path())
    for place in sorted(
        View.iterate_placemements(), key=lambda p: p.vertex.vertex_slice.lo_atom if p.vertex.app_vertex else 0
    ):
        name = label_of.get(id(place.vertex.app_vertex))
        if name not in found:
            continue
        rows = database.execute(
            "SELECT region_num, content FROM region WHERE x = ? AND y = ? AND p = ?", (place.x, place.y, place.p)
        )
        regions = {number: np.frombuffer(content or b"", "<u4") for number, content in rows}
        part, numbers = place.vertex.vertex_slice, type(place.vertex).REGIONS
        found[name]["neurons"].append(neurons(regions[numbers.NEURON_PARAMS], part.n_atoms))
        parameters = regions[numbers.SYNAPSE_PARAMS]
        found[name]["shifts"].append(parameters[7:9].astype(np.int32))
        nothing = np.zeros(0, "<u4")
        table, matrix = (regions.get(one, nothing) for one in (numbers.POPULATION_TABLE, numbers.SYNAPTIC_MATRIX))
        if len(table):  # else nothing leads here
            found[name]["words"] += core_words(table, matrix, parameters, keys, part.lo_atom)
    order = [*sources(meta, None), *meta["order"]]
    result = {}
    for name, one in found.items():
        result[f"neurons.{name}"] = np.concatenate(one["neurons"])
        result[f"shifts.{name}"] = np.array(one["shifts"])
        named = [np.column_stack([np.full(len(rows), order.index(source)), rows]) for source, rows in one["words"]]
        result[f"words.{name}"] = np.concatenate(named) if named else np.zeros((0, 5), np.int64)
    return result


def app_keys(label_of):
    """By routing key: the source's name, and whether its spikes come through a delay extension."""
    from pacman.model.routing_info import AppVertexRoutingInfo
    from spynnaker.pyNN.data import SpynnakerDataView as View

    found = {}
    for info in View.get_routing_infos():
        if isinstance(info, AppVertexRoutingInfo):
            before = getattr(info.vertex, "source_vertex", None)
            vertex = info.vertex if before is None else before
            if id(vertex) in label_of:
                atoms = min(vertex.get_max_atoms_per_core(), vertex.n_atoms)
                found[info.key] = (label_of[id(vertex)], before is not None, atoms, vertex.n_atoms)
    return found


def neurons(words, n):
    """(N, 10): v, v_rest, cm, tau_m, i_offset, v_reset, tau_refrac, refractory timer, time step, threshold.

    The region: steps a time step (one word), then for each neuron 9 words of its model, then 1 of the input type, then
    1 of the threshold, then 2 of the synapse type.
    """
    words = words.astype(np.uint32).view(np.int32)
    assert len(words) == 1 + n * 13, len(words)
    model, threshold = words[1 : 1 + 9 * n].reshape(n, 9), words[1 + 10 * n : 1 + 11 * n]
    return np.column_stack([model, threshold])


def core_words(table, matrix, parameters, keys, first):
    """Pairs of a source's name and (synapses, 4): source, target, delay and signed word, of one core's matrices."""
    index_bits, type_bits = int(parameters[2]), int(parameters[3])
    slots = 1 << int(parameters[4])
    entries, addresses = int(table[0]), table[2 + 5 * int(table[0]) :]
    for e in range(entries):
        key, _, packed, _, sizes = (int(word) for word in table[2 + 5 * e : 7 + 5 * e])
        start, count = packed & 0x1FFF, packed >> 16
        name, extended, atoms, total = keys[key]
        for address in addresses[start : start + count]:
            length, offset = int(address) & 0xFF, int(address) >> 8
            if offset == 0xFFFFFF:
                continue
            width = length + 1 + 3  # stored less one; a row has three words of header
            block = matrix[offset * 4 :]
            stages = (sizes & 0xFFFF) // atoms if extended else 1
            rows = block[: total * stages * width].reshape(-1, width)
            source, target, delay, words = row_words(rows, index_bits, type_bits)
            if extended:  # a core's rows: each of its sources, stage after stage
                core, within = np.divmod(source, atoms * stages)
                stage, local = np.divmod(within, atoms)
                source, delay = core * atoms + local, delay + (stage + 1) * slots
            yield name, np.column_stack([source, target + first, delay, words])


def row_words(rows, index_bits, type_bits):
    """Row, target, delay and signed word of each synapse. A row: number of words of plastic synapses (0), of static
    ones, of plastic control (0), then the static ones."""
    row, column = np.nonzero(np.arange(rows.shape[1] - 3) < rows[:, 1:2])
    words = rows[row, 3 + column].astype(np.int64)
    target = words & ((1 << index_bits) - 1)
    inhibitory = (words >> index_bits) & ((1 << type_bits) - 1)
    delay = (words & 0xFFFF) >> (index_bits + type_bits)
    return row, target, delay, np.where(inhibitory, -1, 1) * (words >> 16)
