import math

import pytest
import torch

from simmc.losses import neighbor_contrast
from tests.reference import sgela as literal


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("same_window", ["negative", "out"])
@pytest.mark.parametrize(("n", "interval"), [(2, 1), (3, 1), (7, 1), (7, 2), (7, 4), (5, 4)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_value_and_gradient_equal_the_loops(n, interval, temperature, same_window):
    z = draw(n, 4)
    got = neighbor_contrast(z, temperature, interval, same_window=same_window)
    wanted = literal.neighbor_contrast(z, temperature, interval, same_window=same_window)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, z), torch.autograd.grad(wanted, z))


def test_models_are_contrasted_on_their_own_and_added():
    z = draw(3, 5, 4)
    together = neighbor_contrast(z, 0.2)
    torch.testing.assert_close(together, sum(neighbor_contrast(one, 0.2) for one in z))


@pytest.mark.parametrize(("n", "interval"), [(1, 1), (0, 1), (3, 3), (2, 5)])
def test_nothing_to_pair(n, interval):
    assert neighbor_contrast(draw(n, 4), 0.1, interval) == 0


def test_the_copy_of_a_window_is_the_hardest_negative():
    z = torch.eye(3, dtype=torch.float64)  # all apart: each cosine is 0 but with the own copy
    # views 1, 2 and 2, 3: both copies of window 2 have the other among their three others
    apart, with_copy = math.log(3), math.log(2 + math.exp(2))
    got = neighbor_contrast(z, 0.5)
    assert got.item() == pytest.approx((2 * apart + 2 * with_copy) / 4)
    assert neighbor_contrast(z, 0.5, same_window="out").item() == pytest.approx(
        (2 * math.log(3) + 2 * math.log(2)) / 4
    )


def test_unknown_rule():
    with pytest.raises(ValueError, match="same_window"):
        neighbor_contrast(draw(3, 2), 0.1, same_window="positive")
