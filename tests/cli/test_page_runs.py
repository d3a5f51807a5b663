"""`simmc report page --runs`: what is drawn of a trained run, against loops."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from simmc.cli.page_runs import cells_in, embedded, nearest_windows
from simmc.data.specs import DATASETS
from simmc.data.store import read_split
from simmc.reports import run_figures, web
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import start
from tests.cli.conftest import QUICK, run, words_for
from tests.reports.test_cells import Reader, record


@pytest.fixture(scope="module")
def made(prepared, tmp_path_factory):
    """A SimMC run of one epoch on tiny walkers."""
    home = tmp_path_factory.mktemp("runs")
    assert run("simmc", *words_for(prepared, home), *QUICK, "--epochs", 1) == 0
    return RunDirectory.latest(home, "KGBD", "probe", pointer="latest")


@pytest.fixture(scope="module")
def drawn(made):
    return embedded(made.path, None, start(threads=1))


def test_windows_and_ranks_are_the_literal_ones(drawn, prepared):
    shown = drawn.shown
    assert len(shown) == len(set(drawn.identity[shown].tolist())) == 4
    probe, gallery = (
        read_split(prepared("KGBD"), DATASETS["KGBD"], 6, name) for name in ("probe", "gallery")
    )
    np.testing.assert_array_equal(drawn.identity, probe.labels)
    np.testing.assert_allclose(drawn.probe_windows, probe.windows[shown], atol=1e-5)
    for place, number in enumerate(shown):
        first = drawn.nearest[number]
        expected = gallery.windows[first]
        np.testing.assert_allclose(drawn.gallery_windows[place], expected, atol=1e-5)
        rank = drawn.first_match[place]
        hits = drawn.gallery_identity[first] == drawn.identity[number]
        if hits.any():
            assert rank == 1 + hits.argmax()
        else:
            assert rank == 0 or rank > len(first)


@pytest.mark.parametrize("same", [False, True])
def test_the_nearest_windows_are_the_literal_ones(same):
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40, 4)).astype(np.float32)
    gallery[20:30] = gallery[20]  # copies
    probe = gallery if same else rng.normal(size=(9, 4)).astype(np.float32)
    found = nearest_windows(probe, gallery, same=same, threads=1)
    assert found.shape == (len(probe), 5)
    for i, row in enumerate(found):
        distances = np.linalg.norm(gallery.astype(float) - probe[i], axis=1)
        if same:
            assert i not in row
            distances[i] = np.inf
        np.testing.assert_allclose(distances[row], np.sort(distances)[:5], atol=1e-6)


def test_the_page_draws_a_run_and_is_well_formed(made, drawn, tmp_path, capsys):
    records = tmp_path / "records"
    records.mkdir()
    out = tmp_path / "page.html"
    words = ["page", "--records", records, "--runs", made.path, "--out", out]
    assert run("report", *words) == 0
    text = out.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert not reader.open and not reader.outside and len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links} <= set(reader.ids)
    for title in ("t-SNE of the first", "Confusion of 12 persons", "Rank lists", "CMC"):
        assert title in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    canvases = re.findall(r'data-recording="(\d+)"', text)
    assert [int(number) for number in canvases] == list(range(len(data["recordings"])))
    assert len(canvases) == len(drawn.shown) * (1 + drawn.nearest.shape[1])
    assert run("report", *words[:-1], tmp_path / "page.md") == 2
    assert "--runs draws on the .html page only" in capsys.readouterr().err


def test_cells_of_reproduce_are_found_by_their_records(made, tmp_path):
    other = record(0, run="simmc --x 2") | {"key": "another"}
    rows = [record(1), record(0), other, record(5)]
    for one in rows[:3]:
        shutil.copytree(made.path, tmp_path / one["key"] / "models" / "KGBD" / "probe" / "step1")
    shutil.copytree(made.path, tmp_path / "another" / "models" / "KGBD" / "probe" / "step2")
    found = cells_in(tmp_path, rows)
    assert [path.relative_to(tmp_path).parts[0] for path in found] == [f"{0:016x}", "another"]
    assert [path.name for path in found] == ["step1", "step2"]
    assert not cells_in(made.path, rows)


def test_what_cannot_be_drawn_is_a_message(made, prepared, tmp_path, capsys):
    (tmp_path / "records").mkdir()
    words = ["page", "--records", tmp_path / "records", "--out", tmp_path / "p.html", "--runs"]
    where = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--batch_size", 8]
    home = ["--model_root", tmp_path / "runs"]
    assert run("descriptors", *where, *home, "--descriptor", "raw_mean") == 0
    assert run("simmc", *where, *home, *QUICK, "--epochs", 1, "--stress", "noise:0.1") == 0
    capsys.readouterr()
    (descriptors,) = (tmp_path / "runs/KGBD/probe").glob("raw_mean*")
    for folder, message in (
        (tmp_path / "nowhere", "no such run"),
        (descriptors, "simmc simmc"),
        (tmp_path / "runs/KGBD/probe", "--stress noise:0.1"),
    ):
        assert run("report", *words, folder) == 2
        assert message in capsys.readouterr().err


def test_a_browser_plays_the_rank_lists(drawn, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no browser on this machine")
    path = tmp_path / "page.html"
    path.write_text(web.html_page([], [], [drawn, drawn]), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/b"]
    flags += ["--enable-logging", "--log-level=0", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [browser, *flags, "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "CONSOLE" not in done.stderr
    shown = re.findall(r"<output>frame \d of 6</output>", done.stdout)
    assert len(shown) == 2 * len(drawn.shown)


def test_a_part_of_the_confusion_or_of_the_t_sne_is_called_one(drawn, monkeypatch):
    whole = run_figures.confusion(drawn)
    persons = len(np.unique([*drawn.identity, *drawn.gallery_identity[drawn.nearest[:, 0]]]))
    monkeypatch.setattr(run_figures, "_MOST_CELLS", 2)
    part = run_figures.confusion(drawn)
    assert f"The first of {persons};" in part and f"The first of {persons};" not in whole
    monkeypatch.setattr(run_figures, "_MOST", 9)
    first = np.isin(drawn.identity, np.unique(drawn.identity)[: run_figures.PERSONS])
    assert f"9 of their {first.sum()} probe windows" in run_figures.tsne(drawn)
