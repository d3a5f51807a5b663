"""Imports point one way: data at the bottom, commands and reports on top."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import simmc

ROOT = Path(simmc.__file__).parent
# A part may import parts of its own layer and of the layers before it, but never in a circle.
LAYERS = (
    ("simmc", "errors"),
    ("files", "compiled"),
    ("data", "distances"),
    ("settings",),
    ("models", "losses", "clustering", "evaluation"),
    ("runs",),
    ("scoring",),
    ("engine",),
    ("methods",),
    ("reports",),
    ("cli", "api", "__main__"),
)
HEIGHT = {part: height for height, parts in enumerate(LAYERS) for part in parts}


def part_of(module: str) -> str:
    """The part of the package that a module belongs to: "simmc.data.raw.kgbd" -> "data"."""
    words = module.split(".")[1:]
    return words[0] if words else "simmc"


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        words = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(words).removesuffix(".__init__"), path


def imports(module: str, path: Path) -> Iterator[str]:
    """Every module of ours that is imported, also inside functions."""
    if module == "simmc":
        return  # its public names are imported on first use
    known = dict(modules())
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "simmc")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write the whole name"
            if node.module and node.module.split(".")[0] == "simmc":
                for name in node.names:
                    inner = f"{node.module}.{name.name}"
                    yield inner if inner in known else node.module


def test_every_part_has_a_layer():
    assert {part_of(module) for module, _ in modules()} <= set(HEIGHT)


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: str(value)[-40:])
def test_imports_point_down(module, path):
    for imported in imports(module, path):
        assert HEIGHT[part_of(imported)] <= HEIGHT[part_of(module)], (
            f"{module} imports {imported}, which lies above it"
        )


def test_no_part_imports_itself_by_way_of_others():
    graph: dict[str, set[str]] = {}
    for module, path in modules():
        for imported in imports(module, path):
            if part_of(imported) != part_of(module):
                graph.setdefault(part_of(module), set()).add(part_of(imported))
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError
