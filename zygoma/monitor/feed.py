"""What the monitor keeps of a run: the newest pictures and the last minute of rows, written by the engine.

The engine's threads only append references here; nobody makes them wait, and what has become old falls out at
the other end. Packing for the page happens in the server's thread, once for all viewers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import TEXT_KINDS, Block, Kind, StreamSpec
from fusion.events import FaceEvent
from processing.thermal_regions import POLYGONS
from zygoma.monitor.wire import pack

ROW_KINDS = (Kind.EMG, Kind.ACTION_UNITS, Kind.MUSCLE_ACTIVITY, Kind.SKIN_TEMPERATURE, Kind.VALENCE)
"""Streams whose every row goes to the page."""

ROWS_KEPT_S = 60.0
"""What a page that is opened or reloaded begins with, and can look back to."""

BLOCKS_KEPT = 12_000
"""Per stream at most, whatever its stamps say: a minute of 200 blocks per second."""

PICTURES_KEPT_S = 15.0
PICTURES_KEPT_BYTES = 96_000_000
"""Pictures kept for the thumbnails of events, which are reported some time after their onset."""

THERMAL_WIDTH_AT_MOST = 160
TEXTS_KEPT = 400
EVENTS_KEPT = 200
PEAK_FADE_PER_S = 0.5


@dataclass(frozen=True, eq=False)
class Picture:
    """A camera frame as it came, with its face mesh [478, 2 or more] in pixels, None without a face."""

    stamp_s: float
    jpeg: bytes
    points_px: NDArray[np.floating] | None = None


@dataclass(frozen=True, eq=False)
class ThermalPicture:
    """A thermal frame int16 [height, width] in centi-degC, and its regions' corners."""

    stamp_s: float
    centi_celsius: NDArray[np.int16]
    points_px: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Text:
    """One sample of a text stream: a marker, or a line of the simulation's script."""

    time_s: float
    text: str
    kind: Kind
    stream: str
    source_id: str


class _Rows:
    """The last minute of one stream; one thread appends, another one takes."""

    def __init__(self) -> None:
        self._blocks: deque[Block] = deque(maxlen=BLOCKS_KEPT)
        self._waiting = 0
        self._lock = threading.Lock()

    def append(self, block: Block) -> None:
        with self._lock:
            if self._blocks and self._blocks[-1].spec.labels != block.spec.labels:
                # A stream that came back with another layout starts anew.
                self._blocks.clear()
                self._waiting = 0
            self._blocks.append(block)
            self._waiting = min(self._waiting + 1, BLOCKS_KEPT)
            while self._blocks[0].timestamps[-1] < block.timestamps[-1] - ROWS_KEPT_S:
                self._blocks.popleft()
                self._waiting = min(self._waiting, len(self._blocks))

    def take(self) -> list[Block]:
        """Blocks since the last call."""
        with self._lock:
            fresh = list(islice(self._blocks, len(self._blocks) - self._waiting, None))
            self._waiting = 0
            return fresh

    def taken(self) -> list[Block]:
        """Blocks that were taken and are not yet too old."""
        with self._lock:
            return list(islice(self._blocks, len(self._blocks) - self._waiting))


