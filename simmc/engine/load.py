"""The data that settings describe."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from simmc.data.experiment.experiment import Experiment, Features
from simmc.data.experiment.inputs import (
    AUTO_INPUT,
    body_lengths,
    described,
    is_measured,
    without_view,
)
from simmc.data.experiment.load import Request, load_experiment
from simmc.data.specs import skeleton_of
from simmc.runs.runtime import generators
from simmc.settings.groups import Joints, Place, Windows, chosen_probe
from simmc.settings.options import Settings

S = TypeVar("S", bound=Settings)


def with_stored_names(settings: S) -> S:
    """The same settings, a set of the user's own and its probe named as in its manifest.

    An input that is auto becomes what the skeleton has of `inputs.AUTO_INPUT`.
    """
    place: Place = settings.place  # type: ignore[attr-defined]
    spec = place.read_spec()
    dataset, probe = chosen_probe(spec, place.probe, place.probe_type)
    changes = {"dataset": dataset, "probe": probe}
    joints: Any = getattr(settings, "joints", None)
    if joints is not None and joints.input is None:
        changes["input"] = without_view(skeleton_of(spec), AUTO_INPUT)
    flat = settings.flat()
    if all(flat[name] == value for name, value in changes.items()):
        return settings
    return settings.but(**changes)


def load(
    place: Place,
    windows: Windows,
    joints: Joints,
    seed: int,
    *,
    body: bool = False,
    **how: Any,
) -> Experiment:
    """The experiment, its frames described as `joints` says.

    Args:
        place: dataset and probe.
        windows: which windows.
        joints: how joints are read and frames described.
        seed: of sampling and order.
        body: measure the bones of the training windows as well.
        how: further arguments of `load_joints`.
    """
    data = load_joints(place, windows, joints, seed, **how)
    if body:
        data = replace(data, body=body_lengths(data.train.windows, data.skeleton))
    return described(data, joints.parts, joints.input_scale)


def load_whole(settings: Any) -> Experiment:
    """All stored windows in the order of the files, described as in the training of a method."""
    place, joints, seed = settings.place, settings.joints, settings.common.seed
    data = load_joints(
        place,
        settings.windows.but(class_sampling="off", part_batches="keep"),
        joints,
        seed,
        shuffle=False,
    )
    like = load_joints(place, settings.windows, joints, seed) if is_measured(joints.parts) else None
    return described(data, joints.parts, joints.input_scale, like)


def load_joints(
    place: Place,
    windows: Windows,
    joints: Joints,
    seed: int,
    *,
    shuffle: bool = True,
    with_gallery: bool = False,
    features: Features | None = None,
) -> Experiment:
    """The experiment before its frames are described.

    Args:
        place: dataset and probe.
        windows: which windows.
        joints: how joints are read.
        seed: of sampling and order.
        shuffle: bring the training windows into a random order once.
        with_gallery: learn the gallery's windows as well.
        features: a source model's features, in place of the windows.
    """
    request = Request(
        Path(place.data_root),
        place.dataset,
        place.length,
        place.probe,
        kgbd_order=joints.kgbd_order,
        root=joints.root,
        class_sampling=windows.class_sampling,
        part_batches=windows.part_batches,
        double_load=windows.double_load,
        batch_size=windows.batch_size,
        shuffle=shuffle,
        cve_diagonal=windows.cve_diagonal,
        with_gallery=with_gallery,
        stress=windows.stress,
    )
    return load_experiment(request, generators(seed).data, features)
