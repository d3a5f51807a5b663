"""`simmc reproduce`: cells are run once, failures are reported, a kill changes no record."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from simmc import cli
from simmc.cli import reproduce
from simmc.errors import UserError
from simmc.methods.registry import METHODS
from simmc.reports import cells
from simmc.reports.cells import Row, Table
from tests.conftest import ROOT
from tests.data.make import own_set

SIMMC = "simmc --epochs 2 --batch_size 16 --k1 6 --k2 2 --H 8 --part_batches keep --device cpu"
TIMES = ("seconds", "load", "peak_rss_bytes", "made", "commit", "machine", "versions")


def table(*rows, columns=("*/probe",)):
    return Table("tiny", "T", "", None, ("top1", "mAP"), columns, (0, 1), rows)


ROWS = (
    Row("raw", ("descriptors --descriptor raw_mean --batch_size 16 --device cpu",), split="set"),
    Row("SimMC", (SIMMC,), split="set"),
)


@pytest.fixture
def sets(tmp_path):
    own_set(tmp_path / "sets")
    return tmp_path


def words(home: Path, *more: str) -> list[str]:
    places = ["--sets", home / "sets", "--records", home / "records", "--model_root", home / "runs"]
    return ["tiny", *map(str, places), "--processes", "2", *more]


def kept(home: Path) -> dict:
    """Records without what differs between two calls."""
    found = {}
    for path in sorted((home / "records").glob("*.json")):
        content = json.loads(path.read_text())
        found[path.name] = {k: v for k, v in content.items() if k not in TIMES}
    return found


def use(monkeypatch, made: Table) -> None:
    monkeypatch.setattr(cells, "tables", lambda: {"tiny": made})
    monkeypatch.setattr("simmc.reports.page.tables", lambda: {"tiny": made})


def test_cells_are_run_once_and_failures_are_reported(sets, monkeypatch, capsys):
    broken = Row(
        "broken", ("recognition --source SGELA --epochs 1",), split="set"
    )  # there is no such run
    use(monkeypatch, table(*ROWS, broken))
    assert cli.run("reproduce", words(sets, "--seeds", "0")) == 1
    printed = capsys.readouterr().out
    assert printed.count("failed ") == 1 and "log.txt" in printed
    first = kept(sets)
    assert len(first) == 2
    for one in first.values():
        assert one["protocols"]["paper"]["top1"] is not None
        _, sums, counts = cells.sums_of([one], "paper")
        assert sums[0, :, 0].sum() / counts[0, :, 0].sum() == pytest.approx(
            one["protocols"]["paper"]["top1"], abs=1e-6
        )
    use(monkeypatch, table(*ROWS))
    assert cli.run("reproduce", words(sets, "--seeds", "0")) == 0
    printed = capsys.readouterr().out
    assert "every cell that has data is finished" in printed
    assert printed.count("Mine/probe") >= 4  # both cells, and both rows of the table
    assert cli.run("reproduce", words(sets, "--dry-run")) == 0
    assert "2 cells to run" in capsys.readouterr().out  # seed 1
    assert kept(sets) == first


def test_a_head_that_names_windows_is_recorded(sets, monkeypatch, capsys):
    """Its epochs have no mAP, but a rank."""
    small = "--batch_size 16 --part_batches keep --class_sampling off --epochs 1 --device cpu"
    runs = (f"mgscr {small} --H 8", f"recognition --source MG-SCR {small}")
    use(monkeypatch, table(Row("head", runs, split="set", labels="identities")))
    assert cli.run("reproduce", words(sets, "--seeds", "0")) == 0, capsys.readouterr()
    (one,) = kept(sets).values()
    assert [sorted(line) for line in one["epochs"]] == [["epoch", "top1"]] * len(one["epochs"])
    assert one["epochs"] and one["protocols"]["supervised"]["nauc_roc"] > 0


def test_a_changed_default_or_version_is_run_again(sets, monkeypatch):
    use(monkeypatch, table(ROWS[1]))
    settings = reproduce.resolve(reproduce.ReproduceSettings, ["--table", *words(sets)]).settings
    (cell, _) = reproduce.chosen(settings)
    job = reproduce.prepared(cell, settings)
    records = [{"key": job.key, "run": list(cell.commands)}]
    assert reproduce.state_of(job, records) == reproduce.DONE
    monkeypatch.setitem(METHODS, "simmc", replace(METHODS["simmc"], since=lambda settings: 3))
    assert reproduce.state_of(reproduce.prepared(cell, settings), records) == reproduce.RUN
    monkeypatch.undo()
    use(monkeypatch, table(ROWS[1]))
    own_set(sets / "sets", seed=1)
    assert reproduce.prepared(cell, settings).key != job.key


@pytest.mark.parametrize("name", cells.tables())
def test_every_row_of_every_table_is_a_possible_command(name):
    known = cells.tables()[name]
    for row in known.rows:
        for column in known.columns:
            dataset, probe = column.replace("*", "KGBD").split("/")
            for command in row.commands(dataset):
                reproduce.resolved(command, dataset, probe)


def test_cells_without_data_say_so(tmp_path, monkeypatch, capsys):
    public = Row("public", (SIMMC,), split="public")
    seeded = replace(ROWS[0], split="seed")
    use(monkeypatch, table(seeded, public, columns=("KGBD/probe",)))
    places = ["--data_root", str(tmp_path), "--raw_root", str(tmp_path), "--records", str(tmp_path)]
    assert cli.run("reproduce", ["tiny", "--seeds", "0", *places]) == 0
    printed = capsys.readouterr().out
    assert printed.count("no data ") == 2 and "--split public=FILE" in printed
    assert printed.count("no data: ") == 1 and "python scripts/get_kgbd.py" in printed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "a"], "--seeds a"),
        (["--seeds", "4-0"], "4-0"),
        (["--cells", "3/2"], "--cells 3/2"),
        (["--rows", "no such row"], "no such row"),
    ],
)
def test_bad_choices_name_the_flag(sets, monkeypatch, more, message):
    use(monkeypatch, table(*ROWS))
    with pytest.raises(UserError, match=message):
        reproduce.main(words(sets, *more))


def test_parts_of_the_cells_are_disjoint_and_complete(sets, monkeypatch):
    use(monkeypatch, table(*ROWS))

    def part(*more):
        resolved = reproduce.resolve(reproduce.ReproduceSettings, ["--table", *words(sets, *more)])
        return [str(cell) for cell in reproduce.chosen(resolved.settings)]

    parts = [part("--cells", f"{i}/3") for i in (1, 2, 3)]
    assert sorted(name for one in parts for name in one) == sorted(part())


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from tests.cli import test_reproduce as t
from simmc.reports import cells, page
from simmc import cli
cells.tables = page.tables = lambda: {{"tiny": t.table(*t.ROWS)}}
sys.exit(cli.run("reproduce", {words!r}))
"""


