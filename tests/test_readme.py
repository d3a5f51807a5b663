"""What the documentation promises exists: commands, flags, links, examples."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simmc import cli
from simmc.cli import preprocess, report
from simmc.data import specs
from simmc.methods.simmc import SimMCSettings
from simmc.settings import options_of, resolve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("[!.]*/README.md")],
    key=lambda page: page.as_posix(),
)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def commands() -> list[str]:
    lines = "".join(blocks(README, "bash")).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def check_simmc(words: list[str]) -> None:
    settings = resolve(SimMCSettings, words).settings
    assert settings.place.dataset in (*specs.DATASETS, "Mine")  # the one of the page's own example


def check_preprocess(words: list[str]) -> None:
    resolve(preprocess.PreprocessSettings, preprocess.flags(words))


def check_report(words: list[str]) -> None:
    report._parser().parse_args(words)


CHECKS = {
    "SimMC.py": check_simmc,
    "Preprocess.py": check_preprocess,
    "simmc": check_simmc,
    "preprocess": check_preprocess,
    "report": check_report,
}


@pytest.mark.parametrize("line", commands())
def test_commands_exist_and_parse(line):
    words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    program, *rest = words
    if program == "source":
        assert rest == [".venv/bin/activate"]
        return
    assert program in ("bash", "python"), line
    if rest[:2] == ["-m", "simmc"]:
        assert rest[2] in cli.COMMANDS
        CHECKS.get(rest[2], lambda words: None)(rest[3:])
    else:
        assert (ROOT / rest[0]).is_file(), rest[0]
        CHECKS.get(rest[0], lambda words: None)(rest[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


def test_flags_in_the_text_exist():
    known = {key for option in options_of(SimMCSettings) for key in option.keys}
    known |= {key for option in options_of(preprocess.PreprocessSettings) for key in option.keys}
    known |= {"help", "archive"}
    for flag in re.findall(r"--([A-Za-z_]\w*)", without_code(README)):
        assert flag in known, f"--{flag}"


def test_defaults_in_the_flag_table_are_the_defaults():
    defaults = {option.key: option.default for option in options_of(SimMCSettings)}
    rows = re.findall(r"^\| ((?:`--\w+`(?:, )?)+) \| ([^|]+) \|", README, re.M)
    assert len(rows) > 8
    for flags, shown in rows:
        names = re.findall(r"--(\w+)", flags)
        values = [value.strip(" `") for value in shown.split(",")]
        for name, value in zip(names, values, strict=False):
            if value in ("preset", "newest"):
                continue
            default = defaults[name]
            expected = (
                {False: "off", True: "on"}.get(default) if isinstance(default, bool) else None
            )
            if default == "":
                expected = "none"
            if name == "probe_type":  # empty stands for the one named
                expected = "nm.nm"
            assert value == (expected or str(default)), name


def test_commands_in_the_command_table_exist():
    table = README[README.index("| command |") :].split("\n\n")[0]
    named = re.findall(r"`python -m simmc (\w+)`", table)
    assert set(named) <= set(cli.COMMANDS)
    # every command is told of somewhere
    assert all(f"simmc {name}" in README for name in cli.COMMANDS)
    assert all((ROOT / name).is_file() for name in re.findall(r"`python ([\w/]+\.py)", table))


def test_every_dataset_probe_and_folder_is_named():
    for spec in specs.DATASETS.values():
        assert spec.name.replace("_B", "-B") in README or spec.name in README
        for probe in spec.probes:
            assert f"`{probe}`" in README
        assert f"{spec.folder or spec.name}/{spec.default_length}/" in README
        assert spec.train_folder in README
        assert spec.test_folder in README


def test_the_page_on_own_skeletons_works(tmp_path):
    (example,) = blocks(README, "python")
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    from simmc.data.experiment.load import Request, load_experiment

    loaded = load_experiment(
        Request(
            tmp_path / "Datasets", "Mine", 6, "probe", class_sampling="off", part_batches="keep"
        ),
        rng=np.random.default_rng(0),
    )
    assert loaded.train.windows.shape == (600, 6, 15, 3)


def test_generated_numbers_are_called_that():
    script = (ROOT / "scripts" / "demo.sh").read_text(encoding="utf-8")
    said = [line for line in script.splitlines() if "nothing about real people" in line]
    assert len(said) >= 2 or script.count("say_generated") >= 3  # first and last
