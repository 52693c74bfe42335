"""Where each facial muscle runs, as lines over the landmarks of the face: data for `zygoma.face_map`.

Courses follow Gray's Anatomy for Students (2009), chapter 8; which muscle makes which action unit follows
figure 1 of Dong et al. (2022). A line runs from the muscle's origin to its insertion in the skin, on the
subject's right; a ring of a sphincter ends where it begins.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MuscleLine:
    """One muscle as it is drawn.

    Attributes:
        name: As the textbooks have it.
        action_units: What it makes, main one first.
        strands: Landmarks along each bundle of fibres.
        paired: Drawn on both sides; a ring around the mouth is one.
    """

    name: str
    action_units: tuple[int, ...]
    strands: tuple[tuple[int, ...], ...]
    paired: bool = True


# fmt: off
MUSCLE_LINES: tuple[MuscleLine, ...] = (
    MuscleLine("frontalis, medial part", (1,), ((109, 108, 107), (67, 69, 66))),
    MuscleLine("frontalis, lateral part", (2,), ((103, 104, 105), (54, 68, 63), (21, 71, 70))),
    MuscleLine("corrugator and depressor supercilii", (4,), ((8, 55, 65, 52), (193, 55))),
    MuscleLine("levator palpebrae superioris", (5,), ((222, 28, 158), (223, 27, 159), (224, 29, 160))),
    MuscleLine(
        "orbicularis oculi, orbital part", (6,),
        ((226, 31, 228, 229, 230, 231, 232, 233, 244, 189, 221, 222, 223, 224, 225, 113, 226),
         (143, 111, 117, 118, 119, 120)),
    ),
    MuscleLine(
        "orbicularis oculi, palpebral part", (7, 43, 45),
        ((130, 25, 110, 24, 23, 22, 26, 112, 243, 190, 56, 28, 27, 29, 30, 247, 130),),
    ),
    MuscleLine(
        "levator labii superioris alaeque nasi, procerus", (9,),
        ((245, 188, 174, 198, 209, 129), (188, 217, 142, 165), (197, 6, 168, 8)),
    ),
    MuscleLine("levator labii superioris", (10,), ((120, 142, 203, 39), (119, 36, 206, 40))),
    MuscleLine("zygomaticus major and minor", (12,), ((116, 61), (117, 61), (118, 40))),
    MuscleLine("buccinator", (14,), ((147, 207, 61), (213, 216, 61))),
    MuscleLine("depressor anguli oris", (15,), ((150, 210, 57), (149, 211, 61))),
    MuscleLine("depressor labii inferioris", (16, 25), ((170, 204, 91), (140, 32, 182, 181))),
    MuscleLine("mentalis", (17,), ((83, 201, 208), (182, 194, 32))),
    MuscleLine("incisivi labii", (18,), ((167, 40, 61), (83, 91, 61))),
    MuscleLine("risorius, platysma", (20,), ((215, 214, 57), (136, 135, 212, 61))),
    MuscleLine(
        "orbicularis oris", (22, 23, 24, 28),
        ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 61),
         (57, 186, 92, 167, 164, 393, 322, 410, 287, 273, 335, 406, 313, 18, 83, 182, 106, 43, 57)),
        paired=False,
    ),
    MuscleLine("masseter (relaxed), digastric", (26, 27), ((227, 137, 215, 172), (123, 147, 213, 138, 136))),
)
# fmt: on

# fmt: off
OUTLINES: tuple[tuple[int, ...], ...] = (
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
     148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 33),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 263),
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 70),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276, 300),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 61),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (129, 64, 98, 97, 2, 326, 327, 294, 358),
)
# fmt: on
"""Contours by which a face is recognised: oval, eyes, brows, lips, mouth, base of the nose."""
