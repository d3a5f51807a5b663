import torch

from simmc.models.simmc import SimMCNetwork, count_parameters, training_flops


def network(width=6, hidden=8, layers=1, seed=0):
    return SimMCNetwork(width, hidden, layers, generator=torch.Generator().manual_seed(seed))


def test_pooling_before_the_last_layer_equals_eq_3():
    net = network(layers=2).double()
    windows = torch.randn(5, 4, 6, dtype=torch.float64)
    keep = torch.tensor([[1, 1, 0, 1.0], [0, 1, 1, 0.0]], dtype=torch.float64)
    got = net(windows, (keep / keep.sum(1, keepdim=True)).expand(5, -1, -1))
    for n in range(5):
        for i in range(2):
            encoded = []
            for t in range(4):
                h = windows[n, t]
                for layer in net.hidden:
                    h = torch.relu(layer.weight @ h + layer.bias)
                encoded.append(net.output.weight @ h + net.output.bias)
            kept = [e for e, k in zip(encoded, keep[i], strict=True) if k]
            torch.testing.assert_close(got[n, i], torch.stack(kept).mean(0))


def test_initial_weights_are_glorot_zero_and_normal():
    net = network(60, 256)
    bound = (6 / (60 + 256)) ** 0.5
    assert net.hidden[0].weight.abs().max() <= bound
    assert net.hidden[0].weight.abs().max() > 0.99 * bound
    assert net.hidden[0].bias.abs().max() == 0 and net.output.bias.abs().max() == 0
    assert abs(net.predictor.weight.std().item() - 1) < 0.01
    assert net.predictor.bias.abs().max() == 0


def test_same_generator_seed_same_weights():
    assert all(
        torch.equal(a, b)
        for a, b in zip(network(seed=3).parameters(), network(seed=3).parameters(), strict=True)
    )
    assert not torch.equal(network(seed=3).output.weight, network(seed=4).output.weight)


def test_sizes_are_those_of_the_paper():
    assert count_parameters(network(60, 256)) == 147_200
    assert count_parameters(network(75, 256)) == 151_040  # printed 0.15M
    assert round(training_flops(75, 256, 1) / 1e9, 2) == 0.98  # printed 0.99 GFLOP
