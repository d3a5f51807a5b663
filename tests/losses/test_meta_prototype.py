import math

import pytest
import torch

from simmc.losses import (
    frame_importance,
    hard_skeleton_contrast,
    meta_prototype,
    meta_prototype_contrast,
)
from simmc.losses import hard_mining as mined_contrast
from tests.reference import hierarchical as literal

# Windows, frames, clusters, heads, width: few clusters, whose prototypes are mapped; and many,
# where frames are.
SIZES = [(5, 3, 4, 2, 4), (4, 2, 11, 3, 2)]
VARIANTS = [
    {},
    {"weights_over_temperature": False},
    {"stop_weights": True},
    {"focus": -1},
    {"focus": -1, "weights_over_temperature": False, "stop_weights": True},
    {"focus": 0},
]
# 1 score a tile is one window at a time; 200 fit no number of windows evenly
TILES = [1, 200, 1 << 20]


def draw(windows=7, frames=3, clusters=5, heads=2, width=4, seed=0):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    z = (normal(windows, frames, width)).requires_grad_()
    y = torch.randint(clusters, (windows,), generator=g)
    return z, y, normal(clusters, width), normal(heads, width, width).requires_grad_()


def assert_equal_with_gradients(got, wanted, inputs):
    torch.testing.assert_close(got, wanted)
    for a, b in zip(
        torch.autograd.grad(got, inputs), torch.autograd.grad(wanted, inputs), strict=True
    ):
        torch.testing.assert_close(a, b)
        assert b.abs().max() > 0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("size", SIZES)
def test_eq_5_and_its_gradients_equal_the_loops(size, reduction):
    z, y, p, heads = draw(*size)
    v = z.detach()[:, 0].requires_grad_()
    got = meta_prototype_contrast(v, y, p, heads, 2.0, reduction=reduction)
    wanted = literal.meta_prototype_contrast(v, y, p, heads, 2.0, reduction=reduction)
    assert_equal_with_gradients(got, wanted, [v, heads])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_eq_9_and_its_gradients_equal_the_loops(size, variant, reduction):
    z, y, p, heads = draw(*size)
    got = hard_skeleton_contrast(z, y, p, heads, 2.0, reduction=reduction, **variant)
    wanted = literal.hard_skeleton_contrast(z, y, p, heads, 2.0, reduction=reduction, **variant)
    assert_equal_with_gradients(got, wanted, [z, heads])


@pytest.mark.parametrize("size", SIZES)
def test_heads_learn_the_same_where_frames_are_constant(size):
    z, y, p, heads = draw(*size)
    wanted = torch.autograd.grad(hard_skeleton_contrast(z, y, p, heads, 2.0), heads)[0]
    loss = hard_skeleton_contrast(z.detach(), y, p, heads, 2.0)
    torch.testing.assert_close(torch.autograd.grad(loss, heads)[0], wanted)


def test_importance_is_by_default_that_of_the_training():
    z, y, p, heads = (one.detach() for one in draw())
    found = frame_importance(z, y, p, heads, 2.0)
    weights = {"weights_over_temperature": True, "focus": 1}
    assert torch.equal(found, frame_importance(z, y, p, heads, 2.0, **weights))
    total = hard_skeleton_contrast(z, y, p, heads, 2.0)
    assert total == hard_skeleton_contrast(z, y, p, heads, 2.0, **weights)


def test_the_sizes_above_take_both_ways():
    z, _, p, heads = draw(*SIZES[0])
    assert meta_prototype._scores(z, p, heads, 2.0).left is z
    z, _, p, heads = draw(*SIZES[1])
    assert meta_prototype._scores(z, p, heads, 2.0).right.shape == p.shape


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile", TILES)
def test_tiles_change_nothing(tile, size, monkeypatch):
    z, y, p, heads = draw(*size)
    wanted = literal.hard_skeleton_contrast(z, y, p, heads, 2.0)
    delta = frame_importance(z, y, p, heads, 2.0)
    monkeypatch.setitem(mined_contrast.TILE, "cpu", tile)
    assert_equal_with_gradients(hard_skeleton_contrast(z, y, p, heads, 2.0), wanted, [z, heads])
    torch.testing.assert_close(frame_importance(z, y, p, heads, 2.0), delta)


