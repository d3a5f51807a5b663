"""Every reader of files that someone else may have written, with small valid files for each."""

from dataclasses import dataclass

from benchmarks import measure
from tests.data import make
from tests.fuzz import data_files as data
from tests.fuzz import import_files as imported
from tests.fuzz import run_files as runs
from tests.fuzz.data_files import Build, Call


@dataclass(frozen=True)
class Reader:
    """A reader, valid files for it and which of them are damaged.

    Attributes:
        build: writes valid files below a folder.
        call: reads them; must end well or in a UserError, whatever the files hold.
        targets: pattern of the files to damage -> a name in `mutate.FORMATS`.
        names: whether names of files and folders are damaged, too.
    """

    build: Build
    call: Call
    targets: dict[str, str]
    names: bool = False


def raw(
    dataset: str, recordings: list, form: str = "text", length: int = 6, kind: str = "txt"
) -> Reader:
    """The reader of a dataset's raw files."""
    how = {} if kind == "txt" else {"kind": kind}
    build = data.raw(dataset, recordings, **how)
    return Reader(build, data.preprocessed(dataset, length), {f"**/*.{kind}": form}, names=True)


KS20 = data.cut(make.ks20(7, 2), 7)
CASIA = make.casia(62, 2)
READERS = {
    **{
        f"raw {name}": raw(name, data.cut(make.RAW[name](2), 27))
        for name in ("IAS", "BIWI", "KGBD")
    },
    "raw KS20 text": raw("KS20", KS20),
    "raw KS20 mat": raw("KS20", KS20, "mat", kind="mat"),
    **{
        f"raw CASIA_B {kind}": raw("CASIA_B", CASIA, form, 40, kind)
        for kind, form in (("npy", "npy"), ("json", "json"), ("csv", "text"))
    },
    "windows": Reader(
        data.windows, data.load, {"**/*source*.npy": "npy", "**/frame_id*.npy": "npy"}
    ),
    "recordings of windows": Reader(data.windows, data.load, {"**/recording*.npy": "npy"}),
    "labels by pickle": Reader(data.object_windows, data.load, {"**/frame_id*.npy": "pickle"}),
    "ids by pickle": Reader(data.id_windows, data.load, {"**/ids*.npy": "pickle"}),
    "manifest": Reader(data.windows, data.load, {"**/manifest.json": "json"}),
    "manifest of one's own": Reader(
        data.own_set,
        lambda root: (data.load(root, "Mine"), data.load(root, "Mine", stress="keep:1")),
        {"**/manifest.json": "json"},
    ),
    "features": Reader(data.feature_files, data.load_features, {"**/frames_AGE*": "npy"}),
    "features manifest": Reader(
        data.feature_files, data.load_features, {"**/frames_AGE.json": "json"}
    ),
    "features made elsewhere": Reader(
        data.feature_files,
        data.take_features,
        {"**/frames_AGE*.npy": "npy", "**/frame_id*.npy": "npy"},
    ),
    "config.json": Reader(runs.run_files, runs.read_settings, {"**/run1/config.json": "json"}),
    "metrics.jsonl": Reader(runs.run_files, runs.read_metrics, {"**/run0/metrics.jsonl": "json"}),
    "results.json": Reader(runs.run_files, runs.read_results, {"**/run0/results.json": "json"}),
    "probes npz": Reader(runs.run_files, runs.read_probes, {"**/run0/probes_*.npz": "npz"}),
    "results beside probes": Reader(
        runs.run_files, runs.read_probes, {"**/run0/results.json": "json"}
    ),
    "latest": Reader(runs.run_files, runs.read_pointer, {"**/latest": "text"}, True),
    "checkpoint": Reader(runs.checkpoint_files, runs.read_checkpoints, {"*.pt": "checkpoint"}),
    "settings in TOML": Reader(runs.settings_file, runs.read_toml, {"mine.toml": "text"}),
    "benchmark.json": Reader(runs.benchmark_file, runs.read_benchmark, {measure.FILE: "json"}),
    "archive zip": Reader(runs.archive_zip, runs.unpack, {"*.zip": "zip"}),
    "archive tar": Reader(runs.archives_tar, runs.unpack, {"*.gz": "tar", "*.xz": "tar"}),
    **{
        f"import {name}": Reader(
            imported.one_file(f"a{ending}", content), imported.read_files, {f"a{ending}": form}
        )
        for name, (ending, content, form) in imported.SINGLE.items()
    },
    "import of a folder": Reader(
        imported.mixed_folder,
        imported.import_all,
        {"in/**/*.skeleton": "text", "in/*.json": "json"},
        True,
    ),
    "import of OpenPose": Reader(
        imported.openpose_folder, imported.import_all, {"in/**/*.json": "json"}, True
    ),
}
