"""The command from words to files. Jobs run in this process: what they do is the same."""

import json
from pathlib import Path

import pytest
from simmc.benchmarks import epoch, measure, worker

from simmc import cli
from simmc.cli import benchmark
from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from simmc.settings import resolve
from tests.benchmarks import make
from tests.methods import make as trainings

TINY = ["--sizes", "200,400", "--inputs", "clustered", "--threads", "1", "--repeats", "2"]
SOME = ["--contestants", "exact,ours,dense"]


@pytest.fixture(autouse=True)
def pictures(monkeypatch):
    """Pictures take a while and are tested elsewhere."""
    drawn = []
    monkeypatch.setattr(benchmark.plots, "draw", lambda record, out: drawn.append(out) or [])
    return drawn


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that were run, as (kind, contestants); run here instead of in processes."""
    done = []

    def here(words, threads, *, quiet=False):
        assert words[:2] == ["-m", "simmc.benchmarks.worker"]
        job = json.loads(Path(words[2]).read_text())
        done.append((job["kind"], *job["contestants"]))
        assert worker.main(words[2:]) == 0
        return True

    monkeypatch.setattr(measure, "python", here)
    return done


def run(*words):
    return cli.run("benchmark", [str(word) for word in words])


def record_of(out):
    return json.loads((out / "benchmark.json").read_text())


def test_a_whole_run_that_goes_on_with_the_next_call(tmp_path, jobs, pictures, capsys):
    out = tmp_path / "out"
    assert run(*TINY, *SOME, "--sizes", "200", "--out", out) == 0
    first = record_of(out)["cases"]
    assert len(jobs) == 5  # lists, time, memory of three
    assert run(*TINY, *SOME, "--out", out) == 0
    assert len(jobs) == 10
    made = record_of(out)
    assert made["cases"][0] == first[0]
    assert [case["n"] for case in made["cases"]] == [200, 400]
    for case in made["cases"]:
        assert case["generated"] and case["lists"] == {"kind": "exact"}
        assert case["time"]["labels_differing"] == 0
        assert case["time"]["seconds"].keys() == case["memory"].keys() == {"exact", "ours", "dense"}
        assert all(len(case["time"]["seconds"]["ours"][s]) == 2 for s in ("jaccard", "dbscan"))
    fitted = {fit["contestant"] for fit in made["summary"]["fits"] if fit["kind"] == "time"}
    assert fitted == {"exact", "ours", "dense", "whole"}
    text = (out / "benchmark.md").read_text()
    assert "## clustered (generated)" in text and "| identical |" in text
    assert {file.name for file in out.iterdir()} == {"benchmark.json", "benchmark.md"}
    assert pictures == [out, out]
    assert "measured before" in capsys.readouterr().out


def test_what_an_interrupted_run_had_measured_is_kept(tmp_path, jobs, monkeypatch, capsys):
    job, broken = measure.python, []

    def until_memory(words, threads, **more):
        if len(jobs) == 3 and not broken:
            broken.append(words)
            raise KeyboardInterrupt
        return job(words, threads, **more)

    monkeypatch.setattr(measure, "python", until_memory)
    words = [*TINY, *SOME, "--sizes", "200", "--out", tmp_path]
    assert run(*words) == 130
    assert "Run the same command again" in capsys.readouterr().err
    (before,) = record_of(tmp_path)["cases"]
    assert before["time"] and list(before["memory"]) == ["exact"]
    assert run(*words) == 0
    assert [kind for kind, *_ in jobs] == ["lists", "time", "memory", "lists", "memory", "memory"]
    (after,) = record_of(tmp_path)["cases"]
    assert after["time"] == before["time"]
    assert after["memory"]["exact"] == before["memory"]["exact"]
    assert len(after["memory"]) == 3


def test_a_killed_process_is_noted(tmp_path, jobs, monkeypatch):
    job = measure.python
    monkeypatch.setattr(
        measure, "python", lambda w, t, **m: job(w, t, **m) and jobs[-1] != ("memory", "dense")
    )
    assert run(*TINY, *SOME, "--sizes", "200", "--out", tmp_path) == 0
    (case,) = record_of(tmp_path)["cases"]
    assert list(case["memory"]) == ["exact", "ours"]
    assert "no memory of dense" in (tmp_path / "benchmark.md").read_text()


def test_beyond_exact_search(tmp_path, jobs):
    words = [
        *TINY,
        "--sizes",
        "200,300",
        "--contestants",
        "approximate,ours,exact,whole_approximate",
    ]
    assert run(*words, "--exact_up_to", "250", "--out", tmp_path) == 0
    exact, approximate = record_of(tmp_path)["cases"]
    assert exact["lists"] == {"kind": "exact", "recall": 1, "agreement": pytest.approx(1)}
    assert approximate["lists"] == {"kind": "approximate", "recall": 1}
    assert set(approximate["memory"]) == {"approximate", "ours", "whole_approximate"}
    medians = record_of(tmp_path)["summary"]["cases"]
    assert [{"whole", "whole_approximate"} & set(m["median_seconds"]) for m in medians] == [
        {"whole"},
        {"whole_approximate"},
    ]
    assert "N = 300: neighbour lists are approximate" in (tmp_path / "benchmark.md").read_text()


def test_without_memory(tmp_path, jobs):
    assert (
        run(*TINY, "--sizes", 200, "--memory", 0, "--contestants", "ours", "--out", tmp_path) == 0
    )
    assert jobs == [("lists", "ours"), ("time", "ours")]


def test_render_reads_and_measures_nothing(tmp_path, jobs):
    file = tmp_path / "kept" / "benchmark.json"
    file.parent.mkdir()
    file.write_text(json.dumps(make.record(make.case(1000), make.case(2000), make.case(4000))))
    before = file.read_bytes()
    assert run("--render", file) == 0
    assert "1,000 - 4,000 (3)" in (file.parent / "benchmark.md").read_text()
    assert run("--render", file, "--fit_from", 2000, "--out", tmp_path / "other") == 0
    assert "2,000 - 4,000 (2)" in (tmp_path / "other" / "benchmark.md").read_text()
    assert file.read_bytes() == before and jobs == []


def test_no_matplotlib_no_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: None)
    benchmark.render(make.record(make.case(1000)), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["benchmark.md"]
    assert "no pictures" in capsys.readouterr().err


def test_no_kgbd_is_noted(tmp_path, jobs):
    words = ["--sizes", "200", "--inputs", "KGBD", "--epoch", "--threads", "1"]
    assert run(*words, "--data_root", tmp_path / "nothing", "--out", tmp_path / "out") == 0
    (note,) = record_of(tmp_path / "out")["notes"]
    assert note.startswith("KGBD left out") and "nothing" in note
    assert jobs == []


@pytest.mark.parametrize("invented", [True, False])
def test_features_of_a_training(tmp_path, jobs, monkeypatch, invented):
    from dataclasses import replace

    data = replace(trainings.experiment(), generated=invented)  # 200 windows
    found = (trainings.settings(H=256), data)
    monkeypatch.setattr(benchmark, "find_kgbd", lambda settings, kept: found)
    words = ["--sizes", "150,4k", "--inputs", "KGBD", "--contestants", "ours", "--memory", "0"]
    assert run(*words, "--threads", 1, "--out", tmp_path) == 0
    cases = record_of(tmp_path)["cases"]
    assert [case["n"] for case in cases] == [150, 200]
    assert {case["generated"] for case in cases} == {invented}
    assert all(("(generated)" in case["dataset"]) == invented for case in cases)


def test_the_epoch_part_trains_with_flags_that_exist(tmp_path, monkeypatch):
    seen = {}

    def training(words, threads, *, quiet=False):
        settings = resolve(SimMCSettings, words[3:]).settings
        seen["settings"] = settings
        run = (
            Path(settings.training.model_root)
            / settings.place.dataset
            / settings.place.probe
            / settings.training.run
        )
        run.mkdir(parents=True)
        lines = [json.dumps({"seconds": s}) for s in make.epoch()["seconds"]]
        (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        counts = make.epoch()["windows"] | {"identities": 164}
        results = {"peak_rss_bytes": 1_050_000_000, "counts": counts, "data": {"generated": False}}
        (run / "results.json").write_text(json.dumps(results))
        return True

    monkeypatch.setattr(epoch, "python", training)
    monkeypatch.setattr(benchmark, "find_kgbd", lambda settings, kept: ())
    words = ["--sizes", "none", "--epoch", "--epochs", "2", "--threads", "1", "--out", tmp_path]
    assert run(*words) == 0
    assert record_of(tmp_path)["epoch"] == make.epoch()
    assert (seen["settings"].epochs, seen["settings"].eval_every) == (2, 1)
    assert "| all | 10.0 | 286 |" in (tmp_path / "benchmark.md").read_text()
    monkeypatch.setattr(epoch, "python", lambda *words, **more: pytest.fail("measured again"))
    assert run(*words) == 0


def test_epochs_that_are_left_out_of_the_median():
    assert epoch.medians(make.epoch())["total"] == 10.0
    only = make.epoch()["seconds"][:1]
    assert epoch.medians(make.epoch(seconds=only))["total"] == 100.0
    assert epoch.search_share(epoch.medians(make.epoch())) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--sizes", "2000,x"),
        ("--sizes", "0"),
        ("--sizes", "-5"),
        ("--sizes", "2000,,"),
        ("--inputs", "KGBD,nothing"),
        ("--contestants", "mine"),
        ("--repeats", "0"),
        ("--render", "missing.json"),
    ],
)
def test_bad_words_are_refused(flag, text, tmp_path, capsys):
    assert run(flag, text, "--out", tmp_path / "out") == 2
    assert text.rpartition(",")[2] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(*TINY, "--out", tmp_path / "file") == 2
    assert "--out" in capsys.readouterr().err


def test_other_settings_are_not_mixed_in(tmp_path, jobs):
    assert run("--sizes", "none", "--threads", "1", "--out", tmp_path) == 0
    assert run("--sizes", "none", "--threads", "1", "--repeats", "9", "--out", tmp_path) == 2


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("2000,4k", (2000, 4000)), ("1M", (1_000_000,)), (" 2K , 3 ", (2000, 3)), ("none", ())],
)
def test_sizes(text, wanted):
    assert benchmark.numbers(text) == wanted
    assert benchmark.numbers("full")[-1] == 1_000_000


def test_names_keep_their_own_order():
    assert benchmark.chosen("--x", "c, a", ("a", "b", "c")) == ("a", "c")
    assert benchmark.chosen("--x", "all", ("a", "b")) == ("a", "b")
    with pytest.raises(UserError, match="--x 'd'"):
        benchmark.chosen("--x", "a,d", ("a", "b"))