def test_one_window_one_frame_one_cluster_costs_nothing():
    z, y, p, heads = draw(1, 1, 1, 1)
    loss = hard_skeleton_contrast(z, y, p, heads, 2.0)
    assert loss.item() == 0
    assert all(g.abs().max() == 0 for g in torch.autograd.grad(loss, [z, heads]))


def test_each_variant_differs_from_the_others():
    z, y, p, heads = draw()
    gradients = [
        torch.autograd.grad(hard_skeleton_contrast(z, y, p, heads, 2.0, **variant), z)[0]
        for variant in VARIANTS
    ]
    for i, a in enumerate(gradients):
        for b in gradients[:i]:
            assert (a - b).abs().max() > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_no_gradient_reaches_the_prototypes(size):
    z, y, p, heads = draw(*size)
    p.requires_grad_()
    hard_skeleton_contrast(z, y, p, heads, 2.0).backward()
    assert p.grad is None
    meta_prototype_contrast(z[:, 0], y, p, heads, 2.0).backward()
    assert p.grad is None


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_heads_are_one_that_changes_nothing(reduction):
    z, y, p, _ = draw()
    none = torch.empty(0, 4, 4, dtype=torch.float64)
    identity = torch.eye(4, dtype=torch.float64)[None]
    for ours, x in ((hard_skeleton_contrast, z), (meta_prototype_contrast, z[:, 0])):
        got = ours(x, y, p, none, 2.0, reduction=reduction)
        wanted = getattr(literal, ours.__name__)(x, y, p, identity, 2.0, reduction=reduction)
        assert_equal_with_gradients(got, wanted, [z])
    plain = torch.nn.functional.cross_entropy(z[:, 0] @ p.T / 2.0, y)
    torch.testing.assert_close(meta_prototype_contrast(z[:, 0], y, p, none, 2.0), plain)


def test_focus_0_of_one_frame_is_eq_5_and_of_more_their_sum():
    z, y, p, heads = draw()
    frames = [meta_prototype_contrast(frame, y, p, heads, 2.0) for frame in z.unbind(1)]
    got = hard_skeleton_contrast(z, y, p, heads, 2.0, focus=0)
    torch.testing.assert_close(got, torch.stack(frames).sum())
    torch.testing.assert_close(
        hard_skeleton_contrast(z[:, :1], y, p, heads, 2.0, focus=0), frames[0]
    )


def test_unknown_focus_is_refused():
    z, y, p, heads = draw()
    with pytest.raises(ValueError, match=r"focus must be 1 \(hard\), -1 \(easy\) or 0"):
        hard_skeleton_contrast(z, y, p, heads, 2.0, focus=2)
    with pytest.raises(ValueError, match="frames have no importance"):
        frame_importance(z, y, p, heads, 2.0, focus=0)


# Two clusters on the axes; the frames' mean lies nearer to the first.
FRAMES = torch.tensor([[[3.0, 0.0], [2.0, 0.0], [1.0, 1.0]]], dtype=torch.float64)
AXES = torch.eye(2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("label", "focus", "sign"),
    [
        (0, 1, -1),  # predicted right: the least similar frame is the hard positive
        (1, 1, 1),  # predicted wrong: the most similar frame is the hard negative
        (0, -1, 1),  # easy mining turns both round
        (1, -1, -1),
    ],
)
@pytest.mark.parametrize("over_temperature", [True, False])
def test_the_sign_rule_by_hand(label, focus, sign, over_temperature):
    similar = [3.0, 2.0, 1.0]  # to the first cluster, which is the predicted one
    scale = 2.0 if over_temperature else 1.0
    e = [math.exp(sign * s / scale) for s in similar]
    got = frame_importance(
        FRAMES,
        torch.tensor([label]),
        AXES,
        AXES[None],
        2.0,
        focus=focus,
        weights_over_temperature=over_temperature,
    )
    torch.testing.assert_close(got, torch.tensor([[x / sum(e) for x in e]], dtype=torch.float64))


