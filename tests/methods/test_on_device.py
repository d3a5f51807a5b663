"""Every method on a device: the CPU's numbers, and no step that waits for the device.

SIMMC_TEST_DEVICE=cuda runs it on a GPU, where torch itself reports every wait. Without one, the
tensor operations that a GPU would run take the place of the compiled loops on the CPU, and the
calls for which a GPU would be waited for are counted.
"""

import os
import warnings
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from simmc.clustering import Clustering, gpu
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import KINECT_V1
from simmc.engine import pseudo_labels
from simmc.engine.run import unused_on_gpu
from simmc.engine.training import Shape
from simmc.evaluation import ranking
from simmc.methods import himpc, mgscr, recognition, sgela, simmc, simmc_uf, smsge, supervised
from simmc.methods import trackmc as track
from simmc.methods.registry import METHODS
from simmc.models import graph_layers
from simmc.runs.runtime import Runtime, generators, start
from tests.methods import make

DEVICE = torch.device(os.environ.get("SIMMC_TEST_DEVICE", "cpu"))
PERSONS, EACH = 6, 8
SMALL = {"dataset": "KGBD", "H": 8, "batch_size": 12, "epochs": 2, "k1": 6, "k2": 3, "eps": 0.7}
# row of the registry and variant: its class, its settings, what differs
CASES = {
    "simmc": (simmc.SimMC, simmc.SimMCSettings, {}),
    "simmc guarded": (simmc.SimMC, simmc.SimMCSettings, {"zero_label_guard": "on"}),
    "himpc": (himpc.HiMPC, himpc.HiMPCSettings, {"M": 2}),
    "himpc own_level": (himpc.HiMPC, himpc.HiMPCSettings, {"M": 2, "outlier_rule": "own_level"}),
    "trackmc": (track.TrackMC, track.TrackMCSettings, {"part_size": 2}),
    "trackmc off": (track.TrackMC, track.TrackMCSettings, {"recordings": "off", "mask_x": 1}),
    "finetune": (simmc.SimMC, simmc_uf.FinetuneSettings, {}),
    "age": (sgela.GaitTraining, sgela.AgeSettings, {}),
    "sgela": (sgela.GaitTraining, sgela.SgelaSettings, {"task": "plus", "plus_data": "tasks"}),
    "mgscr": (mgscr.MGSCRTraining, mgscr.MGSCRSettings, {}),
    "smsge": (smsge.SMSGETraining, smsge.SMSGESettings, {"sampled_frames": "batch"}),
    "supervised": (supervised.Supervised, supervised.SupervisedSettings, {}),
    "supervised posegait": (
        *(supervised.Supervised, supervised.SupervisedSettings),
        {"model": "posegait"},
    ),
    "recognition": (
        *(recognition.Recognition, recognition.RecognitionSettings),
        {"source": "MG-SCR", "train": "all", "hidden": 8},
    ),
}
CASE = pytest.mark.parametrize("name", CASES)


def split(each: int, seed: int) -> Split:
    """Windows of persons who differ in build and movement; each has three recordings."""
    people = np.random.default_rng(0)
    build, swing = people.normal(size=(2, PERSONS, 1, 20, 3))
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(PERSONS), each))
    phase = rng.uniform(0, 2 * np.pi, (len(identity), 1)) + 0.4 * np.arange(6)
    windows = build[identity] + 0.3 * swing[identity] * np.sin(phase)[..., None, None]
    windows += 0.05 * rng.normal(size=windows.shape)
    recording = 3 * identity + rng.integers(0, 3, len(identity))
    return Split(windows.astype(np.float32), identity.astype(np.int64), recording)


def training(name, device, **changes):
    recipe, kind, special = CASES[name]
    known = kind.of().flat()
    chosen = kind.of(**{k: v for k, v in (SMALL | special | changes).items() if k in known})
    people = list(range(PERSONS))
    data = Experiment(
        split(EACH, 1), split(4, 2), split(4, 3), people, people, False, KINECT_V1, [], None
    )
    drawn = generators(1).weights
    small = mgscr.MGSCRSettings.of(H=8)
    source = mgscr.MGSCRTraining.new_network(small, Shape(KINECT_V1), drawn)
    protocols = tuple(recipe.CHOSEN_BY)[-1:]
    if "paper" in recipe.CHOSEN_BY:
        protocols = ("paper", *protocols)
    with patch.object(recognition, "new_source", lambda *_: source):
        return recipe(chosen, data, generators(0), start(device.type, None, 1), protocols)


