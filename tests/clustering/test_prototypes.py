import torch

from simmc.clustering import cluster_means


def test_means_equal_a_loop_and_leave_outliers_out():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(50, 7, generator=g)
    y = torch.randint(-1, 5, (50,), generator=g)
    means = cluster_means(x, y)
    assert means.shape == (5, 7) and means.dtype == x.dtype
    for c in range(5):
        torch.testing.assert_close(means[c], x[y == c].mean(0))


def test_all_outliers_give_no_prototype():
    assert cluster_means(torch.randn(4, 3), torch.full((4,), -1)).shape == (0, 3)
    assert cluster_means(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)).shape == (0, 3)
