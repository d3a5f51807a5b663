"""Parameters and operations of MG-SCR and SM-SGE as the papers count them.

The papers' numbers are those of a profiler on the whole graph that a public program builds: pretext
task AND recognition stage (both heads), with its parameters that do nothing; products alone, 2
operations for a multiplication with its addition; once forward and twice backward for every loss
that reaches a product; a loop over frames counts as one step. On KS20 that gives 6.60 GFLOP
for MG-SCR (published: 6.60) and 22.40 for SM-SGE (22.61, which will include more of the operations
between products). Shape letters: B windows, f frames, J joints, n nodes, H units, C identities.
"""

from simmc.models.graph_layers import HEADS
from simmc.models.kernels.lanes import CHANNELS

PARTS = (10, 5)  # nodes of the two coarse levels
UNUSED = CHANNELS * CHANNELS  # each public program owns one relation matrix that it never uses
# training identities of the datasets, which a recognition head separates
IDENTITIES = {"IAS": 11, "BIWI": 50, "KS20": 20, "KGBD": 164, "CASIA_B": 62}


def structural_products(nodes: int) -> int:
    """Multiplications of a structural relation layer for one frame, in dense matrices."""
    channels = CHANNELS * CHANNELS
    return nodes * 3 * CHANNELS + HEADS * (
        nodes * channels + 2 * nodes * CHANNELS + nodes * nodes * CHANNELS
    )


def relation_products(target: int, source: int) -> int:
    """Of a relation of two levels for one frame; the sum over nodes is no product there."""
    return target * source * CHANNELS + target * CHANNELS * CHANNELS


def lstm_products(width: int, units: int) -> int:
    """Of two layers for one frame."""
    return 4 * units * (width + units) + 4 * units * (2 * units)


def mgscr_head(units: int, classes: int) -> int:
    """Parameters of MG-SCR's recognition head."""
    return units * units + units + (units + 1) * classes


def smsge_head(units: int, classes: int) -> int:
    """Parameters of SM-SGE's recognition head."""
    return mgscr_head(4 * units, classes)


def mgscr_flops(joints: int, units: int, batch: int, length: int, classes: int) -> int:
    """Operations of a training step of MG-SCR."""
    frames = batch * length
    levels = (joints, *PARTS)
    graph = frames * (
        sum(structural_products(n) for n in levels)
        + sum(relation_products(t, s) for t, s in ((10, joints), (5, 10), (5, joints)))
        - 5 * CHANNELS * CHANNELS  # the third pair is never mixed
    )
    rounds = length - 1  # subsequences, and as many prefixes
    lstm = batch * lstm_products(CHANNELS * joints, units) * rounds
    predictor = batch * (length * rounds // 2) * (units * units + units * 3 * joints)
    head = batch * rounds * (units * units + units * classes)
    # scores are made twice, and learn once; both losses reach the graph
    forward = graph + 2 * lstm + predictor + 2 * head
    backward = 2 * graph + 2 * lstm + predictor + head
    return 2 * (forward + 2 * backward)


def smsge_flops(joints: int, units: int, batch: int, length: int, classes: int) -> int:
    """Operations of a training step of SM-SGE."""
    frames = batch * length
    levels = (2 * joints - 1, joints, *PARTS)
    layers = [frames * structural_products(n) for n in levels]
    # of the levels that each loss reaches
    relations = [
        frames * sum(relation_products(n, m) for m in levels[i:]) for i, n in enumerate(levels)
    ]
    lstm = batch * sum(lstm_products(CHANNELS * n, units) for n in levels)
    places = batch * length * (length + 1) // 2
    heads = places * sum(
        units * units + units * 3 * m for i in range(len(levels)) for m in levels[i:]
    )
    wide = 4 * units
    rows = batch * (length + 1)  # prefixes; the last one has an empty frame
    first, second = rows * wide * wide, rows * wide * classes
    forward = (
        sum(layers) + sum(relations) + (length + length + 1) * lstm + heads + 2 * (first + second)
    )
    # the recognition loss stops at its head, whose first layer needs no gradient of its input
    reached = sum(relations) + sum(sum(layers[i:]) for i in range(len(levels)))
    backward = 2 * (reached + length * lstm + heads + second) + first
    return 2 * (forward + backward)
