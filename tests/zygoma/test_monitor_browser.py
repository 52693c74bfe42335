"""The monitor in a real browser with the network unplugged, on one run of the demo.

The browser is an installed Chromium or Chrome. Without one these tests are skipped, unless the environment
says ZYGOMA_BROWSER_TESTS=required.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from acquisition.clock import lsl_clock
from acquisition.recording import Recording
from acquisition.stream import Block, Channel, FrameFormat, Kind, SampleType, StreamSpec
from processing.face_quality import FaceFlag
from processing.unit_channels import action_unit_channels
from tests.zygoma.guided_stage import BROWSER_OPTIONS, browser_path
from zygoma.monitor.live import Monitor, MonitorOptions
from zygoma.state import Snapshot

START_TIMEOUT_S = 150.0
CAMERA_HZ = 15.0
WAIT_MS = 60_000
PICTURE = "document.querySelector('#picture').toDataURL()"
PICTURED = "[...document.querySelectorAll('.candidate img')].filter((each) => each.naturalWidth).length >= 3"

pytestmark = pytest.mark.timeout(280)


@dataclass
class Demo:
    process: subprocess.Popen[str]
    url: str
    recordings: Path

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = browser_path()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    recordings = tmp_path_factory.mktemp("recordings")
    errors = recordings / "errors.txt"
    with errors.open("w") as sink:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "zygoma", "demo", "--seconds", "200", "--rate", str(CAMERA_HZ)),
                *("--json", "--record", "--recordings", str(recordings), "--port", "0"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=sink,
            text=True,
        )
    try:
        end_s = time.monotonic() + START_TIMEOUT_S
        while (found := re.search(r"Monitor: (\S+)", errors.read_text())) is None:
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < end_s, errors.read_text()
            time.sleep(0.2)
        yield Demo(process, found[1], recordings)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.fixture(scope="module")
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1280, "height": 720})
    problems: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    opened.on("console", note)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    opened.goto(demo.url)
    yield opened
    assert not problems
    opened.close()


def until(page: Page, condition: str, argument: object = None) -> None:
    """Wait for a JavaScript function to say true; the page's own policy forbids playwright's way."""
    end_s = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(condition, argument):
        assert time.monotonic() < end_s, condition
        page.wait_for_timeout(50)


def shown_by_hand(monitor: Monitor) -> None:
    """Half a minute of one muscle, and a picture of a face that does not face the camera well."""
    emg = StreamSpec(
        "emg", Kind.EMG, (Channel("ZYG_L", "microvolts", "EMG"),), 1000.0, SampleType.FLOAT32, "e"
    )
    camera = StreamSpec(
        "camera", Kind.CAMERA, (Channel("jpeg"),), 30.0, SampleType.STRING, "c", FrameFormat(64, 48, "MJPG")
    )
    units = StreamSpec("units", Kind.ACTION_UNITS, action_unit_channels(), 0.0, SampleType.FLOAT32, "a")
    now_s = lsl_clock()
    stamps = now_s - 30 + np.arange(30_000) / 1000
    values = np.random.default_rng(0).normal(0, 20, (30_000, 1)).astype(np.float32)
    monitor.feed.block(Block(emg, stamps, values, 0))
    picture = cv2.imencode(".jpg", np.full((48, 64, 3), 120, dtype=np.uint8))[1].tobytes()
    monitor.feed.block(Block(camera, np.array([now_s]), (picture,), 0))
    row = np.zeros((1, len(units.channels)), dtype=np.float32)
    row[0, units.labels.index("flags")] = FaceFlag.GLASSES | FaceFlag.LOST
    monitor.feed.block(Block(units, np.array([now_s]), row, 0))
    monitor.feed.face(Kind.CAMERA, now_s, None)


def test_a_page_begins_with_what_was_and_says_what_is_wrong_with_the_picture(
    browser: Browser, tmp_path: Path
) -> None:
    with Monitor(MonitorOptions(port=0), recordings=tmp_path) as monitor:
        begun_s = lsl_clock()
        server = monitor.serve(
            lambda: Snapshot(lsl_clock(), begun_s, (), {}, {}, (), (), None, 0, None), lambda text: begun_s
        )
        shown_by_hand(monitor)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(server.url)
        expect(page.locator(".strip")).to_have_count(1, timeout=WAIT_MS)
        trace = "document.querySelector('.strip canvas')"
        inked = f"{trace}.getContext('2d').getImageData(0, 0, {trace}.width / 2, {trace}.height).data"
        until(page, f"() => {inked}.some((value) => value > 0)")
        doubts = page.locator("#doubts")
        expect(doubts).to_contain_text("no face found: look into the camera", timeout=WAIT_MS)
        expect(doubts).to_contain_text("glasses suspected: they hide brows and lids")
        expect(page.locator("#no-camera")).to_be_hidden()
        assert Axe().run(page).violations_count == 0
        page.close()


def test_every_panel_gets_data_with_the_network_unplugged(page: Page) -> None:
    expect(page.locator("#banner")).to_have_text("simulated", ignore_case=True)
    expect(page.locator("#pose")).to_contain_text("pitch")
    expect(page.locator(".strip")).to_have_count(4)
    expect(page.locator(".strip .big").first).to_contain_text(re.compile(r"z [+−]?\d"))
    expect(page.locator(".legend")).to_contain_text(re.compile(r"\d °C"))
    expect(page.locator("#valence .huge")).to_contain_text(re.compile(r"[+−]?\d\.\d\d"))
    expect(page.locator("#lights li")).to_have_count(8)
    expect(page.locator("#streams tr")).to_have_count(4)
    expect(page.locator("#recording")).to_contain_text("MB")
    expect(page.locator("#display-latency")).to_contain_text("ms")
    bright = "[...document.querySelector('{}').getContext('2d').getImageData(40, 40, 20, 20).data]"
    for canvas in ("#picture", ".thermal canvas"):
        assert len(set(page.evaluate(bright.format(canvas)))) > 2


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_a_stalled_viewer_disturbs_no_other(page: Page, demo: Demo) -> None:
    with socket.create_connection(("127.0.0.1", demo.port)) as stalled:
        # It asks for the stream and never reads a byte of it.
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = (
            "GET /ws HTTP/1.1",
            f"Host: 127.0.0.1:{demo.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version: 13",
        )
        stalled.sendall(("\r\n".join(request) + "\r\n\r\n").encode())
        for seen in ("document.querySelector('#session-clock').textContent", PICTURE):
            before = page.evaluate(seen)
            until(page, f"before => {seen} !== before", before)


def test_a_candidate_appears_and_verdicts_and_notes_by_key_are_kept(page: Page, demo: Demo) -> None:
    # The older of two, by name: the newest is followed, and a key pressed as another comes is refused.
    expect(page.locator(".candidate").nth(1)).to_be_visible(timeout=2 * WAIT_MS)
    identity = page.locator(".candidate").last.get_attribute("data-id")
    candidate = page.locator(f".candidate[data-id='{identity}']")
    candidate.click()
    expect(candidate.locator(".explanation")).to_be_visible()
    until(page, f"() => {PICTURED}")
    page.keyboard.press("c")
    expect(candidate.locator(".verdict")).to_contain_text("confirmed")
    page.keyboard.press("n")
    page.keyboard.type("a clear one")
    page.keyboard.press("Enter")
    expect(candidate.locator(".noted")).to_contain_text("a clear one")
    (file,) = demo.recordings.rglob("*_decisions.jsonl")
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(record["id"], record["verdict"]) for record in records] == [(identity, "confirmed")] * 2
    assert records[-1]["note"] == "a clear one"
    page.reload()
    expect(page.locator(f".candidate[data-id='{identity}'] .verdict")).to_contain_text("confirmed")


def test_freezing_and_looking_back_by_key(page: Page) -> None:
    page.locator("h1").click()
    page.keyboard.press("Space")
    expect(page.locator("#frozen")).to_be_visible()
    page.keyboard.press("Shift+ArrowLeft")
    until(page, "() => parseFloat(document.querySelector('#cursor').value) < -0.9")
    page.keyboard.press("Space")
    expect(page.locator("#cursor-text")).to_have_text("live")


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("path", ["", "view"])
def test_accessible_to_everyone(browser: Browser, page: Page, demo: Demo, path: str, scheme: str) -> None:
    checked = page
    if path:
        checked = browser.new_page(viewport={"width": 1280, "height": 720})
        checked.goto(demo.url + path)
        expect(checked.locator("#pose")).to_contain_text("pitch", timeout=WAIT_MS)
    checked.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    results = Axe().run(checked)
    assert results.violations_count == 0, results.generate_report()
    if path:
        assert checked.locator("button").count() == 0
        checked.close()


def test_notes_are_recorded_with_their_time(page: Page, demo: Demo) -> None:
    page.locator("h1").click()
    with page.expect_response("**/api/markers"):
        page.keyboard.press("3")
    page.keyboard.press("m")
    page.keyboard.type("coughs")
    with page.expect_response("**/api/markers") as answer:
        page.keyboard.press("Enter")
    stamp_s = answer.value.json()["time"]
    page.goto("about:blank")
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 0
    (xdf,) = demo.recordings.rglob("*.xdf")
    blocks = list(Recording(xdf).blocks("zygoma_markers"))
    texts = [text for block in blocks for text in block.data]
    assert texts == ["talks", "coughs"]
    assert blocks[-1].spec.kind is Kind.MARKERS
    assert blocks[-1].timestamps[-1] == pytest.approx(stamp_s, abs=1e-6)
