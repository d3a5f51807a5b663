import subprocess
import sys

import pytest
import torch

from simmc.errors import UserError
from simmc.runs import runtime


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there():
    quiet = runtime.start("auto", None, 1)
    assert quiet.device.type == "cpu"
    assert not any("GPU" in note for note in quiet.notes)
    told = runtime.start("auto", "0", 1)
    assert told.device.type == "cpu"
    assert any("--gpu 0" in note and "CPU" in note for note in told.notes)
    with pytest.raises(UserError, match=r"--device cuda.*--device cpu"):
        runtime.start("cuda", None, 1)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("device", "gpu", "expected"),
    [
        ("auto", None, "cuda:0"),
        ("auto", "1", "cuda:1"),
        ("cuda", "", "cuda:0"),
        ("cpu", "1", "cpu"),
        ("auto", "-1", "cpu"),
    ],
)
def test_choice_of_device(device, gpu, expected):
    assert str(runtime.start(device, gpu, 1).device) == expected


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("gpu", ["2", "0,1", "first", "--1"])
def test_gpus_that_cannot_be(gpu):
    with pytest.raises(UserError, match="--gpu"):
        runtime.start("auto", gpu, 1)


def test_unknown_device():
    with pytest.raises(UserError, match=r"--device .*tpu"):
        runtime.start("tpu")


def test_threads_given(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime.start("cpu", threads=2).threads == 2
    assert torch.get_num_threads() == 2
    with pytest.raises(UserError, match="--threads"):
        runtime.start("cpu", threads=0)


@pytest.mark.parametrize(("setting", "expected"), [("3", 3), ("2,1", 2), ("", None), ("x", None)])
def test_threads_of_the_environment(monkeypatch, setting, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    most = min(runtime.physical_cores(), runtime.MOST_THREADS)
    assert runtime.start("cpu").threads == (expected or most)


def test_every_library_gets_the_threads():
    """In a fresh process, where nothing has been loaded before."""
    script = (
        "from simmc.runs import runtime\n"
        "runtime.start('cpu', threads=1)\n"
        "import numba, threadpoolctl, torch\n"
        "assert numba.get_num_threads() == 1\n"
        "assert torch.get_num_threads() == 1 == torch.get_num_interop_threads()\n"
        "assert {pool['num_threads'] for pool in threadpoolctl.threadpool_info()} == {1}\n"
        "tiny = torch.tensor(1e-40) * 1\n"
        "assert tiny == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_versions_name_what_matters():
    found = runtime.versions()
    assert {"python", "simmc", "torch", "numpy", "scipy", "scikit-learn", "faiss", "numba"} <= set(
        found
    )
    assert torch.__version__.startswith(found["torch"])  # "+cu124" may be missing
    assert all(found.values())


def test_a_missing_package_is_absent(monkeypatch):
    monkeypatch.setattr(runtime, "_PACKAGES", ("no-such-package",))
    assert runtime.versions()["no-such-package"] == "absent"


def test_peak_memory_is_of_this_process_and_only_grows():
    before = runtime.peak_rss_bytes()
    block = torch.ones(20_000_000)
    after = runtime.peak_rss_bytes()
    assert before is None or after >= before > 10_000_000
    assert after is None or after > block.numel() * 4


def test_physical_cores():
    assert runtime.physical_cores() >= 1


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given, found, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    # before torch is loaded, or it would not be read
    script = "import os, sys, simmc; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    words = [sys.executable, "-c", script]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert said.split() == [found, "False"]
