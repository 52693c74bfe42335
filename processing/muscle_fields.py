"""How each facial muscle moves the skin, as data: `data/muscle_fields.toml`.

A muscle pulls skin from its insertion towards its bony origin (Waters, SIGGRAPH 1987, p. 17). Each pull is
written as a stroke: a landmark on the insertion, the direction and length of the pull at full contraction
(FACS intensity E), and how far it spreads. Where the strokes sit follows Gray's Anatomy for Students (2009),
chapter 8, and the FACS manual (Ekman, Friesen & Hager 2002); how far they pull was fitted to faces whose
action units are known. Muscles run differently from face to face: such a muscle has several courses. Names
follow figure 1 of Dong et al. (2022). Lengths are in inter-ocular distances (IOD).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

# fmt: off
UPPER_LIP = frozenset(
    (185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408,
     183, 42, 41, 38, 12, 268, 271, 272, 407, 191, 80, 81, 82, 13, 312, 311, 310, 415)
)
LOWER_LIP = frozenset(
    (146, 91, 181, 84, 17, 314, 405, 321, 375, 77, 90, 180, 85, 16, 315, 404, 320, 307,
     96, 89, 179, 86, 15, 316, 403, 319, 325, 95, 88, 178, 87, 14, 317, 402, 318, 324)
)
LIP_CORNERS = frozenset((61, 76, 62, 78, 291, 306, 292, 308))
UPPER_LIDS = frozenset(
    (246, 161, 160, 159, 158, 157, 173, 247, 30, 29, 27, 28, 56, 190,
     466, 388, 387, 386, 385, 384, 398, 467, 260, 259, 257, 258, 286, 414)
)
LOWER_LIDS = frozenset(
    (7, 163, 144, 145, 153, 154, 155, 25, 110, 24, 23, 22, 26, 112,
     249, 390, 373, 374, 380, 381, 382, 255, 339, 254, 253, 252, 256, 341)
)
EYE_CORNERS = frozenset((33, 133, 263, 362, 130, 243, 359, 463))
BROWS = frozenset(
    (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
)
NOSE_WINGS = frozenset(
    (48, 64, 98, 115, 131, 129, 102, 219, 240, 278, 294, 327, 344, 360, 358, 331, 439, 460)
)
IRISES = frozenset(range(468, 478))
FACE_OVAL = frozenset(
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
     152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
)
CHIN = frozenset((18, 83, 182, 106, 43, 313, 406, 335, 273, 200, 201, 421, 199, 208, 428, 194, 418))

# fmt: on

EYES = LOWER_LIDS | UPPER_LIDS | EYE_CORNERS
LIPS = UPPER_LIP | LOWER_LIP | LIP_CORNERS
SKIN = frozenset(range(478))

TISSUES: Mapping[str, frozenset[int]] = {
    "skin": SKIN,
    "skin_but_eyes": SKIN - EYES,
    "skin_but_lips": SKIN - LIPS,
    "eyes": EYES,
    "upper_lids": UPPER_LIDS,
    "lower_lids": LOWER_LIDS,
    "upper_lip": UPPER_LIP,
    "lower_lip": LOWER_LIP,
    "lower_lip_and_chin": LOWER_LIP | CHIN,
}
"""Landmarks that a stroke may move, by the name of what they lie on."""

LANDMARK_NOISE_IOD: tuple[tuple[frozenset[int], float], ...] = (
    (IRISES, np.inf),  # they follow gaze
    (FACE_OVAL, 0.03),  # silhouette against background and hair
    (UPPER_LIDS | LOWER_LIDS | EYE_CORNERS, 0.006),
    (UPPER_LIP | LOWER_LIP | LIP_CORNERS, 0.006),
    (BROWS | NOSE_WINGS, 0.007),
)
"""Standard deviation that a landmark's misfit is weighed with, per group."""

OTHER_NOISE_IOD = 0.012

LANDMARK_JITTER: tuple[tuple[frozenset[int], float, float], ...] = (
    (BROWS, 1.7, 0.55),
    (UPPER_LIDS | LOWER_LIDS, 1.2, 0.45),
    (NOSE_WINGS, 1.7, 0.55),
    (UPPER_LIP, 2.0, 0.7),
    (LOWER_LIP, 2.1, 0.75),
    (LIP_CORNERS, 2.3, 0.55),
    (CHIN, 2.1, 0.9),
    (FACE_OVAL, 2.1, 0.15),
)
"""How landmarks tremble on a face that holds still: group, standard deviation as a multiple of that of canthi
and nasal bridge, share of the variance that the whole group has in common. Measured on six rendered heads in
four expressions at three levels of camera noise; landmarks not listed tremble like canthi and bridge."""

BLENDSHAPE_JITTER_PER_IOD = 6.0
"""Standard deviation of a blendshape on such a face per IOD of the jitter of canthi and bridge."""


@dataclass(frozen=True)
class Stroke:
    """One pull on the skin.

    Attributes:
        anchor: Landmark that moves most: (subject's right, subject's left).
        outward, up: Displacement at full contraction, IOD; outward is away from the midline.
        reach: Gaussian radius of the spread, horizontally and vertically, IOD.
        tissue: Name of what may move, see `TISSUES`.
    """

    anchor: tuple[int, int]
    outward: float
    up: float
    reach: tuple[float, float]
    tissue: str = "skin"


