import pytest
import torch

from simmc.losses import locality_mask
from simmc.models.sgela import (
    FRAMES_AT_ONCE,
    GaitNetwork,
    coordinates,
    step_flops,
    stored_parameters,
)
from simmc.models.sgela_encoder import GaitModels, GaitShape

SHAPE = GaitShape(joints=4, hidden=5)
WINDOWS, LENGTH = 3, 6


def make(tasks=1, shape=SHAPE, **more):
    generator = torch.Generator().manual_seed(0)
    network = GaitNetwork(tasks, shape, generator=generator, **more).double()
    windows = torch.randn(WINDOWS, LENGTH, 12, generator=generator, dtype=torch.float64)
    return network, windows


def test_coordinates_of_joint_major_windows():
    windows = torch.arange(2 * 6 * 12.0).reshape(2, 6, 12)
    found = coordinates(windows)
    assert found.shape == (3, 6, 2, 4)
    for axis in range(3):
        for window in range(2):
            assert torch.equal(found[axis, :, window], windows[window, :, axis::3])


@pytest.mark.parametrize("tasks", [1, 2])
def test_features_by_name(tasks):
    network, windows = make(tasks)
    frames = network.frames(windows)
    assert frames.shape == (WINDOWS, LENGTH, tasks * 3 * 5)
    for task in range(tasks):  # each model on its own
        for axis in range(3):
            one = GaitModels(1, SHAPE, generator=torch.Generator()).double()
            at = 3 * task + axis
            one.load_state_dict({k: v[at : at + 1] for k, v in network.models.state_dict().items()})
            contexts = one(coordinates(windows)[axis : axis + 1]).contexts[0]
            torch.testing.assert_close(frames[..., 5 * at : 5 * at + 5], contexts.transpose(0, 1))
    torch.testing.assert_close(network.pooled(windows, "mean"), frames.mean(1))
    torch.testing.assert_close(network.pooled(windows, "last"), frames[:, -1])
    joined = network.pooled(windows, "sc")
    assert joined.shape == (WINDOWS, tasks * 3 * 5 * LENGTH)
    # all steps of one coordinate after the other
    torch.testing.assert_close(joined[:, :30], frames[..., :5].flatten(1))
    torch.testing.assert_close(joined[:, 30:60], frames[..., 5:10].flatten(1))
    assert torch.equal(network.views(windows, "ap"), frames)
    assert torch.equal(network.views(windows, "sc"), joined[:, None])
    assert network.KINDS == ("mean", "sc", "last")


def test_windows_do_not_touch_each_other(monkeypatch):
    network, windows = make()
    together = network.frames(windows)
    monkeypatch.setattr("simmc.models.sgela.FRAMES_AT_ONCE", LENGTH)
    torch.testing.assert_close(network.frames(windows), together)
    assert FRAMES_AT_ONCE >= 60


def test_features_can_be_trained_further():
    network, windows = make()
    network.views(windows, "ap").sum().backward()
    assert network.models.encoder.layers[0].kernel.grad.abs().sum() > 0


def test_the_mask_of_each_model():
    network, windows = make(2, reach=2.0)
    frames = coordinates(windows).repeat(2, 1, 1, 1)
    mask = network.mask(frames)
    for model in range(3):
        torch.testing.assert_close(mask[model], locality_mask(LENGTH, 2))
    assert torch.equal(mask[3:], torch.ones_like(mask[3:]))
    assert torch.equal(make(1, masked=0)[0].mask(frames), torch.ones_like(mask[3:]))
    torch.testing.assert_close(make()[0].mask(frames)[0], locality_mask(LENGTH, LENGTH))


def test_masked_attention_reads_through_the_mask():
    network, windows = make(2, GaitShape(4, 5, attention="masked"), reach=1.0)
    plain, _ = make(2, GaitShape(4, 5, attention="basic"))
    plain.load_state_dict(network.state_dict())
    masked, basic = network.contexts(windows), plain.contexts(windows)
    assert not torch.allclose(masked[0], basic[0])
    torch.testing.assert_close(masked[1], basic[1])  # the mask has no sense for the second task


@pytest.mark.parametrize("kind", ["first", "frames"])
def test_unknown_names(kind):
    network, windows = make()
    with pytest.raises(ValueError, match="kind"):
        network.pooled(windows, kind)
    with pytest.raises(ValueError, match="how"):
        network.views(windows, kind)


@pytest.mark.parametrize(
    ("joints", "length", "millions"), [(20, 0, 7.10), (25, 0, 7.15), (20, 6, 8.47), (25, 6, 8.52)]
)
def test_the_published_sizes(joints, length, millions):
    shape = GaitShape(joints, contrast_length=length)
    assert round(stored_parameters(shape, 6) / 1e6, 2) == millions


def test_stored_parameters_are_ours_and_those_that_do_nothing():
    idle = 20 * 1024  # columns for skeletons that are always zero
    copies = 276 * 1024 + 1024
    for tasks in (1, 3):
        shape = GaitShape(20, contrast_length=6)
        network = GaitNetwork(tasks, shape, generator=torch.Generator())
        ours = sum(p.numel() for p in network.parameters())
        assert stored_parameters(shape, 6, tasks) == ours + 3 * tasks * (idle + copies)
    assert copies == 283_648


def test_operations_of_a_step():
    shape = GaitShape(joints=2, hidden=3)
    encoder = (2 + 3) * 12 + 6 * 12
    decoder = (2 + 3 + 3) * 12 + 6 * 12
    attention = 3 * 3 + 2 * 4 * 3 + 6 * 3
    assert step_flops(shape, 4, 10) == 6 * 10 * 3 * 4 * (encoder + decoder + attention + 6)
    head = GaitShape(joints=2, hidden=3, contrast_length=4)
    assert step_flops(head, 4, 10) - step_flops(shape, 4, 10) == 6 * 10 * 3 * (12 * 3 + 9)
