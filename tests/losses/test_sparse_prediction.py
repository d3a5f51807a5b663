import torch

from simmc.losses import scale_reconstruction, sparse_prediction
from simmc.models.subsequences import subsequences

POSITIONS = ((2,), (0, 1), (0, 1, 2))
BATCH, WIDTH = 3, 4


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    tree = subsequences(POSITIONS)
    shape = (len(tree.frames), BATCH, WIDTH)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def of_subsequences(measure, found, targets):
    """Mean over subsequences of what is measured of each one, (k, B, w)."""
    tree = subsequences(POSITIONS)
    parts = [tree.members[:, k].nonzero()[:, 0] for k in range(len(POSITIONS))]
    return sum(measure(found[p] - targets[p]) for p in parts) / len(parts)


def test_values_and_gradients_equal_means_over_single_subsequences():
    tree, found, targets = subsequences(POSITIONS), draw(0), draw(1).detach()
    for loss, of_length, measure in (
        (sparse_prediction, False, lambda e: 0.5 * sum(x * x for x in e.flatten())),
        (scale_reconstruction, True, lambda e: sum(x.abs() for x in e.flatten()) / e.numel()),
    ):
        value = loss(found, targets, tree.shares(of_length=of_length))
        wanted = of_subsequences(measure, found, targets)
        torch.testing.assert_close(value, wanted)
        pair = [torch.autograd.grad(v, found)[0] for v in (value, wanted)]
        torch.testing.assert_close(*pair)
