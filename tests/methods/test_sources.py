"""Every place that lists the source models lists the same ones."""

from __future__ import annotations

import pytest

from simmc.errors import UserError
from simmc.methods import sources
from simmc.methods.simmc_uf import FinetuneSettings
from simmc.methods.sources import SOURCES, find_source
from simmc.settings.switches import switch


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_found_by_its_name_and_trained_by_its_command(name):
    found = find_source(name)
    assert found.name == name
    assert SOURCES[name] == found.settings.COMMAND


def test_all_lists_agree():
    assert tuple(sources._PLACES) == tuple(SOURCES)
    assert tuple(SOURCES.values()) == switch.SOURCES


def test_other_names_are_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=", ".join(SOURCES)):
        find_source("PoseGait")
    with pytest.raises(UserError, match="--source 'PoseGait'"):
        FinetuneSettings.of(dataset="KGBD", source="PoseGait")
