"""A radiometric face with known temperatures for the thermal tests, made from a public-domain photograph."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, FrameFormat, Kind, SampleType, StreamSpec
from processing.landmarks import FaceMesh
from processing.thermal_regions import POLYGONS, REGIONS

HEIGHT, WIDTH = 120, 160
FINE = 4
RATE_HZ = 8.77


def thermal_spec(**metadata: str) -> StreamSpec:
    return StreamSpec(
        "Test Lepton",
        Kind.THERMAL,
        (Channel("frame_number"), Channel("ffc")),
        0.0,
        SampleType.INT16,
        "test-lepton",
        FrameFormat(WIDTH, HEIGHT, "centi_celsius"),
        metadata,
    )


@cache
def portrait() -> tuple[NDArray[np.float32], NDArray[np.float64], dict[str, NDArray[np.float32]]]:
    """Temperature map (FINE pixels per camera pixel), mesh in camera pixels, and a mask per region."""
    photo = skimage.data.astronaut()
    with FaceMesh("image") as mesh:
        found = mesh.detect(photo, 0.0)
    assert found is not None
    zoom = 0.68 * FINE
    centre = np.array([225.0, 125.0])
    middle = np.array([WIDTH, HEIGHT]) * FINE / 2
    place = np.array([[zoom, 0, middle[0] - zoom * centre[0]], [0, zoom, middle[1] - zoom * centre[1]]])
    size = (WIDTH * FINE, HEIGHT * FINE)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    large = cv2.warpAffine(grey, place, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    points = found.points_px[:, :2].astype(np.float64) @ place[:, :2].T + place[:, 2]
    hull = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2)
    face = np.zeros(large.shape, np.uint8)
    cv2.fillConvexPoly(face, hull.astype(np.int32), 1)
    skin = cv2.GaussianBlur(face.astype(np.float32), (0, 0), 1.5 * FINE)
    celsius = 23.0 + 0.8 * large + skin * (9.6 + 2.4 * (large - 0.5))
    celsius = cv2.GaussianBlur(celsius, (0, 0), 0.6 * FINE)
    masks = {}
    for name in REGIONS:
        mask = np.zeros(large.shape, np.uint8)
        cv2.fillPoly(mask, [points[list(POLYGONS[name])].astype(np.int32)], 1)
        mask = cv2.dilate(mask, np.ones((2 * FINE + 1, 2 * FINE + 1), np.uint8))
        masks[name] = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.3 * FINE)
    return celsius, (points + 0.5) / FINE - 0.5, masks


@dataclass
class Scene:
    """What happens to the face; times in seconds from the start, arrays [frames]."""

    times: NDArray[np.float64]
    shift_px: NDArray[np.float64]
    roll_deg: NDArray[np.float64]
    drift: NDArray[np.float64]
    warming: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    noise: float = 0.02

    @classmethod
    def still(cls, seconds: float, noise: float = 0.02) -> Scene:
        n = int(seconds * RATE_HZ)
        return cls(np.arange(n) / RATE_HZ, np.zeros((n, 2)), np.zeros(n), np.zeros(n), noise=noise)

    def warp(self, i: int) -> NDArray[np.float64]:
        """Camera pixels of the portrait to those of frame `i`."""
        rotation = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), float(self.roll_deg[i]), 1.0)
        rotation[:, 2] += self.shift_px[i]
        return np.asarray(rotation)

    def frame(self, i: int, rng: np.random.Generator) -> NDArray[np.int16]:
        celsius, _, masks = portrait()
        celsius = celsius.copy()
        for name, change in self.warming.items():
            celsius += np.float32(change[i]) * masks[name]
        warp = self.warp(i)
        fine = warp.copy()
        fine[:, 2] = warp[:, 2] * FINE + (FINE - 1) / 2 * (1 - warp[:, :2].sum(axis=1))
        moved = cv2.warpAffine(
            celsius, fine, celsius.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        small = cv2.resize(moved, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        small = small + self.drift[i] + rng.normal(0, self.noise, small.shape)
        return np.round(small * 100).astype(np.int16)

    def frames(self, seed: int = 0) -> NDArray[np.int16]:
        rng = np.random.default_rng(seed)
        return np.stack([self.frame(i, rng) for i in range(len(self.times))])


def true_deltas(scene: Scene) -> dict[str, NDArray[np.float64]]:
    """Change of each region's mean [frames] minus the forehead's; the forehead's own with the drift."""
    _, mesh, masks = portrait()
    changes = {}
    for region in REGIONS:
        inside = np.zeros(masks[region].shape, np.uint8)
        corners = (mesh[list(POLYGONS[region])] + 0.5) * FINE - 0.5
        cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 1)
        changes[region] = np.zeros(len(scene.times))
        for name, change in scene.warming.items():
            changes[region] += change * float(masks[name][inside > 0].mean())
    forehead = changes["forehead"]
    return {
        region: change - forehead if region != "forehead" else change + scene.drift
        for region, change in changes.items()
    }


def block_of(
    frames: NDArray[np.int16],
    times: NDArray[np.float64],
    ffc: NDArray[Any] | None = None,
    spec: StreamSpec | None = None,
    first: int = 0,
) -> Block:
    spec = spec or thermal_spec()
    n = len(frames)
    data = np.zeros((n, spec.channel_count), np.int16)
    data[:, : HEIGHT * WIDTH] = frames.reshape(n, -1)
    data[:, spec.index("frame_number")] = (first + np.arange(n)) % 32768
    if ffc is not None:
        data[:, spec.index("ffc")] = ffc
    return Block(spec, np.asarray(times, np.float64) + 100.0, data, first)


class ScriptedFinder:
    """Knows where the face is: the portrait's mesh, moved by the warp that `where` gives, plus jitter."""

    def __init__(self, jitter_px: float = 0.0) -> None:
        self.calls = 0
        self.visible = True
        self.warp = np.eye(2, 3)
        self._rng = np.random.default_rng(3)
        self._jitter_px = jitter_px

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        self.calls += 1
        assert rgb.shape == (HEIGHT * 4, WIDTH * 4, 3) and rgb.dtype == np.uint8
        if not self.visible:
            return None
        _, mesh, _ = portrait()
        points = mesh @ self.warp[:, :2].T + self.warp[:, 2]
        points = points + self._rng.normal(0, self._jitter_px, points.shape) if self._jitter_px else points
        return (points + 0.5) * 4 - 0.5
