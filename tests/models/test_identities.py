import torch

from simmc.models.identities import EncoderClassifier
from simmc.models.simmc import SimMCNetwork, count_parameters


def test_the_encoder_is_simmcs():
    g = torch.Generator
    ours = EncoderClassifier(15, 7, 8, 2, generator=g().manual_seed(3))
    simmc = SimMCNetwork(15, 8, 2, generator=g().manual_seed(3))
    windows = torch.randn(5, 6, 15, generator=g().manual_seed(0))
    means = simmc(windows, torch.full((5, 1, 6), 1 / 6))[:, 0]
    torch.testing.assert_close(ours.features(windows), means)
    assert ours.features(windows).shape == (5, 8)


def test_scores_are_linear_in_the_features():
    network = EncoderClassifier(15, 7, 8, generator=torch.Generator().manual_seed(0))
    features = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    expected = features @ network.classifier.weight.T  # biases begin at 0
    torch.testing.assert_close(network.classify(features), expected)
    assert count_parameters(network) == 15 * 8 + 8 + 8 * 8 + 8 + 8 * 7 + 7
