"""The source models: one table, the sizes of the papers, and a network each."""

import pytest
import torch

from simmc.data.skeletons import CASIA_14, KINECT_V1, KINECT_V2
from simmc.engine.training import Shape
from simmc.errors import UserError
from simmc.methods.recognition import RecognitionSettings
from simmc.methods.registry import METHODS
from simmc.methods.simmc_uf import FinetuneSettings
from simmc.methods.sources import SOURCES


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_trained_by_its_command(name):
    found = SOURCES[name]
    assert found.name == name
    assert METHODS[found.command].settings is found.settings


@pytest.mark.parametrize("settings", [FinetuneSettings, RecognitionSettings])
def test_other_names_are_refused_with_those_that_there_are(settings):
    for name in SOURCES:
        assert settings.of(dataset="KGBD", source=name.lower()).source == name
    with pytest.raises(UserError, match=f"--source 'PoseGait'.*{', '.join([*SOURCES][:-1])}"):
        settings.of(dataset="KGBD", source="PoseGait")


@pytest.mark.parametrize(
    ("source", "dataset", "skeleton", "width", "parameters"),
    [
        ("AGE", "KS20", KINECT_V2, 768, 7.15),
        ("SGELA", "KS20", KINECT_V2, 768, 8.52),
        ("MG-SCR", "KS20", KINECT_V2, 200, 347_759),
        ("SM-SGE", "IAS", KINECT_V1, 592, 5_582_094),
        ("SM-SGE", "KS20", KINECT_V2, 712, 5_729_619),
    ],
)
def test_sizes_and_networks(source, dataset, skeleton, width, parameters):
    found = SOURCES[source]
    values, counted, flops = found.size(skeleton, dataset)
    assert values == width
    assert parameters in (counted, round(counted / 1e6, 2))
    settings = found.settings.of(dataset="KS20")
    network = found.new_network(settings, Shape(skeleton), torch.Generator())
    assert network.frames(torch.zeros(2, 3, 3 * skeleton.n_joints)).shape == (2, 3, width)
    assert found.kinds == network.KINDS
    if source in ("AGE", "SGELA"):
        assert flops > 28e9
        assert found.size(CASIA_14, "CASIA_B")[2] > 6 * flops  # 40 frames


def test_a_source_of_one_s_own_windows_counts_no_head():
    assert SOURCES["MG-SCR"].size(KINECT_V2, "mine")[1] == 347_759 - 129 * 20
