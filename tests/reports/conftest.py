"""Runs made by hand: small, and with numbers that can be checked on paper."""

import json
import shutil
from pathlib import Path

import pytest


def rates(top1: float, epoch: int = 3, **more: object) -> dict:
    values = {"top1": top1, "top5": top1 + 0.1, "top10": top1 + 0.2, "mAP": top1 / 2}
    curve = [min(1.0, top1 + 0.02 * rank) for rank in range(50)]
    return {**values, "mINP": 0.05, "epoch": epoch, "cmc": curve, **more}


@pytest.fixture
def make_run(tmp_path):
    """Writes a run and returns its folder; keywords replace entries of results.json."""

    def make(name: str = "run", paper: float | None = 0.5, **changes: object) -> Path:
        results = {
            "method": "SimMC",
            "dataset": "KGBD",
            "probe": "probe",
            "length": 6,
            "seed": 0,
            "fidelity": "released",
            "protocols": {
                "paper": None if paper is None else rates(paper),
                "label_free": None if paper is None else rates(paper - 0.01, epoch=2),
            },
            "settings": {"lambda": 0.5, "q": 2, "encoder": "mlp", "seed": 0},
            "data": {"manifest_sha256": "a", "checked": True},
        }
        results.update(changes)
        folder = tmp_path / "ReID_Models" / str(results["dataset"]) / str(results["probe"]) / name
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(results))
        (folder.parent / "latest").write_text(name + "\n")
        return folder

    return make


@pytest.fixture
def browser() -> str:
    """A browser, without which the test is skipped."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = next(filter(None, found), None)
    if path is None:
        pytest.skip("there is no browser on this machine")
    return path


@pytest.fixture
def metrics() -> list[dict]:
    """Three epochs; the first was not evaluated, the last found no cluster."""
    return [
        {"epoch": 0, "clusters_1": 4, "clusters_2": 5, "outliers": 9, "loss_mpc": 3.0},
        {"epoch": 1, "top1": 0.5, "mAP": 0.2, "clusters_1": 4, "ami": 0.3, "loss_mic": -0.5},
        {"epoch": 2, "top1": None, "clusters_1": 0, "seconds": {"steps": 1.0}},
    ]
