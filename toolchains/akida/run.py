"""Runs a compiled network in akida's own software, inside its own environment: `python run.py JOB RESULT`.

JOB is an .npz: `meta` (the artefact's JSON), its arrays, `task`, and `input.NAME` (n, T, channels). RESULT gets

    run    `mapping` (JSON, what `mapping` gives), then for every population `levels.NAME` and `potential.NAME`
           (n, T, N) without the bias, and `device.N.NAME` of the output on each Akida that is plugged in
    map    `mapping` alone
    learn  `weights` (features, classes * neurons), learned on the chip's terms from `labels` (n,)

Needs akida and numpy alone. Nothing is executed on a virtual device: it maps, and the software backend computes.
"""

import json
import sys

import akida
import numpy as np
from akida import ActivationType

VIRTUAL = {1: ("AKD1000", "AKD1500"), 2: ("SixNodesIPv2", "TwelveNodesIPv2")}


def matrix(meta, arrays, layer):
    """Weights of one layer of the chain, (looking back, source, target), the present first."""
    before, here = meta["chain"][layer - 1], meta["chain"][layer]
    rows, columns = offsets(meta, before), offsets(meta, here)
    ways = [(name, i, way) for name in here for i, way in enumerate(meta["populations"][name]["incoming"])]
    back = 1 + max((way["delay"] for _, _, way in ways), default=0)
    out = np.zeros((back, rows[None], columns[None]), np.int8)
    for name, i, way in ways:
        indptr, indices, weights = (arrays[f"{name}.{i}.{part}"] for part in ("indptr", "indices", "weights"))
        source = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        out[way["delay"], rows[way["source"]] + source, columns[name] + indices] = weights
    return out


def offsets(meta, names):
    """First channel of each population or input in its layer; of None, the layer's size."""
    found, at = {}, 0
    for name in names:
        found[name] = at
        at += size(meta, name)
    return {**found, None: at}


def size(meta, name):
    return meta["inputs"][name] if name in meta["inputs"] else meta["populations"][name]["size"]


def joined(meta, arrays, layer, part):
    return np.concatenate([arrays[f"{name}.{part}"] for name in meta["chain"][layer]]).astype(np.int64)


def build(meta, arrays, depth=None, raw=False):
    """An akida.Model of the first `depth` layers (all); `raw`: the last one gives its sums instead of activations."""
    depth = depth or len(meta["chain"]) - 1
    model = akida.Model()
    channels = offsets(meta, meta["chain"][0])[None]
    model.add(akida.InputData((1, 1, channels), input_bits=4 if meta["version"] == 1 else 8, name="input"))
    for layer in range(1, depth + 1):
        spikes = meta["populations"][meta["chain"][layer][0]]["spikes"] and not (raw and layer == depth)
        (layer_1 if meta["version"] == 1 else layer_2)(model, meta, arrays, layer, spikes)
    return model


def layer_1(model, meta, arrays, layer, spikes):
    """FullyConnected: 4-bit weights, activations of 1, 2 or 4 bits."""
    names = meta["chain"][layer]
    weights = matrix(meta, arrays, layer)[0]
    bits = {0: 1, 1: 1, 3: 2, 15: 4}[meta["populations"][names[0]]["levels"]]
    made = akida.FullyConnected(
        weights.shape[1], name="+".join(names), weights_bits=4, activation=spikes, act_bits=bits
    )
    model.add(made)
    made.set_variable("weights", weights[None, None].astype(np.int8))
    if spikes:
        threshold = joined(meta, arrays, layer, "threshold") - joined(meta, arrays, layer, "bias")
        made.set_variable("threshold", threshold.astype(np.int32))
        # akida counts a step in sixteenths of the activation's range.
        step = joined(meta, arrays, layer, "step") / 2 ** (4 - bits)
        made.set_variable("act_step", step.astype(np.float32))


