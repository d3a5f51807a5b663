import errno
import io
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from simmc.errors import UserError
from simmc.runs import checkpoints, runtime

STATE = {
    "epoch": 3,
    "top1": 0.5,
    "name": "run",
    "flag": True,
    "nothing": None,
    "weights": {"W1": torch.arange(6.0).reshape(2, 3)},
    "history": [1, 2.5, "x"],
    0: (0.9, 0.999),
}


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def seal(path, content, **options):
    """A file with a right checksum, whatever it holds."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    path.write_bytes(checkpoints.sealed(buffer.getvalue()))


def equal(left, right):
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right) and left.dtype == right.dtype
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return left == right and type(left) is type(right)


def test_round_trip(tmp_path):
    path = tmp_path / "last.pt"
    checkpoints.save(path, STATE)
    assert equal(checkpoints.load(path), STATE)


def test_training_continues_to_the_same_bits(tmp_path):
    """Weights, Adam and both kinds of random state come back exactly."""

    def start():
        streams = runtime.generators(5)
        layer = torch.nn.Linear(4, 2)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(2, 4, generator=streams.weights))
            layer.bias.zero_()
        return streams, layer, torch.optim.Adam(layer.parameters(), lr=0.1)

    def steps(streams, layer, adam, count):
        for _ in range(count):
            batch = torch.from_numpy(streams.masks.standard_normal((3, 4)).astype(np.float32))
            adam.zero_grad()
            layer(batch + torch.randn(3, 4, generator=streams.weights)).square().sum().backward()
            adam.step()

    streams, layer, adam = start()
    steps(streams, layer, adam, 3)
    path = tmp_path / "last.pt"
    checkpoints.save(
        path, {"net": layer.state_dict(), "adam": adam.state_dict(), "seeds": streams.state()}
    )
    steps(streams, layer, adam, 3)

    again, other, adam2 = start()
    state = checkpoints.load(path)
    other.load_state_dict(state["net"])
    adam2.load_state_dict(state["adam"])
    again.restore(state["seeds"])
    steps(again, other, adam2, 3)
    assert torch.equal(layer.weight, other.weight)
    assert again.state() == streams.state()


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"a": {"b": np.float64(1)}}, r"state\['a'\]\['b'\] is a float64"),
        ({"a": [1, {2}]}, r"state\['a'\]\[1\] is a set"),
        ({"a": {(1, 2): 3}}, r"key \(1, 2\)"),
        ({"a": np.zeros(2)}, r"ndarray"),
    ],
)
def test_refuses_to_write_what_it_could_not_read(tmp_path, state, where):
    with pytest.raises(TypeError, match=where):
        checkpoints.save(tmp_path / "last.pt", state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failed_save_keeps_the_previous_checkpoint(tmp_path, monkeypatch, function):
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"epoch": 1})

    def fail(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(UserError, match=r"last\.pt: No space left"):
            checkpoints.save(path, {"epoch": 2})
    assert checkpoints.load(path) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_writing(tmp_path, monkeypatch):
    """The write itself fails, in the middle of the data."""
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"epoch": 1})
    real = Path.open

    def on_full_disk(file, mode="r", **more):
        if file.suffix == ".part":
            return real(Path("/dev/full"), mode.replace("x", "w"), **more)
        return real(file, mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", on_full_disk)
        with pytest.raises(UserError, match=r"last\.pt: No space left"):
            checkpoints.save(path, {"weights": torch.zeros(100_000)})
    assert checkpoints.load(path) == {"epoch": 1}


def test_killed_while_saving(tmp_path):
    """A process killed inside the swap leaves the old checkpoint; the next save clears the rest."""
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"epoch": 1})
    script = (
        "import os, signal, sys\n"
        "from simmc.runs import checkpoints\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "checkpoints.save(sys.argv[1], {'epoch': 2})\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoints.load(path) == {"epoch": 1}
    checkpoints.save(path, {"epoch": 3})
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert checkpoints.load(path) == {"epoch": 3}


@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_a_checkpoint_never_runs(tmp_path, legacy):
    path, marker = tmp_path / "best.pt", tmp_path / "ran"
    state = {"schema": checkpoints.SCHEMA, "version": 1, "state": {"a": Malice(marker)}}
    seal(path, state, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"best\.pt was refused"):
        checkpoints.load(path)
    assert not marker.exists()


def of_torch(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


VERSION_99 = of_torch({"schema": checkpoints.SCHEMA, "version": 99, "state": {}})
OTHERS = {  # what lies in the place of a checkpoint -> what is said of it
    "nothing": (None, r"no checkpoint .*best\.pt.*--mode Train.*--run"),
    "a folder": ("folder", "cannot read"),
    "empty": (b"", r"best\.pt"),
    "text": (b"not a checkpoint", r"best\.pt"),
    "the head of a zip": (b"PK\x03\x04", r"best\.pt"),
    "a zip": (b"PK\x05\x06" + bytes(18), r"best\.pt"),
    "a pickle": (b"\x80\x02}q\x00.", r"best\.pt"),
    "code": (pickle.dumps(Malice("ran"), protocol=2), r"best\.pt"),
    "another program's": (of_torch({"W1": torch.zeros(2)}), r"damaged or not a checkpoint"),
    "another program's, sealed": (
        checkpoints.sealed(of_torch({"W1": torch.zeros(2)})),
        "not a checkpoint of this program",
    ),
    "another version": (
        checkpoints.sealed(VERSION_99),
        "version 99, this program reads version 1",
    ),
}


@pytest.mark.parametrize(("content", "said"), OTHERS.values(), ids=OTHERS)
def test_other_files(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.pt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        checkpoints.load(path)
    if isinstance(content, bytes):  # a right checksum makes nothing of it a checkpoint
        path.write_bytes(checkpoints.sealed(content))
        with pytest.raises(UserError, match=r"best\.pt"):
            checkpoints.load(path)
    assert not (tmp_path / "ran").exists()


def test_no_truncation_and_no_flipped_bit_passes(tmp_path):
    """A damaged file is refused, never read as other numbers (torch.load alone does read them)."""
    path = tmp_path / "best.pt"
    checkpoints.save(path, {"weights": torch.arange(50.0)})
    whole = path.read_bytes()
    draw = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        if draw.random() < 0.3:
            del damaged[draw.randrange(len(damaged)) :]
        else:
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"best\.pt is damaged"):
            checkpoints.load(path)


def test_torch_itself_opens_the_file(tmp_path):
    path = tmp_path / "best.pt"
    checkpoints.save(path, STATE)
    assert equal(torch.load(path, weights_only=True)["state"], STATE)


def test_what_is_stored_is_detached_and_on_the_cpu(tmp_path):
    path = tmp_path / "best.pt"
    checkpoints.save(path, {"w": torch.nn.Parameter(torch.ones(2))})
    found = checkpoints.load(path)["w"]
    assert type(found) is torch.Tensor
    assert not found.requires_grad
    assert found.device.type == "cpu"


def test_equal_states_give_equal_bytes(tmp_path):
    checkpoints.save(tmp_path / "a.pt", STATE)
    checkpoints.save(tmp_path / "b.pt", STATE)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
