import pytest
import torch

from simmc.data.graph_levels import GRAPH_LEVELS, skeleton_graph
from simmc.data.skeletons import CASIA_14, KINECT_V1, KINECT_V2
from simmc.models.simmc import count_parameters
from simmc.models.smsge import SMSGENetwork, coarser
from tests.reference import graphs as literal

UNITS, LENGTH, BATCH = 4, 3, 3


def network(dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(0)
    made = SMSGENetwork(CASIA_14, UNITS, generator=generator, **options)
    for name, weight in made.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(weight, generator=generator)
    return made.to(dtype)


def windows(batch=BATCH, length=LENGTH):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, length, 42, generator=generator, dtype=torch.float64)


def test_levels():
    assert coarser("hyper_joint") == GRAPH_LEVELS
    assert coarser("component") == ("component", "limb")
    assert coarser("limb") == ("limb",)


def test_frames_equal_the_loops():
    made, given = network(), windows(1, 1)
    graphs = [skeleton_graph(CASIA_14, level) for level in GRAPH_LEVELS]
    wanted = literal.smsge_frame(made, graphs, given[0, 0].reshape(-1, 3))
    found = made.by_frame(given)
    assert [part.shape[2] // 8 for part in found.values()] == [27, 14, 10, 5]
    for level in GRAPH_LEVELS:
        torch.testing.assert_close(found[level][0, 0], wanted[level])
    torch.testing.assert_close(made.frames(given)[0, 0], torch.cat(list(wanted.values())))
    shared = made.shared_parameters()
    slope = torch.randn(8 * 27, generator=torch.Generator().manual_seed(2)).double()
    pair = [
        torch.autograd.grad((v * slope).sum(), shared, allow_unused=True, retain_graph=True)
        for v in (found["hyper_joint"][0, 0], wanted["hyper_joint"])
    ]
    for one, other in zip(*pair, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


def test_single_precision_is_the_same_network():
    given = windows()
    exact, quick = network(), network(torch.float32)
    for kind in exact.KINDS:
        found = quick.pooled(given.float(), kind).double()
        torch.testing.assert_close(found, exact.pooled(given, kind), rtol=1e-3, atol=1e-3)


def test_pooled_features():
    made, given = network(), windows()
    outputs = []
    for level, frames in made.by_frame(given).items():
        outputs.append(made.encoders[level](frames[None])[0][0].transpose(0, 1))
    outputs = torch.cat(outputs, dim=2)
    torch.testing.assert_close(made.pooled(given, "mean"), made.frames(given).mean(1))
    torch.testing.assert_close(made.pooled(given, "lstm"), outputs[:, -1])
    torch.testing.assert_close(made.views(given, "prefix"), outputs)
    torch.testing.assert_close(made.pooled(given, "prefix"), outputs.mean(1))


def test_a_prefix_with_an_empty_frame():
    made, longer, given = network(), network(empty_frame=True), windows()
    found = longer.views(given)
    assert found.shape == (BATCH, LENGTH + 1, 4 * UNITS)
    torch.testing.assert_close(found[:, :-1], made.views(given))
    last = []
    for level, frames in made.by_frame(given).items():
        state = made.encoders[level](frames[None])[1]
        nothing = torch.zeros_like(frames[:1])
        last.append(made.encoders[level](nothing[None], state)[0][0, 0])
    torch.testing.assert_close(found[:, -1], torch.cat(last, dim=1))
    torch.testing.assert_close(longer.pooled(given, "lstm"), made.pooled(given, "lstm"))


@pytest.mark.parametrize(
    ("skeleton", "size"),
    [(KINECT_V1, 5_582_094 - 1024 * 1025 - 11 * 1025), (KINECT_V2, 4_659_519)],
)
def test_sizes_are_those_of_the_public_program(skeleton, size):
    made = SMSGENetwork(skeleton, generator=torch.Generator())
    # one 8 x 8 matrix of its relations is never used, and not here
    assert count_parameters(made) == size - 64
    assert sum(p.numel() for p in made.shared_parameters()) == 4 * 752 + 10 * 64
