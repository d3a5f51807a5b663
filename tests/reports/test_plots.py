import builtins
import xml.etree.ElementTree as Xml

import pytest

from simmc.errors import UserError
from simmc.reports import plots, results
from tests.reports.conftest import rates

pytest.importorskip("matplotlib")


def drawn_text(path) -> str:
    """All text of an SVG; matplotlib keeps it in comments beside the outlines."""
    return path.read_text(encoding="utf-8")


def test_cmc_names_protocols_numbers_and_axes(make_run, tmp_path):
    file = plots.cmc(results.load(make_run()), tmp_path / "cmc.svg")
    Xml.parse(file)
    text = drawn_text(file)
    for words in ("paper: epoch chosen", "label_free", "top-1 50.0", "rank k", "SimMC on KGBD"):
        assert words in text


def test_generated_data_say_so_in_the_picture(make_run, tmp_path):
    run = results.load(make_run(data={"generated": True}))
    assert "GENERATED" in drawn_text(plots.cmc(run, tmp_path / "cmc.svg"))


def test_the_same_run_gives_the_same_files(make_run, metrics, tmp_path):
    run = results.load(make_run())
    for ending in ("png", "svg"):
        first = plots.cmc(run, tmp_path / f"one.{ending}").read_bytes()
        assert plots.cmc(run, tmp_path / f"two.{ending}").read_bytes() == first
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_one_protocol_and_a_short_curve_are_enough(make_run, tmp_path):
    run = results.load(make_run(protocols={"paper": {"cmc": [0.1, 0.2]}}))
    assert plots.cmc(run, tmp_path / "cmc.png").stat().st_size > 1000


def test_no_curve_names_the_file(make_run, tmp_path):
    run = results.load(make_run(protocols={"paper": {"top1": 0.5, "cmc": None}}))
    with pytest.raises(UserError, match=r"results\.json holds no CMC curve"):
        plots.cmc(run, tmp_path / "cmc.png")


def test_curves_draw_what_there_is(make_run, metrics, tmp_path):
    run = results.load(make_run())
    text = drawn_text(plots.curves(metrics, tmp_path / "curves.svg", run))
    for words in ("Probe against gallery", "Clusters", "Prototype loss", "epoch chosen", "epoch"):
        assert words in text
    assert "mINP" not in text  # no epoch has it


def test_every_loss_has_a_panel(tmp_path):
    lines = [{"epoch": epoch, "loss_mpc": 1.0, "loss_locality": 2.0} for epoch in range(3)]
    text = drawn_text(plots.curves(lines, tmp_path / "c.svg"))
    assert "Prototype loss (MPC)" in text and "Loss: locality" in text
    assert "Loss: mpc" not in text


def test_no_choice_is_claimed_where_both_protocols_have_the_same_epoch(make_run, metrics, tmp_path):
    run = results.load(make_run(protocols={"paper": rates(0.5), "label_free": rates(0.5)}))
    for file in (
        plots.curves(metrics, tmp_path / "c.svg", run),
        plots.cmc(run, tmp_path / "cmc.svg"),
    ):
        text = drawn_text(file)
        assert "label_free: epoch 3, the same under both protocols" in text
        assert "chosen" not in text


def test_curves_mark_only_the_protocols_asked_for(make_run, metrics, tmp_path):
    run = results.load(make_run())
    text = drawn_text(plots.curves(metrics, tmp_path / "c.svg", run, protocols=("paper",)))
    assert "paper: epoch chosen" in text
    assert "label_free" not in text


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        plots.curves([], tmp_path / "c.png")


def test_without_matplotlib_the_message_says_what_to_install(make_run, tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"pip install -r requirements\.txt"):
        plots.cmc(results.load(make_run()), tmp_path / "cmc.png")
