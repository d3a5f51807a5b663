"""The page of `simmc look`: what is in it, and that a browser shows it without asking anybody."""

import base64
import json
import os
import re
import subprocess
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from simmc.cli import run
from simmc.data.bodies import frames_of, measure, open_set
from simmc.data.skeletons import KINECT_V1
from simmc.data.store import write_dataset
from simmc.data.synthetic import walkers
from simmc.data.windows import windows_of
from simmc.errors import UserError
from simmc.reports import look, moving

HOSTILE = "</script><script>fail()</script>&\"'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small custom set whose recordings have names that a page has to escape."""
    root = tmp_path_factory.mktemp("look")
    made = walkers.generate("IAS", 4, 0, "tiny")
    sets, numbers = {}, {}
    for turn, split in enumerate(("train", "gallery", "probe")):
        own = list(enumerate(made))[turn::3]
        cut = [(i, r.identity, windows_of([r.frames], 6)) for i, r in own]
        persons = np.concatenate([np.full(len(w), person) for _, person, w in cut])
        sets[split] = np.concatenate([w for *_, w in cut]), persons
        numbers[split] = np.concatenate([np.full(len(w), i) for i, _, w in cut])
    made_here = write_dataset(root, "Mine", sets, KINECT_V1, recordings=numbers)
    manifest = json.loads((made_here / "manifest.json").read_text())
    for entry in manifest["recordings"]:
        entry["name"] += HOSTILE
    manifest["persons"] = {f"<b>person {k}</b>": k for k in range(4)}
    (made_here / "manifest.json").write_text(json.dumps(manifest))
    return made_here


def data_of(text):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def test_the_page_holds_the_frames_and_escapes_all_text(folder, tmp_path):
    out = look.write_page(folder, tmp_path / "page.html")
    text = out.read_text(encoding="utf-8")
    assert len(text) < 5_000_000
    assert "fail()" in text and "<script>fail" not in text and "<b>person" not in text
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://""", text)
    assert "default-src 'none'" in text
    data, bodies = data_of(text), measure(open_set(folder))
    moving = look.chosen(bodies, [], None)
    assert len(data["recordings"]) == len(moving) == look.MOVING
    for packed, entry in zip(data["recordings"], moving, strict=True):
        frames = frames_of(bodies.stored, entry)[: packed["count"]]
        values = np.frombuffer(base64.b64decode(packed["frames"]), "<i2").reshape(frames.shape)
        moved = frames - frames[:1, :1]
        shown = (values - values[:1, :1].astype(float)) * packed["scale"]
        assert np.abs(shown - moved).max() <= 1.5 * packed["scale"] < 1e-3


def test_missing_joints_have_no_place():
    frames = np.zeros((4, 3, 3))
    frames[1, 2, 0] = np.nan
    packed = moving.packed(frames)
    values = np.frombuffer(base64.b64decode(packed["frames"]), "<i2").reshape(frames.shape)
    assert (values[1, 2] == moving.MISSING).all() and (values != moving.MISSING).sum() == 33


def test_recordings_are_chosen_by_the_end_of_their_name(folder, tmp_path):
    bodies = measure(open_set(folder))
    names = [entry.name for entry in bodies.entries]
    assert [e.name for e in look.chosen(bodies, [], [names[3], names[1]])] == [names[3], names[1]]
    with pytest.raises(UserError, match="no recording"):
        look.chosen(bodies, [], ["nobody"])
    with pytest.raises(UserError, match="recordings end"):
        look.chosen(bodies, [], [HOSTILE])


