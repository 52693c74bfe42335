"""A thermal face whose regions warm by known amounts, filmed by a camera with all its faults at once.

Where `SimulatedThermal` plays a person's life, this makes test films: size, place and tilt of the face, sway
and turns of the head, cold glasses and noses, warm things behind, drift, corrections (FFC), dead pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import INVALID_CENTI_CELSIUS

Image: TypeAlias = NDArray[np.float32]

_FFC_GAP_S = 2.05
_RISE_S = 4.0


@dataclass(frozen=True, eq=False)
class ThermalPerson:
    """Skin at rest and where its features are.

    Attributes:
        celsius: float32 [height, width], finer than any camera that is simulated with it.
        mesh_px: float64 [478, 2], the face mesh in pixels of `celsius`.
    """

    celsius: Image
    mesh_px: NDArray[np.float64]

    @property
    def width_px(self) -> float:
        """Width of the face mesh in pixels of `celsius`."""
        return float(np.ptp(self.mesh_px[:, 0]))

    @property
    def center_px(self) -> NDArray[np.float64]:
        """Middle of the face mesh's bounding box."""
        return np.asarray(0.5 * (self.mesh_px.min(axis=0) + self.mesh_px.max(axis=0)))


@dataclass(frozen=True, eq=False)
class ThermalFrame:
    """One picture: int16 centi-degC [height, width] with its time and the camera's word on its shutter."""

    time_s: float
    number: int
    centi: NDArray[np.int16]
    ffc: bool


