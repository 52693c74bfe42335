"""A radiometric thermal camera (Lepton-like) that looks at the simulated person's face.

The temperature map has the geometry of the same portrait and moves with the same head; nose tip, cheeks and
glabella follow arousal and muscle work over seconds. On top lie what such cameras add: noise, a fixed
pattern, drift, dead pixels and flat-field corrections (FFC).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import (
    INVALID_CENTI_CELSIUS,
    Block,
    Channel,
    FrameFormat,
    Kind,
    SampleType,
    StreamSpec,
    empty_block,
)
from hardware.simulated.face_fields import AU_INDEX
from hardware.simulated.playback import SimulatedDevice
from hardware.simulated.portrait import MARGIN_PX, resting_portrait
from hardware.simulated.rendering import FaceRenderer, node_cells
from hardware.simulated.scenario import Scenario
from hardware.simulated.warp_kernel import NODE_COLUMNS, NODE_ROWS

THERMAL_WIDTH_PX, THERMAL_HEIGHT_PX = 160, 120
REFERENCE_PX_PER_PIXEL = 3.2
"""A thermal pixel spans this many px of the 640 x 480 reference picture; the eyes are 31 thermal px apart."""

VIEW_CENTER_PX = (320.0, 225.0)
"""Reference point in the middle of the thermal picture."""

ROIS: dict[str, tuple[float, float, float]] = {
    "nose_tip": (319.0, 264.0, 12.0),
    "perinasal": (319.0, 286.0, 10.0),
    "periorbital_left": (344.0, 208.0, 7.0),
    "periorbital_right": (295.0, 208.0, 7.0),
    "glabella": (319.0, 180.0, 11.0),
    "cheek_left": (394.0, 255.0, 15.0),
    "cheek_right": (246.0, 255.0, 15.0),
    "forehead": (319.0, 160.0, 10.0),
    "chin": (320.0, 362.0, 14.0),
}
"""Regions by the names of `SkinTemperature`: centre x, y and radius in px of the 640 x 480 reference picture
at rest (`to_thermal_px` gives thermal px); left and right are the subject's own."""

# Region, standard deviation px, warming in degC at full effect. What drives them is in `_Physiology`.
_SPREAD_PX = {"nose_tip": 20.0, "glabella": 24.0, "cheek_left": 30.0, "cheek_right": 30.0, "perinasal": 18.0}

Image: TypeAlias = NDArray[np.float32]

_STATE_RATE_HZ = 4.0
FFC_GAP_S = 2.05
"""Length of a flat-field correction on a real Lepton 3.5, in which no frame comes."""


@dataclass(frozen=True, eq=False)
class _Physiology:
    """Course of regional temperature changes of one scenario, tabulated at 4 Hz.

    Blood flow and heat conduction are slow: each is a first-order low-pass of what drives it.
    """

    scenario: Scenario

    @cached_property
    def table(self) -> dict[str, NDArray[np.float64]]:
        t = np.arange(0.0, self.scenario.duration_s + 2.0 / _STATE_RATE_HZ, 1.0 / _STATE_RATE_HZ)
        intensity = np.minimum(self.scenario.activations_at(t), 1.0)
        smile = 0.6 * intensity[:, AU_INDEX[12]] + 0.4 * intensity[:, AU_INDEX[6]]
        frown = intensity[:, AU_INDEX[4]].mean(axis=1)
        arousal = self.scenario.arousal(t)
        return {
            "t": t,
            # Vasoconstriction cools the nose within seconds and lets go more slowly.
            "nose_tip": -0.9 * _low_pass(_low_pass(arousal, 2.0), 9.0),
            "perinasal": -0.4 * _low_pass(_low_pass(arousal, 2.0), 6.0),
            "glabella": 0.35 * _low_pass(frown, 6.0),
            "cheek_left": 0.4 * _low_pass(smile[:, 0], 6.0),
            "cheek_right": 0.4 * _low_pass(smile[:, 1], 6.0),
        }

    def at(self, t_s: float) -> dict[str, float]:
        table = self.table
        return {region: float(np.interp(t_s, table["t"], table[region])) for region in _SPREAD_PX}