def test_the_command_writes_a_page_and_says_what_to_check(folder, tmp_path, capsys):
    out = tmp_path / "mine.html"
    words = ["Mine", "--data_root", str(folder.parents[1]), "--out", str(out)]
    assert run("look", words) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(str(out))
    assert out.is_file()
    for wrong in (["Nothing", *words[1:]], [*words, "--length", "7"], ["Mine", "x", *words[1:]]):
        assert run("look", wrong) == 2
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_browser_shows_it_without_a_request_or_an_error(folder, browser, tmp_path):
    page = look.write_page(folder, tmp_path / "page.html")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --enable-logging"
    flags += " --disable-background-networking --disable-component-update --disable-sync"
    words = [
        *(browser, *flags.split(), "--host-resolver-rules=MAP * ~NOTFOUND", "--log-level=0"),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={tmp_path / 'net.json'}"),
        *("--virtual-time-budget=3000", "--dump-dom", page.as_uri()),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr
    # the script ran: a frame is named
    assert len(re.findall(r"<output>frame \d+ of \d+</output>", done.stdout)) == look.MOVING
    asked = re.findall(r'"url":"([^"]+)"', (tmp_path / "net.json").read_text(errors="replace"))
    hosts = {urlsplit(url).hostname for url in asked if url.startswith(("http", "ws"))}
    # the browser's own services; a request of the page would also be refused on the console
    assert not [
        host for host in hosts if not str(host).endswith((".google.com", ".googleapis.com"))
    ]


KEYS = {"Tab": (9, ""), " ": (32, " "), "ArrowRight": (39, ""), "ArrowLeft": (37, "")}


class Keyboard:
    """A browser with a page, and keys that are pressed in it (DevTools protocol over pipes)."""

    def __init__(self, browser, page, profile, flag):
        read, self.down = os.pipe()
        self.up, write = os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
        flags += " --disable-background-networking --disable-component-update --disable-sync"
        flags += f" {flag} --remote-debugging-pipe"

        def place():  # the browser reads from 3 and writes to 4
            for fd, far in ((read, 103), (write, 104)):
                os.dup2(fd, far)
            os.dup2(103, 3)
            os.dup2(104, 4)

        self.process = subprocess.Popen(
            [browser, *flags.split(), f"--user-data-dir={profile}", page.as_uri()],
            close_fds=False, preexec_fn=place,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read)
        os.close(write)
        self.limit = threading.Timer(120, self.process.kill)
        self.limit.start()
        self.number, self.session, self.rest = 0, {}, b""
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": found["sessionId"]}

    def close(self):
        self.limit.cancel()
        self.process.kill()
        self.process.wait()
        os.close(self.down)
        os.close(self.up)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.down, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                got = os.read(self.up, 65536)
                assert got, "the browser has ended"
                self.rest += got
            line, _, self.rest = self.rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self.number:
                return answer["result"]

    def press(self, key):
        code, text = KEYS[key]
        common = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def value(self, script):
        return self.call("Runtime.evaluate", expression=script)["result"].get("value")

    def until(self, script, between=lambda: time.sleep(0.05)):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.value(script):
                return
            between()
        raise AssertionError(f"never: {script}")


@pytest.fixture
def opened(folder, browser, tmp_path):
    """The page in a browser that is given one more flag."""
    page, started = look.write_page(folder, tmp_path / "page.html"), []

    def open_with(flag):
        started.append(Keyboard(browser, page, tmp_path / "profile", flag))
        return started[0]

    yield open_with
    started[0].close()


FRAME = "+document.querySelector('.at input').value"


@pytest.mark.slow
def test_the_page_plays_by_itself(opened):
    opened("--force-prefers-no-reduced-motion").until(f"{FRAME} > 0")


@pytest.mark.slow
def test_the_keyboard_plays_pauses_and_steps(opened):
    keys, frame = opened("--force-prefers-reduced-motion"), FRAME
    button = "document.getElementById('play').textContent"

    def tab_to(selector):
        here = f"document.activeElement.matches({selector!r})"
        keys.until(here, lambda: keys.press("Tab"))

    keys.until("document.readyState === 'complete' && !!document.querySelector('output').value")
    assert keys.value(button) == "Play"  # less motion is asked for
    tab_to("#play")
    keys.press(" ")
    assert keys.value(button) == "Pause"
    keys.until(f"{frame} > 0")
    tab_to(".views")
    keys.press(" ")
    assert keys.value(button) == "Play"
    at = keys.value(frame)
    count = keys.value("+document.querySelector('.at input').max + 1")
    keys.press("ArrowRight")
    assert keys.value(frame) == (at + 1) % count
    keys.press("ArrowLeft")
    assert keys.value(frame) == at
    keys.press(" ")
    assert keys.value(button) == "Pause"
    tab_to(".at input")
    keys.press("ArrowRight" if at < count // 2 else "ArrowLeft")
    assert keys.value(button) == "Play"  # a step on the slider pauses
