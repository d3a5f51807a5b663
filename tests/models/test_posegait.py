import pytest
import torch

from simmc.models.posegait import FEATURES, PoseGaitNetwork
from simmc.models.simmc import count_parameters


def network(rows=9, length=4, classes=5, seed=0, **more):
    return PoseGaitNetwork(
        rows, length, classes, generator=torch.Generator().manual_seed(seed), **more
    )


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def convolved(image, layer):
    """3 x 3 convolution as nine shifted sums, stored statistics of the normalisation, relu."""
    convolution, normal, _ = layer
    b, _, h, w = image.shape
    padded = torch.zeros(b, image.shape[1], h + 2, w + 2)
    padded[:, :, 1:-1, 1:-1] = image
    out = torch.zeros(b, len(convolution.weight), h, w)
    for i in range(3):
        for j in range(3):
            shifted = padded[:, :, i : i + h, j : j + w]
            out += torch.einsum("oc,bchw->bohw", convolution.weight[:, :, i, j], shifted)
    mean, variance = normal.running_mean[:, None, None], normal.running_var[:, None, None]
    out = (out - mean) / (variance + normal.eps).sqrt()
    out = out * normal.weight[:, None, None] + normal.bias[:, None, None]
    return out.clamp_min(0)


def pooled(image):
    """The largest of two by two; an odd last row or column is left out."""
    h, w = image.shape[2] // 2 * 2, image.shape[3] // 2 * 2
    image = image[:, :, :h, :w]
    return torch.stack([image[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)


def literal(net, inputs):
    """The layers of the public program one by one, the residual pair 64 with one convolution."""
    image = torch.stack([window.T for window in inputs])[:, None]  # features down, frames across
    first = pooled(convolved(convolved(image, net.first[0]), net.first[1]))
    again = convolved(convolved(first, net.shared), net.shared)
    second = pooled(convolved(first + again, net.second))
    last = second + convolved(convolved(second, net.pair[0]), net.pair[1])
    return last.reshape(len(last), -1) @ net.fully.weight.T + net.fully.bias


@pytest.mark.parametrize(("rows", "length"), [(9, 4), (12, 7)])
def test_layers_as_written_out(rows, length):
    net = network(rows, length)
    net.train()
    net.features(draw(16, length, rows, seed=1))  # moves the stored statistics
    net.eval()
    inputs = draw(3, length, rows)
    with torch.no_grad():
        torch.testing.assert_close(net.features(inputs), literal(net, inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [4, 6, 8, 10, 12])
def test_shapes_and_size(length):
    net = network(81, length, 11)
    features = net.features(draw(2, length, 81))
    assert features.shape == (2, FEATURES)
    assert net.classify(features).shape == (2, 11)
    weights = 9 * (32 + 32 * 64 + 64 * 64 + 64 * 128 + 2 * 128 * 128)
    normalised = 2 * (32 + 64 + 64 + 128 + 128 + 128)
    linear = (128 * 20 * (length // 4) + 1) * FEATURES + (FEATURES + 1) * 11
    assert count_parameters(net) == weights + normalised + linear


def test_dropping_is_for_training_and_follows_the_generator():
    inputs = draw(4, 4, 9)

    def dropped(seed, **more):
        net = network(seed=seed, **more)
        net.train()
        with torch.no_grad():
            return net.features(inputs), net.features(inputs)

    first, again = dropped(0)
    assert not torch.equal(first, again)
    assert all(torch.equal(*pair) for pair in zip(dropped(0), (first, again), strict=True))
    assert torch.equal(*dropped(0, dropout=0.0))
    net = network()
    net.eval()
    with torch.no_grad():
        assert torch.equal(net.features(inputs), net.features(inputs))


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    net = network(dropout=0.75)
    net.train()
    torch.nn.init.zeros_(net.fully.weight)
    net.fully.weight.data[0] = 1.0  # the first feature adds up all units
    inputs = draw(4, 4, 9)
    with torch.no_grad():
        drawn = torch.stack([net.features(inputs)[:, 0] for _ in range(300)])
        net.dropout = 0.0
        whole = net.features(inputs)[:, 0]
    torch.testing.assert_close(drawn.mean(0), whole, rtol=0.1, atol=0.0)
