"""Mutation testing: small changes to the code, one at a time, and which of them no test notices.

    python scripts/mutate.py simmc/losses simmc/data/experiment/inputs.py --most 200

Works on a copy of the tree. A module is judged by the test files with its name, or, without any, by
those that import it; --tests names others. Tests that take long are left out, and the quick ones
come first. Modules with compiled loops run as plain Python: cached machine code would hide a change
in what it calls. Before a module is changed its tests must pass, and must fail once every function
raises; else it is left out.
"""

import argparse
import ast
import gc
import importlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (  # imported once, before the process is copied for each mutant
    *("numpy.testing", "torch.testing", "torch.optim", "torch.distributed.tensor", "scipy.sparse"),
    *("sklearn.metrics", "sklearn.cluster", "numba", "hypothesis.extra.numpy", "pytest"),
)
SWAPS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq},
    **{ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot},
    **{ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div},
    **{ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And},
}
PASSED, UNTESTED = 0, 5


def other_constant(value: object) -> object:
    """Another value of the same kind; the same where there is none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return (value * 1.5 or 1.0) if isinstance(value, float) else value


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """What an expression or assignment may become."""
    if isinstance(node, ast.Compare):
        for i, sign in enumerate(node.ops):
            if type(sign) in SWAPS:
                found = deepcopy(node)
                found.ops[i] = SWAPS[type(sign)]()
                yield found
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        found = deepcopy(node)
        found.op = SWAPS[type(node.op)]()
        yield found
    elif isinstance(node, ast.UnaryOp):
        yield node.operand  # without its not, - or ~
    elif isinstance(node, ast.Constant) and other_constant(node.value) != node.value:
        yield ast.Constant(other_constant(node.value))


def expressions(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but annotations."""
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from expressions(child)


def mutants(text: str) -> list[tuple[int, str, str, str]]:
    """(line, before, after, the whole text) of every change."""
    starts = [0, *itertools.accumulate(len(line.encode()) for line in text.splitlines(True))]
    data, found = text.encode(), []
    for node in expressions(ast.parse(text)):
        for new in changed(node):
            low = starts[node.lineno - 1] + node.col_offset
            high = starts[node.end_lineno - 1] + node.end_col_offset
            after = ast.unparse(new)
            put = after if isinstance(node, ast.stmt) else f"({after})"
            whole = data[:low] + put.encode() + data[high:]
            try:
                compile(whole, "mutant", "exec")
            except SyntaxError:  # such as a number inside an f-string
                continue
            before = " ".join(data[low:high].decode().split())
            found.append((node.lineno, before, after, whole.decode()))
    return found


