"""`zygoma calibrate thermal`: how pixels of the camera map to pixels of the thermal camera, measured once.

Both watch the person, or a heated board, for some seconds; what they saw at the same moments is fitted.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from acquisition import network
from acquisition.clock import lsl_clock
from acquisition.stream import Block, DeviceNotFound, InvalidSignal, Kind, StreamSpec
from processing.camera import Picture, decode, is_mirrored
from processing.landmarks import FaceMesh
from processing.thermal_face import FindFace, find_thermal_face
from processing.thermal_mapping import (
    Pair,
    ThermalMapping,
    find_board,
    fit_board,
    fit_faces,
    render_for_board,
)
from zygoma.options import errors
from zygoma.readers import StreamReaders

SPACING_S = 0.4
_PATIENCE_S = 10.0
_BOTH = {Kind.CAMERA, Kind.THERMAL}
_MOST_APART_S = 0.05
_MOST_MOMENTS = 60


Moment: TypeAlias = tuple[Picture, NDArray[np.float32]]
"""What both cameras saw at one moment: the decoded picture, and temperatures in degC [height, width]."""


class MomentCollector:
    """Picks moments at which both cameras have a picture.

    Args:
        spacing_s: At least as far apart.
    """

    def __init__(self, spacing_s: float = SPACING_S) -> None:
        self._spacing_s = spacing_s
        self._pictures: deque[tuple[float, Any, bool]] = deque(maxlen=64)
        self._waiting: deque[tuple[float, NDArray[np.float32]]] = deque(maxlen=64)
        self._last_s = -np.inf
        self.moments: list[Moment] = []
        self.delivering: set[Kind] = set()
        """Kinds of camera that a picture came from."""

    def add(self, block: Block) -> None:
        """Take a block of either camera; other kinds are ignored."""
        if len(block):
            self.delivering.add(block.spec.kind)
        if block.spec.kind is Kind.CAMERA:
            mirrored = is_mirrored(block.spec)
            for stamp_s, frame in zip(block.timestamps.tolist(), block.data, strict=True):
                self._pictures.append((stamp_s, frame, mirrored))
                self._match(stamp_s)
        elif block.spec.kind is Kind.THERMAL and block.spec.frame is not None:
            shape = (block.spec.frame.height, block.spec.frame.width)
            for stamp_s, row in zip(block.timestamps.tolist(), block.array, strict=True):
                if stamp_s >= self._last_s + self._spacing_s:
                    self._last_s = stamp_s
                    celsius = row[: block.spec.pixel_count].reshape(shape).astype(np.float32) / 100
                    self._waiting.append((stamp_s, celsius))
            if self._pictures:
                self._match(self._pictures[-1][0])

    def _match(self, seen_s: float) -> None:
        while self._waiting and self._waiting[0][0] <= seen_s and len(self.moments) < _MOST_MOMENTS:
            felt_s, celsius = self._waiting.popleft()
            stamp_s, frame, mirrored = min(self._pictures, key=lambda item: abs(item[0] - felt_s))
            if abs(stamp_s - felt_s) <= _MOST_APART_S:
                picture = frame if isinstance(frame, Picture) else decode(frame, mirrored)
                if picture is not None:
                    self.moments.append((picture, celsius))


def mapping_from(
    moments: Sequence[Moment],
    board: tuple[int, int] | None = None,
    on_moment: Callable[[int], None] = lambda done: None,
) -> ThermalMapping:
    """Find face or board in both pictures of each moment, and fit the map.

    Args:
        moments: See `MomentCollector.moments`.
        board: Inner corners or circles per row and column; None uses the face.
        on_moment: Told how many moments are done.

    Raises:
        InvalidSignal: Not seen by both, or they do not agree.
    """
    pairs: list[Pair] = []
    camera_size = thermal_size = (0, 0)
    with FaceMesh("image") as mesh:

        def find_face(rgb: NDArray[np.uint8]) -> NDArray[Any] | None:
            found = mesh.detect(rgb, 0.0)
            return None if found is None else found.points_px

        for done, (picture, celsius) in enumerate(moments):
            height, width = picture.gray.shape
            camera_size, thermal_size = (width, height), (celsius.shape[1], celsius.shape[0])
            pair = (
                _face_pair(picture.rgb, celsius, find_face)
                if board is None
                else _board_pair(picture.gray, celsius, board)
            )
            if pair is not None:
                pairs.append(pair)
            on_moment(done + 1)
    return (fit_faces if board is None else fit_board)(pairs, camera_size, thermal_size)


def _face_pair(rgb: NDArray[np.uint8], celsius: NDArray[np.float32], find_face: FindFace) -> Pair | None:
    seen = find_face(rgb)
    felt = None if seen is None else find_thermal_face(celsius, find_face)
    if seen is None or felt is None:
        return None
    return np.asarray(seen, dtype=np.float64)[:, :2], felt[:, :2]


def _board_pair(gray: NDArray[np.uint8], celsius: NDArray[np.float32], board: tuple[int, int]) -> Pair | None:
    rendering, scale = render_for_board(celsius)
    seen = find_board(gray, *board)
    felt = None if seen is None else find_board(rendering, *board)
    return None if seen is None or felt is None else (seen, (felt + 0.5) / scale - 0.5)


def watch_streams(
    seconds: float, *, on_time: Callable[[float], None] = lambda done_s: None
) -> MomentCollector:
    """Collect moments from the camera and the thermal stream on the network.

    Args:
        seconds: How long to watch once both deliver.
        on_time: Told how many of them are over.

    Raises:
        DeviceNotFound: One of them is not there.
    """
    collector = MomentCollector()
    there: set[Kind] = set()

    def attach(spec: StreamSpec) -> Callable[[Block], None] | None:
        if spec.kind in there:
            return None
        there.add(spec.kind)
        return collector.add

    readers = StreamReaders(
        attach,
        on_incident=lambda incident: None,
        clock=lsl_clock,
        wanted=lambda spec: spec.kind in _BOTH - there,
    )
    readers.start()
    begun_s = lsl_clock()
    watching = False
    try:
        while readers.running:
            time.sleep(0.1)
            if not watching and collector.delivering >= _BOTH:
                # Finding a stream takes a while: what is asked for is time with both.
                watching, begun_s = True, lsl_clock()
            done_s = lsl_clock() - begun_s
            if done_s >= (seconds if watching else max(seconds, _PATIENCE_S)):
                break
            if watching:
                on_time(done_s)
    finally:
        readers.stop()
    readers.raise_failure()
    for kind, device in ((Kind.CAMERA, "camera"), (Kind.THERMAL, "thermal")):
        if kind not in there:
            raise DeviceNotFound(
                f"There is no {kind} stream: start one with 'zygoma publish {device}', then calibrate again."
            )
    return collector


def save_mapping(mapping: ThermalMapping, path: Path) -> None:
    """Write it for ``--thermal-mapping``."""
    path.write_text(json.dumps(mapping.to_json(), indent=2) + "\n", encoding="utf-8")


def calibrate_thermal(
    session: Path | None,
    *,
    board: tuple[int, int] | None,
    seconds: float,
    out: Path,
    lan: bool,
    quiet: bool,
) -> ThermalMapping:
    """The body of ``zygoma calibrate thermal``.

    Args:
        session: A recording to take instead of the streams on the network.
        board: See `mapping_from`.
        seconds: How long to watch.
        out: Where the mapping is written.
        lan: Use streams of other machines too.
        quiet: Show no progress.

    Raises:
        DeviceNotFound, InvalidSignal: See `watch_streams` and `mapping_from`.
    """
    with Progress(console=errors, disable=quiet, transient=True) as progress:
        if session is not None:
            collector = _watch_session(session)
        else:
            network.configure(lan=lan)
            watching = progress.add_task("Look at both cameras, move the head slowly", total=seconds)
            collector = watch_streams(
                seconds, on_time=lambda done_s: progress.update(watching, completed=done_s)
            )
        looking = progress.add_task("Finding the board" if board else "Finding the face")
        mapping = mapping_from(
            collector.moments,
            board,
            lambda done: progress.update(looking, total=len(collector.moments), completed=done),
        )
    save_mapping(mapping, out)
    return mapping


def _watch_session(session: Path) -> MomentCollector:
    from zygoma.analyze import merged, session_inputs

    inputs = session_inputs(session)
    for kind in (Kind.CAMERA, Kind.THERMAL):
        if kind not in inputs.specs:
            raise DeviceNotFound(
                f"{session} holds no {kind} stream: record both cameras, then calibrate again."
            )
    collector = MomentCollector()
    for _, block in merged(inputs):
        collector.add(block)
    return collector


def parse_board(text: str | None) -> tuple[int, int] | None:
    """``"7x5"`` as (7, 5).

    Raises:
        InvalidSignal: Not two whole numbers of at least 3.
    """
    if text is None:
        return None
    columns, _, rows = text.lower().partition("x")
    if not (columns.isdigit() and rows.isdigit() and min(int(columns), int(rows)) >= 3):
        raise InvalidSignal(
            f"--board {text!r} must look like 7x5: inner corners, or circles, per row and column."
        )
    return int(columns), int(rows)