class Feed:
    """Takes what the engine shows (an `Onlooker`) and hands it out packed.

    Attributes:
        on_picture: Called, from the engine's thread, when a new camera picture is ready. Must not wait.
        on_event: Called, from the engine's thread, with each event. Must not wait.
        peaks_uv: Largest magnitude of each EMG channel over about the last second that was fetched.
    """

    def __init__(self) -> None:
        self.on_picture: Callable[[], None] = _nothing
        self.on_event: Callable[[FaceEvent, Feed], None] = lambda event, feed: None
        self.peaks_uv: dict[str, float] = {}
        self._lock = threading.Lock()
        self._specs: dict[Kind, StreamSpec] = {}
        self._rows: dict[Kind, _Rows] = {}
        self._pictures: deque[Picture] = deque()
        self._picture_bytes = 0
        self._newest: Picture | None = None
        self._thermal_block: Block | None = None
        self._thermal: ThermalPicture | None = None
        self._texts: deque[Text] = deque(maxlen=TEXTS_KEPT)
        self._texts_seen = 0
        self._events: deque[FaceEvent] = deque(maxlen=EVENTS_KEPT)

    # -- the engine's side ---------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        """Keep a reference to what is shown."""
        kind = block.spec.kind
        if kind is Kind.CAMERA:
            self._keep_pictures(block)
        elif kind is Kind.THERMAL:
            self._specs[kind] = block.spec
            self._thermal_block = block
        elif kind in ROW_KINDS and len(block):
            self._specs[kind] = block.spec
            rows = self._rows.get(kind)
            if rows is None:
                rows = self._rows[kind] = _Rows()
            rows.append(block)
        elif kind in TEXT_KINDS and kind is not Kind.FACE_EVENTS:
            spec = block.spec
            with self._lock:
                for stamp, text in zip(block.timestamps, block.data, strict=True):
                    self._texts.append(Text(float(stamp), str(text), kind, spec.name, spec.source_id))
                    self._texts_seen += 1

    def face(self, kind: Kind, stamp_s: float, points_px: NDArray[np.floating] | None) -> None:
        """Join the face mesh to its picture, which by that becomes the newest one."""
        if kind is Kind.THERMAL:
            block = self._thermal_block
            frame = block.spec.frame if block is not None else None
            if block is not None and frame is not None:
                pixels = block.array[-1, : block.spec.pixel_count].reshape(frame.height, frame.width)
                self._thermal = ThermalPicture(stamp_s, pixels, points_px)
            return
        with self._lock:
            for index in range(len(self._pictures) - 1, -1, -1):
                picture = self._pictures[index]
                if picture.stamp_s == stamp_s:
                    self._newest = self._pictures[index] = Picture(stamp_s, picture.jpeg, points_px)
                    break
                if picture.stamp_s < stamp_s:
                    break
        self.on_picture()

    def event(self, event: FaceEvent) -> None:
        """Hand an event on at once."""
        self._events.append(event)
        self.on_event(event, self)

    def _keep_pictures(self, block: Block) -> None:
        self._specs[block.spec.kind] = block.spec
        with self._lock:
            for stamp, jpeg in zip(block.timestamps, block.data, strict=True):
                if isinstance(jpeg, bytes):
                    self._pictures.append(Picture(float(stamp), jpeg))
                    self._picture_bytes += len(jpeg)
            while self._pictures and (
                self._picture_bytes > PICTURES_KEPT_BYTES
                or self._pictures[-1].stamp_s - self._pictures[0].stamp_s > PICTURES_KEPT_S
            ):
                self._picture_bytes -= len(self._pictures.popleft().jpeg)

    # -- the server's side ---------------------------------------------------------------------------------

    def specs(self) -> tuple[StreamSpec, ...]:
        """The streams there are by now."""
        return tuple(self._specs.values())

    def layout(self) -> dict[str, dict[str, Any]]:
        """Labels, units and rate of each stream whose rows or pictures are sent, by kind."""
        return {kind.value: _described(spec) for kind, spec in list(self._specs.items())}

    def newest(self) -> Picture | None:
        """The newest picture whose face was looked for."""
        return self._newest

    def picture_at(self, time_s: float) -> Picture | None:
        """The kept picture nearest to `time_s`, None when none is within a quarter of a second."""
        with self._lock:
            nearest = min(self._pictures, key=lambda picture: abs(picture.stamp_s - time_s), default=None)
        return None if nearest is None or abs(nearest.stamp_s - time_s) > 0.25 else nearest

    def has_pictures_until(self, time_s: float) -> bool:
        """Whether the camera has come as far as `time_s`; true without a camera, for then none will come."""
        with self._lock:
            return not self._pictures or self._pictures[-1].stamp_s >= time_s

    def take_rows(self) -> bytes | None:
        """All rows since the last call in one message; None when there are none."""
        fresh = {kind: rows.take() for kind, rows in list(self._rows.items())}
        if emg := fresh.get(Kind.EMG):
            self._note_peaks(emg)
        return _rows_message("rows", fresh)

    def history(self) -> bytes | None:
        """The last minute of what `take_rows` gave, in one message for a page that joins."""
        return _rows_message("history", {kind: rows.taken() for kind, rows in list(self._rows.items())})

    def recent_events(self) -> list[FaceEvent]:
        """The newest events, oldest first."""
        return list(self._events.copy())

    def _note_peaks(self, blocks: Sequence[Block]) -> None:
        peaks_uv = np.nan_to_num(np.abs(np.concatenate([block.array for block in blocks]))).max(axis=0)
        fade = PEAK_FADE_PER_S ** float(blocks[-1].timestamps[-1] - blocks[0].timestamps[0])
        for label, peak_uv in zip(blocks[-1].spec.labels, peaks_uv.tolist(), strict=True):
            self.peaks_uv[label] = max(peak_uv, fade * self.peaks_uv.get(label, 0.0))

    def thermal_message(self, after_s: float) -> tuple[float, bytes] | None:
        """The newest thermal picture if its stamp is later than `after_s`, with its stamp."""
        picture = self._thermal
        if picture is None or picture.stamp_s <= after_s:
            return None
        step = -(-picture.centi_celsius.shape[1] // THERMAL_WIDTH_AT_MOST)
        pixels = np.ascontiguousarray(picture.centi_celsius[::step, ::step], dtype=np.int16)
        head = {
            "kind": "thermal",
            "stamp": picture.stamp_s,
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "regions": region_corners(picture.points_px, step),
        }
        return picture.stamp_s, pack(head, {"pixels": pixels})

    def texts_since(self, number: int) -> tuple[int, list[Text]]:
        """Texts after the first `number`, and how many there have been by now."""
        with self._lock:
            fresh = min(self._texts_seen - number, len(self._texts))
            return self._texts_seen, list(self._texts)[len(self._texts) - fresh :] if fresh > 0 else []


def _rows_message(name: str, blocks_by_kind: Mapping[Kind, Sequence[Block]]) -> bytes | None:
    streams: dict[str, int] = {}
    parts: dict[str, bytes | NDArray[Any]] = {}
    for kind, blocks in blocks_by_kind.items():
        if blocks:
            streams[kind.value] = sum(map(len, blocks))
            parts[f"{kind.value}.stamps"] = np.concatenate([block.timestamps for block in blocks])
            values = np.concatenate([block.array for block in blocks])
            parts[f"{kind.value}.values"] = values.astype(np.float32, copy=False)
    return pack({"kind": name, "rows": streams}, parts) if streams else None


def picture_message(picture: Picture, now_s: float) -> bytes:
    """A camera picture for the page: the JPEG untouched, the face mesh as float32 x, y pairs."""
    parts: dict[str, bytes | NDArray[Any]] = {"jpeg": picture.jpeg}
    if picture.points_px is not None:
        parts["points"] = np.ascontiguousarray(picture.points_px[:, :2], dtype=np.float32)
    return pack({"kind": "picture", "stamp": picture.stamp_s, "now": now_s}, parts)


def region_corners(points_px: NDArray[np.floating] | None, step: int = 1) -> dict[str, list[float]]:
    """Corners x, y, x, y ... of each skin region in the picture; empty without a face."""
    if points_px is None:
        return {}
    return {
        region: np.round(points_px[list(corners), :2].ravel() / step, 1).tolist()
        for region, corners in POLYGONS.items()
    }


def _described(spec: StreamSpec) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": spec.name,
        "labels": list(spec.labels),
        "units": [channel.unit for channel in spec.channels],
        "rate_hz": spec.rate_hz,
    }
    if spec.frame is not None:
        described |= {"width": spec.frame.width, "height": spec.frame.height}
    return described


def _nothing() -> None:
    """Nobody watches."""


def text_record(text: Text, own_source_id: str) -> Mapping[str, Any]:
    """A text for the page, with the lane it belongs to."""
    if text.kind is Kind.GROUND_TRUTH:
        lane = "script"
    else:
        lane = "operator" if text.source_id == own_source_id else "stimulus"
    return {"time": text.time_s, "text": text.text, "lane": lane, "stream": text.stream}