def _low_pass(x: NDArray[np.float64], time_constant_s: float) -> NDArray[np.float64]:
    keep = math.exp(-1.0 / (_STATE_RATE_HZ * time_constant_s))
    out = np.empty_like(x)
    state = 0.0
    for i, value in enumerate(x):
        state = keep * state + (1.0 - keep) * value
        out[i] = state
    return out


@dataclass(frozen=True, eq=False)
class _Skin:
    """Resting temperatures float32 [608, 768] (degC, as `Portrait.skin`) and the regions' weights."""

    celsius: NDArray[np.float32]
    weights: dict[str, NDArray[np.float32]]


def _blob(
    x: NDArray[np.float64], y: NDArray[np.float64], cx: float, cy: float, sx: float, sy: float
) -> NDArray[np.float64]:
    return np.asarray(np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2)))


@lru_cache(maxsize=1)
def resting_skin() -> _Skin:
    """Temperatures of the resting person: warm eye corners, cool nose tip, brows and hair, 22 degC wall."""
    portrait = resting_portrait().skin
    height, width = portrait.shape[:2]
    py, px = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = px - MARGIN_PX, py - MARGIN_PX
    luminance = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY).astype(np.float64)
    grey = np.asarray(cv2.GaussianBlur(luminance, (0, 0), 2.0), dtype=np.float64)

    skin = 33.6 + 0.5 * _blob(x, y, 319, 160, 70, 30)  # forehead
    for side in (-1, 1):
        skin += 2.2 * _blob(x, y, 319.5 + side * 26, 206, 10, 9)  # inner eye corner
        skin += 0.4 * _blob(x, y, 319.5 + side * 50, 204, 26, 13)  # orbit
        skin -= 0.9 * _blob(x, y, 319.5 + side * 51, 203, 13, 7)  # cornea
        skin -= 1.2 * _blob(x, y, 319.5 + side * 56, 172, 24, 5)  # brow
        skin -= 0.7 * _blob(x, y, 319.5 + side * 76, 252, 24, 22)  # cheek
        skin -= 0.6 * _blob(x, y, 319.5 + side * 14, 270, 6, 5)  # nostril
    skin -= 1.5 * _blob(x, y, 319, 262, 15, 19)  # nose tip
    skin -= 0.6 * _blob(x, y, 319, 232, 10, 22)  # nose bridge
    skin += 0.4 * _blob(x, y, 320.5, 312, 34, 9)  # lips
    skin -= 0.8 * _blob(x, y, 320.5, 309, 34, 3)  # the line between them
    skin -= 0.3 * _blob(x, y, 320, 365, 34, 18)  # chin
    # Form and fine structure: what is dark in the picture (brows, lashes, shaded rims, lip line) is cooler.
    skin += np.clip(2.2 * (grey - cv2.GaussianBlur(grey, (0, 0), 28.0)) / 100.0, -1.8, 0.9)

    face = np.clip((1.0 - np.hypot((x - 320) / 108.0, (y - 262) / 131.0)) / 0.07, 0.0, 1.0)
    neck = np.clip(1.0 - np.abs(x - 320) / 85.0, 0.0, 0.12) / 0.12 * np.clip((y - 330) / 20, 0, 1)
    head = np.clip((1.0 - np.hypot((x - 321) / 180.0, (y - 160) / 175.0)) / 0.06, 0.0, 1.0) * (y < 300)
    # Hair is more colourful or darker than the grey wall behind it.
    colour = cv2.GaussianBlur((portrait.max(axis=2) - portrait.min(axis=2)).astype(np.float64), (0, 0), 4.0)
    head *= np.clip(np.maximum((colour - 26.0) / 10.0, (135.0 - grey) / 20.0), 0.0, 1.0)
    clothes = np.clip((y - 385 - 0.0022 * (x - 320) ** 2 + 12) / 14.0, 0.0, 1.0)
    hairline = np.clip((y - 147 - 0.0012 * (x - 320) ** 2) / 9.0, 0.0, 1.0)
    face = face * hairline

    hair = 29.8 + 1.4 * (grey - 110) / 110 + 1.2 * _blob(x, y, 320, 180, 110, 90)
    celsius = 22.0 + 0.4 * (y - 240) / 240
    celsius = celsius * (1 - head) + hair * head
    celsius = celsius * (1 - neck) + 32.6 * neck
    celsius = celsius * (1 - clothes) + 29.0 * clothes
    celsius = celsius * (1 - face) + skin * face
    celsius = cv2.GaussianBlur(celsius, (0, 0), 2.0)
    weights = {
        region: (face * _blob(x, y, ROIS[region][0], ROIS[region][1], spread, spread)).astype(np.float32)
        for region, spread in _SPREAD_PX.items()
    }
    return _Skin(celsius.astype(np.float32), weights)


