"""Spyx: the whole step, gradient included, is one jitted function; matrix products over all steps at once.

Its own LIF subtracts the threshold and spikes one step late, so its numbers differ. The second variant is a neuron
with our reset, written to the contract of its layers, with its surrogate and its scan: equal results.
"""

from __future__ import annotations

from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import spyx.nn
from flax import nnx
from spyx.axn import superspike

from engine.workloads import BETA, READOUT_BETA, SLOPE, THRESHOLD, Float32, Problem


class _ZeroReset(nnx.Module):
    """(current, state) -> (spikes, state), as spyx.nn.StatefulLayer asks; `feedback` (N, N) or None."""

    def __init__(self, neurons: int, feedback: jax.Array | None) -> None:
        self.neurons, self.spike = neurons, superspike(SLOPE)
        self.feedback = None if feedback is None else nnx.Param(feedback)

    def __call__(self, current: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, tuple]:
        potential, spikes = state
        if self.feedback is not None:
            current = current + spikes @ self.feedback[...]
        potential = BETA * potential * (1 - jax.lax.stop_gradient(spikes)) + current
        spikes = self.spike(potential - THRESHOLD)
        return spikes, (potential, spikes)

    def initial_state(self, batch: int) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((batch, self.neurons)), jnp.zeros((batch, self.neurons))


def _own(neurons: int, feedback: jax.Array | None) -> nnx.Module:
    shape, options = (neurons,), {"beta": BETA, "threshold": THRESHOLD, "activation": superspike(SLOPE)}
    if feedback is None:
        return spyx.nn.LIF(shape, rngs=nnx.Rngs(0), **options)
    layer = spyx.nn.RLIF(shape, rngs=nnx.Rngs(0), **options)
    layer.recurrent_w = nnx.Param(feedback)
    return layer


class JaxRun:
    """One call of the compiled function, waited for."""

    def __init__(self, problem: Problem, hidden_layer) -> None:
        work = problem.work
        inputs = jnp.asarray(problem.dense(time_first=True))  # (T, B, C)
        labels = jnp.asarray(problem.labels)
        readout = spyx.nn.LI((work.outputs,), beta=READOUT_BETA, rngs=nnx.Rngs(0))
        names = ("weights", "recurrent", "readout") if work.recurrent else ("weights", "readout")
        self.parameters = {name: jnp.asarray(getattr(problem, name)) for name in names}

        def forward(parameters: dict[str, jax.Array], inputs: jax.Array) -> jax.Array:
            hidden = hidden_layer(work.neurons, parameters.get("recurrent"))
            spikes, _ = spyx.nn.run(hidden, inputs @ parameters["weights"])
            _, last = spyx.nn.run(readout, spikes @ parameters["readout"])
            return last

        def loss(parameters: dict[str, jax.Array], inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
            potential = forward(parameters, inputs)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(potential), labels[:, None], axis=1)
            return -chosen.mean(), potential

        self.inputs, self.training = inputs, work.training
        self.step = jax.jit(jax.value_and_grad(loss, has_aux=True) if work.training else forward)

    def __call__(self) -> None:
        self.found = jax.block_until_ready(self.step(self.parameters, self.inputs))

    def result(self) -> dict[str, Float32]:
        if not self.training:
            return {"potential": np.asarray(self.found)}
        (loss, potential), gradients = self.found
        arrays = {name: np.asarray(array) for name, array in gradients.items()}
        return {"loss": np.asarray(loss), "potential": np.asarray(potential), **arrays}


VARIANTS = {
    "Spyx": lambda problem: JaxRun(problem, _own),
    "Spyx, zero reset": lambda problem: JaxRun(problem, _ZeroReset),
}

DIFFERS = {"Spyx": "its LIF subtracts the threshold, differentiates that, and spikes one step late"}


def about() -> str:
    return ", ".join(f"{package} {version(package)}" for package in ("spyx", "jax"))
