"""How each facial muscle moves the skin: displacement fields authored from anatomy, as data.

A muscle pulls skin from its insertion towards its bony origin (Waters, SIGGRAPH 1987, p. 17). Each pull is
written as a stroke: a landmark on the insertion, the direction and length of the pull at full contraction
(FACS intensity E), and how far it spreads. Lines of action follow Gray's Anatomy for Students (2009), chapter 8;
what each action unit looks like follows the FACS manual (Ekman, Friesen & Hager 2002); muscle names and nerve
branches follow figure 1 of Dong et al. (2022). Lengths are in inter-ocular distances (IOD).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

UPPER_LIP = frozenset(
    (185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408)
    + (183, 42, 41, 38, 12, 268, 271, 272, 407, 191, 80, 81, 82, 13, 312, 311, 310, 415)
)
LOWER_LIP = frozenset(
    (146, 91, 181, 84, 17, 314, 405, 321, 375, 77, 90, 180, 85, 16, 315, 404, 320, 307)
    + (96, 89, 179, 86, 15, 316, 403, 319, 325, 95, 88, 178, 87, 14, 317, 402, 318, 324)
)
LIP_CORNERS = frozenset((61, 76, 62, 78, 291, 306, 292, 308))
UPPER_LIDS = frozenset(
    (246, 161, 160, 159, 158, 157, 173, 247, 30, 29, 27, 28, 56, 190)
    + (466, 388, 387, 386, 385, 384, 398, 467, 260, 259, 257, 258, 286, 414)
)
LOWER_LIDS = frozenset(
    (7, 163, 144, 145, 153, 154, 155, 25, 110, 24, 23, 22, 26, 112)
    + (249, 390, 373, 374, 380, 381, 382, 255, 339, 254, 253, 252, 256, 341)
)
EYE_CORNERS = frozenset((33, 133, 263, 362, 130, 243, 359, 463))
BROWS = frozenset(
    (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
)
IRISES = frozenset(range(468, 478))
FACE_OVAL = frozenset(
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
    + (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
)
CHIN = frozenset((18, 83, 182, 106, 43, 313, 406, 335, 273, 200, 201, 421, 199, 208, 428, 194, 418))

JAW_FREE = UPPER_LIP | LIP_CORNERS
"""Tissue near the lower lip that hangs on the upper jaw."""

LANDMARK_NOISE_IOD: tuple[tuple[frozenset[int], float], ...] = (
    (IRISES, np.inf),  # they follow gaze
    (FACE_OVAL, 0.03),  # silhouette against background and hair
    (UPPER_LIDS | LOWER_LIDS | EYE_CORNERS, 0.006),
    (UPPER_LIP | LOWER_LIP | LIP_CORNERS, 0.006),
    (BROWS, 0.007),
)
"""Standard deviation that a landmark's misfit is weighed with, per group."""

OTHER_NOISE_IOD = 0.012


@dataclass(frozen=True)
class Stroke:
    """One pull on the skin.

    Attributes:
        anchor: Landmark that moves most: (subject's right, subject's left).
        outward, up: Displacement at full contraction, IOD; outward is away from the midline.
        reach: Gaussian radius of the spread, horizontally and vertically, IOD.
        only: Landmarks that may move; empty = all.
        spares: Landmarks that stay, though near.
    """

    anchor: tuple[int, int]
    outward: float
    up: float
    reach: tuple[float, float]
    only: frozenset[int] = frozenset()
    spares: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Muscle:
    """A muscle, or a part of one that acts on its own.

    Attributes:
        name: Identifier, e.g. ``zygomaticus_major``.
        latin: Name in figure 1 of the paper and the textbooks.
        action_unit: The AU it produces.
        paired: One activation per side; False for muscles that act across the midline.
        strokes: Its displacement field.
        blendshapes: Response of MediaPipe blendshapes (without Left/Right) at full contraction, where they
            are good; see `BLENDSHAPE_NOISE`.
    """

    name: str
    latin: str
    action_unit: int
    paired: bool
    strokes: tuple[Stroke, ...]
    blendshapes: Mapping[str, float] = field(default_factory=dict)


BROW_LID_SPARED = LOWER_LIDS | UPPER_LIDS | EYE_CORNERS

