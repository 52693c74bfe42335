"""Seeded video clips of real photographs with micro-expressions whose every parameter is known.

A photograph is warped, frame by frame, by compactly supported displacement bumps placed near, but not at, the
places where the detector looks, under head motion with parallax, and then filmed: flicker, sensor noise,
JPEG. Nothing here is shared with the detector's model of the face or with the simulated person's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Bgr = NDArray[np.uint8]

FRAME_PX = 400
"""Width and height of a clip."""

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


@dataclass(frozen=True)
class _Bump:
    """Displacement (dx, dy) x drive(t) within an ellipse of radii (rx, ry) about (x, y)."""

    x: float
    y: float
    rx: float
    ry: float
    dx: float
    dy: float
    drive: Callable[[float], float]
    start_s: float
    end_s: float


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


# Muscle actions as bumps: landmark anchor (right side), offset px, radii px, direction.
# Mirrored for the left. The subject's right is the picture's left: "out" is -x there.
_ACTIONS: dict[str, tuple[tuple[int, float, float, float, float, float, float], ...]] = {
    "1": ((55, 0, -6, 30, 26, 0.1, -1.0), (69, 4, -14, 26, 22, 0.0, -0.6)),
    "2": ((53, 0, -6, 34, 24, -0.2, -1.0), (46, 0, -4, 24, 22, -0.1, -0.5)),
    "4": ((55, 0, -4, 30, 24, 0.6, 0.9), (52, 0, -4, 26, 20, 0.4, 0.6)),
    "5": ((159, 0, -3, 24, 13, 0.0, -1.0),),
    "6": ((50, 0, -4, 38, 28, 0.2, -1.0), (144, -4, 6, 24, 12, 0.0, -0.5)),
    "7": ((145, 0, 2, 24, 12, 0.1, -1.0),),
    "9": ((129, 2, -6, 24, 26, 0.1, -1.0), (193, 0, 4, 18, 18, 0.2, -0.5), (167, -4, 0, 20, 14, 0, -0.6)),
    "10": ((39, 0, -6, 24, 18, -0.1, -1.0), (205, 6, 0, 26, 24, 0.0, -0.5)),
    "12": ((61, 0, 0, 32, 28, -0.75, -0.85), (206, -6, -6, 32, 28, -0.4, -0.6)),
    "14": ((61, -3, 0, 26, 22, -1.0, 0.05),),
    "15": ((61, 0, 2, 28, 24, -0.15, 1.0), (210, 2, -2, 24, 24, -0.1, 0.6)),
    "17": ((201, 4, 0, 34, 28, 0.0, -1.0), (84, 0, 2, 24, 16, 0.0, -0.6)),
    "20": ((61, -2, 3, 32, 24, -1.0, 0.3), (210, 0, 0, 24, 24, -0.6, 0.2)),
}
_UPPER = ("1", "2", "1+2", "4", "5", "7", "4+7", "1+4", "6")
_LOWER = ("9", "10", "12", "6+12", "14", "15", "17", "20")
_ONE_SIDED = {"2", "10", "12", "14", "6+12"}


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
        self._bumps: list[_Bump] = []
        self._nods: list[tuple[float, float, float]] = []
        self.events: tuple[TrueEvent, ...] = tuple(sorted(self._script(), key=lambda event: event.onset_s))
        self._head = _head_motion(self._rng, settings)
        self._depth = _depth_map(photo.points)
        self._grid = np.mgrid[0:FRAME_PX, 0:FRAME_PX].astype(np.float32)
        self._noise_seed = int(self._rng.integers(2**31))
        self._band_hz = float(self._rng.uniform(0.5, 9.0))
        self._flicker = float(self._rng.uniform(0.0, 0.04 if settings.hard else 0.015))
        self._light = [
            (float(self._rng.uniform(0.03, 0.3)), float(self._rng.uniform(0, 6.28))) for _ in range(3)
        ]

    @property
    def frame_count(self) -> int:
        return round(self.settings.seconds * self.settings.fps)

    def __iter__(self) -> Iterator[tuple[float, Bgr]]:
        """Yield (time in seconds, BGR frame)."""
        rng = np.random.default_rng(self._noise_seed)
        for i in range(self.frame_count):
            time_s = i / self.settings.fps
            yield time_s, self._film(self._warp(time_s), time_s, rng)

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
                    other = _UPPER if event.action in _LOWER else _LOWER
                    yield self._micro(inside, float(rng.uniform(0.15, 0.4)), actions=other)
                now = event.offset_s
            now += float(rng.uniform(0.45 if settings.hard else 0.8, 2.0))
        while blink_s < settings.seconds - 1:
            clear = all(blink_s + 0.35 < start or blink_s > end for start, end in busy)
            if clear or (settings.hard and rng.random() < 0.3):
                yield self._blink(blink_s)
            blink_s += float(rng.uniform(1.5, 5.0))

    def _micro(
        self, onset_s: float, duration_s: float, actions: Sequence[str] = _UPPER + _LOWER
    ) -> TrueEvent:
        rng = self._rng
        action = str(rng.choice(list(actions)))
        amplitude = float(rng.choice(AMPLITUDES_PX)) * float(rng.uniform(0.92, 1.08))
        side = "both"
        if action in _ONE_SIDED and rng.random() < 0.4:
            side = str(rng.choice(["left", "right"]))
        apex = onset_s + duration_s * float(rng.uniform(0.35, 0.55))
        self._act(action, side, amplitude, onset_s, apex, onset_s + duration_s, float(rng.uniform(0.0, 0.12)))
        return TrueEvent("micro", action, side, onset_s, apex, onset_s + duration_s, amplitude)

    def _act(
        self, action: str, side: str, amplitude: float, onset: float, apex: float, offset: float, hold: float
    ) -> None:
        """Add the bumps of a muscle action whose strongest displacement is `amplitude` px."""
        rng = self._rng
        drive = _pulse(onset, apex, offset, hold, int(rng.integers(3)))
        angle = float(rng.normal(0.0, 0.2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        size = float(rng.uniform(0.85, 1.25))
        sides = ("right", "left") if side == "both" else (side,)
        balance = {"right": 1.0, "left": float(rng.uniform(0.75, 1.0))}
        if rng.random() < 0.5:
            balance = {"right": balance["left"], "left": 1.0}
        if side != "both":
            balance = {"right": 1.0, "left": 1.0}
        for part in action.split("+"):
            for j, (landmark, ox, oy, rx, ry, dx, dy) in enumerate(_ACTIONS[part]):
                gain = (
                    1.0
                    / float(np.hypot(*_ACTIONS[part][0][5:]))
                    * (1.0 if j == 0 else float(rng.uniform(0.7, 1.1)))
                )
                moved = turn @ np.array([dx, dy]) * amplitude * gain
                jitter = rng.normal(0.0, 2.5, 2)
                for which in sides:
                    x, y, mirror = self._anchor(landmark, which)
                    self._bumps.append(
                        _Bump(
                            x + mirror * (ox + jitter[0]),
                            y + oy + jitter[1],
                            rx * size,
                            ry * size,
                            mirror * moved[0] * balance[which],
                            moved[1] * balance[which],
                            drive,
                            onset,
                            offset,
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
            self._nods.append((onset, duration, amplitude))
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
        self._nods.append((onset, duration, float(rng.uniform(-1.5, -0.5))))
        return TrueEvent(kind, "", "both", onset, onset + 0.4 * duration, onset + duration, amplitude)

    def _gaze(self, onset: float) -> TrueEvent:
        rng = self._rng
        hold = float(rng.uniform(0.15, 1.6))
        angle = float(rng.choice([0.0, np.pi])) + float(rng.normal(0.0, 0.5))
        size = float(rng.uniform(2.5, 6.0))
        dx, dy = size * float(np.cos(angle)), 0.6 * size * float(np.sin(angle))
        drive = _plateau(onset, 0.045, hold)
        offset = onset + 0.09 + hold
        for iris, upper, lower in ((468, 159, 145), (473, 386, 374)):
            x, y = self.photo.points[iris]
            self._bumps.append(_Bump(x, y, 17.0, 9.0, dx, dy, drive, onset, offset))
            x, y = self.photo.points[upper]
            self._bumps.append(_Bump(x, y - 3, 22.0, 10.0, 0.0, 0.7 * dy, drive, onset, offset))
            x, y = self.photo.points[lower]
            self._bumps.append(_Bump(x, y + 3, 20.0, 9.0, 0.0, 0.25 * dy, drive, onset, offset))
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
            drive = _pulse(start, apex, end, 0.0, 0)
            for landmark, rx, ry, dx, dy in (
                (17, 40.0, 20.0, 0.0, 1.0),
                (199, 46.0, 34.0, 0.0, 1.0),
                (0, 26.0, 14.0, 0.0, -0.15),
            ):
                x, y = self.photo.points[landmark]
                self._bumps.append(_Bump(x, y, rx, ry, dx * jaw, dy * jaw, drive, start, end))
            corner = float(rng.normal(0.0, 1.0))
            for side in ("right", "left"):
                x, y, mirror = self._anchor(61, side)
                self._bumps.append(_Bump(x, y, 26.0, 22.0, mirror * corner, 0.25 * jaw, drive, start, end))
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
        drive = _pulse(onset, onset + close, offset, shut / (offset - onset), 0)
        for upper, lower, brow in ((159, 145, 52), (386, 374, 282)):
            lid = self.photo.points[upper]
            gap = float(self.photo.points[lower, 1] - lid[1])
            self._bumps.append(
                _Bump(lid[0], lid[1] + 0.3 * gap, 26.0, 1.6 * gap, 0, 0.9 * gap, drive, onset, offset)
            )
            x, y = self.photo.points[lower]
            self._bumps.append(_Bump(x, y + 4, 24.0, 10.0, 0.0, -0.6, drive, onset, offset))
            x, y = self.photo.points[brow]
            self._bumps.append(
                _Bump(x, y, 36.0, 18.0, 0.0, float(rng.uniform(0.1, 0.6)), drive, onset, offset)
            )
        return TrueEvent("blink", "", "both", onset, onset + close, offset, 8.0)

    def _warp(self, time_s: float) -> Bgr:
        """The photograph as it looks at `time_s`, before the camera."""
        tx, ty, roll, scale, yaw, pitch = self._head(time_s)
        for onset, duration, amplitude in self._nods:
            phase = (time_s - onset) / duration
            if 0 < phase < 1:
                lift = 0.5 * (1 - np.cos(2 * np.pi * phase))
                ty += amplitude * lift
                pitch += 0.004 * amplitude * lift * (1.0 if self.settings.hard else 0.4)
        center = FRAME_PX / 2.0
        cos, sin = np.cos(roll) / scale, np.sin(roll) / scale
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
                _add_bump(bump, bump.drive(time_s), x, y, moved_x, moved_y, center + tx, center + ty)
        warped = cv2.remap(
            self.photo.image, x - moved_x, y - moved_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(warped, dtype=np.uint8)

    def _film(self, frame: Bgr, time_s: float, rng: np.random.Generator) -> Bgr:
        """Flicker, shot and read noise, JPEG."""
        rows = np.arange(FRAME_PX, dtype=np.float32)[:, None, None] / FRAME_PX
        gain = 1.0 + self._flicker * np.sin(2 * np.pi * (self._band_hz * time_s + 0.8 * rows))
        gain = gain + 0.02 * sum(np.sin(2 * np.pi * hz * time_s + phase) for hz, phase in self._light)
        light = frame.astype(np.float32) * gain.astype(np.float32)
        read, shot = (2.5, 0.22) if self.settings.hard else (1.2, 0.12)
        # One draw for all three colours: a demosaiced picture's noise is mostly luminance.
        noise = rng.standard_normal((FRAME_PX, FRAME_PX, 1), dtype=np.float32)
        level = np.maximum(light.mean(axis=2, keepdims=True), 0.0)
        light += noise * np.sqrt(read**2 + shot**2 * level)
        noisy = np.clip(light + 0.5, 0, 255).astype(np.uint8)
        quality = 82 if self.settings.hard else 93
        _, jpeg = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8)


def _add_bump(
    bump: _Bump,
    drive: float,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    moved_x: NDArray[np.float32],
    moved_y: NDArray[np.float32],
    center_x: float,
    center_y: float,
) -> None:
    """Add one bump where it reaches; (1 - r^2)^2 has no tail, unlike a Gaussian."""
    reach_x, reach_y = bump.rx + 25.0, bump.ry + 25.0
    left, top = bump.x - FRAME_PX / 2 + center_x, bump.y - FRAME_PX / 2 + center_y
    cols = slice(max(int(left - reach_x), 0), max(int(left + reach_x), 0))
    rows = slice(max(int(top - reach_y), 0), max(int(top + reach_y), 0))
    square = ((x[rows, cols] - bump.x) / bump.rx) ** 2 + ((y[rows, cols] - bump.y) / bump.ry) ** 2
    weight = np.maximum(1.0 - square, 0.0) ** 2 * np.float32(drive)
    moved_x[rows, cols] += weight * np.float32(bump.dx)
    moved_y[rows, cols] += weight * np.float32(bump.dy)


def _pulse(onset: float, apex: float, offset: float, hold: float, shape: int) -> Callable[[float], float]:
    """A single rise and fall, exactly zero outside [onset, offset] and 1 at the apex.

    `hold` is the share of the whole spent at the top; `shape` 0 is a raised cosine, 1 a minimum-jerk rise,
    2 a quick start with a slow end.
    """
    top = hold * (offset - onset)
    fall = min(apex + top, offset - 0.3 * (offset - apex))

    def drive(time_s: float) -> float:
        if not onset < time_s < offset:
            return 0.0
        if apex <= time_s <= fall:
            return 1.0
        p = (time_s - onset) / (apex - onset) if time_s < apex else (offset - time_s) / (offset - fall)
        if shape == 0:
            return float(0.5 - 0.5 * np.cos(np.pi * p))
        if shape == 1:
            return float(p**3 * (10 - 15 * p + 6 * p * p))
        return float(np.sin(0.5 * np.pi * p) ** (1.3 if time_s < apex else 2.0))

    return drive


def _plateau(onset: float, flank: float, hold: float) -> Callable[[float], float]:
    def drive(time_s: float) -> float:
        up = np.clip((time_s - onset) / flank, 0.0, 1.0)
        down = np.clip((onset + 2 * flank + hold - time_s) / flank, 0.0, 1.0)
        return float(min(up * up * (3 - 2 * up), down * down * (3 - 2 * down)))

    return drive


def _head_motion(rng: np.random.Generator, settings: ClipSettings) -> Callable[[float], tuple[float, ...]]:
    """Sum of slow sines per degree of freedom: x, y px; roll rad; scale; yaw, pitch (depth px per px)."""
    hard = settings.hard
    largest = (7.0, 6.0, 0.035, 0.02, 0.06, 0.05) if hard else (3.0, 2.5, 0.012, 0.006, 0.015, 0.015)
    waves = []
    for size in largest:
        hz = rng.uniform(0.04, 0.45 if hard else 0.25, 4)
        amplitude = rng.dirichlet(np.ones(4)) * size * rng.uniform(0.5, 1.0)
        waves.append((amplitude, hz, rng.uniform(0, 2 * np.pi, 4)))

    def head(time_s: float) -> tuple[float, ...]:
        values = [float(np.sum(a * np.sin(2 * np.pi * hz * time_s + phase))) for a, hz, phase in waves]
        values[3] += 1.0
        return tuple(values)

    return head


def _depth_map(points: F64) -> NDArray[np.float32]:
    """Height of the face above its outline, px: an ellipsoid with a nose, unlike the landmarks' depth."""
    rows, columns = np.mgrid[0:FRAME_PX, 0:FRAME_PX].astype(np.float64)
    middle = points[[168, 1, 152, 10]].mean(axis=0)
    width = float(points[454, 0] - points[234, 0]) / 2
    height = float(points[152, 1] - points[10, 1]) / 2
    square = ((columns - middle[0]) / (1.15 * width)) ** 2 + ((rows - middle[1]) / (1.2 * height)) ** 2
    depth = 70.0 * np.sqrt(np.maximum(1.0 - square, 0.0))
    nose = points[1]
    bump = np.maximum(1.0 - ((columns - nose[0]) / 24) ** 2 - ((rows - nose[1] + 12) / 42) ** 2, 0.0)
    smooth = cv2.GaussianBlur(depth + 22.0 * bump, (0, 0), 6.0)
    return np.asarray(smooth - smooth[int(middle[1]), int(middle[0])] + 20.0, dtype=np.float32)
