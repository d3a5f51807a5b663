"""Settings as typed values: composed of groups, checked, frozen."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from simmc.settings import Range, Settings, group_of, option, options_of


@given(st.floats(allow_nan=False), st.floats(-5, 5), st.floats(-5, 5), st.booleans())
def test_range(value, low, high, exclusive):
    inside = low < value < high if exclusive else low <= value <= high
    assert (value in Range(low, high, exclusive)) == inside


def test_values_set_in_code_are_checked_too():
    with pytest.raises(UserError, match="--eps"):
        SimMCSettings.of(eps=1.5)
    with pytest.raises(UserError, match="--mask_x"):
        SimMCSettings.of().but(mask_x=6)
    with pytest.raises(UserError, match="--eps"):
        dataclasses.replace(SimMCSettings.of().clustering, eps=2)
    found = SimMCSettings.of(dataset="caisa_b", length=40, t=1)
    assert (found.place.dataset, found.place.probe) == ("CASIA_B", "nm.nm")
    assert isinstance(found.recipe.t, float)


def test_unknown_names_are_refused_in_code():
    with pytest.raises(TypeError, match="SimMCSettings has no setting epz"):
        SimMCSettings.of(epz=1)


@dataclass(frozen=True)
class Water(Settings):
    """A group."""

    degrees: int = option(100, "How hot.", limits=Range(0), group="water")
    litres: float = option(1.0, "How much.", limits=Range(0, 5), group="water")

    def check(self):
        if self.degrees > 100 and self.litres:
            raise UserError("--degrees above 100 leaves no water.")


@dataclass(frozen=True)
class Tea(Settings):
    """A command with a group, of which it changes a default and a help text."""

    COMMAND: ClassVar[str] = "tea"
    water: Water = group_of(  # noqa: RUF009 - ruff knows the function by its full name only
        degrees=70, litres=option(0.5, "Of tea.", limits=Range(0, 2), group="tea")
    )
    minutes: int = option(3, "How long.", group="tea")


def test_settings_are_composed_of_groups():
    found = Tea.of(degrees=80)
    assert (found.water, found.minutes) == (Water(degrees=80, litres=0.5), 3)
    assert found.flat() == {"degrees": 80, "litres": 0.5, "minutes": 3}
    assert found.but(litres=1).water.litres == 1.0
    assert found.but(minutes=4).water is not found.water == found.but(minutes=4).water
    rows = {entry.name: entry for entry in options_of(Tea)}
    assert [entry.holder for entry in rows.values()] == ["water", "water", ""]
    assert (rows["degrees"].default, rows["degrees"].help) == (70, "How hot.")
    assert (rows["litres"].help, rows["litres"].group) == ("Of tea.", "tea")
    assert Water().degrees == 100  # the group itself stays as it is
    with pytest.raises(UserError, match="leaves no water"):
        Tea.of(degrees=120)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SimMCSettings.of().clustering.eps = 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        SimMCSettings.of().clustering = None
