"""The monitor's feed: bounded, newest wins, and no viewer can hold up another one or the engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acquisition.clock import ManualClock
from acquisition.inlet import StreamHealth
from acquisition.recorder import MARKERS
from acquisition.stream import Block, Channel, FrameFormat, Kind, SampleType, StreamSpec
from fusion.events import FaceEvent
from processing.emg_quality import ChannelQuality
from processing.face_quality import FaceFlag
from zygoma.monitor import feed as feed_module
from zygoma.monitor import hub as hub_module
from zygoma.monitor.anatomy import anatomy
from zygoma.monitor.candidates import NOTE_LENGTH, Candidates, DecisionFile
from zygoma.monitor.feed import Feed
from zygoma.monitor.hub import Hub
from zygoma.monitor.status import status
from zygoma.monitor.wire import pack, unpack
from zygoma.state import Snapshot, StreamState

CAMERA = StreamSpec(
    "camera", Kind.CAMERA, (Channel("jpeg"),), 30.0, SampleType.STRING, "c", FrameFormat(64, 48, "MJPG")
)
EMG = StreamSpec("emg", Kind.EMG, (Channel("ZYG_L", "microvolts", "EMG"),), 1000.0, SampleType.FLOAT32, "e")
THERMAL = StreamSpec(
    "thermal",
    Kind.THERMAL,
    (Channel("frame_number"), Channel("ffc")),
    9.0,
    SampleType.INT16,
    "t",
    FrameFormat(320, 4, "centi_celsius"),
)
POINTS = np.random.default_rng(0).uniform(10, 40, (478, 3)).astype(np.float32)


def jpeg() -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), 120, dtype=np.uint8))[1].tobytes()


def frame(stamp_s: float, data: bytes = b"\xff\xd8picture\xff\xd9") -> Block:
    return Block(CAMERA, np.array([stamp_s]), (data,), 0)


def samples(first: int, count: int = 40) -> Block:
    values = np.arange(first, first + count, dtype=np.float32)[:, None]
    return Block(EMG, 1000 + np.arange(first, first + count) / 1000, values, first)


def snapshot(now_s: float = 1000.0) -> Snapshot:
    return Snapshot(now_s, now_s - 5, (), {}, {}, (), (), None, 0, None)


def event(identity: str = "m1", onset: float = 1000.0) -> FaceEvent:
    return FaceEvent(onset, 0.2, "micro_expression", onset + 0.1, (12,), "left", id=identity)


def hub_of(tmp_path: Path, clock: ManualClock, limit: int = 8) -> tuple[Feed, Hub]:
    feed = Feed()
    candidates = Candidates(DecisionFile(lambda: tmp_path / "decisions.jsonl"))
    return feed, Hub(feed, candidates, snapshot, clock, viewers_limit=limit)


class Page:
    """Takes messages, or none at all while it is stalled."""

    def __init__(self, *, stalled: bool = False) -> None:
        self.messages: list[str | bytes] = []
        self.free = asyncio.Event()
        if not stalled:
            self.free.set()

    async def _take(self, message: str | bytes) -> None:
        await self.free.wait()
        self.messages.append(message)

    def send_bytes(self, data: bytes) -> Awaitable[None]:
        return self._take(data)

    def send_text(self, data: str) -> Awaitable[None]:
        return self._take(data)

    def binary(self, kind: str) -> list[dict[str, object]]:
        heads = [unpack(message)[0] for message in self.messages if isinstance(message, bytes)]
        return [head for head in heads if head["kind"] == kind]

    def texts(self, kind: str) -> list[dict[str, object]]:
        texts = [json.loads(message) for message in self.messages if isinstance(message, str)]
        return [text for text in texts if text["kind"] == kind]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.one_of(
            st.binary(max_size=40),
            st.lists(st.floats(width=32, allow_nan=False), max_size=9).map(
                lambda values: np.array(values, dtype=np.float32)
            ),
        ),
        max_size=4,
    )
)
def test_what_is_packed_comes_out_again(parts: dict[str, bytes | np.ndarray]) -> None:
    head, found = unpack(pack({"kind": "x", "ä": 1}, parts))
    assert head == {"kind": "x", "ä": 1}
    assert list(found) == list(parts)
    for name, part in parts.items():
        if isinstance(part, bytes):
            assert found[name] == part
        else:
            np.testing.assert_array_equal(found[name], part)


def test_the_picture_travels_untouched_with_the_landmarks_of_its_own_moment() -> None:
    feed = Feed()
    feed.block(frame(1.0, b"first"))
    feed.block(frame(1.1, b"second"))
    feed.face(Kind.CAMERA, 1.0, POINTS)
    newest = feed.newest()
    assert newest is not None
    assert newest.stamp_s == 1.0
    head, parts = unpack(feed_module.picture_message(newest, 2.0))
    assert head == {"kind": "picture", "stamp": 1.0, "now": 2.0}
    assert parts["jpeg"] == b"first"
    np.testing.assert_array_equal(np.asarray(parts["points"]).reshape(-1, 2), POINTS[:, :2])


def test_pictures_are_kept_for_a_while_and_not_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed()
    for number in range(40):
        feed.block(frame(float(number)))
    assert feed.picture_at(39.1) is not None
    assert feed.picture_at(30.0) is not None
    assert feed.picture_at(10.0) is None
    monkeypatch.setattr(feed_module, "PICTURES_KEPT_BYTES", 100)
    feed.block(frame(39.5, bytes(90)))
    assert feed.picture_at(38.0) is None


def rows_of(message: bytes | None) -> NDArray[np.float32]:
    """The EMG values of a message about rows."""
    assert message is not None
    head, parts = unpack(message)
    values = np.asarray(parts["EMG.values"])
    assert head["rows"] == {"EMG": len(values)}
    assert len(values) == len(np.asarray(parts["EMG.stamps"]))
    return values


def test_rows_are_given_once_and_the_last_minute_of_them_to_a_page_that_joins() -> None:
    feed = Feed()
    assert feed.take_rows() is None
    assert feed.history() is None
    for number in range(100):
        feed.block(samples(1000 * number, 1000))
        if number % 10 == 4:
            assert rows_of(feed.take_rows())[-1] == 1000 * number + 999
    # The 5 s that nobody has taken yet are no history: they come with the next rows.
    history = rows_of(feed.history())
    assert history[-1] == 94_999
    assert len(history) == pytest.approx(1000 * (feed_module.ROWS_KEPT_S - 5), abs=1000)
    fresh = rows_of(feed.take_rows())
    np.testing.assert_array_equal(fresh, np.arange(95_000, 100_000))
    assert feed.take_rows() is None
    np.testing.assert_array_equal(rows_of(feed.history())[-5000:], fresh)
    assert feed.peaks_uv["ZYG_L"] == 99_999


def test_rows_that_nobody_fetches_fall_out_at_the_other_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "BLOCKS_KEPT", 50)
    feed = Feed()
    for number in range(120):
        feed.block(samples(40 * number))
    assert rows_of(feed.take_rows())[0] == 40 * 70


def test_a_stream_that_comes_back_with_other_channels_begins_anew() -> None:
    feed = Feed()
    feed.block(samples(0))
    other = replace(EMG, channels=(*EMG.channels, Channel("COR_L", "microvolts", "EMG")))
    feed.block(Block(other, np.array([2000.0]), np.ones((1, 2), dtype=np.float32), 0))
    message = feed.take_rows()
    assert message is not None
    head, parts = unpack(message)
    assert head["rows"] == {"EMG": 1}
    np.testing.assert_array_equal(np.asarray(parts["EMG.values"]), [1, 1])


def test_a_large_thermal_picture_is_thinned_with_its_regions() -> None:
    feed = Feed()
    row = np.arange(4 * 320 + 2, dtype=np.int16)[None]
    feed.block(Block(THERMAL, np.array([5.0]), row, 0))
    feed.face(Kind.THERMAL, 5.0, POINTS.astype(np.float64))
    found = feed.thermal_message(-np.inf)
    assert found is not None
    head, parts = unpack(found[1])
    assert (head["width"], head["height"]) == (160, 2)
    assert np.asarray(parts["pixels"])[1] == 2
    assert head["regions"]["nose_tip"][0] == pytest.approx(POINTS[220, 0] / 2, abs=0.06)
    assert feed.thermal_message(5.0) is None


def test_a_stalled_page_disturbs_no_other_and_is_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        feed, hub = hub_of(tmp_path, clock)
        stalled, healthy = Page(stalled=True), Page()
        stuck, viewer = hub.join(stalled), hub.join(healthy)
        assert stuck is not None
        assert viewer is not None
        for number in range(60):
            feed.block(samples(40 * number))
            feed.block(frame(number / 30))
            feed.face(Kind.CAMERA, number / 30, None)
            seen = len(healthy.binary("picture"))
            await until(lambda seen=seen: len(healthy.binary("picture")) > seen)  # type: ignore[misc]
            hub.drawn(viewer, number / 30)
        await until(lambda: sum(head["rows"]["EMG"] for head in healthy.binary("rows")) == 60 * 40)  # type: ignore[index]
        assert not stalled.messages
        clock.sleep(hub_module.STALLED_S + 1)
        await hub.serve(stuck)
        hub.leave(stuck)
        assert hub.viewers == 1
        hub.leave(viewer)

    asyncio.run(scenario())


def test_a_page_that_draws_slowly_gets_the_newest_picture_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        feed, hub = hub_of(tmp_path, clock)
        page = Page()
        viewer = hub.join(page)
        assert viewer is not None
        for number in range(20):
            feed.block(frame(number / 10))
            feed.face(Kind.CAMERA, number / 10, None)
            await asyncio.sleep(0.002)
        await until(lambda: len(page.binary("picture")) == hub_module.PICTURES_IN_FLIGHT)
        hub.drawn(viewer, 0.0)
        await until(lambda: len(page.binary("picture")) == hub_module.PICTURES_IN_FLIGHT + 1)
        assert page.binary("picture")[-1]["stamp"] == 1.9
        assert hub.displayed_ms() == pytest.approx((1e6, 1e6))
        hub.leave(viewer)

    asyncio.run(scenario())


def test_a_new_page_learns_what_there_is_and_events_reach_all_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        feed, hub = hub_of(tmp_path, clock, limit=2)
        feed.event(event("early"))
        feed.event(FaceEvent(1000.0, 0.1, "blink", 1000.05, id="blink"))
        feed.block(samples(0))
        feed.block(Block(MARKERS, np.array([999.0]), ("begin",), 0))
        pages = [Page(), Page()]
        viewers = [hub.join(page) for page in pages]
        assert hub.join(Page()) is None
        await until(lambda: all(page.texts("status") for page in pages))
        greeting: dict[str, Any] = pages[0].texts("greeting")[0]
        assert greeting["candidates"][0]["id"] == "early"
        assert [each["id"] for each in greeting["events"]] == ["early", "blink"]
        assert greeting["markers"][0]["lane"] == "operator"
        (history,) = pages[0].binary("history")
        assert history["rows"] == {"EMG": 40}
        assert not pages[0].binary("rows")
        await asyncio.to_thread(feed.event, event("late"))
        await until(lambda: all(page.texts("event") for page in pages))
        assert pages[1].texts("event")[0]["event"]["id"] == "late"  # type: ignore[index]
        for viewer in viewers:
            assert viewer is not None
            hub.leave(viewer)

    asyncio.run(scenario())


def test_a_candidate_has_pictures_of_its_onset_apex_and_offset(tmp_path: Path) -> None:
    feed = Feed()
    for stamp_s in (999.9, 1000.0, 1000.1, 1000.2):
        feed.block(frame(stamp_s, jpeg()))
        feed.face(Kind.CAMERA, stamp_s, POINTS)
    candidates = Candidates(DecisionFile(lambda: tmp_path / "d.jsonl"))
    told: list[dict[str, Any]] = []
    candidates.on_pictures = told.append
    assert candidates.add(event(), feed) is not None
    candidates.close()
    (record,) = told
    assert record["thumbnails"] == ["apex", "offset", "onset"]
    picture = candidates.thumbnail("m1", "apex")
    assert picture is not None
    assert picture.startswith(b"\xff\xd8")
    assert candidates.thumbnail("m1", "never") is None


def test_decisions_are_appended_beside_and_overwrite_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run_decisions.jsonl"
    path.write_text("of an earlier run\n")
    candidates = Candidates(DecisionFile(lambda: path))
    candidates.add(event(), Feed())
    assert candidates.decide("m1", "confirmed", "", 1.0)["verdict"] == "confirmed"
    candidates.decide("m1", "rejected", "a yawn – näher ansehen", 2.0)
    candidates.close()
    assert path.read_text() == "of an earlier run\n"
    lines = (tmp_path / "run_decisions-2.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["confirmed", "rejected"]
    assert json.loads(lines[1])["note"] == "a yawn – näher ansehen"
    assert json.loads(lines[0])["event"]["action_units"] == "12"


def test_a_recording_that_begins_takes_the_decisions_from_then_on(tmp_path: Path) -> None:
    paths = [tmp_path / "apart.jsonl"]
    candidates = Candidates(DecisionFile(lambda: paths[-1]))
    candidates.add(event(), Feed())
    candidates.decide("m1", "confirmed", "", 1.0)
    paths.append(tmp_path / "run_decisions.jsonl")
    candidates.decide("m1", "rejected", "", 2.0)
    candidates.close()
    assert [json.loads(path.read_text())["verdict"] for path in paths] == ["confirmed", "rejected"]


def test_decisions_that_make_no_sense_change_nothing(tmp_path: Path) -> None:
    candidates = Candidates(DecisionFile(lambda: tmp_path / "d.jsonl"), kept=2)
    for number in range(3):
        candidates.add(event(f"m{number}"), Feed())
    assert candidates.add(FaceEvent(0.0, 0.1, "blink", 0.05, id="b"), Feed()) is None
    with pytest.raises(KeyError):
        candidates.decide("m0", "confirmed", "", 0.0)
    with pytest.raises(ValueError, match="verdict"):
        candidates.decide("m1", "maybe", "", 0.0)
    with pytest.raises(ValueError, match="at most"):
        candidates.decide("m1", "confirmed", "x" * (NOTE_LENGTH + 1), 0.0)
    assert [record["verdict"] for record in candidates.records()] == ["open", "open"]
    candidates.close()
    assert not list(tmp_path.iterdir())


def test_one_odd_stream_does_not_stop_the_page(tmp_path: Path) -> None:
    asked: list[int] = []

    def failing() -> Snapshot:
        asked.append(1)
        if len(asked) == 2:
            raise ValueError("odd")
        return snapshot()

    async def scenario() -> None:
        candidates = Candidates(DecisionFile(lambda: tmp_path / "decisions.jsonl"))
        hub = Hub(Feed(), candidates, failing, ManualClock(), viewers_limit=1)
        page = Page()
        viewer = hub.join(page)
        assert viewer is not None
        await until(lambda: len(page.texts("status")) > 1)
        assert "ValueError: odd" in str(page.texts("problem"))
        hub.leave(viewer)

    asyncio.run(scenario())


def told_of(*, flags: int = 0, rail_uv: str | None = None, peak_uv: float = 0.0) -> dict[str, dict[str, str]]:
    """The lights by their id."""
    health = StreamHealth(1000, 0, 0, 0, 0, 30.0, 0.01, 0.0, 1000.0)
    emg = replace(EMG, metadata={} if rail_uv is None else {"rail_uv": rail_uv})
    streams = tuple(StreamState(spec, health) for spec in (CAMERA, emg))
    row = {"face": 1.0, "confidence": 0.4, "flags": float(flags)}
    quality = ChannelQuality("ZYG_L", 0.0, 50.0, 1.0, 0.0, 0.0, False, 0.0, "", 20.0, False)
    shown = replace(
        snapshot(), streams=streams, rows={Kind.ACTION_UNITS: row}, emg_quality={"ZYG_L": quality}
    )
    told = status(
        shown, picture=None, peaks_uv={"ZYG_L": peak_uv}, displayed_ms=None, viewers=1, decisions="d"
    )
    return {light["id"]: light for light in json.loads(json.dumps(told, allow_nan=False))["lights"]}


def test_what_speaks_against_a_face_is_told_in_words() -> None:
    words = told_of(flags=FaceFlag.GLASSES | FaceFlag.LOW_LIGHT)["camera-face"]["words"]
    assert "glasses suspected" in words
    assert "light the face from the front" in words
    named = {flag["bit"]: flag for flag in anatomy()["flags"]}
    assert set(named) == {flag.value for flag in FaceFlag}
    assert named[FaceFlag.LOST]["light"] == "bad"
    assert named[FaceFlag.MIRRORED]["light"] == "off"
    assert all(flag["name"] and flag["advice"] for flag in named.values())


@pytest.mark.parametrize(
    ("rail_uv", "peak_uv", "light"),
    [
        ("1000", 500.0, "good"),
        ("1000", 800.0, "doubtful"),
        ("1000", 950.0, "bad"),
        # A stream that does not say where it saturates is not judged by it.
        (None, 1e9, "good"),
        ("unknown", 1e9, "good"),
        ("0", 1e9, "good"),
    ],
)
def test_a_railed_channel_is_one_near_the_limit_that_its_stream_states(
    rail_uv: str | None, peak_uv: float, light: str
) -> None:
    assert told_of(rail_uv=rail_uv, peak_uv=peak_uv)["emg-ZYG_L"]["light"] == light


def test_the_slow_figures_are_json_without_a_single_stream() -> None:
    told = status(snapshot(), picture=None, peaks_uv={}, displayed_ms=None, viewers=1, decisions="d")
    assert json.loads(json.dumps(told, allow_nan=False))["recording"] is None
