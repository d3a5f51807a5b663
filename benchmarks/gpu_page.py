"""The figures of docs/benchmark.md from a GPU, made from a record of the GPU check alone."""

from pathlib import Path
from statistics import median
from typing import Any

from simmc import files

FORMAT = 1
BEGIN = "<!-- made by python -m benchmarks.gpu_check --render; do not edit -->"
END = "<!-- end -->"
NOTHING = "Not measured yet: there is no record from a GPU."
GIB = 2**30


def put(record: dict[str, Any], page: Path) -> None:
    """Write the section of a record into a page, between its marks."""
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page} has no place for it: the lines {BEGIN} and {END}")
    files.write_text(page, f"{before}{BEGIN}\n\n{section(record)}\n\n{END}{after}")


def section(record: dict[str, Any] | None) -> str:
    """Card and figures of a record; None: that there are none."""
    if record is None:
        return NOTHING
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']}, not {FORMAT}")
    parts = record["parts"]
    aims = "" if record["small"] else targets(parts)  # they are for KGBD's size
    blocks = [heading(record), tests(parts), aims, trainings(parts), sizes(parts)]
    cut = [f"- `{name}`: {part['end']}" for name, part in parts.items() if part["end"] != "done"]
    if cut:
        blocks.append("Not finished:\n\n" + "\n".join(cut))
    return "\n\n".join(filter(None, blocks))


def heading(record: dict[str, Any]) -> str:
    """The card, the versions and the data."""
    found = record["parts"].get("machine", {})
    machine = found.get("machine", {})
    card = f"{machine.get('processor', 'unknown')} (no GPU)"
    if "card" in found:
        memory = found["card_bytes"] / GIB
        card = f"{found['card']}, {memory:.0f} GiB, CUDA {found['cuda']}, driver {found['driver']}"
    size = "; small sizes, which try the script" if record["small"] else ""
    versions = (f"{name} {machine.get(name, 'unknown')}" for name in ("torch", "simmc"))
    data = f"Data of the trainings: {record['kgbd']}{size}"
    return f"{card}; {', '.join(versions)}, {record['date']}. {data}."


def tests(parts: dict[str, Any]) -> str:
    """Tests that passed, were skipped, and failed."""
    rows = [
        f"| {name.removeprefix('tests_')} | {part['passed']} | {part['skipped']} "
        f"| {', '.join(part['failed']) or '0'} |"
        for name, part in parts.items()
        if "passed" in part
    ]
    head = ["| tests | passed | skipped | failed |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else ""


def targets(parts: dict[str, Any]) -> str:
    """What was aimed at, and what was measured."""
    goals = (
        ("SimMC, an epoch of KGBD with evaluation", 1, epoch(parts, "simmc")),
        ("SimMC, a whole run", 90, parts.get("simmc", {}).get("run_s")),
        ("TrackMC, a whole run", 20, parts.get("trackmc", {}).get("run_s")),
        ("Hi-MPC, an epoch", 3, epoch(parts, "himpc")),
        ("1,000,000 rows to labels, exact", 60, whole(parts, 1_000_000)),
    )
    rows = [f"| {what} | {goal} | {number(s)} |" for what, goal, s in goals]
    return "\n".join(["| what | aim, s | measured, s |", "|---|---|---|", *rows])


def epoch(parts: dict[str, Any], name: str) -> float | None:
    """Median seconds of an epoch with steps and evaluation, without the first, which loads code."""
    rows = parts.get(name, {}).get("epochs", [])[1:]
    found = [sum(row.values()) for row in rows if "steps" in row and "evaluation" in row]
    return median(found) if found else None


def whole(parts: dict[str, Any], n: int) -> float | None:
    """Seconds from n rows to their labels."""
    cases = parts.get("clustering", {}).get("cases", [])
    return next((sum(c["seconds"].values()) for c in cases if c["n"] == n), None)


def trainings(parts: dict[str, Any]) -> str:
    """Seconds of an epoch by stage, and peak memory."""
    done = {name: part for name, part in parts.items() if part.get("epochs")}
    if not done:
        return ""
    stages = list(dict.fromkeys(s for part in done.values() for row in part["epochs"] for s in row))
    head = "| run | " + " | ".join(stages) + " | epochs | whole run | memory, GiB | of the GPU |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for name, part in done.items():
        rows = part["epochs"][1:] or part["epochs"]
        times = [[row[stage] for row in rows if stage in row] for stage in stages]
        cells = [number(median(found) if found else None) for found in times]
        peaks = [part.get(key) for key in ("peak_rss_bytes", "peak_gpu_bytes")]
        cells += [str(len(part["epochs"])), number(part.get("run_s"))]
        cells += [number(peak and peak / GIB) for peak in peaks]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "Median seconds of an epoch, by stage:\n\n" + "\n".join(lines)


def sizes(parts: dict[str, Any]) -> str:
    """The clustering at every size."""
    cases = sorted(parts.get("clustering", {}).get("cases", []), key=lambda case: int(case["n"]))
    if not cases:
        return ""
    lines = [
        "| N | k-NN, s | Jaccard, s | DBSCAN, s | matrix product, s | k-NN / product | faiss, s "
        "| GPU memory, GiB | labels unlike the CPU's |",
        "|" + "---|" * 9,
    ]
    for case in cases:
        times = [case["seconds"][stage] for stage in ("neighbours", "jaccard", "dbscan")]
        bare, peak = case.get("product_s"), case.get("peak_gpu_bytes")
        cells = [*times, bare, times[0] / bare if bare else None, case.get("faiss_s")]
        shown = [number(x) for x in (*cells, peak and peak / GIB)]
        differing = case.get("labels_differing", "-")
        lines.append(f"| {case['n']:,} | {' | '.join(shown)} | {differing} |")
    return "Clustered features, 256 dimensions, exact:\n\n" + "\n".join(lines)


def number(value: float | None) -> str:
    """Three digits; "-" for nothing."""
    return "-" if value is None else f"{value:.3g}"