@lru_cache(maxsize=1)
def _roi_means() -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Mean resting temperature of every region, and mean weight of every change in it."""
    skin = resting_skin()
    y, x = np.mgrid[0 : skin.celsius.shape[0], 0 : skin.celsius.shape[1]] - MARGIN_PX
    rest: dict[str, float] = {}
    mixing: dict[str, dict[str, float]] = {}
    for region, (cx, cy, radius) in ROIS.items():
        disk = (x - cx) ** 2 + (y - cy) ** 2 <= radius**2
        rest[region] = float(skin.celsius[disk].mean())
        mixing[region] = {name: float(weight[disk].mean()) for name, weight in skin.weights.items()}
    return rest, mixing


def roi_celsius(scenario_state: dict[str, float]) -> dict[str, float]:
    """Mean skin temperature of every region for regional changes `scenario_state` (degC)."""
    rest, mixing = _roi_means()
    return {
        region: rest[region] + sum(mixing[region][name] * change for name, change in scenario_state.items())
        for region in ROIS
    }


def _sampled(field: Image, x: Image, y: Image) -> Image:
    """Bilinear samples of a portrait-sized field."""
    values = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, dtype=np.float32)


_THERMAL_MIDDLE_PX = np.array([THERMAL_WIDTH_PX / 2 - 0.5, THERMAL_HEIGHT_PX / 2 - 0.5])
_REFERENCE_MIDDLE_PX = np.array(VIEW_CENTER_PX) - 0.5


def to_thermal_px(reference_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thermal pixel coordinates [n, 2] of points [n, 2] in the 640 x 480 reference picture."""
    return np.asarray((reference_px - _REFERENCE_MIDDLE_PX) / REFERENCE_PX_PER_PIXEL + _THERMAL_MIDDLE_PX)