def layer_2(model, meta, arrays, layer, spikes):
    """BufferTempConv where a connection looks back, else Dense1D; 8-bit weights and activations."""
    names = meta["chain"][layer]
    weights = matrix(meta, arrays, layer)
    back, sources, targets = weights.shape
    options = {
        "weights_bits": 8,
        "output_bits": 8 if spikes else 32,
        "activation": ActivationType.ReLU if spikes else ActivationType.NoActivation,
        "name": "+".join(names),
    }
    if back > 1:
        made = akida.BufferTempConv(targets, back, **options)
        kernel = weights[::-1].reshape(1, 1, back * sources, targets)  # its buffer holds the oldest first
    else:
        made = akida.Dense1D(targets, **options)
        kernel = weights[0]
    model.add(made)
    made.set_variable("weights", kernel.astype(np.int8))
    bias, shift = joined(meta, arrays, layer, "bias"), joined(meta, arrays, layer, "bias_shift")
    if spikes:
        step = joined(meta, arrays, layer, "step")
        power = np.log2(step).astype(int)
        # The shift to the right rounds to the nearest: half a step less one makes it round up.
        bias = np.where(step > 1, step // 2 - 1, 0) - (joined(meta, arrays, layer, "threshold") - bias)
        made.set_variable("output_shift", (-power).astype(np.int8))
        made.set_variable("max_value", np.repeat(levels(meta, layer), sizes(meta, layer)).astype(np.uint8))
        made.set_variable("max_value_shift", power.astype(np.uint8))
        made.set_variable("bias", (bias >> shift).astype(np.int8))
        made.set_variable("bias_shift", shift.astype(np.uint8))
    elif not meta["populations"][names[0]]["spikes"]:  # a readout; sums that are only looked at have no bias
        made.set_variable("bias", (bias >> shift).astype(np.int8))
        made.set_variable("bias_shift", shift.astype(np.uint8))


def levels(meta, layer):
    return [meta["populations"][name]["levels"] for name in meta["chain"][layer]]


def sizes(meta, layer):
    return [size(meta, name) for name in meta["chain"][layer]]


def forward(model, frames):
    """Frames (n, T, C) -> (n, T, N); each recording begins with an empty buffer."""
    n, steps, channels = frames.shape
    if model.ip_version == akida.IpVersion.v1:
        return model.forward(frames.reshape(n * steps, 1, 1, channels)).reshape(n, steps, -1)
    out = []
    for recording in frames:
        model.map(None)  # empties the buffers
        out.append(model.forward(recording.reshape(steps, 1, 1, channels)).reshape(steps, -1))
    return np.stack(out)


def mapping(meta, arrays):
    """On each virtual device of this version: does the whole network map onto its hardware, and onto what."""
    found = []
    for name in VIRTUAL[meta["version"]]:
        model = build(meta, arrays)
        one = {"device": name, "virtual": True}
        try:
            model.map(getattr(akida, name)(), hw_only=True)
        except (RuntimeError, ValueError) as error:
            found.append({**one, "maps": False, "why": str(error)})
            continue
        found.append({**one, "maps": True, **resources(model)})
    return found


def resources(model):
    """Processors and bytes of each layer of a mapped model."""
    layers = []
    for layer in model.layers:
        parts = layer.mapping.nps if layer.mapping else []
        if parts:
            layers.append(
                {
                    "layer": layer.name,
                    "type": layer.parameters.layer_type.name,
                    "processors": [str(part.type).rpartition(".")[2] for part in parts],
                    "weight_bytes": sum(int(part.mem_info.weight_size) for part in parts),
                    "external_bytes": sum(int(part.mem_info.external_size) for part in parts),
                }
            )
    program = sum(len(sequence.program or b"") for sequence in model.sequences)
    return {"layers": layers, "program_bytes": program, "external_bytes": int(model.external_memory_size)}


def run(meta, arrays, inputs):
    frames = np.concatenate([inputs[name] for name in meta["chain"][0]], axis=2)
    frames = frames.astype(np.uint8 if meta["version"] == 1 else np.int8)
    result = {"mapping": np.array(json.dumps(mapping(meta, arrays)))}
    for layer in range(1, len(meta["chain"])):
        for raw, kind in ((False, "levels"), (True, "potential")):
            names = meta["chain"][layer]
            if not raw and not meta["populations"][names[0]]["spikes"]:
                continue
            values = forward(build(meta, arrays, layer, raw), frames)
            parts = np.split(values, np.cumsum(sizes(meta, layer))[:-1], axis=2)
            result |= {f"{kind}.{name}": part.astype(np.int32) for name, part in zip(names, parts, strict=True)}
    model = build(meta, arrays)
    for i, device in enumerate(akida.devices()):
        if device.ip_version == model.ip_version:
            result[f"device.{i}.{meta['output']}"] = on_device(model, device, frames).astype(np.int32)
    return result


def on_device(model, device, frames):
    """As `forward`, on an Akida that is plugged in."""
    n, steps, channels = frames.shape
    if model.ip_version == akida.IpVersion.v1:
        model.map(device, hw_only=True)
        return model.forward(frames.reshape(n * steps, 1, 1, channels)).reshape(n, steps, -1)
    out = []
    for recording in frames:  # mapped anew, so that its buffers are empty
        model.map(None)
        model.map(device, hw_only=True)
        out.append(model.forward(recording[:, None, None]).reshape(len(recording), -1))
    return np.stack(out)


def learn(meta, arrays, inputs, labels, options):
    """Weights of a last layer of binary synapses that akida's own rule learned, one pass over the recordings."""
    model = build(meta, arrays)
    classes, neurons = options["classes"], options["neurons"]
    edge = akida.FullyConnected(classes * neurons, name="edge", weights_bits=1, activation=False)
    model.add(edge)
    rule = {key: options[key] for key in ("num_weights", "learning_competition", "min_plasticity", "plasticity_decay")}
    model.compile(akida.AkidaUnsupervised(num_classes=classes, **rule))
    edge.set_variable(
        "weights", first_weights(edge.get_variable("weights").shape, rule["num_weights"], options["seed"])
    )
    frames = np.concatenate([inputs[name] for name in meta["chain"][0]], axis=2).astype(np.uint8)
    for begin in range(0, len(frames), 64):
        model.fit(frames[begin : begin + 64, 0][:, None, None], labels[begin : begin + 64].astype(np.int32))
    return {"weights": model.get_layer("edge").get_variable("weights")[0, 0].astype(np.int32)}


def first_weights(shape, count, seed):
    """`count` synapses a neuron at random, of our own seed: akida's are drawn anew in every process."""
    rng = np.random.default_rng(seed)
    out = np.zeros(shape, np.int8)  # (1, 1, features, neurons)
    for neuron in range(shape[3]):
        out[0, 0, rng.permutation(shape[2])[:count], neuron] = 1
    return out


def main():
    with np.load(sys.argv[1], allow_pickle=False) as job:
        arrays = dict(job)
    meta, task = (json.loads(str(arrays.pop(name))) for name in ("meta", "task"))
    inputs = {name: arrays.pop(f"input.{name}") for name in meta["inputs"] if f"input.{name}" in arrays}
    if task["do"] == "map":
        result = {"mapping": np.array(json.dumps(mapping(meta, arrays)))}
    elif task["do"] == "learn":
        result = learn(meta, arrays, inputs, arrays["labels"], task)
    else:
        result = run(meta, arrays, inputs)
    np.savez(sys.argv[2], **result)


if __name__ == "__main__":
    main()
