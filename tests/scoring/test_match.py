import gc
from dataclasses import replace

import numpy as np
import pytest
import torch

from simmc.scoring import match as matching
from simmc.scoring.match import MatchRule, tensor_of
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


def test_what_is_encoded_is_probe_and_gallery_in_their_roles():
    data, how = make.experiment(), (make.CPU, MatchRule())
    asked = []

    def mean_frame(split):
        asked.append(split)
        return torch.from_numpy(split.windows.mean(1).reshape(len(split), -1))

    found = matching.match_encoded(mean_frame, data, *how)
    assert asked == [data.probe, data.gallery]
    expected = matching.match(None, data, *how)
    assert (found.top(1), found.top(5)) == (expected.top(1), expected.top(5))
    assert found.map == pytest.approx(expected.map)
    turned = replace(data, probe=data.gallery, gallery=data.probe)
    turned = matching.match_encoded(mean_frame, turned, *how)
    assert turned.map != pytest.approx(expected.map)