@dataclass(frozen=True)
class Course:
    """One way in which a muscle runs and moves the skin.

    Attributes:
        strokes: Its displacement field.
        blendshapes: Response of MediaPipe blendshapes (without Left/Right) at full contraction, where they
            are good; see `BLENDSHAPE_NOISE`.
        reluctance: How much more evidence it takes than the others to be believed in.
        jaw: How far the mandible falls with it, as a share of `JAW_DROP_IOD`; see `jaw_share`.
    """

    strokes: tuple[Stroke, ...]
    blendshapes: Mapping[str, float]
    reluctance: float = 1.0
    jaw: float = 0.0


@dataclass(frozen=True)
class Muscle:
    """A muscle, or a part of one that acts on its own.

    Attributes:
        name: Identifier, e.g. ``zygomaticus_major``.
        latin: Name in figure 1 of the paper and the textbooks.
        action_unit: The AU it produces.
        paired: One activation per side; False for muscles that act across the midline.
        courses: Its displacement fields, the usual one first.
        evidence: Share of the usual evidence that it takes in a face that hardly moves: some actions are far
            more common than those they are mistaken for.
    """

    name: str
    latin: str
    action_unit: int
    paired: bool
    courses: tuple[Course, ...]
    evidence: float = 1.0

    @property
    def strokes(self) -> tuple[Stroke, ...]:
        """Pulls of the usual course; the mandible's fall is one at the lower lip."""
        course = self.courses[0]
        fall = Stroke((17, 17), 0.0, -JAW_DROP_IOD * course.jaw, (1.0, 1.0))
        return (fall, *course.strokes) if course.jaw else course.strokes


JAW_DROP_IOD = 0.45
"""Fall of the lower lip's edge at full opening (AU27)."""


def _stroke(row: list[Any]) -> Stroke:
    right, left, outward, up, reach_x, reach_y, tissue = row
    if tissue not in TISSUES:
        raise ValueError(f"{tissue!r} is no tissue of the face")
    return Stroke((right, left), outward, up, (reach_x, reach_y), tissue)


def _muscle(table: Mapping[str, Any]) -> Muscle:
    courses = tuple(
        Course(
            tuple(_stroke(row) for row in course["strokes"]),
            course.get("blendshapes", {}),
            course.get("reluctance", 1.0),
            course.get("jaw", 0.0),
        )
        for course in table["course"]
    )
    return Muscle(
        table["name"],
        table["latin"],
        table["action_unit"],
        table["paired"],
        courses,
        table.get("evidence", 1.0),
    )


def _read() -> tuple[Muscle, ...]:
    text = (files("processing") / "data" / "muscle_fields.toml").read_text(encoding="utf-8")
    return tuple(_muscle(table) for table in tomllib.loads(text)["muscle"])


_ALL = _read()

MUSCLES: tuple[Muscle, ...] = _ALL[:-1]
"""The muscles, in the order of the model's unknowns."""

JAW: Muscle = _ALL[-1]
"""What lets the mandible fall, which turns as one bone: its fields are `jaw_share` and what strokes add."""

BLENDSHAPE_NOISE: Mapping[str, float] = {
    "browInnerUp": 0.35,
    "browOuterUp": 0.4,
    "eyeWide": 0.2,
    "eyeSquint": 0.3,
    "eyeBlink": 0.2,
    "mouthUpperUp": 0.25,
    "mouthSmile": 0.2,
    "mouthLowerDown": 0.4,
    "mouthShrugLower": 0.3,
    "mouthPucker": 0.2,
    "mouthFunnel": 0.25,
    "mouthPress": 0.35,
    "mouthRollLower": 0.25,
    "mouthRollUpper": 0.25,
    "jawOpen": 0.1,
}
"""Blendshapes that enter, with the standard deviation of their misfit. Those not listed are dead or mislead
on real faces (cheekSquint, noseSneer, cheekPuff, mouthDimple, mouthStretch, mouthFrown, browDown)."""


def jaw_share(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each landmark of a neutral face [478, 3] follows the mandible, 0-1 [478].

    The lower lip is pulled along with its middle leading, the chin's skin lags a little behind the bone, and
    towards the angle of the jaw, near the hinge, the fall fades out.
    """
    mouth_y = 0.5 * (points[61, 1] + points[291, 1])
    depth = np.clip((points[:, 1] - mouth_y + 0.1) / (points[152, 1] - mouth_y), 0.0, 1.0)
    central = np.exp(-0.5 * (points[:, 0] / 0.42) ** 2)
    share: NDArray[np.float64] = np.clip(4.0 * depth, 0.0, 1.0) * central * (1.0 - 0.3 * depth)
    upper = list(UPPER_LIP)
    half_width = 0.5 * abs(points[291, 0] - points[61, 0]) + 1e-9
    share[upper] = 0.03 + 0.2 * np.abs(points[upper, 0] / half_width) ** 3
    share[list(LIP_CORNERS)] = 0.44
    lower = list(LOWER_LIP)
    share[lower] = np.clip(1.0 - 0.56 * np.abs(points[lower, 0] / half_width) ** 3, 0.44, 1.0)
    return share
