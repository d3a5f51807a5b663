import pytest
import torch

from simmc.models.himpc import HierarchicalNetwork, LevelNetwork, hierarchical_flops
from simmc.models.optimizer import FlatAdam
from simmc.models.simmc import count_parameters
from tests.reference import hierarchical as literal

LEVELS = {"joint": 12, "component": 9, "limb": 6}


def network(hidden=5, layers=1, heads=3, seed=0, widths=LEVELS):
    generator = torch.Generator().manual_seed(seed)
    return HierarchicalNetwork(widths, hidden, layers, heads, generator=generator).double()


def windows(n=4, frames=3, widths=LEVELS):
    g = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(n, frames, width, generator=g, dtype=torch.float64)
        for name, width in widths.items()
    }


@pytest.mark.parametrize("layers", [1, 2])
def test_frames_instances_and_representation_equal_the_loops(layers):
    net, given = network(layers=layers), windows()
    instances = net.instances(given)
    assert list(instances) == list(LEVELS)
    msmr = net.represent(instances)
    assert msmr.shape == (4, 15)
    for n in range(4):
        parts = []
        for name in LEVELS:
            z = literal.encode(net[name], given[name][n])
            torch.testing.assert_close(net[name](given[name])[n], torch.stack(z))
            torch.testing.assert_close(instances[name][n], torch.stack(z).mean(0))
            parts.append(literal.represent(net[name], given[name][n]))
        torch.testing.assert_close(msmr[n], torch.cat(parts))


def test_without_heads_the_representation_is_the_instance():
    net = network(heads=0)
    instances = net.instances(windows())
    assert torch.equal(net.represent(instances), torch.cat(list(instances.values()), 1))
    assert net["limb"].heads.shape == (0, 5, 5)


def test_initial_weights_are_glorot_zero_and_normal():
    level = LevelNetwork(60, 256, generator=torch.Generator().manual_seed(0))
    for layer, bound in ((level.hidden[0], 6 / (60 + 256)), (level.output, 6 / 512)):
        assert 0.99 * bound**0.5 < layer.weight.abs().max() <= bound**0.5
        assert layer.bias.abs().max() == 0
    assert level.heads.shape == (8, 256, 256)
    assert abs(level.heads.std().item() - 1) < 0.01 and abs(level.heads.mean().item()) < 0.01
    # what the losses count on: H H^T is about h times the identity
    metric = level.heads[0] @ level.heads[0].T / 256
    assert abs(metric.diagonal().mean().item() - 1) < 0.02


@pytest.mark.parametrize(("joints", "size"), [(20, 225_024), (25, 228_864), (14, 220_416)])
def test_sizes_are_those_of_the_paper_s_network(joints, size):
    widths = {"joint": 3 * joints, "component": 30, "limb": 15}
    generator = torch.Generator()
    assert count_parameters(HierarchicalNetwork(widths, heads=0, generator=generator)) == size
    whole = HierarchicalNetwork(widths, generator=generator)
    assert count_parameters(whole) == size + 1_572_864
    assert count_parameters(whole["limb"]) == 15 * 256 + 256 + 256 * 256 + 256 + 8 * 256 * 256


def test_operations_by_hand():
    # 3 passes x 2 operations x rows x (inputs x outputs)
    encoder = 60 * 256 + 256 * 256
    assert hierarchical_flops([60], heads=0) == 6 * 1536 * encoder
    assert hierarchical_flops([60], heads=8) == 6 * 1536 * (encoder + 8 * 256 * 256)
    assert hierarchical_flops([60], heads=8, mining=False) == 6 * (
        1536 * encoder + 256 * 8 * 256 * 256
    )
    assert hierarchical_flops([60, 30], layers=2, heads=0) == 6 * 1536 * (90 * 256 + 4 * 256 * 256)


def test_one_flat_vector_holds_it_all():
    net = network(heads=2)
    adam = FlatAdam(net, lr=0.1)
    assert adam.vector.numel() == count_parameters(net)
    before = net["limb"].heads.detach().clone()
    net.represent(net.instances(windows())).square().sum().backward()
    adam.step()
    assert (net["limb"].heads - before).abs().max() > 0.05
    FlatAdam(network(heads=0), lr=0.1).step()  # an empty tensor of heads is no obstacle either
