"""What the torch libraries share: a layer from given weights, one timed call, its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.workloads import Float32, Problem

Forward = Callable[[], Tensor]  # readout potential of the last step, (B, outputs)


class Run:
    """One call: forward and, in training, cross-entropy and the gradients of all weights; no optimiser step."""

    def __init__(self, problem: Problem, forward: Forward, weights: Mapping[str, Tensor]) -> None:
        self.training, self.forward, self.weights = problem.work.training, forward, weights
        self.labels = torch.from_numpy(problem.labels)
        self.found: dict[str, Tensor] = {}

    def __call__(self) -> None:
        if not self.training:
            with torch.inference_mode():
                self.found = {"potential": self.forward()}
            return
        for tensor in self.weights.values():
            tensor.grad = None
        potential = self.forward()
        loss = functional.cross_entropy(potential, self.labels)
        loss.backward()
        self.found = {"potential": potential, "loss": loss}

    def result(self) -> dict[str, Float32]:
        """Of the last call: potential, loss, and the gradients of the weights as (source, target)."""
        arrays = {name: tensor.detach().numpy() for name, tensor in self.found.items()}
        if self.training:
            arrays |= {name: self.gradient(name) for name in self.weights}
        return arrays

    def gradient(self, name: str) -> Float32:
        grad = self.weights[name].grad
        assert grad is not None
        return grad.numpy()


class TorchRun(Run):
    """On `nn.Linear` layers, by the name of their weights; `scale`: what these were multiplied by (see `dense`)."""

    def __init__(
        self,
        problem: Problem,
        forward: Forward,
        linear: Mapping[str, nn.Linear],
        scale: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(problem, forward, {name: layer.weight for name, layer in linear.items()})
        self.scale = scale or {}

    def gradient(self, name: str) -> Float32:
        return super().gradient(name).T * np.float32(self.scale.get(name, 1.0))


def dense(weights: Float32, scale: float = 1.0) -> nn.Linear:
    """A layer without bias from weights (source, target) times `scale`.

    A library whose neuron divides its input by the time constant, or whose surrogate has one slope only, gives the
    same spikes and gradients when its potentials are in another unit: that is the scale.
    """
    layer = nn.Linear(*weights.shape, bias=False)
    layer.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weights.T * np.float32(scale))))
    return layer


def layers(problem: Problem, **scale: float) -> dict[str, nn.Linear]:
    """`weights`, `readout` and, in a recurrent network, `recurrent`."""
    names = ("weights", "recurrent", "readout") if problem.work.recurrent else ("weights", "readout")
    return {name: dense(getattr(problem, name), scale.get(name, 1.0)) for name in names}


def versions(*packages: str) -> str:
    return ", ".join(f"{package} {version(package)}" for package in (*packages, "torch"))
