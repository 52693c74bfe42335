"""Whole guided sessions with a simulated participant: by themselves, and in a real browser."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from acquisition.recording import Recording
from acquisition.session import file_facts
from acquisition.stream import Kind
from tests.zygoma.guided_stage import BROWSER_OPTIONS, browser_path
from zygoma.calibrated import CALIBRATED
from zygoma.calibration import load_calibration

PROTOCOL = Path(__file__).parents[2] / "examples" / "protocol-short.toml"
START_TIMEOUT_S = 150.0
SESSION_TIMEOUT_S = 150.0

pytestmark = pytest.mark.timeout(290)


def zygoma(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zygoma", *arguments], capture_output=True, text=True, check=False, **options
    )


def session_folder(recordings: Path) -> Path:
    return recordings / "sub-sim01" / "ses-01"


def check_session(folder: Path) -> dict[str, Any]:
    """A session folder is whole; returns its manifest."""
    (sidecar,) = folder.glob("*_session.json")
    manifest: dict[str, Any] = json.loads(sidecar.read_text())
    assert manifest["state"] == "complete"
    assert manifest["guided"]["outcome"] == "completed"
    assert manifest["consent_scope"].startswith("simulated person")
    assert manifest["consent_version"] == "0"
    stem = sidecar.name.removesuffix("_session.json")
    ends = (".xdf", "_camera.mkv", "_thermal.mkv", "_self_report.tsv", "_self_report.json", "_summary.json")
    assert set(manifest["files"]) == {stem + end for end in ends}
    assert manifest["files"] == file_facts(folder / name for name in manifest["files"])
    recording = Recording(folder)
    kinds = {spec.kind for spec in recording.specs}
    assert kinds >= {Kind.CAMERA, Kind.EMG, Kind.THERMAL, Kind.MARKERS, Kind.VALENCE}
    said = [text for block in recording.merged([Kind.MARKERS]) for text in block.data]
    for word in ("SessionStart/sim01", "StimOn/sunny", "StimOff/sunny", "StimOn/storm", "SessionEnd"):
        assert said.count(word) == 1, said
    summary = json.loads((folder / f"{stem}_summary.json").read_text())
    assert [each["stimulus"] for each in summary["stimuli"]] == ["sunny", "storm"]
    assert all(each["label"]["conditions"]["self-report"] != "missing" for each in summary["stimuli"])
    return manifest


def overridden(manifest: dict[str, Any]) -> list[str]:
    return [
        f"{entry['step']}: {entry['text']}"
        for entry in manifest["guided"]["log"]
        if entry["what"] == "override"
    ]


@pytest.fixture(scope="module")
def automatic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """An automatic session: its folder, its manifest and the summary that it printed."""
    recordings = tmp_path_factory.mktemp("recordings")
    result = zygoma(
        *("session", str(PROTOCOL), "--simulate", "--auto", "--headless", "--json"),
        *("--recordings", str(recordings)),
        timeout=START_TIMEOUT_S + SESSION_TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    folder = session_folder(recordings)
    return folder, check_session(folder), json.loads(result.stdout)


def test_a_session_runs_by_itself_and_is_whole(
    automatic: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    _, manifest, summary = automatic
    assert summary["outcome"] == "completed"
    # On a machine that is too busy for its devices a step may be overridden, but never in silence.
    assert [entry["text"] for entry in summary["overrides"]] == [
        entry["text"] for entry in manifest["guided"]["log"] if entry["what"] == "override"
    ]


def test_analysis_changes_to_the_calibration_where_the_live_run_did(
    automatic: tuple[Path, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    folder, manifest, summary = automatic
    if "from_s" not in manifest["calibration"]:
        pytest.skip(f"no calibration on this busy machine: {overridden(manifest)}")
    assert load_calibration(folder).from_s is None
    recording = Recording(folder)
    live = [json.loads(text) for block in recording.merged([Kind.FACE_EVENTS]) for text in block.data]
    result = zygoma("analyze", str(folder), "--out", str(tmp_path), "--json", timeout=200)
    assert result.returncode == 0, result.stderr
    header, *rows = (row.split("\t") for row in (tmp_path / "events.tsv").read_text().splitlines())
    offline = [dict(zip(header, row, strict=True)) for row in rows]
    ours = [event for event in live if event["id"].endswith(CALIBRATED)]
    theirs = [row for row in offline if row["id"].endswith(CALIBRATED)]
    assert any(event["category"] == "positive" for event in ours), "the smile at the sunny picture"
    assert any(row["category"] == "positive" for row in theirs)
    if summary["frames_skipped"] or summary["incidents"]:
        return  # too busy a machine: the live run went on without what came too late
    assert [row["id"] for row in theirs] == [event["id"] for event in sorted(ours, key=lambda e: e["onset"])]
    onsets = {event["id"]: event["onset"] - recording.start_s for event in ours}
    assert all(math.isclose(float(row["onset"]), onsets[row["id"]], abs_tol=2e-6) for row in theirs)


# -- in a browser ------------------------------------------------------------------------------------------


def wait_for_addresses(process: subprocess.Popen[str], told: Path) -> dict[str, str]:
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None:
        found = dict(re.findall(r"(Operator|Participant): +(http\S+)", told.read_text()))
        if len(found) == 2:
            return found
        time.sleep(0.1)
    raise AssertionError(told.read_text())


class Operator:
    """Does on the page what an operator would: next, redo once, then override with a reason."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.redone: set[str] = set()

    def act(self) -> bool:
        """One thing; False when the session is over."""
        sentence = self.page.locator("#sentence").inner_text()
        if sentence.startswith("The session is over"):
            return False
        title = self.page.locator("#title").inner_text()
        if self.page.locator("[data-command=next]").is_enabled():
            self.page.keyboard.press("Enter")
        elif self.page.locator("#problems li").count():
            if title in self.redone:
                self.page.keyboard.press("o")
                self.page.fill("#ask-text", "busy test machine")
                self.page.keyboard.press("Enter")
            else:
                self.redone.add(title)
                self.page.keyboard.press("r")
        return True


