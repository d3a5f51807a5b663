import pytest
import torch

from simmc.losses import prototype_contrast, shared_prototype_contrast


def draw(instances=7, clusters=5, width=4, most=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    v = torch.randn(instances, width, generator=g, dtype=torch.float64, requires_grad=True)
    p = torch.randn(clusters, width, generator=g, dtype=torch.float64)
    chosen = torch.stack([torch.randperm(clusters, generator=g)[:most] for _ in range(instances)])
    shares = torch.rand(instances, most, generator=g, dtype=torch.float64)
    shares[0, 1:] = 0  # an instance with one cluster only
    return v, chosen, shares / shares.sum(1, keepdim=True), p


def literal(v, chosen, shares, p, temperature):
    """The sum written out, window by window and cluster by cluster."""
    total = torch.zeros((), dtype=v.dtype)
    for u, clusters, parts in zip(v, chosen, shares, strict=True):
        likeness = [torch.exp(u @ c / (u.norm() * c.norm()) / temperature) for c in p]
        for c, share in zip(clusters.tolist(), parts, strict=True):
            total = total - share * torch.log(likeness[c] / sum(likeness))
    return total / len(v)


@pytest.mark.parametrize("temperature", [0.06, 0.1, 1.0])
def test_value_and_gradient_equal_the_loops(temperature):
    v, chosen, shares, p = draw()
    loss = shared_prototype_contrast(v, chosen, shares, p, temperature)
    wanted = literal(v, chosen, shares, p, temperature)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(torch.autograd.grad(loss, v), torch.autograd.grad(wanted, v))


def test_one_cluster_of_share_one_is_the_paper_loss():
    v, chosen, _, p = draw(most=1)
    shares = torch.ones(len(v), 1, dtype=v.dtype)
    torch.testing.assert_close(
        shared_prototype_contrast(v, chosen, shares, p, 0.1),
        prototype_contrast(v, chosen[:, 0], p, 0.1),
    )


def test_silent_clusters_repel_nobody():
    v, chosen, shares, p = draw()
    silent = torch.tensor([[int(row[0]), 1, 4] for row in chosen])  # its own one is not silenced
    loss = shared_prototype_contrast(v, chosen, shares, p, 0.3, silent)
    total = torch.zeros((), dtype=v.dtype)
    for u, clusters, parts, quiet in zip(v, chosen, shares, silent, strict=True):
        heard = [c for c in range(len(p)) if c in clusters or c not in quiet]
        likeness = {c: torch.exp(u @ p[c] / (u.norm() * p[c].norm()) / 0.3) for c in heard}
        for c, share in zip(clusters.tolist(), parts, strict=True):
            total = total - share * torch.log(likeness[c] / sum(likeness.values()))
    wanted = total / len(v)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(torch.autograd.grad(loss, v), torch.autograd.grad(wanted, v))
    assert loss < shared_prototype_contrast(v, chosen, shares, p, 0.3)


def test_no_gradient_reaches_the_prototypes():
    v, chosen, shares, p = draw()
    p.requires_grad_()
    shared_prototype_contrast(v, chosen, shares, p, 0.1).backward()
    assert p.grad is None
    assert v.grad.abs().sum() > 0
