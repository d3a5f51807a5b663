import math

import pytest
import torch

from simmc.losses import locality_alignment, locality_mask
from tests.reference import sgela as literal


@pytest.mark.parametrize(("length", "reach"), [(6, 6), (6, 2), (6, 1), (4, 3), (1, 1), (10, 4.5)])
def test_the_mask_equals_the_formula(length, reach):
    wanted = torch.tensor(literal.mask(length, reach), dtype=torch.float64)
    torch.testing.assert_close(locality_mask(length, reach), wanted)


def test_the_mask_by_hand():
    mask = locality_mask(3, 3)  # sigma = 1.5
    near, far = math.exp(-1 / 4.5), math.exp(-4 / 4.5)
    wanted = [[far, near, 1], [near, 1, near], [1, near, far]]  # the first step decodes frame 3
    torch.testing.assert_close(mask, torch.tensor(wanted, dtype=torch.float64))
    assert locality_mask(3, 1)[0].tolist() == [0.0, math.exp(-2), 1.0]


@pytest.mark.parametrize("reach", [5, 2])
def test_value_and_gradient_equal_the_loops(reach):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 5, 3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    alignments = scores.softmax(-1)  # (m, f, B, f)
    got = locality_alignment(alignments, locality_mask(5, reach))
    rows = literal.mask(5, reach)
    wanted = sum(literal.locality_alignment(one.transpose(0, 1), rows) for one in alignments)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(got, scores, retain_graph=True), torch.autograd.grad(wanted, scores)
    )


def test_attention_on_the_decoded_frame_costs_nothing():
    mask = locality_mask(4, 4)
    there = torch.eye(4, dtype=torch.float64).flip(0)[:, None]  # (f, B, f)
    assert locality_alignment(there, mask) == 0
    assert locality_alignment(torch.full_like(there, 0.25), mask) > 0
