"""The command from words to files. Jobs run in this process: what they do is the same."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import clustering, job, measure, page
from benchmarks.contestants import CONTESTANTS
from benchmarks.measure import Plan, Source
from simmc import cli
from simmc.cli import benchmark
from simmc.methods.simmc import SimMCSettings
from simmc.settings import options_of, resolve
from tests.benchmarks import make

PAGE = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text(encoding="utf-8")
TINY = ["--sizes", "200", "--inputs", "clustered", "--threads", "1", "--repeats", "2"]
SOME = ["--contestants", "exact,ours,dense"]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They take a while and are tested elsewhere."""
    monkeypatch.setattr(page, "draw", lambda record, out: [])


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that were run, as (kind, contestants); run here instead of in processes."""
    done = []

    def here(words, threads, *, quiet=False):
        assert words[:2] == ["-m", "benchmarks.job"]
        asked = json.loads(Path(words[2]).read_text())
        done.append((asked["kind"], *asked["contestants"]))
        assert job.main(words[2]) == 0
        return True

    monkeypatch.setattr(measure, "python", here)
    return done


def run(*words):
    return cli.run("benchmark", [str(word) for word in words])


def record_of(out):
    return json.loads((out / "benchmark.json").read_text())


def test_a_whole_run_that_goes_on_with_the_next_call(tmp_path, jobs, capsys):
    out = tmp_path / "out"
    assert run(*TINY, *SOME, "--out", out) == 0
    first = record_of(out)["cases"]
    assert len(jobs) == 5  # lists, time, memory of three
    assert run(*TINY, *SOME, "--sizes", "200,400", "--out", out) == 0
    assert len(jobs) == 10 and "measured before" in capsys.readouterr().out
    made = record_of(out)
    assert made["cases"][0] == first[0] and [case["n"] for case in made["cases"]] == [200, 400]
    for case in made["cases"]:
        assert case["generated"] and case["lists"] == {"kind": "exact"}
        assert case["time"]["labels_differing"] == 0
        assert case["time"]["seconds"].keys() == case["memory"].keys() == {"exact", "ours", "dense"}
        assert all(len(case["time"]["seconds"]["ours"][s]) == 2 for s in ("jaccard", "dbscan"))
    text = (out / "benchmark.md").read_text()
    assert "## clustered (generated)" in text and "| identical |" in text
    assert run(*TINY, "--repeats", "9", "--out", out) == 2  # never mixed
    assert run("--render", out / "benchmark.json", "--out", tmp_path / "other") == 0
    assert (tmp_path / "other" / "benchmark.md").read_text() == text and len(jobs) == 10


def test_what_an_interrupted_run_had_measured_is_kept(tmp_path, jobs, monkeypatch):
    run_job, broken = measure.python, []

    def until_memory(words, threads, **more):
        if len(jobs) == 3 and not broken:
            broken.append(words)
            raise KeyboardInterrupt
        return run_job(words, threads, **more)

    monkeypatch.setattr(measure, "python", until_memory)
    words = [*TINY, *SOME, "--out", tmp_path]
    assert run(*words) == 130
    (before,) = record_of(tmp_path)["cases"]
    assert before["time"] and list(before["memory"]) == ["exact"]
    assert run(*words) == 0
    assert [kind for kind, *_ in jobs] == ["lists", "time", "memory", "lists", "memory", "memory"]
    (after,) = record_of(tmp_path)["cases"]
    assert after["time"] == before["time"] and len(after["memory"]) == 3


def test_a_killed_process_is_noted(tmp_path, jobs, monkeypatch):
    run_job = measure.python
    monkeypatch.setattr(
        measure, "python", lambda w, t, **m: run_job(w, t, **m) and jobs[-1] != ("memory", "dense")
    )
    assert run(*TINY, *SOME, "--out", tmp_path) == 0
    assert list(record_of(tmp_path)["cases"][0]["memory"]) == ["exact", "ours"]
    assert "no memory of dense" in (tmp_path / "benchmark.md").read_text()


def test_beyond_exact_search(tmp_path, jobs):
    words = [*TINY, "--sizes", "200,300", "--exact_up_to", "250", "--memory", "0"]
    words += ["--contestants", "approximate,ours,exact,whole_approximate"]
    assert run(*words, "--out", tmp_path) == 0
    exact, approximate = record_of(tmp_path)["cases"]
    assert exact["lists"] == {"kind": "exact", "recall": 1, "agreement": pytest.approx(1)}
    assert approximate["lists"] == {"kind": "approximate", "recall": 1}
    assert approximate["memory"] == {} and "exact" not in approximate["time"]["seconds"]
    assert "N = 300: neighbour lists are approximate" in (tmp_path / "benchmark.md").read_text()


def test_who_is_left_out(monkeypatch):
    monkeypatch.setattr(measure, "lacking", lambda: {"faiss": "it is not installed"})
    plan = Plan(tuple(CONTESTANTS), 2, 1, 1000, 500, True)
    chosen, (reason,) = measure.choose(500, plan, "here")
    assert set(CONTESTANTS) - set(chosen) == {"faiss"} and "not installed" in reason
    chosen, reasons = measure.choose(501, plan, "here")
    assert not {"dense", "dense_alone"} & set(chosen) and "--dense_up_to" in reasons[-1]
    assert "--exact_up_to" in " ".join(measure.choose(1001, plan, "here")[1])
    monkeypatch.setattr(measure, "available_bytes", lambda: 100_000)
    assert "memory" in measure.choose(101, plan, "here")[1][-1]
    assert Source("real", False, 31488, lambda n: n).sizes([2000, 32000, 64000]) == [2000, 31488]


def test_a_job_in_a_process_of_its_own(tmp_path):
    source = Source("made", True, None, lambda n: clustering.GENERATED["clustered"](n, 0))
    with measure.prepared(source, 60, Plan((), 1, 1, 1000, 0, True), tmp_path) as run_job:
        assert run_job("lists", [])["kind"] == "exact"
        found = run_job("memory", ["product"])
    assert found["added_bytes"] == max(found["peak_bytes"] - found["baseline_bytes"], 0)
    assert list(tmp_path.iterdir()) == []
    assert not measure.python(["-c", f"exit({measure.NO_MEMORY})"], 1)
    with pytest.raises(RuntimeError, match="exit code"):
        measure.python(["-c", "exit(1)"], 1)


def test_no_kgbd_is_noted(tmp_path, jobs):
    words = ["--sizes", "200", "--inputs", "KGBD", "--epoch", "--threads", "1"]
    assert run(*words, "--data_root", tmp_path / "nothing", "--out", tmp_path / "out") == 0
    (note,) = record_of(tmp_path / "out")["notes"]
    assert note.startswith("KGBD left out") and "nothing" in note and jobs == []


@pytest.mark.parametrize("generated", [True, False])
def test_features_of_a_training(tmp_path, jobs, monkeypatch, generated):
    from tests.methods import make as trainings

    data = replace(trainings.experiment(), generated=generated)  # 200 windows
    found = (trainings.settings(H=256), data)
    monkeypatch.setattr(clustering, "find_kgbd", lambda settings, kept: found)
    words = ["--sizes", "150,4k", "--inputs", "KGBD", "--contestants", "ours", "--memory", "0"]
    assert run(*words, "--threads", 1, "--out", tmp_path) == 0
    cases = record_of(tmp_path)["cases"]
    assert [case["n"] for case in cases] == [150, 200]
    assert all(("(generated)" in case["dataset"]) == generated for case in cases)


def test_the_epoch_part_trains_with_flags_that_exist(tmp_path, monkeypatch):
    seen = {}

    def training(words, threads, *, quiet=False):
        settings = seen["settings"] = resolve(SimMCSettings, words[3:]).settings
        folder = Path(settings.training.model_root, "KGBD", "probe", settings.training.run)
        folder.mkdir(parents=True)
        lines = [json.dumps({"seconds": s}) for s in make.epoch()["seconds"]]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        counts = make.epoch()["windows"] | {"identities": 164}
        results = {"peak_rss_bytes": 1_050_000_000, "counts": counts, "data": {"generated": False}}
        (folder / "results.json").write_text(json.dumps(results))
        return True

    monkeypatch.setattr(measure, "python", training)
    monkeypatch.setattr(clustering, "find_kgbd", lambda settings, kept: ())
    words = ["--sizes", "none", "--epoch", "--epochs", "2", "--threads", "1", "--out", tmp_path]
    assert run(*words) == 0
    assert record_of(tmp_path)["epoch"] == make.epoch()
    assert (seen["settings"].training.epochs, seen["settings"].training.eval_every) == (2, 1)
    monkeypatch.setattr(measure, "python", lambda *words, **more: pytest.fail("measured again"))
    assert run(*words) == 0


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--sizes", "2000,x"), ("--sizes", "0"), ("--inputs", "KGBD,nothing"),
        ("--contestants", "mine"), ("--repeats", "0"), ("--render", "missing.json"),
    ],
)  # fmt: skip
def test_bad_words_are_refused(flag, text, tmp_path, capsys):
    assert run(flag, text, "--out", tmp_path / "out") == 2
    assert text.rpartition(",")[2] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_words_of_sizes_and_names():
    assert clustering.numbers(" 2K , 3,1M ") == (2000, 3, 1_000_000)
    assert clustering.numbers("full")[-1] == 1_000_000 and clustering.numbers("none") == ()
    assert clustering.chosen("--x", "c, a", ("a", "b", "c")) == ("a", "c")


def test_without_the_source_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    assert run("--help") == 2
    assert "python benchmarks/clustering.py" in capsys.readouterr().err


def rows(heading):
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0]
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_the_page_names_what_exists():
    defaults = {f"--{option.key}": option.default for option in options_of(clustering.Benchmark)}
    special = {"--inputs": "all three", "--fit_from": "0", "--memory": "1", "--threads": "cores"}
    for flag, shown, _ in rows("| flag |"):
        assert shown == special.get(flag, str(defaults[flag]))
    own = PAGE.partition("## On a GPU")[0]
    assert set(re.findall(r"--\w+", own)) <= {*defaults, "--dataset"}
    lines = re.findall(r"^python benchmarks/clustering\.py(.*)$", PAGE, re.M)
    assert lines
    for line in lines:
        resolve(clustering.Benchmark, line.split())
    assert sorted(row[0] for row in rows("| name |")) == sorted(CONTESTANTS)
    for name in clustering.INPUTS:
        assert re.search(rf"^- \*\*{name} \(", PAGE, re.M)
