"""Every method on the README's own skeletons, and on skeletons that lack what a method needs."""

import contextlib
import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest

from simmc.data.skeletons import KINECT_V1, Skeleton
from simmc.data.store import find_spec, write_dataset
from simmc.methods.sources import SOURCES
from tests.cli.conftest import run
from tests.conftest import ROOT
from tests.data.test_inputs import rotated, tilted, walked

HERE = ("--dataset", "Mine", "--device", "cpu", "--threads", "1")
TRAIN = ("--epochs", "1", "--part_batches", "keep", "--H", "16")
# the joints of a skeleton without elbows, wrists, hips and knees
FEW = ("hip", "neck", "head", "left_shoulder", "right_shoulder", "left_foot", "right_foot")
BONES = (("hip", "neck"), *(("neck", j) for j in FEW[2:5]), *(("hip", j) for j in FEW[5:]))


def few_set(root: Path, skeleton: Skeleton) -> None:
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(20, 6, skeleton.n_joints, 3))
    splits = ("train", "probe", "gallery")
    write_dataset(root, "Mine", {s: (windows + i, np.arange(20) % 5) for i, s in enumerate(splits)},
                  skeleton)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the set of docs/own_data.md, and a run of each method that others build on."""
    folder = tmp_path_factory.mktemp("home")
    text = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
    example = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)[0]
    with contextlib.chdir(folder):
        exec(compile(example, "own_data.md", "exec"), {})
        for command in (*(one.command for one in SOURCES.values()), "trackmc", "simmc", "himpc"):
            assert run(command, *HERE, *TRAIN) == 0
    return folder


@pytest.fixture
def inside(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_goes_on_to_fine_tuning_and_recognition(inside, source):
    assert run("export-features", "--source", source, *HERE) == 0
    assert run("finetune", "--source", source, *HERE, *TRAIN) == 0
    for score in ("classify", "match"):
        words = ("--source", source, "--score", score, *HERE, *TRAIN[:-2])
        assert run("recognition", *words) == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["trackmc", "simmc", "himpc"])
def test_every_unsupervised_method_says_who_is_who(inside, method):
    for command in ("embed", "identify"):
        assert run(command, "--method", method, *HERE) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("command", "name"), [("embed", "probe.npy"), ("identify", "matches.csv")])
def test_files_of_another_command_are_left_alone(inside, tmp_path, capsys, command, name):
    (tmp_path / name).write_text("kept")
    assert run(command, "--method", "trackmc", *HERE, "--out", tmp_path) == 2
    assert name in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.glob("*.npy")] in ([], ["kept"])
    assert (tmp_path / name).read_text() == "kept"
    (tmp_path / name).unlink()
    for _ in range(2):  # its own files are replaced
        assert run(command, "--method", "trackmc", *HERE, "--out", tmp_path) == 0


@pytest.mark.parametrize("link", [False, True])
def test_windows_are_cut_again_beside_features_and_behind_links(tmp_path, link):
    assert run("generate", "--dataset", "KS20", "--size", "tiny", "--raw_root", tmp_path) == 0
    words = ("6", "--dataset", "KS20", "--raw_root", tmp_path, "--data_root", tmp_path / "sets")
    assert run("preprocess", *words) == 0
    folder = tmp_path / "sets" / "KS20" / "6"
    (folder / "frames_AGE.json").write_text("features")
    if link:
        folder.rename(tmp_path / "disk")
        folder.symlink_to(tmp_path / "disk", target_is_directory=True)
    assert run("preprocess", *words, "--seed", "1") == 0
    assert (folder / "frames_AGE.json").read_text() == "features"
    assert json.loads((folder / "manifest.json").read_text())["seed"] == 1
    assert folder.is_symlink() == link


@pytest.mark.slow
@pytest.mark.parametrize("model", ["encoder", "posegait"])
def test_every_supervised_reference_learns(inside, model):
    assert run("supervised", "--model", model, *HERE, *TRAIN) == 0


@pytest.mark.slow
def test_every_descriptor_is_scored(inside, capsys):
    assert run("descriptors", *HERE, "--part_batches", "keep") == 0
    assert "left out" not in capsys.readouterr().out


@pytest.mark.slow
def test_hi_mpc_learns_from_every_level(inside):
    """Its encoders have inputs: three values for each of the README's parts."""
    skeleton = find_spec(Path("Datasets"), "Mine", 6).skeleton
    assert len(skeleton.components) == 10
    assert len(skeleton.limbs) == 5
    results = json.loads(next(Path("ReID_Models").rglob("himpc_*/results.json")).read_text())
    assert set(results["protocols"]["label_free"]["levels"]) == {"joint", "component", "limb"}