def test_a_kill_at_any_moment_changes_no_record(sets, tmp_path_factory, monkeypatch):
    use(monkeypatch, table(*ROWS))
    other = tmp_path_factory.mktemp("whole")
    (other / "sets").symlink_to(sets / "sets")
    assert cli.run("reproduce", words(other, "--seeds", "0")) == 0
    script = SCRIPT.format(root=str(ROOT), words=words(sets, "--seeds", "0"))
    for _ in range(2):
        run = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(random.uniform(2, 10))
        os.kill(run.pid, signal.SIGKILL)  # the trainings that it started live on
        run.wait()
    assert cli.run("reproduce", words(sets, "--seeds", "0")) == 0
    assert kept(sets) == kept(other)


@pytest.mark.parametrize(
    ("run", "now"),
    [
        (["trackmc"], "4"),
        (["trackmc --recordings off"], "3"),
        (["simmc --best_by body", "simmc"], "2-1"),
        (["recognition --source AGE"], "1"),
    ],
)
def test_the_version_of_a_record_is_that_of_its_settings(run, now):
    about = {"run": run, "dataset": "KGBD", "probe": "probe"}
    assert reproduce.versions_now(about | {"version": "1"}) == now
    assert reproduce.versions_now(about) == ""  # typed before versions existed
