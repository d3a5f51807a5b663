import numpy as np
import pytest
import torch

from simmc.models.lstm import StackedLSTM
from simmc.models.subsequences import encode, misplaced_subsequences, subsequences

POSITIONS = ((3,), (0, 3), (0, 1, 4), (0, 1, 3, 4), (0, 1, 2, 3, 4))
LENGTH, BATCH, WIDTH, UNITS = 5, 7, 6, 4


def network(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    made = StackedLSTM(1, WIDTH, UNITS, 2, generator=generator, spread=0.5).to(dtype)
    for name, weight in made.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(weight, generator=generator)
    return made


def frames(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(LENGTH, BATCH, WIDTH, generator=generator, dtype=dtype).requires_grad_()


def one_by_one(lstm, inputs, chosen):
    """Outputs of each subsequence, all worked on their own; chosen: K lists of (k, B) frames."""
    found = []
    for positions in chosen:
        sequence = torch.stack(
            [
                torch.stack([inputs[t, b] for b, t in enumerate(row)])
                for row in torch.as_tensor(positions).reshape(len(positions), -1).expand(-1, BATCH)
            ]
        )
        found.append(lstm(sequence[None])[0][0])
    return found


def places_of(tree, k):
    return tree.members[:, k].nonzero()[:, 0]


def test_a_tree_by_hand():
    tree = subsequences(POSITIONS)
    # 3 | 0, 0 3 | 0 1, 0 1 4 | 0 1 3, 0 1 3 4 | 0 1 2, 0 1 2 3, 0 1 2 3 4
    assert tree.frames.tolist() == [3, 0, 3, 1, 4, 3, 2, 4, 3, 4]
    assert tree.parents.tolist() == [0, 0, 1, 1, 3, 3, 3, 5, 6, 8]
    assert tree.depths == (0, 2, 4, 7, 9, 10)
    assert tree.members.sum(0).tolist() == [1, 2, 3, 4, 5]
    assert tree.members[1].tolist() == [0, 1, 1, 1, 1]


def test_shares():
    tree = subsequences(POSITIONS)
    values = torch.arange(10.0)
    sums = [values[places_of(tree, k)].sum() for k in range(5)]
    means = [values[places_of(tree, k)].mean() for k in range(5)]
    for of_length, wanted in ((False, sums), (True, means)):
        found = (tree.shares(of_length=of_length) * values).sum()
        torch.testing.assert_close(found, torch.stack(wanted).mean())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("misplaced", [False, True])
def test_outputs_and_gradients_are_those_of_single_subsequences(dtype, misplaced):
    lstm, inputs = network(dtype), frames(dtype)
    tree, chosen = subsequences(POSITIONS), POSITIONS
    if misplaced:
        tree = misplaced_subsequences(POSITIONS, BATCH)
        chosen = [tree.frames[places_of(tree, k)] for k in range(len(POSITIONS))]
    outputs = encode(lstm, inputs, tree)
    assert outputs.shape == (len(tree.frames), BATCH, UNITS)
    singles = one_by_one(lstm, inputs, chosen)
    weights = [inputs, *lstm.parameters()]
    total, wanted = 0, 0
    for k, single in enumerate(singles):
        mine = outputs[places_of(tree, k)]
        torch.testing.assert_close(mine, single)
        slope = torch.randn(single.shape, generator=torch.Generator().manual_seed(k)).to(dtype)
        total, wanted = total + (mine * slope).sum(), wanted + (single * slope).sum()
    pairs = zip(*(torch.autograd.grad(v, weights) for v in (total, wanted)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_what_the_early_program_gathers():
    """Its index arithmetic, written as it is."""
    batch, positions = 8, ([2], [0, 3], [0, 1, 3])
    tree = misplaced_subsequences(positions, batch)
    for k, chosen in enumerate(positions):
        length = len(chosen)
        flat = np.tile(np.array(chosen)[:, None], [batch]).reshape(-1)
        wanted = flat.reshape(batch, length)  # window b, place i
        assert np.array_equal(tree.frames[places_of(tree, k)].numpy().T, wanted)
    # not k frames, but one of them k times
    pair = tree.frames[places_of(tree, 1)]
    assert torch.equal(pair[0], pair[1]) and sorted(pair[0].unique().tolist()) == [0, 3]


def test_values_of_frames_at_the_places():
    values = torch.arange(LENGTH * BATCH).reshape(LENGTH, BATCH, 1)
    tree = subsequences(POSITIONS)
    assert torch.equal(tree.gather(values), values[tree.frames])
    tree = misplaced_subsequences(POSITIONS, BATCH)
    found = tree.gather(values)
    for m, row in enumerate(tree.frames.tolist()):
        assert found[m, :, 0].tolist() == [t * BATCH + b for b, t in enumerate(row)]


def test_one_frame_only():
    lstm, inputs = network(), frames()
    found = encode(lstm, inputs, subsequences([(2,)]))
    torch.testing.assert_close(found, lstm(inputs[None, 2:3])[0][0])
    found.sum().backward()
    assert lstm.layers[0].recurrent.grad is None