def test_every_method_is_here():
    assert set(CASES) >= set(METHODS)
    for name, (recipe, kind, _) in CASES.items():
        row = METHODS[name.split()[0]]
        assert (row.training, row.settings) == (recipe, kind)


def on_tensors(features, settings, *, timer, **unused):
    labels, graph = gpu.pseudo_labels(features, settings, timer=timer)
    return Clustering(labels, graph, 1.0)


def epochs_of(name, device):
    made = training(name, device)
    before = torch.cat([w.flatten() for w in make.weights_of(made).values()]).cpu()
    records = make.without_seconds(make.run_all(made))
    after = torch.cat([w.flatten() for w in make.weights_of(made).values()]).cpu()
    return records, after, after - before


@CASE
def test_two_epochs_have_the_numbers_of_the_cpu(name, monkeypatch):
    """Counts are equal, losses to 0.1 %, rates to a probe, learned changes of weights to 2 %.

    On a GPU sums run in other orders. By tensor operations on the CPU, losses differed by less than
    1e-6 and weights by less than 1e-5.
    """
    wanted, weights, learned = epochs_of(name, torch.device("cpu"))
    if DEVICE.type == "cpu":
        take_the_way_of_a_gpu(monkeypatch)
        monkeypatch.setattr(ranking, "_on_gpu", lambda features: isinstance(features, torch.Tensor))
        monkeypatch.setattr(pseudo_labels, "pseudo_labels", on_tensors)
    found, other, _ = epochs_of(name, DEVICE)
    assert [record.keys() for record in found] == [record.keys() for record in wanted]
    assert sum(record.get("steps", 0) for record in wanted) > 4
    assert learned.norm() > 0
    for here, there in zip(found, wanted, strict=True):
        for key, number in there.items():
            if not isinstance(number, float):
                assert here[key] == number, key
            elif key.startswith("loss"):
                assert here[key] == pytest.approx(number, rel=1e-3, abs=1e-5), key
            else:
                assert here[key] == pytest.approx(number, abs=1 / (4 * PERSONS)), key
    assert (other - weights).norm() <= 0.02 * learned.norm()


def take_the_way_of_a_gpu(monkeypatch):
    monkeypatch.setattr(graph_layers, "_by_loops", lambda tensor: False)


class Reads(TorchDispatchMode):
    """Counts the operations whose result the CPU has to know before it goes on."""

    NAMES = frozenset(
        {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"}
        | {"_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::").partition(".")[0]
        masked = name in ("index", "index_put", "index_put_") and any(
            places is not None and places.dtype == torch.bool for places in args[1]
        )
        self.count += masked or name in self.NAMES
        return func(*args, **kwargs or {})


class Copies(TorchFunctionMode):
    """Counts the calls that copy between the CPU and a device and wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name, waits = getattr(function, "__name__", ""), not kwargs.get("non_blocking")
        if name == "to":
            places = (*args[1:], kwargs.get("device"), kwargs.get("other"))
            self.count += waits and any(
                isinstance(place, torch.device | str | torch.Tensor) for place in places
            )
        elif name == "__getitem__":
            self.count += isinstance(args[1], list | np.ndarray)
        elif name == "tensor":
            self.count += "device" in kwargs
        else:
            self.count += name in ("cpu", "cuda", "numpy", "tolist", "__array__")
        return function(*args, **kwargs)


def waits(name, batch_size, monkeypatch):
    """Steps of an epoch, and how often they wait for the device."""
    made = training(name, DEVICE, batch_size=batch_size)
    made.look()
    if hasattr(made, "find_clusters"):
        made.find_clusters()
    if DEVICE.type == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                steps = made.steps()["steps"]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return steps, sum("synchronizing" in str(warning.message) for warning in seen)
    take_the_way_of_a_gpu(monkeypatch)
    with Copies() as copies, Reads() as reads:
        steps = made.steps()["steps"]
    return steps, copies.count + reads.count


@CASE
def test_no_step_waits_for_the_device(name, monkeypatch):
    """As often in an epoch of many steps as in one of few: once before them, once after."""
    many, in_many = waits(name, 12, monkeypatch)
    few, in_few = waits(name, 24, monkeypatch)
    assert many > few >= 1
    assert in_many == in_few > 0


def test_what_a_gpu_does_in_another_way_is_said():
    def notes(device, **changes):
        chosen = simmc.SimMCSettings.of(**SMALL | changes)
        return unused_on_gpu(chosen, Runtime(torch.device(device), 1))

    other = {"neighbors": "approximate", "executor": "ray"}
    assert len(notes("cuda", **other)) == 2
    assert notes("cuda") == notes("cpu", **other) == []
