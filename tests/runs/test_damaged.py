"""Files of a run with wrong contents: the user's error, which names the file, and nothing else."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch

from simmc.errors import UserError
from simmc.reports import confusion, plots, results
from simmc.runs import checkpoints, runtime
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProbeOutcomes

ARRAYS = {
    "first_match_rank": np.array([1, 0, 3], np.int32),
    "average_precision": np.array([0.5, np.nan, 0.25]),
    "identity": np.array([7, 7, 8]),
    "recording": np.array([0, 1, 5]),
}


@pytest.fixture
def probes(tmp_path):
    """Writes arrays, or bytes in the place of one, and expects the file to be refused."""
    file = tmp_path / "probes_paper.npz"

    def check(method=zipfile.ZIP_DEFLATED, **changes):
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, values in (ARRAYS | changes).items():
                if not isinstance(values, bytes):
                    buffer = io.BytesIO()
                    np.lib.format.write_array(buffer, np.asarray(values))
                    values = buffer.getvalue()
                archive.writestr(f"{name}.npy", values)
        with pytest.raises(UserError, match=r"probes_paper\.npz.*--mode Eval"):
            ProbeOutcomes.read(file)

    return check


def npy(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content


@pytest.mark.parametrize(
    "changes",
    [
        {"average_precision": [0.5, 31.0, 0.25]},
        {"average_precision": [0.5, -0.1, 0.25]},
        {"average_precision": [0.5, np.inf, 0.25]},
        {"average_precision": np.array([1, 0, 1])},
        {"first_match_rank": np.array([1, -2, 3])},
        {"first_match_rank": np.array([1, 2**40, 3])},
        {"first_match_rank": np.array([1.0, 2.0, 3.0])},
        {"identity": np.array([1, 2**63 + 5, 3], np.uint64)},
        {"identity": np.array([[1, 2, 3]])},
        {"recording": np.array([0, 1, -7])},
        {"recording": np.array([0, 1])},
        {"further": np.array([0, 1, 2])},
    ],
    ids=str,
)
def test_values_that_cannot_be(changes, probes):
    probes(**changes)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,), }",  # MemoryError
        "{'descr': '<i8', 'fortran_order': False, 'shape': (10" + "0" * 30 + ",), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (3,",  # TokenError
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "(" * 5000,
        "{'descr': [('a', '<i8')] * 9, }",
        "\0" * 20,
    ],
    ids=lambda header: header[:70],
)
def test_headers_that_are_not_trusted(header, probes):
    probes(identity=npy(header, b"\0" * 24))


def test_other_compression(probes):
    probes(method=zipfile.ZIP_LZMA)
    probes(method=zipfile.ZIP_BZIP2)


def test_every_flipped_byte_of_an_archive(tmp_path):
    file = tmp_path / "probes_paper.npz"
    ProbeOutcomes(**ARRAYS).write(file)
    whole = file.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0xFF):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                ProbeOutcomes.read(file)  # names and times of the archive are free
            except UserError as error:
                assert str(file) in str(error)


# JSON


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "KGBD" / "probe" / "run"
    folder.mkdir(parents=True)
    return RunDirectory(folder)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"settings": [1]}',
        '{"command": 5}',
        '{"origin": {"t": 4}}',
        '{"settings": {"t": 1e999}}',
        "true",
        "\xff",
    ],
)
def test_settings_of_a_run(text, run):
    run.config_path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.json"):
        run.read_config()


@pytest.mark.parametrize(
    "damage",
    [
        {"protocols": []},
        {"protocols": {"paper": 3}},
        {"protocols": {"paper": {"top1": 31.0}}},
        {"protocols": {"paper": {"mAP": "high"}}},
        {"protocols": {"paper": {"cmc": [0.5, "x"]}}},
        {"protocols": {"paper": {"cmc": {"1": 0.5}}}},
        {"protocols": {"paper": {"epoch": 1e300}}},
        {"protocols": {"paper": {"kinds": {"a": {"top1": []}}}}},
        {"protocols": {"supervised": {"confusion": [[1, 2, "x"]]}}},
        {"data": 3},
        {"counts": [4]},
        {"settings": 7},
        {"dataset": ["KGBD"]},
    ],
    ids=str,
)
def test_results_of_a_run(damage, run):
    run.results_path.write_text(json.dumps(damage))
    for read in (run.read_results, lambda: results.load(run.path)):
        with pytest.raises(UserError, match=r"results\.json"):
            read()


@pytest.mark.parametrize("rows", [[], [[1, 2]], [[1, 2, 0]], [[1, 2, -3]], [[1, 2, 3, 4]]])
def test_a_confusion_matrix(rows, run):
    run.results_path.write_text(json.dumps({"protocols": {"supervised": {"confusion": rows}}}))
    with pytest.raises(UserError, match=r"results\.json"):
        confusion.counts(results.load(run.path), "supervised")


@pytest.mark.parametrize(
    "line",
    [
        "true",
        "[]",
        '{"top1": 0.5}',
        '{"epoch": "2"}',
        '{"epoch": -1}',
        '{"epoch": 1e300}',
        '{"epoch": 2, "seconds": 3}',
        '{"epoch": 2, "seconds": {"steps": "long"}}',
        '{"epoch": 2, "loss_mpc": [1]}',
        '{"epoch": 2, "loss_mpc": NaN}',
        "[" * 100_000,
    ],
)
def test_a_line_of_metrics(line, run):
    run.metrics_path.write_text(f'{{"epoch": 0}}\n{line}\n{{"epoch": 2}}\n')
    for read in (run.read_metrics, lambda: run.truncate_metrics(1)):
        with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
            read()


def test_a_loss_that_is_no_number(run, tmp_path):
    run.metrics_path.write_text('{"epoch": 0, "loss_mpc": "low"}\n')
    with pytest.raises(UserError, match="loss_mpc"):
        plots.curves(run.read_metrics(), tmp_path / "curves.png")


@pytest.mark.parametrize(
    "name", ["a" * 300, "../../..", "/", "a\0b", "", ".", "\udcff", "run\nother", "x" * 10**6]
)
def test_a_pointer_of_any_content(name, run):
    for pointer in ("latest", "latest_trackmc"):
        (run.path.parent / pointer).write_bytes(name.encode("utf-8", "surrogateescape"))
    run.results_path.write_text("{}")
    assert RunDirectory.latest(run.path.parents[2], "KGBD", "probe").path == run.path
    assert results.folder_of(run.path.parent) == run.path.parent  # none is named


def test_a_name_that_no_file_system_takes(run):
    with pytest.raises(UserError, match="--run"):
        RunDirectory.find(run.path.parents[2], "KGBD", "probe", "a" * 300)


# checkpoints


@pytest.mark.parametrize(
    "state",
    [
        {"network": None},
        {"network": torch.zeros(3)},
        {"network": {}},
        {"network": [torch.zeros(2)]},
        {"network": {3: torch.zeros(2)}},
        {"network": {"w": 4}},
        {"network": {"w": torch.tensor([1.0, float("nan")])}},
        {"network": {"w": torch.zeros(2, dtype=torch.complex64)}},
        {"network": {"w": torch.zeros(2).to_sparse()}},
        {"epoch": None},
        {"epoch": True},
        {"epoch": 2.5},
        {"epoch": -1},
        {"epoch": 10**30},
        {"epoch": torch.tensor(3)},
    ],
    ids=str,
)
def test_weights_that_are_none(state, tmp_path):
    whole = {"network": {"w": torch.zeros(2)}, "epoch": 3}
    assert checkpoints.weights_of(whole)[1] == 3
    with pytest.raises(ValueError, match=r"network|epoch|w is"):
        checkpoints.weights_of(whole | state)


@pytest.mark.parametrize("key", ["data", "masks", "weights"])
@pytest.mark.parametrize(
    "value",
    [
        *(None, 3, "", "null", "[]", "{", "00", "ab", "zz", "[" * 100_000),
        *('{"bit_generator": "PCG64"}', '{"bit_generator": "MT19937"}'),
        *("9" * 5000, json.dumps({"bit_generator": "PCG64", "state": {"state": 10**99}})),
    ],
    ids=lambda value: str(value)[:20],
)
def test_random_streams_that_cannot_be_continued(key, value):
    state = runtime.generators(0).state() | {key: value}
    with pytest.raises(checkpoints.MISFIT):
        runtime.generators(1).restore(state)
    del state[key]
    with pytest.raises(checkpoints.MISFIT):
        runtime.generators(1).restore(state)


@pytest.mark.parametrize(
    "change",
    [{"schema": torch.zeros(3)}, {"version": torch.zeros(3)}, {"version": [1]}, {"state": [1]}],
    ids=str,
)
def test_a_checkpoint_with_another_frame(change, tmp_path):
    frame = {"schema": checkpoints.SCHEMA, "version": checkpoints.VERSION, "state": {}}
    buffer = io.BytesIO()
    torch.save(frame | change, buffer)
    path = tmp_path / "best.pt"
    path.write_bytes(checkpoints.sealed(buffer.getvalue()))
    with pytest.raises(UserError, match=r"best\.pt"):
        checkpoints.load(path)


def test_a_message_never_fills_the_screen():
    said = str(UserError(f"file: {'9' * 100_000} is no number; restore the file"))
    assert len(said) < 4000
    assert said.startswith("file: 9")
    assert said.endswith("restore the file")
