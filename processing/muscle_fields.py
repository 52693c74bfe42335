"""How each facial muscle moves the skin: displacement fields authored from anatomy, as data.

A muscle pulls skin from its insertion towards its bony origin (Waters, SIGGRAPH 1987, p. 17). Each pull is
written as a stroke: a landmark on the insertion, the direction and length of the pull at full contraction
(FACS intensity E), and how far it spreads. Lines of action follow Gray's Anatomy for Students (2009), chapter
8; what each action unit looks like follows the FACS manual (Ekman, Friesen & Hager 2002); muscle names follow
figure 1 of Dong et al. (2022). Lengths are in inter-ocular distances (IOD).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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

JAW_FREE = UPPER_LIP | LIP_CORNERS
"""Tissue near the lower lip that hangs on the upper jaw."""

LANDMARK_NOISE_IOD: tuple[tuple[frozenset[int], float], ...] = (
    (IRISES, np.inf),  # they follow gaze
    (FACE_OVAL, 0.03),  # silhouette against background and hair
    (UPPER_LIDS | LOWER_LIDS | EYE_CORNERS, 0.006),
    (UPPER_LIP | LOWER_LIP | LIP_CORNERS, 0.006),
    (BROWS | NOSE_WINGS, 0.007),
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


EYES = LOWER_LIDS | UPPER_LIDS | EYE_CORNERS
LIPS = UPPER_LIP | LOWER_LIP | LIP_CORNERS

# fmt: off
MUSCLES: tuple[Muscle, ...] = (
    Muscle(
        "frontalis_medialis", "frontalis, pars medialis", 1, True,
        (Stroke((55, 285), 0.005, 0.059, (0.15, 0.13), spares=EYES),
         Stroke((107, 336), 0.005, 0.08, (0.17, 0.16), spares=EYES),
         Stroke((105, 334), 0.0, 0.047, (0.16, 0.13), spares=EYES)),
        {"browInnerUp": 0.6, "browOuterUp": 0.3, "eyeWide": 0.15},
    ),
    Muscle(
        "frontalis_lateralis", "frontalis, pars lateralis", 2, True,
        (Stroke((70, 300), 0.013, 0.081, (0.16, 0.14), spares=EYES),
         Stroke((105, 334), 0.008, 0.054, (0.15, 0.14), spares=EYES)),
        {"browOuterUp": 0.5},
    ),
    Muscle(
        "corrugator_supercilii", "corrugator supercilii, depressor supercilii", 4, True,
        (Stroke((55, 285), -0.011, -0.044, (0.15, 0.14), spares=EYES),
         Stroke((107, 336), -0.011, -0.04, (0.17, 0.14), spares=EYES),
         Stroke((105, 334), -0.004, -0.011, (0.16, 0.14), spares=EYES),
         Stroke((9, 9), 0.0, -0.011, (0.12, 0.16))),
    ),
    Muscle(
        "levator_palpebrae", "levator palpebrae superioris", 5, True,
        (Stroke((159, 386), 0.0, 0.042, (0.18, 0.06), only=UPPER_LIDS),
         Stroke((145, 374), 0.0, -0.018, (0.18, 0.06), only=LOWER_LIDS),
         Stroke((105, 334), 0.0, 0.024, (0.3, 0.1), only=BROWS)),
        {"eyeWide": 0.45},
    ),
    Muscle(
        "orbicularis_oculi_orbital", "orbicularis oculi, pars orbitalis", 6, True,
        (Stroke((117, 346), 0.0, 0.04, (0.22, 0.18), spares=EYES),
         Stroke((226, 446), -0.012, -0.008, (0.1, 0.08)),
         Stroke((105, 334), 0.0, -0.02, (0.3, 0.12), only=BROWS),
         Stroke((145, 374), 0.0, 0.028, (0.2, 0.08), only=LOWER_LIDS)),
    ),
    Muscle(
        "orbicularis_oculi_palpebral", "orbicularis oculi, pars palpebralis", 7, True,
        (Stroke((145, 374), 0.0, 0.03, (0.2, 0.08), only=LOWER_LIDS),
         Stroke((159, 386), 0.0, -0.034, (0.2, 0.08), only=UPPER_LIDS),
         Stroke((105, 334), 0.0, -0.032, (0.3, 0.1), only=BROWS),
         Stroke((226, 446), -0.007, -0.013, (0.1, 0.08))),
        {"eyeSquint": 0.4},
    ),
    Muscle(
        "levator_palpebrae_release", "levator palpebrae superioris, relaxed", 43, True,
        (Stroke((159, 386), 0.012, -0.11, (0.22, 0.08), only=UPPER_LIDS),
         Stroke((145, 374), 0.0, 0.03, (0.2, 0.07), only=LOWER_LIDS),
         Stroke((107, 336), 0.0, -0.02, (0.3, 0.1), only=BROWS)),
        {"eyeBlink": 0.7, "eyeSquint": 0.4},
    ),
    Muscle(
        "levator_labii_alaeque_nasi", "levator labii superioris alaeque nasi; procerus", 9, True,
        (Stroke((64, 294), 0.012, 0.035, (0.1, 0.12), spares=LIPS),
         Stroke((1, 1), 0.0, 0.022, (0.12, 0.12), spares=LIPS),
         Stroke((193, 417), 0.0, -0.012, (0.1, 0.1)),
         Stroke((107, 336), 0.0, -0.036, (0.16, 0.12), only=BROWS),
         Stroke((37, 267), 0.0, 0.009, (0.2, 0.12), only=UPPER_LIP)),
    ),
    Muscle(
        "levator_labii", "levator labii superioris", 10, True,
        (Stroke((39, 269), 0.019, 0.027, (0.18, 0.14), only=UPPER_LIP),
         Stroke((12, 12), 0.0, 0.014, (0.2, 0.14), only=UPPER_LIP),
         Stroke((13, 13), 0.0, 0.008, (0.2, 0.06), only=UPPER_LIP),
         Stroke((61, 291), 0.012, 0.016, (0.12, 0.1), only=LIP_CORNERS),
         Stroke((64, 294), 0.005, 0.019, (0.12, 0.12), spares=LIPS),
         Stroke((203, 423), 0.007, 0.012, (0.2, 0.16), spares=LIPS),
         Stroke((14, 14), 0.0, -0.009, (0.2, 0.1), only=LOWER_LIP)),
        {"mouthUpperUp": 0.6, "mouthSmile": 0.2},
    ),
    # The zygomaticus runs steeper in some faces than in others: two lines of action span them.
    Muscle(
        "zygomaticus_major", "zygomaticus major and minor", 12, True,
        (Stroke((61, 291), 0.035, 0.077, (0.15, 0.12)),
         # The ring of the orbicularis oris passes some of the pull on to the other corner.
         Stroke((291, 61), -0.027, 0.0, (0.13, 0.1)),
         Stroke((205, 425), 0.029, 0.046, (0.2, 0.18), spares=LIPS),
         Stroke((64, 294), 0.01, 0.014, (0.12, 0.12), spares=LIPS),
         Stroke((84, 314), 0.007, 0.011, (0.2, 0.13), only=LOWER_LIP | CHIN),
         Stroke((136, 365), 0.015, -0.007, (0.2, 0.2))),
        {"mouthSmile": 0.9},
    ),
    Muscle(
        "zygomaticus_major_flat", "zygomaticus major, flat line of action", 12, True,
        (Stroke((61, 291), 0.099, 0.091, (0.15, 0.12)),
         Stroke((291, 61), -0.035, 0.0, (0.13, 0.1)),
         Stroke((205, 425), 0.115, 0.085, (0.2, 0.18), spares=LIPS),
         Stroke((84, 314), 0.028, 0.021, (0.2, 0.13), only=LOWER_LIP | CHIN),
         Stroke((64, 294), 0.027, 0.031, (0.12, 0.12), spares=LIPS)),
        {"mouthSmile": 0.8},
    ),
    # The corner is drawn in and back towards the teeth; some faces raise it with the lower lip as they do.
    Muscle(
        "buccinator", "buccinator", 14, True,
        (Stroke((61, 291), 0.07, 0.012, (0.14, 0.13)),
         Stroke((291, 61), -0.018, 0.0, (0.12, 0.1))),
        {"mouthSmile": 0.5},
    ),
    Muscle(
        "buccinator_raising", "buccinator, with the corner raised", 14, True,
        (Stroke((61, 291), 0.028, 0.048, (0.11, 0.09)),
         Stroke((84, 314), 0.002, 0.024, (0.2, 0.14), only=LOWER_LIP | CHIN),
         Stroke((12, 12), 0.0, 0.01, (0.2, 0.14), only=UPPER_LIP)),
        {"mouthSmile": 0.6},
    ),
    Muscle(
        "depressor_anguli_oris", "depressor anguli oris", 15, True,
        (Stroke((61, 291), -0.001, -0.044, (0.15, 0.13), spares=CHIN),
         Stroke((37, 267), 0.0, -0.011, (0.2, 0.1), only=UPPER_LIP),
         Stroke((205, 425), -0.007, -0.009, (0.2, 0.2), spares=LIPS)),
    ),
    Muscle(
        "depressor_labii", "depressor labii inferioris", 16, True,
        (Stroke((84, 314), 0.016, -0.07, (0.22, 0.14), only=LOWER_LIP | CHIN),
         Stroke((61, 291), 0.015, 0.0, (0.1, 0.08), only=LIP_CORNERS)),
        {"mouthLowerDown": 0.4},
    ),
    Muscle(
        "mentalis", "mentalis", 17, False,
        (Stroke((17, 17), 0.0, 0.061, (0.2, 0.1), spares=JAW_FREE),
         Stroke((18, 18), 0.0, 0.055, (0.2, 0.14), spares=JAW_FREE),
         Stroke((13, 13), 0.0, 0.027, (0.2, 0.06), only=UPPER_LIP)),
        {"mouthShrugLower": 0.5},
    ),
    Muscle(
        "incisivii", "incisivii labii superioris et inferioris", 18, False,
        (Stroke((61, 291), -0.12, -0.012, (0.16, 0.12)),
         Stroke((17, 17), 0.0, -0.048, (0.18, 0.12), spares=JAW_FREE),
         Stroke((0, 0), 0.0, 0.013, (0.15, 0.08), only=UPPER_LIP)),
        {"mouthPucker": 0.85},
    ),
    Muscle(
        "risorius", "risorius, platysma", 20, False,
        (Stroke((61, 291), 0.034, -0.032, (0.19, 0.15), spares=CHIN),
         Stroke((0, 0), 0.0, -0.013, (0.25, 0.1), only=UPPER_LIP),
         Stroke((17, 17), 0.0, 0.008, (0.25, 0.1), only=LOWER_LIP),
         Stroke((136, 365), 0.013, -0.01, (0.2, 0.2))),
    ),
    Muscle(
        "orbicularis_oris_funnel", "orbicularis oris, funnelling", 22, False,
        (Stroke((61, 291), -0.074, -0.025, (0.12, 0.1)),
         Stroke((17, 17), 0.0, -0.09, (0.2, 0.12), only=LOWER_LIP),
         Stroke((14, 14), 0.0, -0.081, (0.15, 0.08), only=LOWER_LIP),
         Stroke((18, 18), 0.0, -0.06, (0.22, 0.14), only=CHIN),
         Stroke((0, 0), 0.0, 0.03, (0.2, 0.12), only=UPPER_LIP),
         Stroke((13, 13), 0.0, 0.04, (0.15, 0.08), only=UPPER_LIP)),
        {"mouthFunnel": 0.6, "mouthPucker": 0.6},
    ),
    Muscle(
        "orbicularis_oris_tighten", "orbicularis oris, tightening", 23, False,
        (Stroke((61, 291), -0.023, 0.0, (0.12, 0.08)),
         Stroke((0, 0), 0.0, -0.028, (0.25, 0.05), only=UPPER_LIP),
         Stroke((17, 17), 0.0, 0.046, (0.25, 0.05), only=LOWER_LIP)),
        {"mouthPress": 0.15},
    ),
    # Lips are pressed flat against the teeth, or the chin's pad drives the lower lip and the corners up.
    Muscle(
        "orbicularis_oris_press_flat", "orbicularis oris, pressing flat", 24, False,
        (Stroke((0, 0), 0.0, -0.019, (0.3, 0.06), only=UPPER_LIP),
         Stroke((17, 17), 0.0, 0.026, (0.3, 0.07), only=LOWER_LIP),
         Stroke((18, 18), 0.0, 0.013, (0.25, 0.14), spares=JAW_FREE | LOWER_LIP)),
        {"mouthPress": 0.2},
    ),
    Muscle(
        "orbicularis_oris_press", "orbicularis oris, pressing", 24, False,
        (Stroke((61, 291), 0.016, 0.06, (0.12, 0.09)),
         Stroke((205, 425), 0.014, 0.025, (0.2, 0.18), spares=LIPS),
         Stroke((17, 17), 0.0, 0.053, (0.3, 0.1), only=LOWER_LIP),
         Stroke((14, 14), 0.0, 0.005, (0.15, 0.05), only=LOWER_LIP),
         Stroke((13, 13), 0.0, 0.018, (0.2, 0.06), only=UPPER_LIP),
         Stroke((18, 18), 0.0, 0.038, (0.25, 0.14), spares=JAW_FREE | LOWER_LIP),
         Stroke((64, 294), 0.0, 0.014, (0.12, 0.12), spares=LIPS)),
        {"mouthPress": 0.2, "mouthSmile": 0.6},
    ),
    Muscle(
        "lip_parting", "depressor labii inferioris, orbicularis oris relaxed", 25, False,
        (Stroke((14, 14), 0.0, -0.1, (0.25, 0.08), only=LOWER_LIP),
         Stroke((13, 13), 0.0, 0.02, (0.25, 0.08), only=UPPER_LIP)),
    ),
    Muscle(
        "orbicularis_oris_suck", "orbicularis oris, sucking in", 28, False,
        (Stroke((0, 0), 0.0, -0.062, (0.28, 0.06), only=UPPER_LIP),
         Stroke((13, 13), 0.0, -0.013, (0.28, 0.06), only=UPPER_LIP),
         Stroke((17, 17), 0.0, 0.049, (0.28, 0.06), only=LOWER_LIP),
         Stroke((14, 14), 0.0, -0.036, (0.28, 0.04), only=LOWER_LIP),
         Stroke((18, 18), 0.0, 0.04, (0.25, 0.14), spares=JAW_FREE | LOWER_LIP),
         Stroke((61, 291), 0.0, 0.019, (0.1, 0.08), only=LIP_CORNERS)),
        {"mouthRollLower": 0.4, "mouthRollUpper": 0.4, "mouthPress": 0.5},
    ),
)
# fmt: on

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
