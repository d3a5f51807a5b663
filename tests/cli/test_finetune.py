"""SimMC-UF from the command line, on features that stand for a source model's."""

from pathlib import Path

import pytest

from simmc.data.experiment.load import load_stored
from simmc.data.features import FeatureFiles
from simmc.data.manifest import spec_of
from simmc.data.specs import splits_of
from simmc.methods.simmc_uf import FinetuneSettings, remedy
from simmc.settings import resolve
from tests.cli import conftest
from tests.cli.conftest import LENGTHS, QUICK, latest, metrics_of, run


def export_coordinates(
    data_root, home, dataset="KGBD", probe="probe", name="SGELA", labels="", change=None
):
    """Feature files that hold the windows' own coordinates."""
    length = LENGTHS.get(dataset, 6)
    spec = spec_of(data_root, dataset, length, probe)
    files, said = FeatureFiles(home, spec, length, name), {}
    for split in splits_of(spec, probe):
        windows, stored = load_stored(
            data_root, spec, length, split, kgbd_order="raw", root="first"
        )
        features = windows.windows.reshape(len(stored), length, -1)
        said[split] = files.write_split(split, stored, [change(features) if change else features])
    files.write_manifest({"made_by": "a test", "labels": labels}, said)
    return files


def words_for(prepared, home, features, dataset="KGBD"):
    flags = (*QUICK, "--features_root", features, "--epochs", 2)
    return conftest.words_for(prepared, home, dataset, "probe", *flags)


@pytest.mark.parametrize("dataset", ["KGBD", "KS20"])
def test_on_coordinates_it_is_simmc(dataset, prepared, train, tmp_path, capsys):
    """Nothing but the input differs: with the windows as features, it is the same run."""
    made = train("--epochs", 2, dataset=dataset)
    features = tmp_path / "features"
    export_coordinates(prepared(dataset), features, dataset)
    words = words_for(prepared, tmp_path / "runs", features, dataset)
    assert run("finetune", *words, "--source", "SGELA") == 0
    found = latest(tmp_path / "runs", "finetune_SGELA", dataset)
    assert found.path.name == "finetune_SGELA_f6_released_seed0"
    assert metrics_of(found) == metrics_of(made)
    ours, theirs = found.read_results(), made.read_results()
    assert ours["method"] == "SGELA + SimMC"
    for protocol, figures in ours["protocols"].items():
        alone = figures.pop("kinds")
        assert figures == theirs["protocols"][protocol]
        assert set(alone) == {"SGELA"}
    # the source's own row is that of the raw coordinates
    raw = train("--encoder", "none", dataset=dataset).read_results()["protocols"]["paper"]
    assert {key: raw[key] for key in alone["SGELA"]} == alone["SGELA"]
    # the stored run knows where its features are; the newest run of that source is found
    capsys.readouterr()
    words = ["--dataset", dataset, "--model_root", tmp_path / "runs", "--source", "SGELA"]
    assert run("finetune", *words, "--mode", "Eval") == 0
    shown = capsys.readouterr().out
    assert f"{100 * figures['top1']:.2f}" in shown
    assert f"{100 * alone['SGELA']['mAP']:.2f}" in shown


def test_features_with_labels_have_no_label_free_numbers(prepared, tmp_path, capsys):
    root, home = prepared("KGBD"), tmp_path / "features"
    export_coordinates(root, home, name="MG-SCR", labels="trained on identities")
    words = [*words_for(prepared, tmp_path, home), "--source", "MG-SCR"]
    assert run("finetune", *words) == 0
    made = latest(tmp_path, "finetune_MG-SCR")
    assert made.read_results()["protocols"]["label_free"] is None
    assert "no label-free numbers: trained on identities" in capsys.readouterr().out
    # features without labels beside them serve that protocol, in a training of its own
    export_coordinates(root, home, name="MG-SCR-label_free", change=lambda x: 2 * x)
    assert run("finetune", *words) == 0
    made = latest(tmp_path, "finetune_MG-SCR")
    assert made.read_results()["protocols"]["label_free"]["epoch"] >= 1
    assert (made.path / "label_free" / "metrics.jsonl").is_file()


def test_standardised_features_do_not_know_their_scale(prepared, tmp_path):
    root, found = prepared("KGBD"), {}
    for name, change in (("a", None), ("b", lambda x: 64 * x + 3)):
        home = tmp_path / name
        export_coordinates(root, home, change=change)
        for flag in ("on", "off"):
            words = words_for(prepared, tmp_path / f"{name}{flag}", home)
            assert run("finetune", *words, "--source", "SGELA", "--standardise", flag) == 0
            made = latest(tmp_path / f"{name}{flag}", "finetune_SGELA")
            found[name + flag] = metrics_of(made)[-2]["loss_mpc"]
    assert found["aon"] == pytest.approx(found["bon"], rel=1e-2)
    assert found["aoff"] != pytest.approx(found["boff"], rel=1e-2)


def test_missing_features_name_the_commands(prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path, tmp_path / "nowhere")
    assert run("finetune", *words, "--source", "SM-SGE") == 2
    said = capsys.readouterr().err
    assert "python -m simmc smsge --dataset KGBD --probe probe --length 6" in said
    assert "python -m simmc export-features --source SM-SGE --dataset KGBD" in said
    assert not any(Path(tmp_path).glob("KGBD/probe/finetune*"))  # nothing is begun


def test_the_commands_for_missing_features_put_them_where_they_are_looked_for(tmp_path):
    flags = ["--dataset", "KGBD", "--data_root", "my data", "--features_root", str(tmp_path)]
    train, export = remedy(resolve(FinetuneSettings, flags).settings).split(", and then: ")
    assert train.endswith(" --data_root 'my data'")
    assert export.endswith(f" --data_root 'my data' --features_root {tmp_path}")
    plain = remedy(resolve(FinetuneSettings, ["--dataset", "KGBD"]).settings)
    assert "_root" not in plain
