"""Typed settings from layers: what the user types always wins, and every value knows its origin."""

from simmc.settings.common import DataSettings
from simmc.settings.descriptors import DescriptorSettings
from simmc.settings.epochs import (
    ClusteredSettings,
    EpochSettings,
    TrainingSettings,
    UnlabelledSettings,
)
from simmc.settings.export import ExportSettings
from simmc.settings.finetune import FinetuneSettings
from simmc.settings.graphs import GraphSettings, MGSCRSettings, SMSGESettings
from simmc.settings.himpc import HiMPCSettings
from simmc.settings.layers import Resolved, preset_root, resolve
from simmc.settings.matching import MATCHING_NAMES, MatchingSettings
from simmc.settings.options import Option, Range, Settings, option, options_of, switch
from simmc.settings.recognition import RecognitionSettings
from simmc.settings.sgela import AgeSettings, GaitSettings, SgelaSettings
from simmc.settings.simmc import SimMCSettings
from simmc.settings.sources import SourceSettings
from simmc.settings.supervised import SupervisedSettings
from simmc.settings.trackmc import TrackMCSettings
from simmc.settings.trained import EmbedSettings, IdentifySettings, TrainedSettings

__all__ = [
    "MATCHING_NAMES",
    "AgeSettings",
    "ClusteredSettings",
    "DataSettings",
    "DescriptorSettings",
    "EmbedSettings",
    "EpochSettings",
    "ExportSettings",
    "FinetuneSettings",
    "GaitSettings",
    "GraphSettings",
    "HiMPCSettings",
    "IdentifySettings",
    "MGSCRSettings",
    "MatchingSettings",
    "Option",
    "Range",
    "RecognitionSettings",
    "Resolved",
    "SMSGESettings",
    "Settings",
    "SgelaSettings",
    "SimMCSettings",
    "SourceSettings",
    "SupervisedSettings",
    "TrackMCSettings",
    "TrainedSettings",
    "TrainingSettings",
    "UnlabelledSettings",
    "option",
    "options_of",
    "preset_root",
    "resolve",
    "switch",
]