MUSCLES: tuple[Muscle, ...] = (
    Muscle(
        "frontalis_medialis",
        "frontalis, pars medialis",
        1,
        True,
        (
            Stroke((55, 285), 0.0, 0.08, (0.16, 0.14), spares=BROW_LID_SPARED),
            Stroke((107, 336), 0.0, 0.06, (0.16, 0.25), spares=BROW_LID_SPARED),
        ),
        {"browInnerUp": 0.6},
    ),
    Muscle(
        "frontalis_lateralis",
        "frontalis, pars lateralis",
        2,
        True,
        (
            Stroke((63, 293), 0.0, 0.08, (0.16, 0.14), spares=BROW_LID_SPARED),
            Stroke((70, 300), 0.0, 0.04, (0.16, 0.25), spares=BROW_LID_SPARED),
        ),
        {"browOuterUp": 0.6},
    ),
    Muscle(
        "corrugator_supercilii",
        "corrugator supercilii, depressor supercilii",
        4,
        True,
        (
            Stroke((55, 285), -0.03, -0.07, (0.2, 0.2), spares=BROW_LID_SPARED),
            Stroke((105, 334), -0.02, -0.03, (0.25, 0.2), spares=BROW_LID_SPARED),
        ),
    ),
    Muscle(
        "levator_palpebrae",
        "levator palpebrae superioris",
        5,
        True,
        (Stroke((159, 386), 0.0, 0.05, (0.16, 0.08), only=UPPER_LIDS),),
        {"eyeWide": 0.6},
    ),
    Muscle(
        "orbicularis_oculi_orbital",
        "orbicularis oculi, pars orbitalis",
        6,
        True,
        (
            Stroke((50, 280), 0.0, 0.05, (0.25, 0.2)),
            Stroke((33, 263), 0.01, -0.015, (0.12, 0.1), only=BROW_LID_SPARED),
            Stroke((145, 374), 0.0, 0.025, (0.2, 0.1), only=LOWER_LIDS),
        ),
    ),
    Muscle(
        "orbicularis_oculi_palpebral",
        "orbicularis oculi, pars palpebralis",
        7,
        True,
        (
            Stroke((145, 374), 0.0, 0.035, (0.2, 0.08), only=LOWER_LIDS),
            Stroke((159, 386), 0.0, -0.03, (0.2, 0.08), only=UPPER_LIDS),
            Stroke((105, 334), 0.0, -0.03, (0.3, 0.12), only=BROWS),
        ),
        {"eyeSquint": 0.5},
    ),
    Muscle(
        "levator_palpebrae_release",
        "levator palpebrae superioris, relaxed",
        43,
        True,
        (
            Stroke((159, 386), 0.0, -0.12, (0.2, 0.09), only=UPPER_LIDS),
            Stroke((145, 374), 0.0, 0.01, (0.2, 0.06), only=LOWER_LIDS),
        ),
        {"eyeBlink": 0.8},
    ),
    Muscle(
        "levator_labii_alaeque_nasi",
        "levator labii superioris alaeque nasi",
        9,
        True,
        (
            Stroke((64, 294), 0.01, 0.05, (0.12, 0.15), spares=UPPER_LIP | LIP_CORNERS),
            Stroke((37, 267), 0.0, 0.025, (0.2, 0.12), only=UPPER_LIP),
        ),
    ),
    Muscle(
        "levator_labii",
        "levator labii superioris",
        10,
        True,
        (
            Stroke((39, 269), 0.0, 0.1, (0.18, 0.14), only=UPPER_LIP),
            Stroke((203, 423), 0.0, 0.04, (0.14, 0.14), spares=UPPER_LIP | LOWER_LIP | LIP_CORNERS),
        ),
        {"mouthUpperUp": 0.6},
    ),
    Muscle(
        "zygomaticus_major",
        "zygomaticus major",
        12,
        True,
        (Stroke((61, 291), 0.09, 0.15, (0.2, 0.16)), Stroke((205, 425), 0.03, 0.06, (0.25, 0.25))),
        {"mouthSmile": 0.9},
    ),
    Muscle(
        "buccinator",
        "buccinator",
        14,
        True,
        (Stroke((61, 291), 0.06, 0.01, (0.16, 0.14)),),
    ),
    Muscle(
        "depressor_anguli_oris",
        "depressor anguli oris",
        15,
        True,
        (Stroke((61, 291), 0.0, -0.08, (0.16, 0.14)),),
    ),
    Muscle(
        "depressor_labii",
        "depressor labii inferioris",
        16,
        True,
        (Stroke((84, 314), 0.02, -0.1, (0.2, 0.14), only=LOWER_LIP | CHIN),),
        {"mouthLowerDown": 0.6},
    ),
    Muscle(
        "mentalis",
        "mentalis",
        17,
        False,
        (Stroke((18, 18), 0.0, 0.07, (0.18, 0.14), spares=JAW_FREE),),
        {"mouthShrugLower": 0.5},
    ),
    Muscle(
        "incisivii",
        "incisivii labii",
        18,
        False,
        (Stroke((61, 291), -0.12, 0.0, (0.2, 0.14)),),
        {"mouthPucker": 0.8},
    ),
    Muscle(
        "risorius",
        "risorius, platysma",
        20,
        True,
        (Stroke((61, 291), 0.06, -0.045, (0.18, 0.16)),),
    ),
    Muscle(
        "orbicularis_oris_funnel",
        "orbicularis oris, funnelling",
        22,
        False,
        (
            Stroke((61, 291), -0.1, 0.0, (0.16, 0.14)),
            Stroke((17, 17), 0.0, -0.09, (0.2, 0.12), only=LOWER_LIP),
            Stroke((0, 0), 0.0, 0.05, (0.2, 0.12), only=UPPER_LIP),
        ),
        {"mouthFunnel": 0.6},
    ),
    Muscle(
        "orbicularis_oris_tighten",
        "orbicularis oris, tightening",
        23,
        False,
        (
            Stroke((61, 291), -0.03, 0.0, (0.14, 0.1)),
            Stroke((0, 0), 0.0, -0.03, (0.25, 0.06), only=UPPER_LIP),
            Stroke((17, 17), 0.0, 0.03, (0.25, 0.06), only=LOWER_LIP),
        ),
    ),
    Muscle(
        "orbicularis_oris_press",
        "orbicularis oris, pressing",
        24,
        False,
        (
            Stroke((0, 0), 0.0, -0.04, (0.25, 0.05), only=UPPER_LIP),
            Stroke((17, 17), 0.0, 0.04, (0.25, 0.05), only=LOWER_LIP),
        ),
        {"mouthPress": 0.6},
    ),
    Muscle(
        "lip_parting",
        "depressor labii inferioris, orbicularis oris relaxed",
        25,
        False,
        (Stroke((14, 14), 0.0, -0.12, (0.25, 0.16), only=LOWER_LIP | CHIN),),
    ),
    Muscle(
        "orbicularis_oris_suck",
        "orbicularis oris, sucking in",
        28,
        False,
        (
            Stroke((0, 0), 0.0, -0.1, (0.25, 0.09), only=UPPER_LIP),
            Stroke((17, 17), 0.0, 0.08, (0.25, 0.09), only=LOWER_LIP),
        ),
        {"mouthRollLower": 0.5, "mouthRollUpper": 0.5},
    ),
)

