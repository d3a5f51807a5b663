import math

import torch
from torch import nn

from simmc.models import optimizer
from simmc.models.optimizer import FlatAdam


def literal_adam(parameters, gradients, lr, eps=1e-8):
    """TensorFlow 1's update, scalar by scalar."""
    m = [0.0] * len(parameters)
    v = [0.0] * len(parameters)
    values = list(parameters)
    for t, step in enumerate(gradients, start=1):
        rate = lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        for i, g in enumerate(step):
            m[i] += (g - m[i]) * (1 - 0.9)
            v[i] += (g * g - v[i]) * (1 - 0.999)
            values[i] -= rate * m[i] / (math.sqrt(v[i]) + eps)
    return values


def test_steps_equal_the_literal_update():
    layer = nn.Linear(2, 1, bias=True).double()
    start = [*layer.weight.detach().flatten().tolist(), layer.bias.item()]
    gradients = [[1.0, -2e-8, 0.3], [0.5, 1e-8, -0.3], [0.0, 3e-8, 4.0]]
    adam = FlatAdam(layer, lr=0.01)
    for g in gradients:
        slope = torch.tensor(g, dtype=torch.float64)
        adam.zero_grad()
        (layer.weight.flatten() @ slope[:2] + layer.bias[0] * slope[2]).backward()
        adam.step()
    got = [*layer.weight.detach().flatten().tolist(), layer.bias.item()]
    for a, b in zip(got, literal_adam(start, gradients, 0.01), strict=True):
        assert math.isclose(a, b, rel_tol=1e-12)


def test_epsilon_is_outside_the_bias_corrected_root():
    layer = nn.Linear(1, 1, bias=False).double()
    before = layer.weight.item()
    adam = FlatAdam(layer, lr=1.0)
    (layer.weight * 1e-8).sum().backward()
    adam.step()
    moved = before - layer.weight.item()
    # sqrt(v) = 1e-8 sqrt(0.001): epsilon outweighs it, so the step is far below lr
    expected = math.sqrt(0.001) / 0.1 * 0.1e-8 / (1e-8 * math.sqrt(0.001) + 1e-8)
    assert math.isclose(moved, expected, rel_tol=1e-9)
    assert moved < 0.05


def test_state_continues_exactly():
    def run(interrupted):
        torch.manual_seed(0)
        layer = nn.Linear(4, 3)
        adam = FlatAdam(layer, lr=0.1)
        for step in range(6):
            if interrupted and step == 3:
                weights = {k: v.clone() for k, v in layer.state_dict().items()}
                moments = {
                    k: v.clone() if hasattr(v, "clone") else v for k, v in adam.state_dict().items()
                }
                layer = nn.Linear(4, 3)
                adam = FlatAdam(layer, lr=0.1)
                layer.load_state_dict(weights)
                adam.load_state_dict(moments)
            adam.zero_grad()
            layer(torch.full((2, 4), float(step + 1))).square().sum().backward()
            adam.step()
        return torch.cat([p.detach().flatten() for p in layer.parameters()])

    assert torch.equal(run(False), run(True))


def test_blocks_do_not_change_a_digit(monkeypatch):
    def run(block):
        monkeypatch.setattr(optimizer, "BLOCK", block)
        torch.manual_seed(0)
        layer = nn.Linear(40, 30)
        adam = FlatAdam(layer, lr=0.1)
        for step in range(3):
            adam.zero_grad()
            layer(torch.full((2, 40), float(step + 1))).square().sum().backward()
            adam.step()
        return adam.vector, adam.first, adam.second

    for whole, parts in zip(run(10**6), run(100), strict=True):
        assert torch.equal(whole, parts)