@pytest.mark.parametrize(
    ("words", "lacking"),
    [
        (["himpc"], "left_upper_arm|right_upper_leg"),
        (["himpc", "--levels", "joint,component"], "left_upper_leg .*left_knee"),
        (["mgscr"], "left_upper_leg .*left_knee"),
        (["smsge"], "left_upper_leg .*left_knee"),
        (["supervised", "--model", "posegait"], "left_hip and right_hip"),
        (["descriptors", "--descriptor", "D13"], "left_hip and right_hip"),
        (["descriptors", "--descriptor", "D16"], "left_hip and right_hip"),
    ],
)
def test_a_method_names_the_joints_that_are_missing_before_it_trains(
    tmp_path, monkeypatch, capsys, words, lacking
):
    monkeypatch.chdir(tmp_path)
    few_set(Path("Datasets"), Skeleton("mine", FEW, "hip", BONES))
    train = TRAIN if words[0] != "descriptors" else TRAIN[2:4]
    assert run(*words, *HERE, *train) == 2
    assert re.search(lacking, capsys.readouterr().err)
    assert not Path("ReID_Models").exists()


def test_all_descriptors_are_those_that_the_skeleton_has_joints_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few_set(Path("Datasets"), Skeleton("mine", FEW, "hip", BONES))
    assert run("descriptors", *HERE, "--part_batches", "keep") == 0
    said = "".join(capsys.readouterr())
    assert re.search("D13 is left out: .*left_hip", said)
    assert {path.name.partition("_f6")[0] for path in Path("ReID_Models").rglob("*_seed0")} == {
        "raw_flat",
        "raw_mean",
    }


@pytest.mark.parametrize(
    ("command", "bones"),
    [("trackmc", ()), ("mgscr", ()), ("smsge", ()), ("simmc", (("hip", "neck"),))],
)
def test_missing_bones_are_named_before_the_training(tmp_path, monkeypatch, capsys, command, bones):
    monkeypatch.chdir(tmp_path)
    parts = [(name, ("hip",)) for name in ("torso", "head")]
    sides = [f"{s}_{h}_{limb}" for s in ("left", "right") for h in ("upper", "lower")
             for limb in ("arm", "leg")]  # fmt: skip
    parts += [(name, ("neck",)) for name in sides]
    skeleton = Skeleton("mine", FEW, "hip", bones, tuple(parts))
    few_set(Path("Datasets"), skeleton)
    asked = ("--input", "angles") if command == "simmc" else ()
    assert run(command, *HERE, *TRAIN, *asked) == 2
    assert "bones" in capsys.readouterr().err
    assert not Path("ReID_Models").exists()


