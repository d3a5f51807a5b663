import json

import pytest

from simmc.cli import report, run


@pytest.fixture
def with_metrics(make_run, metrics):
    folder = make_run()
    lines = "".join(json.dumps(line) + "\n" for line in metrics)
    (folder / "metrics.jsonl").write_text(lines)
    return folder


def test_table_of_all_runs_or_the_named_ones(make_run, tmp_path, capsys):
    one, _ = make_run("one"), make_run("two", dataset="KS20")
    root = str(tmp_path / "ReID_Models")
    assert report.main(["table", "--model_root", root]) == 0
    assert "KS20" in capsys.readouterr().out
    assert report.main(["table", str(one), "--format", "csv", "--without_published"]) == 0
    out = capsys.readouterr().out
    assert "KS20" not in out
    assert "published" not in out


def test_table_to_a_file(make_run, tmp_path, capsys):
    out = tmp_path / "table.md"
    assert report.main(["table", str(make_run()), "--format", "md", "--out", str(out)]) == 0
    assert out.read_text().startswith("| Dataset")
    assert capsys.readouterr().out.strip() == str(out)


def test_pictures_go_into_the_run_and_are_named(with_metrics, capsys):
    assert report.main(["cmc", str(with_metrics.parent)]) == 0
    assert report.main(["curves", str(with_metrics)]) == 0
    names = capsys.readouterr().out.split()
    assert names == [str(with_metrics / "cmc.png"), str(with_metrics / "curves.png")]
    assert all((with_metrics / name).is_file() for name in ("cmc.png", "curves.png"))


def test_curves_of_a_run_with_a_label_free_training(with_metrics, tmp_path, capsys):
    twin = with_metrics / "label_free"
    twin.mkdir()
    (twin / "metrics.jsonl").write_bytes((with_metrics / "metrics.jsonl").read_bytes())
    assert report.main(["curves", str(with_metrics), "--out", str(tmp_path / "c.svg")]) == 0
    first, second = capsys.readouterr().out.split()
    assert second.endswith("c_label_free.svg")
    assert "label_free: epoch" not in (tmp_path / "c.svg").read_text()
    assert "label_free: epoch" in (tmp_path / "c_label_free.svg").read_text()
    assert first == str(tmp_path / "c.svg")


def test_curves_of_an_unfinished_run(with_metrics):
    (with_metrics / "results.json").unlink()
    assert report.main(["curves", str(with_metrics), "--out", str(with_metrics / "c.svg")]) == 0
    assert "no results yet" in (with_metrics / "c.svg").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "table|page|cmc|curves"),
        (["table", "--format", "html"], "--format"),
        (["cmc"], "RUN"),
        (["cmc", "nowhere"], "nowhere"),
        (["curves", "nowhere", "--ou", "x.png"], "--ou"),
        (["cmc", "RUN", "--out", "x.jpg"], "--out"),
    ],
)
def test_wrong_input_is_a_message_and_exit_code_2(make_run, words, message, capsys):
    folder = str(make_run())
    assert run("report", [folder if word == "RUN" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
