import pytest
import torch

from simmc.data.graph_levels import containing, skeleton_graph
from simmc.data.skeletons import CASIA_14, KINECT_V1, KINECT_V2
from simmc.models.mgscr import LEVELS, MGSCRNetwork
from simmc.models.simmc import count_parameters
from tests.reference import graphs as literal

UNITS, LENGTH, BATCH = 5, 4, 3


def network(skeleton=CASIA_14, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(0)
    made = MGSCRNetwork(skeleton, UNITS, generator=generator, **options)
    for name, weight in made.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(weight, generator=generator)
    return made.to(dtype)


def windows(skeleton=CASIA_14, batch=BATCH, length=LENGTH):
    generator = torch.Generator().manual_seed(1)
    shape = (batch, length, 3 * skeleton.n_joints)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_frames_equal_the_loops():
    made, given = network(), windows(batch=2, length=1)
    graphs = [skeleton_graph(CASIA_14, level) for level in LEVELS]
    holders = [containing(CASIA_14, level) for level in LEVELS[1:]]
    found = made.frames(given)
    assert found.shape == (2, 1, 8 * 14)
    wanted = torch.stack(
        [literal.mgscr_frame(made, graphs, *holders, window[0].reshape(-1, 3)) for window in given]
    )
    torch.testing.assert_close(found[:, 0], wanted)
    weights = [*made.graphs.parameters(), made.to_component, made.to_limb]
    slope = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2)).double()
    pair = [torch.autograd.grad((v * slope).sum(), weights) for v in (found[:, 0], wanted)]
    for one, other in zip(*pair, strict=True):
        torch.testing.assert_close(one, other)


def test_single_precision_is_the_same_network():
    given = windows()
    exact, quick = network(), network(dtype=torch.float32)
    torch.testing.assert_close(
        quick.frames(given.float()).double(), exact.frames(given), rtol=1e-4, atol=1e-4
    )
    for kind in exact.KINDS:
        found = quick.pooled(given.float(), kind).double()
        torch.testing.assert_close(found, exact.pooled(given, kind), rtol=1e-3, atol=1e-3)


def test_pooled_features():
    made, given = network(), windows()
    frames = made.frames(given)
    outputs = made.encoder(frames.transpose(0, 1)[None])[0][0].transpose(0, 1)
    torch.testing.assert_close(made.pooled(given, "mean"), frames.mean(1))
    torch.testing.assert_close(made.pooled(given, "lstm"), outputs[:, -1])
    torch.testing.assert_close(made.views(given, "prefix"), outputs[:, :-1])
    torch.testing.assert_close(made.pooled(given, "prefix"), outputs[:, :-1].mean(1))
    whole = network(last_frame=True)
    torch.testing.assert_close(whole.views(given), outputs)
    torch.testing.assert_close(whole.pooled(given, "prefix"), outputs.mean(1))


def test_views_as_an_early_program_made_them():
    made, given = network(batch=3), windows(batch=5)
    frames = made.frames(given)
    found = made.views(given)
    assert found.shape == (5, LENGTH - 1, UNITS)
    for begin, size in ((0, 3), (3, 2)):  # batches of 3; the last one is not full
        for b in range(size):
            for k in range(1, LENGTH):
                places = [(b * k + i) // size for i in range(k)]
                sequence = frames[begin + b, places]
                wanted = made.encoder(sequence[None, :, None])[0][0, -1, 0]
                torch.testing.assert_close(found[begin + b, k - 1], wanted)
    torch.testing.assert_close(made.pooled(given, "prefix"), found.mean(1))


def test_every_weight_learns_from_the_views():
    """The supervised stage trains all but the head of the pretext task."""
    made = network()
    made.views(windows()).square().sum().backward()
    for name, weight in made.named_parameters():
        assert (weight.grad is None) == name.startswith("predictor"), name


@pytest.mark.parametrize(
    ("skeleton", "size"), [(KINECT_V1, 279_552 + 24_252), (KINECT_V2, 300_032 + 26_187)]
)
def test_sizes_are_those_of_the_public_program(skeleton, size):
    made = MGSCRNetwork(skeleton, generator=torch.Generator())
    # one 8 x 8 matrix of its relations is never used, and not here
    assert count_parameters(made) == 2_448 - 64 + size
