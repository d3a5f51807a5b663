"""The papers' numbers: Table 1 of SimMC, and the sizes of the public programs' parts."""

from simmc.models.graph_size import mgscr_flops, mgscr_head, smsge_flops, smsge_head


def test_heads():
    assert mgscr_head(128, 20) == 16_512 + 129 * 20
    assert smsge_head(256, 11) == 1024 * 1025 + 1025 * 11


def test_operations_are_the_published_ones():
    assert round(mgscr_flops(25, 128, 256, 6, 20) / 1e9, 2) == 6.60
    # published: 22.61, with more than products
    assert 0.98 < smsge_flops(25, 256, 64, 6, 20) / 22.61e9 < 1


def test_operations_grow_with_the_batch():
    assert mgscr_flops(25, 128, 512, 6, 20) == 2 * mgscr_flops(25, 128, 256, 6, 20)
    assert smsge_flops(25, 256, 128, 6, 20) == 2 * smsge_flops(25, 256, 64, 6, 20)
