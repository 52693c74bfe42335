"""Rules between action units: what looks like one but is another, and what one brings along.

Each changes `levels`, a row in the making by the columns of `processing.unit_channels`; pairs are of the
subject's right, then left.
"""

from __future__ import annotations

from processing.eyelids import SIDES, Blinking, lid_closure, lid_opening, lid_tightening, rise
from processing.mouth import dimple_shares, jaw_opened, mouth_opening
from processing.unit_channels import COLUMN, side_columns

_BROW_HEAD, _BROW_TAIL, _FROWN, _LID_UP = (side_columns(au) for au in (1, 2, 4, 5))
_CHEEK, _LID_TIGHT, _NOSE, _LIP_UP = (side_columns(au) for au in (6, 7, 9, 10))
_SMILE, _DIMPLE, _LIP_DOWN = (side_columns(au) for au in (12, 14, 16))
_CLOSED, _BLINK = side_columns(43), side_columns(45)
_EYELID = tuple(COLUMN[f"blink_{side}"] for side in SIDES)
_FUNNEL, _TIGHT, _PRESS, _SUCK = (COLUMN[f"AU{au}"] for au in (22, 23, 24, 28))
_OPENING = tuple(COLUMN[f"AU{au}"] for au in (25, 26, 27))

_Pair = tuple[float, float]

_BROW_IN_SMILE = 0.8
"""Share of a smile that a brow may fall by without any frown."""

_CROSS_TALK = 0.1
"""Share of a one-sided smile that MediaPipe's landmarks show on the other side: it prefers even faces."""

_SKIN_TURNED_DEG = (5.0, 8.0)
"""Turn of the head to a side from which its skin looks other than at rest, and from which it is not read."""

_HALVES_TURNED_DEG = (4.0, 7.0)
"""The same for what one half of the face shows and the other does not."""

_EVEN = tuple(side_columns(au) for au in (4, 6, 7, 9, 15, 16))
"""AUs that faces hardly ever show on one side alone."""

_JAW_BLURRED = tuple(
    column
    for label, column in COLUMN.items()
    for au in (14, 15, 16, 18, 20, 22, 23, 24, 28)
    if label in (f"AU{au}", f"AU{au}_left", f"AU{au}_right")
)
"""AUs of the lips, whose fields do not hold on a mouth stretched wide open."""


def _smile(levels: list[float]) -> float:
    """That of its stronger side."""
    right, left = _SMILE
    return max(levels[right], levels[left])


def _broad(smile: float) -> float:
    return rise(smile, 0.3, 0.7)


def tell_smiles(levels: list[float], lifted: _Pair, raised: tuple[_Pair, ...]) -> None:
    """What is a smile, a dimple, a press or a lifted lip, and what a smile brings along.

    Args:
        lifted: See `processing.mouth.lifted_lip`.
        raised: See `processing.mouth.raised_corners`.
    """
    for smile, lip, share in zip(_SMILE, _LIP_UP, lifted, strict=True):
        # What lifts the middle of the lip more than its corners is none.
        levels[lip] += share * levels[smile]
        levels[smile] *= 1.0 - share
    shares = dimple_shares(levels[_PRESS], (levels[_DIMPLE[0]], levels[_DIMPLE[1]]), _smile(levels))
    for dimple, share in zip(_DIMPLE, shares, strict=True):
        levels[dimple] += share * levels[_PRESS]
    levels[_PRESS] *= 1.0 - max(shares)
    for smile, dimple, frown, nose, lip, (no_dimple, no_press) in zip(
        _SMILE, _DIMPLE, _FROWN, _NOSE, _LIP_UP, raised, strict=True
    ):
        # A smile widens the mouth: beside a risen corner the outward pull is the smile's, not a dimple's.
        seen = rise(levels[smile], 0.1 * levels[dimple], 0.25 * levels[dimple])
        up = max(no_dimple * seen if levels[dimple] > levels[_PRESS] else 0.0, no_press)
        widened = levels[dimple] * max(rise(levels[smile], 0.25, 0.55), up)
        levels[smile] += widened
        levels[dimple] -= widened
        # The ring around the eye lowers the brow of a felt smile; that is no frown.
        levels[frown] = max(0.0, levels[frown] - _BROW_IN_SMILE * min(1.0, levels[smile]))
        # A broad smile lifts the wings of the nose with the cheeks; that wrinkles no nose.
        levels[nose] *= 1.0 - 0.7 * rise(levels[smile], 0.2, 0.6)
        # It bares the teeth as well, without the levator.
        levels[lip] *= 1.0 - 0.7 * _broad(levels[smile])
    levels[_PRESS] *= 1.0 - min(no_press for _, no_press in raised)
    right, left = (levels[column] for column in _SMILE)
    for column, own, other in ((_SMILE[0], right, left), (_SMILE[1], left, right)):
        levels[column] = max(0.0, own - _CROSS_TALK * other) / (1.0 - _CROSS_TALK)


def open_mouth(levels: list[float], gap: float, explained: float, jaw: float) -> None:
    """AU25, 26 and 27, and what an open mouth leaves of the other units of the lips.

    Args:
        gap, explained, jaw: See `processing.mouth.mouth_opening`.
    """
    # What parts the lips in a broad smile is that smile: AU25, as FACS codes it.
    explained *= 1.0 - _broad(_smile(levels))
    for column, level in zip(_OPENING, mouth_opening(gap, explained, jaw), strict=True):
        levels[column] = level
    for column in _LIP_DOWN:
        levels[column] *= 1.0 - jaw_opened(gap)
    sharp = 1.0 / (1.0 + (jaw / 0.35) ** 2)
    for column in _JAW_BLURRED:
        levels[column] *= sharp
    # Lips that funnel part: half of a strong funnel's opening is its own.
    levels[_OPENING[0]] *= 1.0 - 0.5 * rise(levels[_FUNNEL], 0.2, 0.6)


