"""Where on the face skin movement is measured: regions that express and references that do not.

Each region is the mean of a few MediaPipe landmarks with a window around it; `left` and `right` are the
subject's own (left = the picture's right). Sizes are pixels at an inter-ocular distance (IOD) of 100 px, the
distance between the centres of the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

IOD_REFERENCE_PX = 100.0
"""Inter-ocular distance that all displacements are scaled to."""

EYE_RIGHT = (33, 133)
"""Outer and inner corner of the subject's right eye (landmark numbers)."""

EYE_LEFT = (263, 362)
"""Outer and inner corner of the subject's left eye."""


@dataclass(frozen=True)
class Region:
    """A window on the face.

    Attributes:
        name: Unique name, with its side (``inner_brow_left``) unless it lies on the midline.
        landmarks: MediaPipe landmark numbers whose mean is the centre.
        half_width_px, half_height_px: Half the window, at an IOD of 100 px.
    """

    name: str
    landmarks: tuple[int, ...]
    half_width_px: float
    half_height_px: float


def _pair(
    name: str, right: tuple[int, ...], left: tuple[int, ...], half: tuple[float, float]
) -> list[Region]:
    return [Region(f"{name}_right", right, *half), Region(f"{name}_left", left, *half)]


EXPRESSIVE: tuple[Region, ...] = (
    *_pair("inner_brow", (107, 66), (336, 296), (15, 12)),
    *_pair("outer_brow", (63, 70), (293, 300), (14, 11)),
    *_pair("upper_lid", (159,), (386,), (13, 8)),
    *_pair("lower_lid", (145,), (374,), (13, 7)),
    *_pair("cheek", (117, 118), (346, 347), (21, 14)),
    *_pair("nose_wing", (129, 102), (358, 331), (11, 12)),
    *_pair("upper_lip", (39, 165), (269, 391), (14, 11)),
    *_pair("lip_corner", (61,), (291,), (13, 13)),
    Region("glabella", (9, 8), 14, 15),
    Region("lower_lip", (17,), 15, 10),
    Region("chin", (199,), 22, 15),
)
"""Regions that facial muscles move, in the order of their channels."""

RIGID: tuple[Region, ...] = (
    Region("nose_bridge", (197, 195), 13, 13),
    Region("nose_tip", (5, 4), 12, 12),
    *_pair("temple", (139, 162), (368, 389), (13, 15)),
    Region("forehead", (151,), 20, 14),
    *_pair("zygoma", (227,), (447,), (12, 14)),
)
"""Regions that move (almost) only with the head: they say which of the others are at rest."""


def base_name(region: str) -> str:
    """Region name without its side: ``inner_brow_left`` -> ``inner_brow``."""
    return region.removesuffix("_left").removesuffix("_right")


def side_of(region: str) -> str:
    """``left``, ``right`` or, on the midline, ``both``."""
    if region.endswith("_left"):
        return "left"
    return "right" if region.endswith("_right") else "both"
