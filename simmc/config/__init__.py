"""Typed settings from layers: what the user types always wins, and every value knows its origin."""

from simmc.config.common import DataSettings
from simmc.config.descriptors import DescriptorSettings
from simmc.config.epochs import (
    ClusteredSettings,
    EpochSettings,
    TrainingSettings,
    UnlabelledSettings,
)
from simmc.config.export import ExportSettings
from simmc.config.finetune import FinetuneSettings
from simmc.config.graphs import GraphSettings, MGSCRSettings, SMSGESettings
from simmc.config.himpc import HiMPCSettings
from simmc.config.layers import Resolved, preset_root, resolve
from simmc.config.matching import MATCHING_NAMES, MatchingSettings
from simmc.config.options import Option, Range, Settings, option, options_of, switch
from simmc.config.recognition import RecognitionSettings
from simmc.config.settings import SimMCSettings
from simmc.config.sgela import AgeSettings, GaitSettings, SgelaSettings
from simmc.config.sources import SourceSettings
from simmc.config.supervised import SupervisedSettings
from simmc.config.trackmc import TrackMCSettings
from simmc.config.trained import EmbedSettings, IdentifySettings, TrainedSettings

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