def test_the_weighted_loss_by_hand():
    # right prediction, tau 1: scores of the label 3, 2, 1, of the other cluster 0, 0, 1
    e = [math.exp(-s) for s in (3.0, 2.0, 1.0)]
    entropy = [math.log(1 + math.exp(-3)), math.log(1 + math.exp(-2)), math.log(2)]
    wanted = sum(a * b for a, b in zip(e, entropy, strict=True)) / sum(e)
    got = hard_skeleton_contrast(FRAMES, torch.tensor([0]), AXES, AXES[None], 1.0)
    assert math.isclose(got.item(), wanted, rel_tol=1e-12)


def test_each_head_predicts_for_itself():
    swap = AXES.flip(0)  # one head turns the axes round, for frames and prototypes alike: no change
    shrink = torch.diag(torch.tensor([0.1, 3.0], dtype=torch.float64))  # here the second is nearer
    y = torch.tensor([0])
    alone = [frame_importance(FRAMES, y, AXES, h[None], 1.0) for h in (AXES, swap, shrink)]
    torch.testing.assert_close(alone[0], alone[1])
    assert alone[0][0].argmax() == 2  # right: the third frame is least similar
    assert alone[2][0].argmax() == 2  # wrong: the third is most similar to the second axis
    assert (alone[0] - alone[2]).abs().max() > 0.1
    both = frame_importance(FRAMES, y, AXES, torch.stack([AXES, shrink]), 1.0)
    torch.testing.assert_close(both, (alone[0] + alone[2]) / 2)


@pytest.mark.parametrize("focus", [1, -1])
@pytest.mark.parametrize("over_temperature", [True, False])
def test_importance_is_the_mean_of_the_loops_over_heads(focus, over_temperature):
    z, y, p, heads = draw()
    how = {"focus": focus, "weights_over_temperature": over_temperature}
    got = frame_importance(z, y, p, heads, 2.0, **how)
    wanted = [
        torch.stack([torch.stack(literal.importance(w, c, p, h, 2.0, **how)) for h in heads]).mean(
            0
        )
        for w, c in zip(z, y, strict=True)
    ]
    torch.testing.assert_close(got, torch.stack(wanted).detach())
    torch.testing.assert_close(got.sum(1), torch.ones(len(z), dtype=torch.float64))


def test_large_scores_stay_finite_in_float32():
    z, y, p, heads = (x.float() if x.is_floating_point() else x for x in draw())
    z = (300 * z.detach()).requires_grad_()
    loss = hard_skeleton_contrast(z, y, p, heads, 1.0)
    wanted = hard_skeleton_contrast(z.double(), y, p.double(), heads.double(), 1.0)
    torch.testing.assert_close(loss, wanted.float())
    assert torch.isfinite(torch.autograd.grad(loss, z)[0]).all()


def test_value_without_gradient_is_the_same():
    z, y, p, heads = draw()
    with torch.no_grad():
        got = hard_skeleton_contrast(z, y, p, heads, 2.0)
    torch.testing.assert_close(got, hard_skeleton_contrast(z, y, p, heads, 2.0).detach())
    assert not got.requires_grad


def test_a_few_steps_reduce_it():
    z, y, p, heads = draw(32, 3, 4, 2, 6)
    before = hard_skeleton_contrast(z, y, p, heads, 2.0).item()
    x, h = z.detach().clone().requires_grad_(), heads.detach().clone().requires_grad_()
    for _ in range(30):
        a, b = torch.autograd.grad(hard_skeleton_contrast(x, y, p, h, 2.0), [x, h])
        x, h = (x - a).detach().requires_grad_(), (h - 0.1 * b).detach().requires_grad_()
    assert hard_skeleton_contrast(x, y, p, h, 2.0).item() < 0.5 * before