def test_mg_scr_needs_every_joint_in_one_part(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    joints = (*FEW, "left_elbow", "right_elbow", "left_hip", "right_hip", "tail")
    skeleton = Skeleton("mine", joints, "hip", BONES)
    few_set(Path("Datasets"), skeleton)
    assert run("himpc", *HERE, *TRAIN, "--levels", "limb", "--label_free_run", "off") == 0
    assert run("mgscr", *HERE, *TRAIN) == 2
    assert "wrist" in capsys.readouterr().err  # no lower arm
    whole = Skeleton("mine", (*joints, "left_wrist", "right_wrist"), "hip", BONES)
    few_set(Path("Datasets"), whole)
    capsys.readouterr()
    assert run("mgscr", *HERE, *TRAIN) == 2
    assert "tail in 0 components" in capsys.readouterr().err


def test_a_source_of_one_set_is_recognised_on_another_of_the_same_joints(tmp_path, monkeypatch):
    """The joints are compared, not the objects or names that hold them."""
    monkeypatch.chdir(tmp_path)
    few_set(Path("Datasets"), Skeleton("mine", FEW, "hip", BONES))
    assert run("age", *HERE, *TRAIN) == 0
    (trained,) = Path("ReID_Models").rglob("age_f6_*")
    few_set(Path("Datasets"), Skeleton("other", FEW, "hip", BONES))
    words = ("recognition", "--source", "AGE", *HERE, *TRAIN[:-2], "--encoder_run", trained)
    assert run(*words) == 0


def test_a_source_of_other_joints_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few_set(Path("Datasets"), Skeleton("mine", FEW, "hip", BONES))
    assert run("age", *HERE, *TRAIN) == 0
    (trained,) = Path("ReID_Models").rglob("age_f6_*")
    windows = np.random.default_rng(0).normal(size=(20, 6, 7, 3))
    sets = {s: (windows, np.arange(20) % 5) for s in ("train", "probe", "gallery")}
    write_dataset(Path("Datasets"), "Turned", sets, Skeleton("mine", FEW[::-1], "hip", BONES))
    words = ("recognition", "--source", "AGE", "--encoder_run", trained)
    assert run(*words, "--dataset", "Turned", *HERE[2:], *TRAIN[:-2]) == 2
    assert "other joints" in capsys.readouterr().err


def test_a_collapsed_training_is_printed_stored_and_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few_set(tmp_path / "Datasets", KINECT_V1)
    words = ("--dataset", "Mine", "--part_batches", "keep", "--device", "cpu", "--threads", "1")
    words += ("--best_by", "labels")  # bone lengths would keep the untrained network
    assert run("simmc", *words, "--H", "16", "--epochs", "2", "--eps", "0.99", "--run", "one") == 0
    results = json.loads((tmp_path / "ReID_Models/Mine/probe/one/results.json").read_text())
    health = results["health"]
    assert health["verdict"] == "collapsed"
    said = capsys.readouterr().out
    assert health["reason"] in said and health["next_step"] in said
    assert run("report", "table") == 0
    shown = capsys.readouterr().out
    assert "Health" in shown and "collapsed" in shown


@pytest.mark.parametrize("command", ["datasets", "look"])
def test_a_folder_that_may_not_be_read_is_named(command, refused, tmp_path, monkeypatch):
    """Left out, a dataset would look as if it were not there."""
    (tmp_path / "Mine" / "6").mkdir(parents=True)
    real = Path.iterdir

    def closed(path):
        if path.name == "Mine":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    name = ["Mine"] if command == "look" else []
    refused(command, *name, "--data_root", tmp_path, said=[tmp_path / "Mine", "permissions"])


def tilted_set(root: Path, *degrees: float) -> None:
    """Six recordings of three walkers in every split, each before a camera tilted by so much."""
    rng = np.random.default_rng(0)
    body, splits, numbers = walked(KINECT_V1, 1).repeat(4, 0), {}, {}
    for place, split in enumerate(("train", "probe", "gallery")):
        walks = [rotated(body, angle) for angle in rng.uniform(0, 2 * np.pi, 6)]
        seen = [tilted(walk, degrees[i % len(degrees)]) for i, walk in enumerate(walks)]
        windows = np.concatenate(seen) + rng.normal(0, 1e-3, (24, *body.shape[1:]))
        splits[split] = (windows, np.arange(24) // 4 % 3)
        numbers[split] = 6 * place + np.arange(24) // 4
    write_dataset(root, "Mine", splits, KINECT_V1, recordings=numbers)


def described_by(folder: Path, run_name: str) -> tuple[str, str, float]:
    """The input of a run, where it comes from, and the lean of its recordings."""
    stored = json.loads((folder / "ReID_Models/Mine/probe" / run_name / "config.json").read_text())
    return stored["settings"]["input"], stored["origin"]["input"], stored["data"]["lean"]


@pytest.mark.parametrize("command", ["trackmc", "simmc", "himpc"])
def test_tilted_recordings_are_levelled_unless_the_user_gives_the_input(
    tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)
    tilted_set(tmp_path / "Datasets", -9, 9, -4, 4)
    words = (command, *HERE, "--part_batches", "keep", "--H", "8", "--epochs", "0")
    levelled, turned = "levelled+bones+distances", "turned+bones+distances"
    assert run(*words, "--run", "auto") == 0
    found, origin, lean = described_by(tmp_path, "auto")
    assert found == levelled and origin in ("derived", "no preset") and lean > 2
    assert f"--input {levelled}" in capsys.readouterr().out
    assert run(*words, "--run", "typed", "--input", turned) == 0
    assert described_by(tmp_path, "typed") == (turned, "command line", lean)
    assert f"--input {levelled}" in capsys.readouterr().out


def test_upright_recordings_stay_turned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tilted_set(tmp_path / "Datasets", 1, -1)
    words = ("--part_batches", "keep", "--H", "8", "--epochs", "0", "--run", "one")
    assert run("trackmc", *HERE, *words) == 0
    found, origin, lean = described_by(tmp_path, "one")
    assert (found, origin) == ("turned+bones+distances", "default") and lean < 2
