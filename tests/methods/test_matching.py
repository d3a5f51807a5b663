import gc

import numpy as np
import torch

from simmc.methods import matching
from simmc.methods.matching import tensor_of
from tests.methods import make

ELSEWHERE = torch.device("meta")  # a device that every machine has


def test_windows_on_the_cpu_are_not_copied():
    split = make.split(2, 3, 0, 0.1)
    tensor = tensor_of(split, torch.device("cpu"))
    assert tensor.shape == (6, make.LENGTH, 3 * make.JOINTS)
    np.testing.assert_array_equal(tensor.numpy().reshape(split.windows.shape), split.windows)
    assert np.shares_memory(tensor.numpy(), split.windows)


def test_windows_are_moved_once_and_let_go_with_their_split():
    split, other = make.split(2, 3, 0, 0.1), make.split(2, 3, 0, 0.1)
    before = len(matching._moved)
    tensor = tensor_of(split, ELSEWHERE)
    assert tensor.device.type == "meta"
    assert tensor_of(split, ELSEWHERE) is tensor
    assert tensor_of(other, ELSEWHERE) is not tensor
    assert len(matching._moved) == before + 2
    del split, other
    gc.collect()
    assert len(matching._moved) == before
