"""Every reader of files that someone else may have written, with small valid files for each."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import measure
from tests.data import make
from tests.fuzz.data_files import (
    Build,
    Call,
    cut,
    feature_files,
    id_windows,
    load,
    load_features,
    object_windows,
    own_set,
    preprocessed,
    raw,
    take_features,
    windows,
)
from tests.fuzz.import_files import (
    SINGLE,
    import_all,
    mixed_folder,
    one_file,
    openpose_folder,
    read_files,
)
from tests.fuzz.run_files import (
    archive_zip,
    archives_tar,
    benchmark_file,
    checkpoint_files,
    read_benchmark,
    read_checkpoints,
    read_metrics,
    read_pointer,
    read_probes,
    read_results,
    read_settings,
    read_toml,
    run_files,
    settings_file,
    unpack,
)


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


KS20 = cut(make.ks20(7, 2), 7)
CASIA = make.casia(62, 2)
READERS = {
    "raw IAS": Reader(
        raw("IAS", cut(make.ias(2), 27)), preprocessed("IAS", 6), {"**/*.txt": "text"}, True
    ),
    "raw BIWI": Reader(
        raw("BIWI", cut(make.biwi(2), 27)), preprocessed("BIWI", 6), {"**/*.txt": "text"}, True
    ),
    "raw KGBD": Reader(
        raw("KGBD", cut(make.kgbd(2), 27)), preprocessed("KGBD", 6), {"**/*.txt": "text"}, True
    ),
    "raw KS20 text": Reader(raw("KS20", KS20), preprocessed("KS20", 6), {"**/*.txt": "text"}, True),
    "raw KS20 mat": Reader(
        raw("KS20", KS20, kind="mat"), preprocessed("KS20", 6), {"**/*.mat": "mat"}, True
    ),
    **{
        f"raw CASIA_B {kind}": Reader(
            raw("CASIA_B", CASIA, kind=kind),
            preprocessed("CASIA_B", 40),
            {f"**/*.{kind}": form},
            True,
        )
        for kind, form in (("npy", "npy"), ("json", "json"), ("csv", "text"))
    },
    "windows": Reader(windows, load, {"**/*source*.npy": "npy", "**/frame_id*.npy": "npy"}),
    "recordings of windows": Reader(windows, load, {"**/recording*.npy": "npy"}),
    "labels by pickle": Reader(object_windows, load, {"**/frame_id*.npy": "pickle"}),
    "ids by pickle": Reader(id_windows, load, {"**/ids*.npy": "pickle"}),
    "manifest": Reader(windows, load, {"**/manifest.json": "json"}),
    "manifest of one's own": Reader(
        own_set,
        lambda root: (load(root, "Mine"), load(root, "Mine", stress="keep:1")),
        {"**/manifest.json": "json"},
    ),
    "features": Reader(feature_files, load_features, {"**/frames_AGE*": "npy"}),
    "features manifest": Reader(feature_files, load_features, {"**/frames_AGE.json": "json"}),
    "features made elsewhere": Reader(
        feature_files, take_features, {"**/frames_AGE*.npy": "npy", "**/frame_id*.npy": "npy"}
    ),
    "config.json": Reader(run_files, read_settings, {"**/run1/config.json": "json"}),
    "metrics.jsonl": Reader(run_files, read_metrics, {"**/run0/metrics.jsonl": "json"}),
    "results.json": Reader(run_files, read_results, {"**/run0/results.json": "json"}),
    "probes npz": Reader(run_files, read_probes, {"**/run0/probes_*.npz": "npz"}),
    "results beside probes": Reader(run_files, read_probes, {"**/run0/results.json": "json"}),
    "latest": Reader(run_files, read_pointer, {"**/latest": "text"}, True),
    "checkpoint": Reader(checkpoint_files, read_checkpoints, {"*.pt": "checkpoint"}),
    "settings in TOML": Reader(settings_file, read_toml, {"mine.toml": "text"}),
    "benchmark.json": Reader(benchmark_file, read_benchmark, {measure.FILE: "json"}),
    "archive zip": Reader(archive_zip, unpack, {"*.zip": "zip"}),
    "archive tar": Reader(archives_tar, unpack, {"*.gz": "tar", "*.xz": "tar"}),
    **{
        f"import {name}": Reader(one_file(f"a{ending}", content), read_files, {f"a{ending}": form})
        for name, (ending, content, form) in SINGLE.items()
    },
    "import of a folder": Reader(
        mixed_folder, import_all, {"in/**/*.skeleton": "text", "in/*.json": "json"}, True
    ),
    "import of OpenPose": Reader(openpose_folder, import_all, {"in/*.json": "json"}, True),
}
