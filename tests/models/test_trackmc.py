import math

import pytest
import torch

from simmc.models.trackmc import FLOOR, TrackEncoder


def network(pooling, layers=1, width=6, hidden=5):
    made = TrackEncoder(width, hidden, layers, pooling, generator=torch.Generator().manual_seed(0))
    for layer in made.modules():
        if isinstance(layer, torch.nn.Linear):  # biases of 0 would hide that they are used
            torch.nn.init.uniform_(layer.bias, -0.5, 0.5, generator=torch.Generator())
    return made.double()


def windows(n=4, length=3, width=6):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, length, width, generator=g, dtype=torch.float64)


def literal(made, window, weights):
    """Frame by frame and unit by unit."""
    frames = []
    for frame in window:
        h = frame
        for layer in made.hidden:
            h = torch.stack(
                [
                    max(w @ h + b, torch.zeros_like(b))
                    for w, b in zip(layer.weight, layer.bias, strict=True)
                ]
            )
        frames.append(h)
    pooled = []
    for unit in zip(*frames, strict=True):
        pooled.append(sum(w * x for w, x in zip(weights, unit, strict=True)))
    if made.spreads:
        for unit, mean in zip(zip(*frames, strict=True), list(pooled), strict=True):
            variance = sum(w * (x - mean) ** 2 for w, x in zip(weights, unit, strict=True))
            pooled.append(torch.sqrt(variance + FLOOR))
    return made.output.weight @ torch.stack(pooled) + made.output.bias


@pytest.mark.parametrize("pooling", ["mean", "mean_std"])
@pytest.mark.parametrize("layers", [1, 2])
def test_features_equal_the_loops(pooling, layers):
    made, x = network(pooling, layers), windows()
    even = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    for given in (None, torch.softmax(windows(width=3)[:, 0], 1)):
        found = made(x, given)
        assert found.shape == (4, 5)
        for window, row, weights in zip(x, found, even if given is None else given, strict=True):
            torch.testing.assert_close(row, literal(made, window, weights))


@pytest.mark.parametrize("pooling", ["mean", "mean_std"])
def test_the_order_of_frames_does_not_matter_and_standing_still_has_a_gradient(pooling):
    made, x = network(pooling), windows()
    torch.testing.assert_close(made(x), made(x.flip(1)))
    still = x[:, :1].expand(-1, 3, -1).clone().requires_grad_()
    made(still).sum().backward()
    assert torch.isfinite(still.grad).all()


def test_only_known_poolings():
    with pytest.raises(ValueError, match="mean, mean_std"):
        network("max")


def test_weights_are_glorot_uniform():
    made = TrackEncoder(300, 256, 1, "mean_std", generator=torch.Generator().manual_seed(0))
    limit = math.sqrt(6 / (512 + 256))
    weight = made.output.weight
    assert weight.shape == (256, 512)
    assert weight.abs().max() <= limit
    assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.01)
