"""The public interface: its names, its page, and the examples."""

import ast
import importlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import simmc

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples"


def test_names_exist_and_are_few():
    assert len(simmc.__all__) <= 15
    assert set(simmc.__all__) <= set(dir(simmc))
    for name in simmc.__all__:
        assert getattr(simmc, name) is not None
        assert f"`{name}" in PAGE
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = simmc.nothing


def test_type_checkers_find_the_names_where_they_are():
    tree = ast.parse(Path(simmc.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    found = {name.name: part.module for part in block.body for name in part.names}
    assert found.keys() == set(simmc.__all__)
    for name, module in found.items():
        assert getattr(importlib.import_module(module), name) is getattr(simmc, name)


def test_the_import_loads_no_library():
    code = "import simmc, sys; print(sorted({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert made.stdout == "[]\n"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What the program of docs/python.md has made."""
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for code in re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S):
            exec(compile(code, "docs/python.md", "exec"), names)
        yield names


def test_the_page_runs(page):
    assert page["again"].path == page["run"].path


def test_a_loaded_run_gives_the_numbers_of_its_results(page):
    stored = page["again"].results["protocols"]["label_free"]
    assert page["rates"].top(1) == pytest.approx(stored["top1"], abs=1e-6)
    assert page["rates"].map == pytest.approx(stored["mAP"], abs=1e-6)


def test_what_cannot_be_embedded_is_refused(page):
    run, windows = page["run"], page["probe"].windows
    for wrong in (windows[:, :5], windows[..., :2], windows[:0], windows[0], windows.astype(str)):
        with pytest.raises(simmc.UserError, match=r"windows of shape .*\(N, 6, 25, 3\)"):
            run.embed(wrong)
    broken = windows.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(simmc.UserError, match="not finite"):
        run.embed(broken)


def test_measured_inputs_have_the_scale_of_the_training(page):
    how = {"dataset": "Mine", "class_sampling": "off", "part_batches": "keep", "save_flag": "m"}
    run = simmc.train("simmc", epochs=1, eps=0.6, input="turned+bones", **how)
    probe, gallery = page["probe"], page["gallery"]
    found = simmc.evaluate(
        run.embed(probe.windows), probe.labels, run.embed(gallery.windows), gallery.labels
    )
    assert found.top(1) == pytest.approx(run.results["protocols"]["label_free"]["top1"], abs=1e-6)


def test_mistakes_in_naming_runs_and_methods(page, tmp_path):
    with pytest.raises(simmc.UserError, match="no method 'simcm'; choose one of simmc"):
        simmc.train("simcm")
    with pytest.raises(simmc.UserError, match="protocol 'best': choose label_free or paper"):
        simmc.load_run(page["run"].path, protocol="best")
    with pytest.raises(simmc.UserError, match=r"config\.json"):
        simmc.load_run(tmp_path)
    page["run"].weights.rename(page["run"].weights.with_suffix(".away"))
    with pytest.raises(simmc.UserError, match=r"label_free\.pt"):
        page["run"].embed(page["probe"].windows)


def run_example(name: str) -> None:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.mark.slow
def test_simmc_from_scratch_learns(capsys):
    run_example("simmc_from_scratch.py")
    printed = capsys.readouterr().out
    losses = [float(number) for number in re.findall(r"loss (-?[\d.]+)", printed)]
    before, after = (float(rate) for rate in re.findall(r"top-1 ([\d.]+)%", printed))
    assert losses[-1] < losses[0] / 2
    assert after > before


def test_simmc_from_scratch_is_short_and_needs_no_framework():
    text = (EXAMPLES / "simmc_from_scratch.py").read_text(encoding="utf-8")
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 80
    modules = re.findall(r"^ *(?:from|import) ([\w.]+)", text, re.M)
    assert {m for m in modules if m.startswith("simmc")} == {"simmc", "simmc.clustering"}


def test_cluster_anything(capsys):
    run_example("cluster_anything.py")
    clusters, outliers = re.findall(r"(\d+) clusters, (\d+) outliers", capsys.readouterr().out)[0]
    assert 38 <= int(clusters) <= 44 and 100 <= int(outliers) <= 250


@pytest.mark.slow
def test_own_data(capsys):
    run_example("own_data.py")
    named, of = re.findall(r"(\d+) of (\d+) named correctly", capsys.readouterr().out)[0]
    assert int(named) > int(of) / 2


@pytest.mark.slow
def test_the_notebook_runs_and_is_stored_without_output(capsys, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    book = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))
    names: dict = {}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            exec(compile("".join(cell["source"]), f"tour.ipynb, cell {cell['id']}", "exec"), names)
    assert 0.2 < names["found"].top(1) <= 1