def fill_in(page: Any, valence: int) -> None:
    page.keyboard.press(str(valence))
    page.keyboard.press("5")
    page.locator("[name=emotion-happiness]").fill("6" if valence > 5 else "0")
    page.locator("[name=text]").fill("in a browser")
    page.get_by_role("button", name="Continue").click()


def test_a_session_is_run_through_in_a_browser(tmp_path: Path) -> None:
    path = browser_path()
    from playwright.sync_api import sync_playwright

    told = tmp_path / "errors.txt"
    with told.open("w") as sink, sync_playwright() as playwright:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "zygoma", "session", str(PROTOCOL), "--simulate"),
                *("--port", "0", "--recordings", str(tmp_path / "recordings")),
            ],
            stdout=sink,
            stderr=sink,
            text=True,
        )
        try:
            addresses = wait_for_addresses(process, told)
            browser = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
            size = {"width": 1280, "height": 720}
            page, participant = browser.new_page(viewport=size), browser.new_page(viewport=size)
            problems: list[str] = []
            for each in (page, participant):
                each.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(addresses["Operator"])
            participant.goto(addresses["Participant"])
            participant.get_by_role("button", name="Begin").click()
            page.locator("#checks li").first.wait_for()
            operator = Operator(page)
            forms = 0
            end_s = time.monotonic() + SESSION_TIMEOUT_S
            while operator.act():
                assert time.monotonic() < end_s, page.locator("#now").inner_text()
                if participant.locator("#form button").is_visible():
                    fill_in(participant, 8 if not forms else 2)
                    participant.locator("#form").wait_for(state="hidden")
                    forms += 1
                page.wait_for_timeout(250)
            assert forms == 2
            page.locator("#results td").first.wait_for()
            assert not problems
            browser.close()
            assert process.wait(60) == 0, told.read_text()
        finally:
            process.kill()
            process.wait()
    manifest = check_session(session_folder(tmp_path / "recordings"))
    shown = manifest["guided"]["showings"]
    # The page confirmed what it showed, so that the markers say when it was painted.
    assert not any("confirm" in problem for each in shown for problem in each["problems"])
