from dataclasses import replace

import pytest
import torch

from simmc.losses import locality_mask
from simmc.models.sgela_encoder import ATTENTIONS, GaitModels, GaitShape
from tests.reference import sgela as literal

MODELS, LENGTH, BATCH = 2, 3, 2
SMALL = GaitShape(joints=2, hidden=3, contrast_length=LENGTH)


def make(shape, models=MODELS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    network = GaitModels(models, shape, generator=generator).double()
    for weight in network.parameters():  # larger than usual, so that no term is next to nothing
        torch.nn.init.uniform_(weight, -0.7, 0.7, generator=generator)
    draw = torch.randn(2, models, LENGTH, BATCH, shape.joints, generator=generator)
    return network, draw[0].double(), draw[1].double()


def literal_pass(network, shape, frames, mask, taught, teacher):
    found = []
    for model in range(len(frames)):
        rows = []
        for b in range(BATCH):
            own = None if teacher is None or not taught[model] else teacher[model, :, b]
            rows.append(
                literal.decode(network, model, frames[model, :, b], shape, mask[model], own)
            )
        found.append([torch.stack(part, dim=1) for part in zip(*rows, strict=True)])
    return [torch.stack(part) for part in zip(*found, strict=True)]


def objective(parts):
    total = 0.0
    for part in parts:
        scale = torch.linspace(-1, 2, part.numel(), dtype=torch.float64).reshape(part.shape)
        total = total + (scale * part).sum()
    return total


def mixed_masks():
    """Another mask for each model."""
    return torch.stack([locality_mask(LENGTH, 2), torch.ones(LENGTH, LENGTH).double()])


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(
    ("projected", "fed"), [(True, False), (False, True), (False, False)], ids=str
)
def test_values_and_gradients_equal_the_loops(attention, projected, fed):
    shape = replace(SMALL, attention=attention, projected=projected, fed=fed)
    network, frames, teacher = make(shape)
    frames.requires_grad_()
    masks, taught = mixed_masks(), torch.tensor([True, False])[:, None, None]
    got = network(frames, masks, taught, teacher)
    wanted = literal_pass(network, shape, frames, masks, taught.flatten(), teacher)
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b.to(a.dtype))
    leaves = [frames, *network.parameters()]
    for a, b in zip(
        torch.autograd.grad(objective(got), leaves, allow_unused=True),
        torch.autograd.grad(objective(wanted), leaves, allow_unused=True),
        strict=True,
    ):
        if a is None or b is None:  # the head has no part in this
            assert all(x is None or not x.any() for x in (a, b))
        else:
            torch.testing.assert_close(a, b)


def test_without_a_teacher_the_decoder_is_fed_its_own_outputs():
    shape = replace(SMALL, projected=False, fed=True)
    network, frames, _ = make(shape)
    got = network(frames)
    wanted = literal_pass(network, shape, frames, mixed_masks(), [False] * MODELS, None)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_the_released_decoder_sees_no_skeleton():
    network, frames, teacher = make(SMALL)
    everyone = torch.ones(MODELS, 1, 1, dtype=torch.bool)
    for a, b in zip(network(frames, None, everyone, teacher), network(frames), strict=True):
        assert torch.equal(a, b)


def test_the_contrasting_head_equals_the_loops():
    network, frames, _ = make(SMALL)
    contexts = network(frames).contexts.detach().requires_grad_()
    got = network.head(contexts)
    wanted = torch.stack(
        [
            torch.stack(
                [literal.contrast_head(network.head, m, contexts[m, :, b]) for b in range(BATCH)]
            )
            for m in range(MODELS)
        ]
    )
    torch.testing.assert_close(got, wanted)
    leaves = [contexts, *network.head.parameters()]
    for a, b in zip(
        torch.autograd.grad(objective([got]), leaves),
        torch.autograd.grad(objective([wanted]), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("shape", [SMALL, replace(SMALL, projected=False, fed=True)], ids=str)
def test_models_in_one_pass_equal_models_one_by_one(shape):
    together, frames, teacher = make(shape, models=3)
    taught = torch.ones(3, 1, 1, dtype=torch.bool)

    def slopes(network, rows):
        found = network(frames[rows], None, taught[rows], teacher[rows])
        loss = objective([found.outputs[0:1].square(), found.alignments[0:1]])
        for m in range(1, len(found.outputs)):
            loss = loss + objective(
                [found.outputs[m : m + 1].square(), found.alignments[m : m + 1]]
            )
        loss = loss + network.head(found.contexts).square().sum()
        parameters = dict(network.named_parameters())
        return found, dict(
            zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True)
        )

    whole, whole_slopes = slopes(together, slice(None))
    for m in range(3):
        alone, _, _ = make(shape, models=1, seed=9)
        alone.load_state_dict({k: v[m : m + 1] for k, v in together.state_dict().items()})
        found, own = slopes(alone, slice(m, m + 1))
        for a, b in zip(whole, found, strict=True):
            torch.testing.assert_close(a[m : m + 1], b)
        for name, slope in own.items():
            torch.testing.assert_close(whole_slopes[name][m : m + 1], slope, msg=name)


def test_sizes_and_initial_weights():
    # per coordinate, J = 20: encoder 808,960; decoder 1,071,104 with 20 idle columns; attention
    # 196,608; output 5,140; contrasting head 459,264
    idle = 20 * 1024
    plain = GaitModels(1, GaitShape(20), generator=torch.Generator())
    assert count(plain.encoder) == 808_960
    assert count(plain.decoder) + idle == 1_071_104
    assert plain.keys.numel() + plain.attend.numel() == 196_608
    assert plain.output.numel() + plain.output_bias.numel() == 5_140
    whole = GaitModels(1, GaitShape(20, contrast_length=6), generator=torch.Generator())
    assert count(whole) - count(plain) == count(whole.head) == 459_264
    exact = GaitModels(1, GaitShape(20, projected=False, fed=True), generator=torch.Generator())
    assert count(exact) == count(plain) + idle - 256 * 256
    assert not hasattr(
        GaitModels(1, GaitShape(20, attention="none"), generator=torch.Generator()), "attend"
    )
    assert whole.head.first.std().item() == pytest.approx(1, abs=0.01)
    assert whole.output.std().item() == pytest.approx(0.088, abs=0.003)  # of a normal cut at 2 sd
    assert whole.output.abs().max() <= 0.2
    assert whole.attend.abs().max() <= (6 / 768) ** 0.5
    assert whole.keys.abs().max() <= (6 / 512) ** 0.5


def count(module):
    return sum(p.numel() for p in module.parameters())
