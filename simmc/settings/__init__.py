"""Typed settings from layers: what the user types always wins, and every value has an origin."""

from simmc.settings.layers import Resolved, preset_root, resolve
from simmc.settings.options import Option, Range, Settings, group_of, option, options_of, switch

__all__ = [
    "Option",
    "Range",
    "Resolved",
    "Settings",
    "group_of",
    "option",
    "options_of",
    "preset_root",
    "resolve",
    "switch",
]
