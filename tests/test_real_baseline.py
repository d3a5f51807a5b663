"""The raw skeleton on all of KGBD: reader, split, loader and metrics against known figures.

Mean coordinates matched without learning, over random splits (docs/results.md): un-rooted 33-35
top-1 and mAP 3.7-3.8 elsewhere, 34.6-36.3 and 3.8-3.9 over four splits of ours; head as root
48-50 and 3.9-4.6; hip as root 48-50 and 3.1-3.5.
"""

import pytest

from simmc.cli import run
from simmc.methods.simmc import METHOD
from simmc.runs.runtime import start
from simmc.scoring.match import MatchRule, match
from simmc.settings import resolve

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


@pytest.fixture(scope="module")
def data_root(kgbd_full, tmp_path_factory):
    root = tmp_path_factory.mktemp("windows")
    arguments = ["6", "--dataset", "KGBD", "--raw_root", str(kgbd_full), "--data_root", str(root)]
    assert run("preprocess", arguments) == 0
    return root


@pytest.mark.parametrize(
    ("root", "order", "top1", "mean_average_precision"),
    [
        ("none", "raw", (0.33, 0.37), (0.036, 0.041)),
        ("first", "raw", (0.475, 0.505), (0.039, 0.046)),
        ("sensor", "mapped", (0.475, 0.510), (0.030, 0.036)),
    ],
    ids=["un-rooted", "head", "hip"],
)
def test_raw_coordinates_give_the_known_figures(
    data_root, root, order, top1, mean_average_precision
):
    flags = ["--dataset", "KGBD", "--encoder", "none", "--data_root", str(data_root)]
    settings = resolve(METHOD.settings, [*flags, "--root", root, "--kgbd_order", order]).settings
    found = match(None, METHOD.load(settings), start("cpu"), MatchRule())
    assert top1[0] <= found.top(1) <= top1[1]
    assert mean_average_precision[0] <= found.map <= mean_average_precision[1]
