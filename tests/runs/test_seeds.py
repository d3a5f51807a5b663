import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.errors import UserError
from simmc.runs.runtime import generators


def draws(streams):
    return (
        streams.data.random(4).tolist(),
        streams.masks.permutation(10).tolist(),
        torch.randn(4, generator=streams.weights).tolist(),
    )


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_the_seed_fixes_every_stream(seed):
    assert draws(generators(seed)) == draws(generators(seed))


def test_seeds_and_streams_differ():
    first, second = draws(generators(0)), draws(generators(1))
    assert all(a != b for a, b in zip(first, second, strict=True))
    streams = generators(0)
    assert streams.data.random() != streams.masks.random()


def test_one_stream_does_not_shift_another():
    left, right = generators(3), generators(3)
    left.data.random(1000)
    assert left.masks.random() == right.masks.random()


@given(st.integers(0, 100), st.integers(0, 7))
def test_a_restored_state_continues(seed, used):
    streams = generators(seed)
    streams.data.random(used)
    streams.masks.integers(0, 9, used, dtype=np.uint32)
    torch.randn(used, generator=streams.weights)
    state = json.loads(json.dumps(streams.state()))
    expected = draws(streams)
    other = generators(seed + 1)
    other.restore(state)
    assert draws(other) == expected


def test_global_generators_are_left_alone():
    numpy_before = np.random.get_state()[1].tolist()  # noqa: NPY002 - it is what must not move
    torch_before = torch.get_rng_state()
    draws(generators(0))
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_impossible_seed(seed):
    with pytest.raises(UserError, match="--seed"):
        generators(seed)