def move_lids(
    levels: list[float],
    now: tuple[_Pair, _Pair],
    rest: tuple[_Pair, _Pair],
    brow_rises: _Pair,
    blinking: tuple[Blinking, Blinking],
    time_s: float,
) -> tuple[bool, bool]:
    """Eyelid closure and what it means: AU7, AU43 or AU45; what the lids leave of AU5 and AU6.

    Args:
        now, rest: See `processing.eyelids.lid_heights`.
        brow_rises: See `processing.brows.brow_rises`.
        blinking: Of each eye; taken a frame further.
        time_s: Stamp of the frame.

    Returns:
        Whether each eye blinks.
    """
    closures = lid_closure(now[0], rest[0]), lid_closure(now[1], rest[1])
    blinking_now = blinking[0].update(closures[0], time_s), blinking[1].update(closures[1], time_s)
    for eye, (closure, blinks) in enumerate(zip(closures, blinking_now, strict=True)):
        levels[_EYELID[eye]] = levels[_BLINK[eye]] = closure
        # Lids that are seen to tighten do so as far as their muscle says, if that is more.
        tight = 0.0 if blinks else lid_tightening(now[eye], rest[eye])
        levels[_LID_TIGHT[eye]] = max(tight, min(levels[_LID_TIGHT[eye]], 1.5 * tight))
        levels[_CLOSED[eye]] = 0.0 if blinks else closure
        # A lid opens by its own margin, not by the brow above it.
        levels[_LID_UP[eye]] *= lid_opening(now[eye], rest[eye], brow_rises[eye])
        # A closing eye takes the skin about it along, without any raised cheek.
        levels[_CHEEK[eye]] *= 1.0 - 0.8 * rise(closure, 0.35, 0.8)
    return blinking_now


def tell_frowns(levels: list[float], nose_rises: _Pair) -> None:
    """Knit brows over narrowed eyes (AU4+7), which look like a wrinkled nose (AU9) but for the nose.

    Args:
        nose_rises: See `processing.brows.nose_rises`.
    """
    for lid, wrinkled, frown, risen in zip(_LID_TIGHT, _NOSE, _FROWN, nose_rises, strict=True):
        still = rise(levels[lid], 0.2, 0.45) * (1.0 - rise(risen, 0.01, 0.02))
        levels[frown] += still * levels[wrinkled]
        levels[wrinkled] *= 1.0 - still


def raise_brows(levels: list[float], raised: tuple[_Pair, _Pair]) -> None:
    """Brows that rise with a widened eye, as far as it is widened.

    Args:
        raised: See `processing.brows.raised_brows`.
    """
    for eye, (head, tail) in enumerate(raised):
        widened = levels[_LID_UP[eye]]
        for column, level in ((_BROW_HEAD[eye], head), (_BROW_TAIL[eye], tail)):
            levels[column] = max(levels[column], min(level, widened))


def read_skin(
    levels: list[float],
    growth: list[float],
    bared: _Pair,
    blinks: tuple[bool, bool],
    yaw_deg: float,
) -> None:
    """Crow's feet speak for raised cheeks; wrinkles beside the nose only confirm what landmarks saw.

    Args:
        growth: See `processing.appearance.Wrinkles.update`.
        bared: See `processing.appearance.bared_crow_feet`.
        blinks: Whether each eye blinks: that folds the skin beside it as well.
        yaw_deg: How far the head has turned to a side since the neutral: the skin is seen from another side.
    """
    faced = 1.0 - rise(abs(yaw_deg), *_SKIN_TURNED_DEG)
    for eye in range(2):
        # Lids that close or are drawn wide open change the skin beside the eye as well.
        open_share = 0.0 if blinks[eye] else 1.0 - rise(levels[_EYELID[eye]], 0.25, 0.6)
        open_share *= 1.0 - rise(levels[_LID_UP[eye]], 0.1, 0.4)
        levels[_CHEEK[eye]] += 0.8 * faced * bared[eye] * open_share * rise(growth[eye], 0.02, 0.4)
        seen = rise(levels[_NOSE[eye]], 0.03, 0.15)
        levels[_NOSE[eye]] += 0.5 * faced * seen * rise(growth[2 + eye], 0.02, 0.4)


def even_out(levels: list[float], yaw_deg: float) -> None:
    """On a head turned to a side, what one half of the face alone seems to do is the view's doing.

    Args:
        yaw_deg: How far the head has turned since the neutral.
    """
    share = rise(abs(yaw_deg), *_HALVES_TURNED_DEG)
    for columns in _EVEN:
        shared = min(levels[column] for column in columns)
        for column in columns:
            levels[column] += share * (shared - levels[column])


def tell_lips(levels: list[float]) -> None:
    """AU23, 24 and 28 among each other and beside a smile."""
    # Lips sucked in hide the red parts that pressing is told by.
    levels[_PRESS] *= 1.0 - min(1.0, levels[_SUCK])
    # A smile stretches the lips thin without any tightening.
    stretched = rise(_smile(levels), 0.2, 0.6)
    levels[_TIGHT] *= 1.0 - stretched
    levels[_PRESS] *= 1.0 - 0.5 * stretched