def raising(text: str) -> str:
    """The module with functions that all raise."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body.insert(0, ast.parse("raise ArithmeticError('mutant')").body[0])
    return ast.unparse(tree)


def tests_of(module: Path) -> list[Path]:
    """Test files with the module's name; without any, those that import what it defines."""
    text = (ROOT / module).read_text()
    public = [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    dotted = ".".join(module.with_suffix("").parts)
    package = re.escape(".".join(module.parts[:-1]))
    names = "|".join(re.escape(name) for name in public if not name.startswith("_")) or "(?!)"
    uses = re.compile(
        rf"{re.escape(dotted)}\b|from {package} import[^#]*?\b({module.stem}|{names})\b"
    )
    stem = module.stem.removesuffix("_loops")
    named = sorted((ROOT / "tests" / module.parts[1]).rglob(f"test_{stem}*.py"))
    imports = re.compile(r"^(?:from|import) .*?(?:\([^)]*\)|$)", re.M | re.S)
    using = [
        path
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if any(uses.search(one) for one in imports.findall(path.read_text()))
    ]
    return [path.relative_to(ROOT) for path in named or using]


class Order:
    """A pytest plugin: notes how long tests take; with such notes, runs the quick ones in order."""

    def __init__(self, seconds: dict[str, float] | None, slowest: float) -> None:
        self.known, self.slowest, self.seconds = seconds, slowest, Counter()
        self.last = time.process_time()  # of the processor: others may use the machine

    def pytest_collection_modifyitems(self, items: list) -> None:
        """Selects and sorts."""
        if self.known is not None:
            quick = [one for one in items if self.known.get(one.nodeid, 1e9) <= self.slowest]
            items[:] = sorted(quick, key=lambda one: self.known[one.nodeid])
        self.last = time.process_time()

    def pytest_runtest_logreport(self, report: object) -> None:
        """Adds up setup, call and teardown."""
        now = time.process_time()
        self.seconds[report.nodeid] += now - self.last
        self.last = now


def run(tree: Path, tests: list[Path], order: Order, plain: bool, limit: float, notes: Path) -> int:
    """Exit code of pytest in a child of this process, 1 where it takes too long."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setsid()
            os.chdir(tree)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            sys.path.insert(0, str(tree))
            importlib.import_module("numba").config.DISABLE_JIT = int(plain)
            flags = [
                "-x",
                "-q",
                "-n",
                "0",
                "-p",
                "no:cacheprovider",
                "-m",
                "not slow and not realdata",
            ]
            code = int(importlib.import_module("pytest").main([*flags, *map(str, tests)], [order]))
            notes.write_text(json.dumps(order.seconds))
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


class Tree:
    """A copy of the checkout, in which one module at a time is changed."""

    def __init__(self, path: Path, slowest: float, tests: list[Path]) -> None:
        self.path, self.slowest, self.given = path, slowest, tests
        self.stamp = int(time.time()) - 10**8
        ignored = shutil.ignore_patterns(".*", "__pycache__", "Datasets", "ReID_Models")
        shutil.copytree(ROOT, path, ignore=ignored, dirs_exist_ok=True)

    def ready(self, module: Path) -> str:
        """Prepares the tests of a module; why they cannot judge it, or ""."""
        self.module, self.text = module, (ROOT / module).read_text()
        self.tests, self.plain = self.given or tests_of(module), "@compiled" in self.text
        notes = self.path / "seconds.json"
        everything = Order(None, self.slowest)
        if not self.tests:
            return "no tests"
        if run(self.path, self.tests, everything, self.plain, 600, notes) != PASSED:
            return "its tests do not pass as it is"
        self.seconds = json.loads(notes.read_text())
        quick = sum(s for s in self.seconds.values() if s <= self.slowest)
        self.limit = 30 + 10 * quick
        return "" if self.is_seen(raising(self.text)) else "its tests never run it"

    def is_seen(self, text: str) -> bool:
        """Whether a test fails with this text in place of the module's."""
        file = self.path / self.module
        file.write_text(text)
        self.stamp += 2  # Python's cache of compiled modules goes by second and size
        os.utime(file, (self.stamp, self.stamp))
        order = Order(self.seconds, self.slowest)
        code = run(self.path, self.tests, order, self.plain, self.limit, self.path / "notes.json")
        shutil.copy2(ROOT / self.module, file)
        return code not in (PASSED, UNTESTED)


def main() -> None:
    """Makes, tests and counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("places", nargs="+", type=Path, help="modules, or folders of them")
    parser.add_argument("--most", type=int, default=200, help="mutants in all, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slowest", type=float, default=3.0, help="seconds of a test that is run")
    parser.add_argument("--tests", nargs="*", type=Path, default=[], help="in place of those found")
    asked = parser.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    found = [
        p for place in asked.places for p in ([place] if place.suffix else place.rglob("*.py"))
    ]
    modules = sorted({p.resolve().relative_to(ROOT) for p in found if p.name != "__init__.py"})
    drawn = [(module, one) for module in modules for one in mutants((ROOT / module).read_text())]
    drawn = random.Random(asked.seed).sample(drawn, min(asked.most, len(drawn)))
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()
    made, survived = Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder), asked.slowest, asked.tests)
        for module, group in itertools.groupby(sorted(drawn, key=lambda m: m[:1]), lambda m: m[0]):
            began, own = time.monotonic(), sorted(one for _, one in group)
            if why := tree.ready(module):
                print(f"{module}: left out, {why}", flush=True)
                continue
            for line, before, after, text in own:
                made[module.parent] += 1
                if not tree.is_seen(text):
                    survived[module.parent] += 1
                    print(f"{module}:{line}: {before} -> {after}", flush=True)
            took, quick = (
                time.monotonic() - began,
                sum(s <= asked.slowest for s in tree.seconds.values()),
            )
            used = f"{quick} of {len(tree.seconds)} tests"
            print(f"# {module}: {len(own)} by {used}, {took:.0f} s", flush=True)
    for place in made:
        print(f"# {place}: {made[place]} mutants, {survived[place]} survived")


if __name__ == "__main__":
    main()