@dataclass(frozen=True, eq=False)
class ThermalScene:
    """What is filmed and how; iterate `frames`.

    Attributes:
        person: Whose face.
        width, height, rate_hz: Of the camera.
        duration_s: Length of the film.
        face_width_px: Width of the face mesh in the picture.
        offset_px: Its middle from the picture's middle.
        tilt_deg: Head tilted sideways, counter-clockwise.
        sway_px, sway_hz: The head wanders by +- this much across and, at another pace, half of it down.
        roll_deg, turn_deg: Amplitudes of rolling and of turning left and right.
        glasses: Cold lenses over the eyes.
        cold_nose_celsius: How much colder the nose tip is than it would be.
        warm_objects: Number of lamps and cups of 28 to 45 degC behind and beside the face.
        warming: Change of a region in degC, by region: rises from `rest_s` on with a time constant of 4 s.
        regions: Corners of the regions, vertices of the mesh.
        rest_s: Until then nothing warms.
        drift_celsius: All temperatures fall by as much over the film, exponentially.
        noise_celsius: Per pixel and frame; `pattern_celsius` is the same in every frame.
        line_noise_celsius: The same in a whole row or column of a frame; `flicker_celsius` in all of it.
        dead_pixels, dead_rows: Never give a temperature, and give a wrong one.
        ffc_at_s: Start of flat-field corrections: two frozen frames, a gap of 2.05 s, a step of .6 degC.
        flagged: The camera tells of them.
        noise: Recorded noise [frame, height, width], degC, instead of `noise_celsius`; repeated as needed.
        seed: Of everything random.
    """

    person: ThermalPerson
    regions: Mapping[str, tuple[int, ...]]
    width: int = 160
    height: int = 120
    rate_hz: float = 8.77
    duration_s: float = 16.0
    face_width_px: float = 62.0
    offset_px: tuple[float, float] = (0.0, 0.0)
    tilt_deg: float = 0.0
    sway_px: float = 10.0
    sway_hz: float = 0.23
    roll_deg: float = 2.0
    turn_deg: float = 0.0
    glasses: bool = False
    cold_nose_celsius: float = 0.0
    warm_objects: int = 0
    warming: Mapping[str, float] = field(default_factory=dict)
    rest_s: float = 5.0
    drift_celsius: float = 0.5
    noise_celsius: float = 0.02
    pattern_celsius: float = 0.02
    line_noise_celsius: float = 0.0
    flicker_celsius: float = 0.0
    dead_pixels: int = 0
    dead_rows: tuple[int, ...] = ()
    ffc_at_s: tuple[float, ...] = ()
    flagged: bool = True
    noise: Image | None = None
    seed: int = 0

    @property
    def scale(self) -> float:
        """Pixels of the person's map per pixel of the camera."""
        return self.person.width_px / self.face_width_px

    @cached_property
    def _skin(self) -> Image:
        skin = self.person.celsius.copy()
        mesh, iod = self.person.mesh_px, self._eye_distance_px
        y, x = np.mgrid[0 : skin.shape[0], 0 : skin.shape[1]].astype(np.float32)
        if self.cold_nose_celsius:
            skin -= np.float32(self.cold_nose_celsius) * _bell(x, y, mesh[4], 0.16 * iod)
        if self.glasses:
            for outer, inner in ((33, 133), (263, 362)):
                at = 0.5 * (mesh[outer] + mesh[inner])
                lens = ((x - at[0]) / (0.26 * iod)) ** 4 + ((y - at[1] - 0.03 * iod) / (0.2 * iod)) ** 4 < 1
                skin[lens] = 27.5 + 0.02 * (skin[lens] - 27.5)
        return np.asarray(cv2.GaussianBlur(skin, (0, 0), 0.45 * self.scale), dtype=np.float32)

    @property
    def _eye_distance_px(self) -> float:
        return float(np.hypot(*(self.person.mesh_px[263] - self.person.mesh_px[33])))

    @cached_property
    def _fields(self) -> dict[str, Image]:
        """What one degree of warming of each region adds to the skin."""
        shape = self.person.celsius.shape
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        fields = {}
        for region in self.warming:
            corners = self.person.mesh_px[list(self.regions[region])]
            spread = 0.75 * float(np.sqrt(np.prod(np.ptp(corners, axis=0))))
            fields[region] = _bell(x, y, corners.mean(axis=0), max(spread, 0.12 * self._eye_distance_px))
        return fields

    @cached_property
    def _depth(self) -> Image:
        """How far the skin stands out, pixels of the map: an ellipsoid with a nose."""
        shape = self.person.celsius.shape
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        cx, cy = self.person.center_px
        half = 0.5 * self.person.width_px
        dome = np.sqrt(np.maximum(0.0, 1 - ((x - cx) / (1.3 * half)) ** 2 - ((y - cy) / (1.7 * half)) ** 2))
        nose = _bell(x, y, self.person.mesh_px[4], 0.2 * half)
        return np.asarray(half * dome + 0.35 * half * nose, dtype=np.float32)

    @cached_property
    def _weights(self) -> dict[str, dict[str, float]]:
        """Mean of each field over each region."""
        table: dict[str, dict[str, float]] = {}
        for region, corners in self.regions.items():
            mask = np.zeros(self.person.celsius.shape, np.uint8)
            cv2.fillPoly(mask, [np.round(self.person.mesh_px[list(corners)]).astype(np.int32)], 1)
            table[region] = {name: float(area[mask > 0].mean()) for name, area in self._fields.items()}
        return table

    def rise(self, time_s: float) -> float:
        """Share of the warming that is there, 0-1."""
        return 1.0 - math.exp(-max(0.0, time_s - self.rest_s) / _RISE_S)

    def true_change(self, time_s: float) -> dict[str, float]:
        """Change of each region's mean temperature from rest, degC, the camera's faults apart."""
        rise = self.rise(time_s)
        return {
            region: rise * sum(self.warming[name] * share for name, share in shares.items())
            for region, shares in self._weights.items()
        }

    def drift_at(self, time_s: float) -> float:
        """What the camera adds to all temperatures, degC."""
        steps = sum(0.6 for at_s in self.ffc_at_s if time_s >= at_s + _FFC_GAP_S)
        return self.drift_celsius * (math.exp(-time_s / (0.5 * self.duration_s)) - 1.0) + steps

    def place(self, time_s: float) -> NDArray[np.float64]:
        """The map [2, 3] from pixels of the person's skin to pixels of the picture, turns apart."""
        phase = 2 * math.pi * self.sway_hz * time_s + self.seed
        sway = self.sway_px * np.array([math.sin(phase), 0.5 * math.sin(0.7 * phase + 1.0)])
        angle = math.radians(self.tilt_deg + self.roll_deg * math.sin(0.6 * phase + 2.0))
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = np.array([[cosine, sine], [-sine, cosine]]) / self.scale
        middle = 0.5 * np.array([self.width - 1, self.height - 1]) + self.offset_px + sway
        return np.column_stack([turn, middle - turn @ self.person.center_px])

    def mesh_at(self, time_s: float) -> NDArray[np.float64]:
        """The face mesh [478, 2] in pixels of the picture, turns apart."""
        place = self.place(time_s)
        return np.asarray(self.person.mesh_px @ place[:, :2].T + place[:, 2])

    def picture(self, time_s: float, number: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """Centi-degC of one moment."""
        back = cv2.invertAffineTransform(self.place(time_s))
        v, u = np.mgrid[0 : self.height, 0 : self.width].astype(np.float64)
        x = (back[0, 0] * u + back[0, 1] * v + back[0, 2]).astype(np.float32)
        y = (back[1, 0] * u + back[1, 1] * v + back[1, 2]).astype(np.float32)
        yaw = math.radians(self.turn_deg) * math.sin(2 * math.pi * 0.13 * time_s + self.seed)
        if self.turn_deg:
            x = (x + _sampled(self._depth, x, y) * np.float32(math.sin(yaw))).astype(np.float32)
        celsius = _sampled(self._skin, x, y)
        rise = self.rise(time_s)
        for region, area in self._fields.items():
            celsius += np.float32(rise * self.warming[region]) * _sampled(area, x, y)
        self._add_objects(celsius)
        celsius += np.float32(self.drift_at(time_s)) + self._pattern
        if self.noise is not None:
            celsius += self.noise[number % len(self.noise)]
        else:
            celsius += rng.normal(0.0, self.noise_celsius, celsius.shape).astype(np.float32)
        if self.line_noise_celsius or self.flicker_celsius:
            lines = rng.normal(size=(self.height, 1)) + rng.normal(size=(1, self.width))
            shared = self.line_noise_celsius * lines + self.flicker_celsius * rng.normal()
            celsius += shared.astype(np.float32)
        centi = np.asarray(np.round(100.0 * celsius), dtype=np.int16)
        centi[list(self.dead_rows)] = 1800
        places = np.random.default_rng([self.seed, 3]).choice(centi.size, self.dead_pixels, replace=False)
        centi.flat[places[::2]] = INVALID_CENTI_CELSIUS
        centi.flat[places[1::2]] = 4700
        return centi

    @cached_property
    def _pattern(self) -> Image:
        rng = np.random.default_rng([self.seed, 1])
        shape = (self.height, self.width)
        pattern = rng.normal(size=shape) + 0.4 * rng.normal(size=(1, self.width))
        return np.asarray(self.pattern_celsius * pattern, dtype=np.float32)

    def _add_objects(self, celsius: Image) -> None:
        rng = np.random.default_rng([self.seed, 2])
        wall = celsius < 26.0
        for _ in range(self.warm_objects):
            x, y = rng.uniform(0, self.width), rng.uniform(0, self.height)
            size = rng.uniform(4, 14)
            thing = np.zeros(celsius.shape, np.uint8)
            cv2.ellipse(thing, ((x, y), (size, 2 * size), rng.uniform(0, 180)), 1, -1)
            celsius[wall & (thing > 0)] = rng.uniform(28, 45)

    def frames(self) -> Iterator[ThermalFrame]:
        """The film."""
        rng = np.random.default_rng([self.seed, 4])
        frozen: NDArray[np.int16] | None = None
        number = 0
        for tick in range(int(self.duration_s * self.rate_hz)):
            time_s = tick / self.rate_hz
            since_s = min((time_s - at_s for at_s in self.ffc_at_s if time_s >= at_s), default=math.inf)
            if since_s < _FFC_GAP_S:
                if since_s < 2.0 / self.rate_hz and frozen is not None:
                    yield ThermalFrame(time_s, number, frozen, self.flagged)
                    number += 1
                continue
            frozen = self.picture(time_s, number, rng)
            yield ThermalFrame(time_s, number, frozen, False)
            # Cameras do not count frames that they never made.
            number += 1


def _bell(x: Image, y: Image, at: NDArray[np.float64], spread: float) -> Image:
    return np.asarray(
        np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / spread**2),
        dtype=np.float32,
    )


def _sampled(area: Image, x: Image, y: Image) -> Image:
    values = cv2.remap(area, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, dtype=np.float32)