def from_thermal_px(thermal_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `to_thermal_px`."""
    return np.asarray((thermal_px - _THERMAL_MIDDLE_PX) * REFERENCE_PX_PER_PIXEL + _REFERENCE_MIDDLE_PX)


@dataclass(eq=False, repr=False)
class SimulatedThermal(SimulatedDevice):
    """Thermal source that plays a scenario: int16 centi-degC pixels, then ``frame_number`` and ``ffc``.

    Frames come at 1 / `rate_hz` with a little jitter; each shows the moment of its stamp. At a flat-field
    correction the picture freezes for two frames with ``ffc`` = 1, none come for the rest of 2.05 s, and
    afterwards all temperatures are 0.5 to 0.8 degC higher and relax over a minute.

    Attributes (beside those of `SimulatedDevice`):
        rate_hz: Frames per second (8.77 as a Lepton; 25 as other cameras).
        first_ffc_s, ffc_period_s: When flat-field corrections come, after `start_s`; a period of 0 has none.
        noise_celsius: Uncorrelated noise per pixel.
        pattern_celsius: Fixed pattern, standard deviation.
        drift_celsius: How far all temperatures fall while the camera warms up (time constant 8 s), plus a
            slow wandering of a fifth of it.
        dead_pixels: How many pixels never give a temperature.
    """

    rate_hz: float = 8.77
    first_ffc_s: float = 60.0
    ffc_period_s: float = 180.0
    noise_celsius: float = 0.02
    pattern_celsius: float = 0.03
    drift_celsius: float = 0.5
    dead_pixels: int = 3
    name: str = "zygoma simulated thermal camera"

    def __post_init__(self) -> None:
        self.spec = StreamSpec(
            name=self.name,
            kind=Kind.THERMAL,
            channels=(Channel("frame_number"), Channel("ffc")),
            rate_hz=0.0,
            dtype=SampleType.INT16,
            source_id=f"zygoma-simulated-thermal-{self.seed}-{self.scenario.seed}",
            frame=FrameFormat(THERMAL_WIDTH_PX, THERMAL_HEIGHT_PX, "centi_celsius"),
            metadata={
                **self.facts("simulated thermal camera"),
                "conversion": "0.01",
                "offset": "0",
                "radiometric": "true",
                "evidence": "simulated in degrees Celsius",
                "frame_rate_hz": f"{self.rate_hz:g}",
            },
        )
        rng = np.random.default_rng([self.seed, 9])
        height, width = shape = (THERMAL_HEIGHT_PX, THERMAL_WIDTH_PX)
        self._pattern = (self.pattern_celsius * rng.standard_normal(shape)).astype(np.float32)
        self._pattern += (0.4 * self.pattern_celsius * rng.standard_normal((1, width))).astype(np.float32)
        self._dead = np.unravel_index(rng.choice(height * width, self.dead_pixels, replace=False), shape)
        reference = from_thermal_px(np.stack([np.arange(width), np.zeros(width)], axis=1))[:, 0]
        column, share = node_cells(reference, NODE_COLUMNS)
        self._column, self._column_share = column, share[None, :, None]
        reference = from_thermal_px(np.stack([np.zeros(height), np.arange(height)], axis=1))[:, 1]
        row, share = node_cells(reference, NODE_ROWS)
        self._row, self._row_share = row, share[:, None, None]
        self._renderer: FaceRenderer | None = None
        self._body: dict[int, _Physiology] = {}
        self._frozen: NDArray[np.int16] | None = None
        self._next = 0

    def open(self) -> None:
        """Build the temperature map; frames before now are not delivered."""
        self._renderer = FaceRenderer(noise_grey_levels=0.0)
        resting_skin()
        super().open()
        self._next = self.playback.upcoming(self.rate_hz)
        self.picture(self.scenario, 0.0, 0.0, 0)

    def read(self, timeout_s: float) -> Block:
        """Wait for the next frame; an empty block when it is not due within `timeout_s`.

        Raises:
            EndOfStream: The scenario is over and does not loop.
        """
        playback = self.playback
        start_s = playback.start_s
        give_up_s = self.clock() + timeout_s
        number = -1
        while number < 0:
            while self._ffc_state(self._next / self.rate_hz) == "gap":
                self._next += 1
            due_s = start_s + self._due_s(self._next)
            if not playback.wait_until(due_s, give_up_s - self.clock()):
                return empty_block(self.spec, self._next)
            now_s = self.clock()
            elapsed_s = now_s - start_s
            number = max(self._next, math.floor(elapsed_s * self.rate_hz - 0.2))
            if self._ffc_state(number / self.rate_hz) == "gap":
                self._next, number = number + 1, -1
        ffc = self._ffc_state(number / self.rate_hz) == "frozen"
        if ffc and self._frozen is not None:
            playback.at(now_s)
            pixels = self._frozen
        else:
            scenario, t_s = playback.at(now_s)
            pixels = self._frozen = self.picture(scenario, t_s, elapsed_s, number)
        self._next = number + 1
        row = np.empty((1, self.spec.channel_count), np.int16)
        row[0, :-2] = pixels.ravel()
        row[0, -2:] = (number % 32768, int(ffc))
        return Block(self.spec, np.array([now_s]), row, number)

    def close(self) -> None:
        super().close()
        self._renderer = None
        self._frozen = None

    def picture(self, scenario: Scenario, t_s: float, elapsed_s: float, number: int) -> NDArray[np.int16]:
        """Centi-degC int16 [120, 160] of one moment of a scenario; the source must be open.

        Args:
            scenario, t_s: What is seen.
            elapsed_s: Time since the camera was switched on (drift and corrections).
            number: Frame number (noise).
        """
        if self._renderer is None:
            raise RuntimeError("SimulatedThermal.picture before open")
        skin = resting_skin()
        nodes = self._renderer.nodes(scenario.activations(t_s), scenario.head_pose(t_s))
        rows = nodes[self._row] * (1 - self._row_share) + nodes[self._row + 1] * self._row_share
        left, right = rows[:, self._column], rows[:, self._column + 1]
        at = np.asarray(left + (right - left) * self._column_share + MARGIN_PX, dtype=np.float32)
        at_x, at_y = at[..., 0], at[..., 1]
        celsius = _sampled(skin.celsius, at_x, at_y)
        for region, change in self._state(scenario, t_s).items():
            if abs(change) > 1e-3:
                celsius += np.float32(change) * _sampled(skin.weights[region], at_x, at_y)
        rng = np.random.default_rng([self.seed, 11, number])
        celsius += rng.standard_normal(celsius.shape, dtype=np.float32) * np.float32(self.noise_celsius)
        celsius += self._pattern + np.float32(self.offset_celsius(elapsed_s))
        centi = np.asarray(np.round(celsius * 100.0), dtype=np.int16)
        centi[self._dead] = INVALID_CENTI_CELSIUS
        return centi

    def true_roi_celsius(self, t_s: float, scenario: Scenario | None = None) -> dict[str, float]:
        """True mean skin temperature (degC) of every region in `ROIS` at a time of the scenario.

        Without what the camera adds: `offset_celsius`, pattern and noise.
        """
        return roi_celsius(self._state(scenario or self.scenario, t_s))

    def roi_positions_px(
        self, t_s: float, scenario: Scenario | None = None
    ) -> dict[str, tuple[float, float]]:
        """Where the regions' centres are in the thermal picture (px) at a time of the scenario."""
        if self._renderer is None:
            raise RuntimeError("SimulatedThermal.roi_positions_px before open")
        script = scenario or self.scenario
        centers = np.array([(x, y) for x, y, _ in ROIS.values()])
        found = to_thermal_px(self._renderer.locate(centers, script.activations(t_s), script.head_pose(t_s)))
        return {region: (float(x), float(y)) for region, (x, y) in zip(ROIS, found, strict=True)}

    def offset_celsius(self, elapsed_s: float) -> float:
        """What the camera adds to all temperatures, this long after it was switched on."""
        warm_up = self.drift_celsius * (math.exp(-max(elapsed_s, 0.0) / 8.0) - 1.0)
        wander = 0.2 * self.drift_celsius * math.sin(2 * math.pi * elapsed_s / 97.0 + self.seed)
        jump = 0.0
        for k, ffc_s in enumerate(self._ffc_times(elapsed_s)):
            size = np.random.default_rng([self.seed, 13, k]).uniform(0.5, 0.8)
            since_s = elapsed_s - ffc_s - FFC_GAP_S
            if since_s >= -1e-6:
                jump += size * math.exp(-max(since_s, 0.0) / 60.0)
        return warm_up + wander + jump

    def _ffc_times(self, until_s: float) -> list[float]:
        if self.ffc_period_s <= 0 or until_s < self.first_ffc_s:
            return []
        count = int((until_s - self.first_ffc_s) // self.ffc_period_s) + 1
        # Older corrections have relaxed.
        return [self.first_ffc_s + k * self.ffc_period_s for k in range(max(0, count - 4), count)]

    def _ffc_state(self, elapsed_s: float) -> str:
        times = self._ffc_times(elapsed_s)
        if not times or elapsed_s - times[-1] >= FFC_GAP_S:
            return "open"
        return "frozen" if elapsed_s - times[-1] < 2.0 / self.rate_hz else "gap"

    def _due_s(self, number: int) -> float:
        jitter = np.random.default_rng([self.seed, 15, number]).uniform(0.0, 0.06)
        return (number + float(jitter)) / self.rate_hz

    def _state(self, scenario: Scenario, t_s: float) -> dict[str, float]:
        if id(scenario) not in self._body:
            if len(self._body) > 3:
                self._body.clear()
            self._body[id(scenario)] = _Physiology(scenario)
        return self._body[id(scenario)].at(t_s)
