"""The verdict on a training: printed, stored, and in the table."""

import json

from tests.cli.conftest import run
from tests.cli.test_own_set import few_set


def test_a_collapsed_training_is_printed_stored_and_shown(tmp_path, monkeypatch, capsys):
    from simmc.data.skeletons import KINECT_V1

    monkeypatch.chdir(tmp_path)
    few_set(tmp_path / "Datasets", KINECT_V1)
    words = ("--dataset", "Mine", "--part_batches", "keep", "--device", "cpu", "--threads", "1")
    assert run("simmc", *words, "--H", "16", "--epochs", "2", "--eps", "0.99", "--run", "one") == 0
    results = json.loads((tmp_path / "ReID_Models/Mine/probe/one/results.json").read_text())
    health = results["health"]
    assert health["verdict"] == "collapsed"
    said = capsys.readouterr().out
    assert health["reason"] in said and health["next_step"] in said
    assert run("report", "table") == 0
    shown = capsys.readouterr().out
    assert "Health" in shown and "collapsed" in shown
