import torch

from simmc.losses import center_loss, moved_centers
from tests.reference import center as literal


def draw(batch=7, width=4, classes=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, width, generator=g, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, classes - 1, (batch,), generator=g)  # the last class has no window
    centers = torch.randn(classes, width, generator=g, dtype=torch.float64, requires_grad=True)
    return features, labels, centers


def test_value_and_gradient_equal_the_loops():
    features, labels, centers = draw()
    loss = center_loss(features, labels, centers)
    wanted = literal.center_loss(features, labels, centers)
    torch.testing.assert_close(loss, wanted)
    pair = [torch.autograd.grad(value, [features])[0] for value in (loss, wanted)]
    torch.testing.assert_close(*pair)


def test_centres_get_no_gradient():
    features, labels, centers = draw()
    center_loss(features, labels, centers).backward()
    assert centers.grad is None and features.grad.abs().sum() > 0


def test_it_is_zero_at_the_centres_alone():
    _, labels, centers = draw()
    assert center_loss(centers[labels], labels, centers).item() == 0
    assert center_loss(centers[labels] + 1, labels, centers).item() == 0.5 * 4


def test_centres_move_as_in_the_loops():
    features, labels, centers = draw()
    for rate in (0.0, 0.5, 1.0):
        moved = moved_centers(features, labels, centers, rate)
        torch.testing.assert_close(moved, literal.moved_centers(features, labels, centers, rate))
        assert not moved.requires_grad