JAW_DROP_IOD = 0.45
"""Fall of the lower lip's edge at full opening (AU27)."""

JAW = Muscle(
    "jaw_depressors",
    "masseter relaxed; digastric, lateral pterygoid",
    26,
    False,
    (Stroke((17, 17), 0.0, -JAW_DROP_IOD, (1.0, 1.0)),),
    {"jawOpen": 0.85},
)
"""The mandible turns as one bone; its field is `jaw_share`, not a Gaussian."""

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
"""Blendshapes that enter, with the standard deviation of their misfit. Those not listed are dead or misleading
on real faces (cheekSquint, noseSneer, cheekPuff, mouthDimple, mouthStretch, mouthFrown, browDown)."""


def jaw_share(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each landmark of a neutral face [478, 3] follows the mandible, 0-1 [478]."""
    mouth_y = 0.5 * (points[61, 1] + points[291, 1])
    chin_y = points[152, 1]
    below = np.clip((points[:, 1] - mouth_y + 0.1) / (0.5 * (chin_y - mouth_y)), 0.0, 1.0)
    # In front of the hinge the drop is full, at the angle of the jaw it has faded.
    lateral = np.abs(points[:, 0]) / 1.0
    share: NDArray[np.float64] = (
        below * below * (3.0 - 2.0 * below) * np.clip(1.15 - lateral**2 * 0.8, 0.0, 1.0)
    )
    share[list(UPPER_LIP)] = 0.02
    share[list(LIP_CORNERS)] = 0.35
    lower = list(LOWER_LIP)
    width = 0.5 * abs(points[291, 0] - points[61, 0]) + 1e-9
    share[lower] = np.clip(1.0 - 0.65 * np.abs(points[lower, 0] / width) ** 3, 0.35, 1.0)
    return share
