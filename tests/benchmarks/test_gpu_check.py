"""The GPU check without a GPU: what it records, what it keeps of a part that is cut off."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import gpu_check, gpu_page
from tests.conftest import ROOT

KEPT = ROOT / "docs" / "benchmark" / "gpu.json"


def test_small_on_the_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["--device", "cpu", "--small", "--limits", "20", "--out", str(tmp_path)]
    assert gpu_check.main([*words, "--parts", "data,simmc,clustering"]) == 0
    record = json.loads((tmp_path / gpu_check.FILE).read_text())
    log = (tmp_path / "gpu_check.log").read_text()
    assert {part["end"] for part in record["parts"].values()} == {"done"}, log
    assert (record["kgbd"], record["device"]) == (gpu_check.WALKERS, "cpu")
    simmc = record["parts"]["simmc"]
    assert len(simmc["epochs"]) == 3 and "steps" in simmc["epochs"][1]
    assert simmc["run_s"] >= sum(sum(row.values()) for row in simmc["epochs"])
    cases = record["parts"]["clustering"]["cases"]
    assert [case["n"] for case in cases] == [1000, 2000]
    for case in cases:
        assert case["labels_differing"] == 0 and case["clusters"] > 10
        assert set(case["seconds"]) == {"neighbours", "jaccard", "dbscan"}
    table = gpu_page.section(record)
    assert "synthetic walkers" in table and "(no GPU)" in table


def test_a_part_that_is_cut_off_leaves_what_it_measured(tmp_path, monkeypatch):
    code = "import sys, time; open(sys.argv[1], 'w').write('{\"n\": 1}'); time.sleep(60)"
    file = tmp_path / "parts" / "clustering.json"
    monkeypatch.setattr(gpu_check, "part_words", lambda *given: ["-c", code, str(file)])
    parts = [gpu_check.Part("clustering", "", 3)]
    given = SimpleNamespace(out=tmp_path, limits=1, device="cpu", small=True, kgbd=None)
    gpu_check.check(given, parts)
    found = json.loads((tmp_path / gpu_check.FILE).read_text())["parts"]["clustering"]
    assert found["n"] == 1 and found["end"].startswith("stopped") and found["wall_s"] < 30


def test_tests_are_counted(tmp_path):
    report = tmp_path / "tests.xml"
    report.write_text(
        "<testsuites><testsuite><testcase name='a'/><testcase name='b'><failure/></testcase>"
        "<testcase name='c'><error/></testcase><testcase name='d'><skipped/></testcase>"
        "</testsuite></testsuites>"
    )
    assert gpu_check.counts(report) == {"passed": 1, "skipped": 1, "failed": ["b", "c"]}


def test_the_limits_add_up_to_eight_minutes():
    assert sum(part.seconds for part in gpu_check.PARTS) == 480


@pytest.mark.parametrize(
    "words", [["--kgbd", "nowhere.tar.xz"], ["--parts", "data,magic"], ["--render", "nowhere"]]
)
def test_what_the_user_can_fix_ends_with_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        gpu_check.main(["--device", "cpu", *words])
    assert words[0] in capsys.readouterr().err


def record():
    epochs = [{"evaluation": 9.0, "steps": 9.0}, *[{"evaluation": 0.25, "steps": 0.5}] * 3]
    times = {"neighbours": 20.0, "jaccard": 4.0, "dbscan": 1.0}
    end = {"end": "done", "wall_s": 1.0}
    return {
        "format": gpu_page.FORMAT,
        "date": "2026-01-01",
        "small": False,
        "kgbd": gpu_check.WALKERS,
        "parts": {
            "machine": end
            | {"machine": {"torch": "2.9", "simmc": "0.2"}, "card": "Card", "card_bytes": 2**36}
            | {"cuda": "13.0", "driver": "580"},
            "tests_methods": end | {"passed": 28, "failed": ["two_epochs"], "skipped": 0},
            "simmc": end | {"run_s": 61.5, "epochs": epochs, "peak_gpu_bytes": 2**31},
            "trackmc": {"end": "stopped at its limit of 25 s", "wall_s": 25.0, "epochs": []},
            "clustering": end | {"cases": [{"n": 1_000_000, "seconds": times, "product_s": 10.0}]},
        },
    }


def test_the_section_shows_what_was_measured():
    shown = gpu_page.section(record())
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()]
    assert ["SimMC, an epoch of KGBD with evaluation", "1", "0.75"] in rows
    assert ["SimMC, a whole run", "90", "61.5"] in rows
    assert ["TrackMC, a whole run", "20", "-"] in rows
    assert ["1,000,000 rows to labels, exact", "60", "25"] in rows
    assert ["methods", "28", "0", "two_epochs"] in rows
    assert ["1,000,000", "20", "4", "1", "10", "2", "-", "-", "-"] in rows
    assert "`trackmc`: stopped at its limit" in shown


def test_the_section_of_the_page_is_that_of_the_kept_record(tmp_path):
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8"))
    before, _, rest = page.read_text().partition(gpu_page.BEGIN)
    section, _, after = rest.partition(gpu_page.END)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else None
    assert section.strip() == gpu_page.section(kept)
    gpu_page.put(record(), page)
    changed = page.read_text()
    assert changed.startswith(before) and changed.endswith(after)
    assert gpu_page.section(record()) in changed and gpu_page.NOTHING not in changed
