import re
from pathlib import Path

import pytest

from simmc.cli.descriptors import DescriptorSettings
from simmc.cli.preprocess import PreprocessSettings
from simmc.methods.registry import METHODS
from simmc.settings import options_of, resolve
from simmc.settings import switches as fidelity

PAGE = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
ROOT = Path(__file__).parents[2]
# the page of results, and the sections of its older form that the whole page shows
RESULTS = "".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "docs" / "results.md", *ROOT.glob("results/carried/*.json"))
)
ROWS = {
    cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
    for cells in (line.split("|") for line in PAGE.splitlines())
    if len(cells) == 7 and re.fullmatch(r"[QHSGD]\d+", cells[1].strip())
}
SWITCH = re.compile(r"(?:--(\w+) (\w+)` / `(\w+))")
# written down a second time on purpose: name -> quirk, released, exact
EXPECTED = {
    "jaccard_input": ("Q1", "raw", "normalised"),
    "mask_scope": ("Q2", "batch", "window"),
    "mask_replay": ("Q3", "index", "window"),
    "mpc_reduction": ("Q4", "sum", "mean"),
    "selection": ("Q5", "probe", "label_free"),
    "part_batches": ("Q6", "drop", "keep"),
    "class_sampling": ("Q7", "on", "off"),
    "same_condition_map": ("Q8", "skip_first", "remove_self"),
    "zero_label_guard": ("Q10", "on", "off"),
    "double_load": ("Q11", "on", "off"),
    "kgbd_order": ("Q12", "raw", "mapped"),
    "root": ("Q12", "first", "sensor"),
    "eval_sqrt": ("Q13", "nan", "clamp"),
    "level_reduction": ("H1", "joint_sum", "mean"),
    "mining_scale": ("H2", "tau", "none"),
    "unmined_loss": ("H3", "frames", "sequence"),
    "mining_gradient": ("H4", "through", "through"),
    "outlier_rule": ("H6", "any_level", "own_level"),
    "decoder_input": ("S1", "zeros", "skeletons"),
    "attention_form": ("S2", "projected", "dot"),
    "lcl_batches": ("S5", "stored", "person"),
    "lcl_same_window": ("S5", "negative", "negative"),
    "encoder_windows": ("S6", "two_thirds", "all"),
    "plus_data": ("S10", "reversed", "tasks"),
    "gathering": ("G1", "sorted", "sorted"),
    "sampled_frames": ("G2", "once", "batch"),
    "last_frame": ("G4", "skip", "encode"),
    "extra_prefix": ("G8", "zeros", "none"),
    "test_batches": ("S7", "whole", "all"),
    "order": ("S13", "stored", "shuffled"),
    "ias_label_order": ("D1", "walk", "name"),
    "ias_cut": ("D2", "asymmetric", "symmetric"),
    "ks20_time": ("D3", "text", "number"),
    "ks20_roles": ("D4", "slip", "own"),
    "dense_starts": ("D5", "repeated", "once"),
    "zero_joints": ("D6", "keep", "missing"),
}


def test_the_table():
    found = {s.name: (s.quirk, s.released, s.exact) for s in fidelity.SWITCHES.values()}
    assert found == EXPECTED


def test_every_quirk_has_one_row():
    numbers = {"Q": 14, "H": 10, "S": 13, "G": 8, "D": 6}
    expected = [f"{kind}{i + 1}" for kind, count in numbers.items() for i in range(count)]
    assert sorted(ROWS) == sorted(expected)
    assert len(re.findall(r"^\| [QHSGD]\d+ \|", PAGE, flags=re.MULTILINE)) == len(expected)


def test_every_switch_has_a_row_and_every_row_s_switch_exists():
    on_page = {
        (quirk, name, released, exact)
        for quirk, cells in ROWS.items()
        for name, released, exact in SWITCH.findall(cells[2])
    }
    in_code = {(s.quirk, s.name, s.released, s.exact) for s in fidelity.SWITCHES.values()}
    assert on_page == in_code


@pytest.mark.parametrize(
    "quirk",
    [
        *("Q9", "Q14", "H5", "H7", "H8", "H9", "H10"),
        *("S3", "S4", "S8", "S9", "S11", "S12"),
        *("G3", "G5", "G6", "G7"),
    ],
)
def test_rows_without_a_switch_say_why(quirk):
    assert ROWS[quirk][2].startswith("no switch: ")
    assert all(s.quirk != quirk for s in fidelity.SWITCHES.values())


def test_further_values_are_on_the_page():
    for row in fidelity.SWITCHES.values():
        for value in row.more:
            assert f"--{row.name} {value}" in PAGE


def test_every_row_says_what_it_does_on_kgbd():
    for name, cells in ROWS.items():
        pages = "[results](results.md)", "[`results.html`](reproduce.md)"
        assert cells[3].startswith((*pages, "none", "not measured"))
        if cells[3].startswith("["):  # then that page speaks of the row, its switch, or protocols
            words = [
                name,
                *re.findall(r"--\w+", cells[2]),
                *re.findall("`label_free`", "".join(cells)),
            ]
            assert any(word in RESULTS for word in words), name


def test_levels():
    assert fidelity.values("simmc", "released")["mask_scope"] == "batch"
    assert fidelity.values("simmc", "exact")["mask_scope"] == "window"
    assert fidelity.values("simmc", "released")["kgbd_order"] == "raw"
    assert fidelity.values("himpc", "released")["kgbd_order"] == "mirrored"
    assert fidelity.values("himpc", "exact")["kgbd_order"] == "mapped"
    assert fidelity.values("preprocess", "exact")["ias_cut"] == "symmetric"
    with pytest.raises(ValueError, match="faithful"):
        fidelity.values("simmc", "faithful")


TABLES = [method.settings for method in METHODS.values()]
TABLES += [DescriptorSettings, PreprocessSettings]


def test_every_switch_has_a_command():
    declared = {entry.name for s in TABLES for entry in options_of(s) if entry.is_switch}
    assert declared == set(fidelity.SWITCHES)


@pytest.mark.parametrize("settings", TABLES, ids=lambda s: s.COMMAND)
def test_switches_have_the_values_of_the_level(settings):
    declared = [entry.name for entry in options_of(settings) if entry.is_switch]
    for level in ("released", "exact"):
        found = resolve(settings, ["--fidelity", level], preset_dir=Path("nowhere"))
        values, wanted = found.settings.flat(), fidelity.values(settings.COMMAND, level)
        assert [values[name] for name in declared] == [wanted[name] for name in declared]
