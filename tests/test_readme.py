"""What the documentation promises exists: commands, flags, links, names in the code, examples."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from simmc import cli
from simmc.cli import import_data, preprocess, report
from simmc.data import specs
from simmc.methods.registry import METHODS
from simmc.methods.simmc import SimMCSettings
from simmc.settings import options_of, resolve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {page.name: page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/*.md"))}
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("[!.]*/README.md")],
    key=lambda page: page.as_posix(),
)
METHOD_PAGES = (
    *("simmc", "himpc", "trackmc", "simmc-uf", "sgela", "mgscr", "smsge"),
    *("supervised", "recognition", "descriptors"),
)
COMMANDS = (*METHODS, *cli.OTHERS)
SCRIPTS = {"SimMC.py": "simmc", "Hi-MPC.py": "himpc", "SimMC-UF.py": "finetune"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)


def commands() -> list[str]:
    pages = [README, *(text for name, text in DOCS.items() if name != "cluster.md")]
    text = "".join(block for page in pages for block in blocks(page, "bash"))
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return sorted({line for line in lines if line and not line.startswith("#")})


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def check(command: str, words: list[str]) -> None:
    """Flags that exist, with values that are possible."""
    if command == "report":
        report._parser().parse_args(words)
    elif command == "preprocess":
        resolve(preprocess.PreprocessSettings, preprocess.flags(words))
    elif command in METHODS:
        settings = resolve(METHODS[command].settings, words).settings
        assert settings.place.dataset in (*specs.DATASETS, "Mine")  # the pages' own example
    else:
        assert command in cli.OTHERS


@pytest.mark.parametrize("line", commands())
def test_commands_exist_and_parse(line):
    line = re.sub(r"--seed S\b", "--seed 0", line)
    words = shlex.split(line, comments=True)
    words = [word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)]
    program, *rest = words
    if program == "source":
        assert rest == [".venv/bin/activate"]
        return
    assert program in ("bash", "python"), line
    if rest[:2] == ["-m", "simmc"]:
        check(rest[2], rest[3:])
    else:
        assert (ROOT / rest[0]).is_file(), rest[0]
        command = "preprocess" if rest[0] == "Preprocess.py" else SCRIPTS.get(rest[0])
        if command:
            check(command, rest[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page):
    for text, target in re.findall(
        r"\[([^\]]*)\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))
    ):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"
        if there.suffix == ".py" and re.fullmatch(r"`[\w.]+`", text) and "/" not in text:
            assert is_defined(text.strip("`"), there), f"{page.name}: {text} is not in {target}"


def is_defined(name: str, path: Path) -> bool:
    """Whether a file defines every part of `function`, `Class` or `Class.method`."""
    source = path.read_text(encoding="utf-8")
    return all(
        re.search(rf"^\s*(?:def |class |){part}\b\s*[\[(:=]", source, re.M)
        for part in name.split(".")
    )


@pytest.mark.parametrize("name", METHOD_PAGES)
def test_every_page_of_a_method_has_the_same_four_headings(name):
    assert re.findall(r"^## (.*)$", DOCS[f"{name}.md"], re.M) == [
        *("Usage", "What every logged number means"),
        *("Implementation details", "Results beside the paper"),
    ]


def test_the_readme_is_short_and_leads_to_every_loss_in_two_clicks():
    assert len(README.splitlines()) <= 200
    linked = {f"{page}.md" for page in re.findall(r"\(docs/([\w-]+)\.md", README)}
    losses = {
        target for page in linked for target in re.findall(r"simmc/losses/\w+\.py", DOCS[page])
    }
    files = {path.stem for path in (ROOT / "simmc" / "losses").glob("[!_]*.py")}
    assert {Path(target).stem for target in losses} == files


def test_every_page_is_on_the_website():
    listed = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    assert sorted(listed) == sorted(DOCS)


def test_the_modules_of_the_reference_exist():
    named = re.findall(r"^::: (\S+)$", DOCS["reference.md"], re.M)
    assert named
    assert [name for name in named if find_spec(name) is None] == []


def test_pages_that_the_code_names_exist():
    files = [*ROOT.glob("simmc/**/*.py"), *ROOT.glob("configs/*/*.toml"), *ROOT.glob("scripts/*")]
    for path in files:
        for name in re.findall(r"docs/([\w-]+\.md)", path.read_text(encoding="utf-8")):
            assert name in DOCS, f"{path}: docs/{name}"


def test_flags_in_the_readme_exist():
    own = [preprocess.PreprocessSettings, import_data.ImportSettings]
    classes = [*own, *(method.settings for method in METHODS.values())]
    known = {key for one in classes for option in options_of(one) for key in option.keys}
    known |= {"help", "archive"}
    for flag in re.findall(r"--([A-Za-z_]\w*)", without_code(README)):
        assert flag in known, f"--{flag}"


def test_defaults_in_the_flag_table_are_the_defaults():
    defaults = {option.key: option.default for option in options_of(SimMCSettings)}
    rows = re.findall(r"^\| ((?:`--\w+`(?:, )?)+) \| ([^|]+) \|", DOCS["simmc.md"], re.M)
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


def test_the_command_table_has_every_command():
    table = README[README.index("| command |") :].split("\n\n")[0]
    named = re.findall(r"simmc ([a-z-]+)`", table)
    assert set(named) == set(COMMANDS)
    assert all((ROOT / name).is_file() for name in re.findall(r"`python ([\w/-]+\.py)", table))


def test_every_dataset_probe_and_folder_is_named():
    page = DOCS["data.md"]
    for spec in specs.DATASETS.values():
        assert spec.name in page
        for probe in spec.probes:
            assert f"`{probe}`" in page
        assert f"{spec.folder or spec.name}/{spec.default_length}/" in page
        assert spec.train_folder in page
        assert spec.test_folder in page


@pytest.mark.parametrize(
    ("page", "shape"), [("README.md", (78, 6, 20, 3)), ("docs/own_data.md", (600, 6, 15, 3))]
)
def test_the_examples_of_own_data_work(tmp_path, page, shape):
    (example,) = blocks((ROOT / page).read_text(encoding="utf-8"), "python")
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
    assert loaded.train.windows.shape == shape
