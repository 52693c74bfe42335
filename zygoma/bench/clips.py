"""Seeded video clips of real photographs with micro-expressions whose every parameter is known.

A photograph is warped, frame by frame, by compactly supported displacement bumps placed near, but not at, the
places where the detector looks, under head motion with parallax, and then filmed: flicker, sensor noise,
JPEG. `clip_skin` says how skin moves and `clip_camera` how it is filmed; nothing is shared with the
detector's model of the face or with the simulated person's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from zygoma.bench.clip_camera import FRAME_PX, Bgr, Camera, depth_map, head_motion
from zygoma.bench.clip_skin import ACTIONS, LOWER, ONE_SIDED, PULSE_SHAPES, UPPER, Bump, Drive, plateau, pulse

F64 = NDArray[np.float64]

IOD_PX = 100.0
"""Inter-ocular distance of the face in a clip."""

Kind = Literal["micro", "macro", "blink", "gaze", "speech", "nod", "sniff", "swallow"]

AMPLITUDES_PX = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
DURATIONS_S = (0.06, 0.1, 0.15, 0.2, 0.27, 0.33, 0.4, 0.5)


@dataclass(frozen=True)
class Photograph:
    """A face ready to be animated.

    Attributes:
        name: Where it came from.
        image: BGR [400, 400, 3], eyes 100 px apart.
        points: Landmarks [478, 2], px.
    """

    name: str
    image: Bgr
    points: F64


@dataclass(frozen=True)
class TrueEvent:
    """What really happened in a clip: times in seconds, amplitude in px at an IOD of 100 px."""

    kind: Kind
    action: str
    side: str
    onset_s: float
    apex_s: float
    offset_s: float
    amplitude_px: float

    @property
    def duration_s(self) -> float:
        return self.offset_s - self.onset_s


@dataclass(frozen=True)
class ClipSettings:
    """One clip.

    Attributes:
        seed: Decides everything that is drawn by chance.
        seconds, fps: Length and frame rate.
        hard: Faster heads, more noise and compression, overlaps, micro-expressions inside longer ones.
        micro_share: Share of the events that are micro-expressions; 0 leaves only what must not be found.
    """

    seed: int
    seconds: float = 30.0
    fps: float = 30.0
    hard: bool = False
    micro_share: float = 0.62


def photograph(name: str, image: Bgr, landmarks: Callable[[NDArray[np.uint8]], F64 | None]) -> Photograph:
    """Scale and centre a face photograph.

    Args:
        name: For the table.
        image: BGR, any size.
        landmarks: Finds [478, >=2] landmarks, px, in an RGB picture.

    Raises:
        ValueError: No face in the picture.
    """
    points = landmarks(np.ascontiguousarray(image[:, :, ::-1]))
    if points is None:
        raise ValueError(f"no face found in {name}; give a frontal portrait")
    right = points[[33, 133], :2].mean(axis=0)
    left = points[[263, 362], :2].mean(axis=0)
    scale = IOD_PX / float(np.hypot(*(left - right)))
    middle = 0.5 * (left + right)
    shift = np.array([FRAME_PX / 2, FRAME_PX * 0.42]) - scale * middle
    matrix = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    if scale < 1:
        # Shrink without aliasing: smooth by what the new pixel covers first.
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / scale), dtype=np.uint8)
    placed = cv2.warpAffine(
        image, matrix, (FRAME_PX, FRAME_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return Photograph(name, np.asarray(placed, dtype=np.uint8), points[:, :2] * scale + shift)


@dataclass(frozen=True)
class _Nod:
    """A brief movement of the head: how far, px, and whether up and down or from side to side."""

    drive: Drive
    size: float
    upright: bool = True


def _there_and_back(onset_s: float, duration_s: float) -> Drive:
    return pulse(onset_s, onset_s + 0.5 * duration_s, onset_s + duration_s, 0.0, 0)


class Clip:
    """One clip: its truth in `events`, its frames by iteration.

    Args:
        photo: The face.
        settings: See `ClipSettings`; equal settings give equal frames.
    """

    def __init__(self, photo: Photograph, settings: ClipSettings) -> None:
        self.photo = photo
        self.settings = settings
        self._rng = np.random.default_rng(settings.seed)
        self._bumps: list[Bump] = []
        self._nods: list[_Nod] = []
        self.events: tuple[TrueEvent, ...] = tuple(sorted(self._script(), key=lambda event: event.onset_s))
        self._head = head_motion(self._rng, settings.hard)
        self._depth = depth_map(photo.points)
        self._grid = np.mgrid[0:FRAME_PX, 0:FRAME_PX].astype(np.float32)
        self._camera = Camera(self._rng, settings.hard)
        self._noise_seed = int(self._rng.integers(2**31))

    @property
    def frame_count(self) -> int:
        return round(self.settings.seconds * self.settings.fps)

    def __iter__(self) -> Iterator[tuple[float, Bgr]]:
        """Yield (time in seconds, BGR frame)."""
        rng = np.random.default_rng(self._noise_seed)
        for i in range(self.frame_count):
            time_s = i / self.settings.fps
            yield time_s, self._camera.film(self._warp(time_s), time_s, rng)

    def _script(self) -> Iterator[TrueEvent]:
        """Lay the events on the time line: distractors and micro-expressions in turn, with pauses."""
        rng, settings = self._rng, self.settings
        now = 2.5
        blink_s = float(rng.uniform(1.0, 3.0))
        kinds: Sequence[Kind] = ("macro", "gaze", "speech", "nod", "sniff", "swallow")
        shares = np.array([0.2, 0.28, 0.22, 0.14, 0.08, 0.08])
        busy: list[tuple[float, float]] = []
        while now < settings.seconds - 2.0:
            if rng.random() < settings.micro_share:
                duration = float(rng.choice(DURATIONS_S)) * float(rng.uniform(0.92, 1.08))
                event = self._micro(now, min(duration, 0.5))
                yield event
                busy.append((event.onset_s - 0.3, event.offset_s + 0.3))
                now = event.offset_s
            else:
                kind = kinds[int(rng.choice(len(kinds), p=shares))]
                event = self._distractor(kind, now)
                yield event
                busy.append((event.onset_s - 0.3, event.offset_s + 0.3))
                masks = settings.hard and settings.micro_share > 0 and kind == "macro"
                if masks and event.duration_s > 1.3 and rng.random() < 0.6:
                    inside = event.apex_s + float(rng.uniform(0.1, 0.3)) * event.duration_s
                    other = UPPER if event.action in LOWER else LOWER
                    yield self._micro(inside, float(rng.uniform(0.15, 0.4)), actions=other)
                now = event.offset_s
            now += float(rng.uniform(0.45 if settings.hard else 0.8, 2.0))
        while blink_s < settings.seconds - 1:
            clear = all(blink_s + 0.35 < start or blink_s > end for start, end in busy)
            if clear or (settings.hard and rng.random() < 0.3):
                yield self._blink(blink_s)
            blink_s += float(rng.uniform(1.5, 5.0))

    def _micro(self, onset_s: float, duration_s: float, actions: Sequence[str] = UPPER + LOWER) -> TrueEvent:
        rng = self._rng
        action = str(rng.choice(list(actions)))
        amplitude = float(rng.choice(AMPLITUDES_PX)) * float(rng.uniform(0.92, 1.08))
        side = "both"
        if action in ONE_SIDED and rng.random() < 0.4:
            side = str(rng.choice(["left", "right"]))
        apex = onset_s + duration_s * float(rng.uniform(0.35, 0.55))
        self._act(action, side, amplitude, onset_s, apex, onset_s + duration_s, float(rng.uniform(0.0, 0.12)))
        return TrueEvent("micro", action, side, onset_s, apex, onset_s + duration_s, amplitude)

    def _act(
        self, action: str, side: str, amplitude: float, onset: float, apex: float, offset: float, hold: float
    ) -> None:
        """Add the bumps of a muscle action whose strongest displacement is `amplitude` px."""
        rng = self._rng
        drive = pulse(onset, apex, offset, hold, int(rng.integers(PULSE_SHAPES)))
        angle = float(rng.normal(0.0, 0.2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        size = float(rng.uniform(0.85, 1.25))
        falloff, tilt = float(rng.choice([1.5, 2.0, 3.0])), float(rng.normal(0.0, 0.25))
        size *= float(np.sqrt(falloff / 2.0))
        gains = {"right": 1.0, "left": 1.0}
        if side == "both":
            gains[str(rng.choice(["left", "right"]))] = float(rng.uniform(0.75, 1.0))
        for part in action.split("+"):
            first = ACTIONS[part][0]
            for anchor in ACTIONS[part]:
                gain = 1.0 if anchor is first else float(rng.uniform(0.7, 1.1))
                moved = (
                    turn @ np.array([anchor.dx, anchor.dy]) * amplitude * gain / np.hypot(first.dx, first.dy)
                )
                jitter = rng.normal(0.0, 2.5, 2)
                for which in gains if side == "both" else (side,):
                    x, y, mirror = self._anchor(anchor.landmark, which)
                    self._bumps.append(
                        Bump(
                            x + mirror * (anchor.x + jitter[0]),
                            y + anchor.y + jitter[1],
                            anchor.rx * size,
                            anchor.ry * size,
                            mirror * moved[0] * gains[which],
                            moved[1] * gains[which],
                            drive,
                            onset,
                            offset,
                            mirror * tilt,
                            falloff,
                        )
                    )

    def _anchor(self, landmark: int, side: str) -> tuple[float, float, float]:
        """Place of a right-sided landmark, or its mirror image about the midline, and the mirror sign."""
        points = self.photo.points
        x, y = points[landmark]
        if side == "right":
            return float(x), float(y), 1.0
        axis = points[[10, 168, 2, 152], 0].mean()
        return float(2 * axis - x), float(y), -1.0

    def _distractor(self, kind: Kind, onset: float) -> TrueEvent:
        rng = self._rng
        if kind == "macro":
            duration = float(rng.uniform(0.8, 3.0))
            apex = onset + duration * float(rng.uniform(0.2, 0.5))
            action = str(rng.choice(["12", "6+12", "1+2", "4", "15", "17"]))
            amplitude = float(rng.uniform(3.0, 6.0))
            self._act(action, "both", amplitude, onset, apex, onset + duration, float(rng.uniform(0.1, 0.5)))
            return TrueEvent(kind, action, "both", onset, apex, onset + duration, amplitude)
        if kind == "gaze":
            return self._gaze(onset)
        if kind == "speech":
            return self._speech(onset)
        if kind == "nod":
            duration = float(rng.uniform(0.4, 1.0))
            amplitude = float(rng.uniform(3.0, 12.0)) * float(rng.choice([-1, 1], p=[0.25, 0.75]))
            self._nods.append(_Nod(_there_and_back(onset, duration), amplitude, bool(rng.random() < 0.7)))
            return TrueEvent(kind, "", "both", onset, onset + duration / 2, onset + duration, abs(amplitude))
        if kind == "sniff":
            amplitude = float(rng.uniform(0.8, 1.6))
            length, start = float(rng.uniform(0.14, 0.24)), onset
            repeats = int(rng.integers(2, 4))
            for _ in range(repeats):
                self._act("9", "both", amplitude, start, start + 0.4 * length, start + length, 0.0)
                start += length + 0.06
            return TrueEvent(kind, "", "both", onset, 0.5 * (onset + start), start - 0.06, amplitude)
        amplitude, duration = float(rng.uniform(1.0, 2.5)), float(rng.uniform(0.6, 1.0))
        self._act("17", "both", amplitude, onset, onset + 0.4 * duration, onset + duration, 0.1)
        self._nods.append(_Nod(_there_and_back(onset, duration), float(rng.uniform(-1.5, -0.5))))
        return TrueEvent(kind, "", "both", onset, onset + 0.4 * duration, onset + duration, amplitude)

    def _gaze(self, onset: float) -> TrueEvent:
        rng = self._rng
        hold = float(rng.uniform(0.15, 1.6))
        angle = float(rng.choice([0.0, np.pi])) + float(rng.normal(0.0, 0.5))
        size = float(rng.uniform(2.5, 6.0))
        dx, dy = size * float(np.cos(angle)), 0.6 * size * float(np.sin(angle))
        drive = plateau(onset, 0.045, hold)
        offset = onset + 0.09 + hold
        for iris, upper, lower in ((468, 159, 145), (473, 386, 374)):
            x, y = self.photo.points[iris]
            self._bumps.append(Bump(x, y, 17.0, 9.0, dx, dy, drive, onset, offset))
            x, y = self.photo.points[upper]
            self._bumps.append(Bump(x, y - 3, 22.0, 10.0, 0.0, 0.7 * dy, drive, onset, offset))
            x, y = self.photo.points[lower]
            self._bumps.append(Bump(x, y + 3, 20.0, 9.0, 0.0, 0.25 * dy, drive, onset, offset))
        return TrueEvent("gaze", "", "both", onset, onset + 0.05, offset, size)

    def _speech(self, onset: float) -> TrueEvent:
        rng = self._rng
        duration = float(rng.uniform(1.0, 3.5))
        start = onset
        largest = 0.0
        while start < onset + duration:
            length = float(rng.uniform(0.12, 0.3))
            jaw = float(rng.uniform(1.0, 5.0))
            largest = max(largest, jaw)
            apex, end = start + 0.45 * length, start + length
            drive = pulse(start, apex, end, 0.0, 0)
            for landmark, rx, ry, dx, dy in (
                (17, 40.0, 20.0, 0.0, 1.0),
                (199, 46.0, 34.0, 0.0, 1.0),
                (0, 26.0, 14.0, 0.0, -0.15),
            ):
                x, y = self.photo.points[landmark]
                self._bumps.append(Bump(x, y, rx, ry, dx * jaw, dy * jaw, drive, start, end))
            corner = float(rng.normal(0.0, 1.0))
            for side in ("right", "left"):
                x, y, mirror = self._anchor(61, side)
                self._bumps.append(Bump(x, y, 26.0, 22.0, mirror * corner, 0.25 * jaw, drive, start, end))
            start = end + float(rng.uniform(0.0, 0.08))
        return TrueEvent("speech", "", "both", onset, 0.5 * (onset + start), start, largest)

    def _blink(self, onset: float) -> TrueEvent:
        rng = self._rng
        close, shut, reopen = (
            float(rng.uniform(0.06, 0.1)),
            float(rng.uniform(0.0, 0.06)),
            float(rng.uniform(0.1, 0.2)),
        )
        offset = onset + close + shut + reopen
        drive = pulse(onset, onset + close, offset, shut / (offset - onset), 0)
        for upper, lower, brow in ((159, 145, 52), (386, 374, 282)):
            lid = self.photo.points[upper]
            gap = float(self.photo.points[lower, 1] - lid[1])
            self._bumps.append(
                Bump(lid[0], lid[1] + 0.3 * gap, 26.0, 1.6 * gap, 0, 0.9 * gap, drive, onset, offset)
            )
            x, y = self.photo.points[lower]
            self._bumps.append(Bump(x, y + 4, 24.0, 10.0, 0.0, -0.6, drive, onset, offset))
            x, y = self.photo.points[brow]
            self._bumps.append(
                Bump(x, y, 36.0, 18.0, 0.0, float(rng.uniform(0.1, 0.6)), drive, onset, offset)
            )
        return TrueEvent("blink", "", "both", onset, onset + close, offset, 8.0)

    def _warp(self, time_s: float) -> Bgr:
        """The photograph as it looks at `time_s`, before the camera."""
        pose = self._head(time_s)
        tx, ty, yaw, pitch = pose.x, pose.y, pose.yaw, pose.pitch
        for nod in self._nods:
            lift = nod.drive(time_s) * nod.size
            tx += 0.0 if nod.upright else lift
            ty += lift if nod.upright else 0.0
            turn = 0.004 * lift * (1.0 if self.settings.hard else 0.4)
            yaw, pitch = (yaw, pitch + turn) if nod.upright else (yaw + turn, pitch)
        center = FRAME_PX / 2.0
        cos, sin = np.cos(pose.roll) / pose.scale, np.sin(pose.roll) / pose.scale
        rows, columns = self._grid
        u, v = columns - np.float32(center + tx), rows - np.float32(center + ty)
        x = (cos * u + sin * v + center).astype(np.float32)
        y = (-sin * u + cos * v + center).astype(np.float32)
        # Parallax: nearer parts shift more when the head turns.
        x -= self._depth * np.float32(yaw)
        y -= self._depth * np.float32(pitch)
        moved_x, moved_y = np.zeros_like(x), np.zeros_like(y)
        for bump in self._bumps:
            if bump.start_s < time_s < bump.end_s:
                bump.add(time_s, x, y, moved_x, moved_y, (tx, ty))
        warped = cv2.remap(
            self.photo.image, x - moved_x, y - moved_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(warped, dtype=np.uint8)
