import os

import pytest

from simmc.errors import UserError
from simmc.reports import results


def test_a_run_is_found_by_its_folder_a_file_and_the_folder_above(make_run):
    make_run("old")
    folder = make_run("new")
    for path in (folder, folder / "results.json", folder.parent):
        assert results.load(path).path == folder


def test_the_folder_above_means_the_newest_run_of_any_method(make_run):
    simmc, himpc = make_run("f6"), make_run("himpc_f6")
    above = simmc.parent
    (above / "latest").write_text("f6\n")
    (above / "latest_himpc").write_text("himpc_f6\n")
    for youngest, wanted in (("latest_himpc", himpc), ("latest", simmc)):
        for file in above.glob("latest*"):
            os.utime(file, (0, 9 if file.name == youngest else 5))
        assert results.folder_of(above) == wanted
    assert results.folder_of(above, pointer="latest_himpc") == himpc
    (above / "latest").write_text("deleted\n")
    assert results.folder_of(above) == himpc


def test_a_lost_pointer_is_no_crash(make_run):
    folder = make_run()
    (folder.parent / "latest").write_text("deleted\n")
    with pytest.raises(UserError, match=r"results\.json"):
        results.load(folder.parent)


def test_missing_keys_are_shown_as_unknown(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "results.json").write_text('{"protocols": {}, "settings": null}')
    run = results.load(folder)
    assert (run.text("dataset"), run.checksum, run.generated) == ("?", "", False)
    assert run.settings == {"method_version": 1}  # runs from before versions were written
    assert run.protocol("paper") is None


def test_no_such_run_names_the_path(tmp_path):
    with pytest.raises(UserError, match="nowhere: there is no such run"):
        results.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="--model_root"):
        results.find_all(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no finished run"):
        results.find_all(tmp_path)


def test_find_all_passes_over_what_is_part_of_a_run(make_run, tmp_path):
    folder = make_run("one")
    make_run("two", dataset="KS20")
    inner = folder / "label_free"
    inner.mkdir()
    (inner / "results.json").write_text("{}")
    assert [run.path.name for run in results.find_all(tmp_path / "ReID_Models")] == ["one", "two"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "SimMC"),
        ({"lambda": 0.5, "q": 2, "encoder": "mlp"}, "SimMC"),
        ({"lambda": 0, "q": 2}, "MPC"),
        ({"lambda": 0.0, "q": 1, "mask_x": 0}, "NPC"),
        ({"encoder": "none", "lambda": 0.5}, "Baseline"),
    ],
)
def test_ablations_have_the_names_of_table_4(make_run, settings, name):
    assert results.load(make_run(settings=settings)).method_name == name


def test_other_methods_keep_their_name(make_run):
    assert results.load(make_run(method="D13", settings={"q": 1})).method_name == "D13"
