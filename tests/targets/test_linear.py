"""NIR's linear nodes as sparse matrices: what torch computes."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from snn_fusion.errors import BadInput
from snn_fusion.targets.linear import as_matrix


def apply(node: object, x: np.ndarray) -> np.ndarray:
    matrix, bias, shape = as_matrix("g", node, x.shape)
    return (x.ravel() @ matrix + (0 if bias is None else bias)).reshape(shape)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(3, 9), st.integers(3, 9)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.sampled_from([1, 2]),
    st.sampled_from([(2, 4, 1), (4, 6, 2), (3, 3, 3)]),
    st.integers(0, 1000),
)
def test_a_convolution_is_torchs(size, kernel, stride, padding, dilation, channels, seed) -> None:
    inputs, outputs, groups = channels
    rng = np.random.default_rng(seed)
    if any(d * (k - 1) + 1 > n + 2 * p for d, k, n, p in zip((dilation,) * 2, kernel, size, padding, strict=True)):
        return
    weight = rng.standard_normal((outputs, inputs // groups, *kernel))
    bias, x = rng.standard_normal(outputs), rng.standard_normal((inputs, *size))
    node = nir.Conv2d(None, weight, stride, padding, (dilation, dilation), groups, bias)
    expected = functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(weight), torch.from_numpy(bias), stride, padding, dilation, groups
    )
    np.testing.assert_allclose(apply(node, x), expected.numpy(), atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize("padding", [0, 2, "same", "valid"])
def test_a_convolution_along_one_axis_is_torchs(padding: int | str) -> None:
    rng = np.random.default_rng(0)
    weight, bias, x = rng.standard_normal((5, 3, 4)), rng.standard_normal(5), rng.standard_normal((3, 20))
    node = nir.Conv1d(None, weight, 1, padding, 1, 1, bias)
    expected = functional.conv1d(torch.from_numpy(x), torch.from_numpy(weight), torch.from_numpy(bias), padding=padding)
    np.testing.assert_allclose(apply(node, x), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("kind", [nir.SumPool2d, nir.AvgPool2d])
def test_pooling_is_torchs(kind: type) -> None:
    x = np.random.default_rng(0).standard_normal((3, 8, 9))
    node = kind(np.array([2, 3]), np.array([2, 2]), np.array([1, 1]))
    expected = functional.avg_pool2d(torch.from_numpy(x), (2, 3), (2, 2), (1, 1)).numpy()
    np.testing.assert_allclose(apply(node, x), expected * (6 if kind is nir.SumPool2d else 1), atol=1e-12)


def test_what_does_not_fit_is_refused_with_both_shapes() -> None:
    with pytest.raises(BadInput, match=r"\[3\] comes in, \[4\] is expected"):
        as_matrix("g: a -> b", nir.Linear(np.ones((2, 4))), (3,))
    with pytest.raises(BadInput, match=r"\[2, 5, 5\] comes in, \[3, height, width\] is expected"):
        as_matrix("g", nir.Conv2d(None, np.ones((1, 3, 2, 2)), 1, 0, 1, 1, np.zeros(1)), (2, 5, 5))
    with pytest.raises(BadInput, match=r"its output would have shape \[11, 1000, 1000\] \(at most 10,000,000"):
        as_matrix("g", nir.Conv2d(None, np.ones((11, 1, 1, 1)), 1, 0, 1, 1, np.zeros(11)), (1, 1000, 1000))
    with pytest.raises(BadInput, match="does not fit into"):
        as_matrix("g", nir.Conv2d(None, np.ones((1, 2, 9, 9)), 1, 0, 1, 1, np.zeros(1)), (2, 5, 5))
