from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.unit_channels import COLUMN, ROW_LENGTH
from processing.unit_rules import (
    even_out,
    open_mouth,
    raise_brows,
    read_skin,
    tell_frowns,
    tell_lips,
    tell_smiles,
)

NONE = (0.0, 0.0)
LOW, HIGH = (NONE, NONE), ((1.0, 1.0), (1.0, 1.0))


def levels(**units: float) -> list[float]:
    """A row in the making: AU12=.5 means both of its sides."""
    row = [0.0] * ROW_LENGTH
    for name, level in units.items():
        for label in (name, f"{name}_right", f"{name}_left"):
            if label in COLUMN:
                row[COLUMN[label]] = level
    return row


def read(row: list[float], unit: str) -> float:
    return max(row[COLUMN.get(f"{unit}_{side}", COLUMN[unit])] for side in ("right", "left"))


def test_drawn_corners_are_a_smile_once_they_are_raised_beyond_any_dimple() -> None:
    raised, level, unsmiling = (levels(AU12=smile, AU14=0.6) for smile in (0.2, 0.2, 0.0))
    tell_smiles(raised, NONE, HIGH)
    tell_smiles(level, NONE, LOW)
    tell_smiles(unsmiling, NONE, ((1.0, 0.0), (1.0, 0.0)))
    assert read(raised, "AU12") > 0.6 and read(raised, "AU14") == 0.0
    assert read(level, "AU14") == 0.6 and read(level, "AU12") <= 0.2
    assert read(unsmiling, "AU14") == 0.6 and read(unsmiling, "AU12") == 0.0


def test_pressed_lips_lift_the_corners_without_being_a_smile() -> None:
    pressed = levels(AU12=0.0, AU14=0.3, AU24=0.7)
    tell_smiles(pressed, NONE, ((1.0, 0.0), (1.0, 0.0)))
    assert read(pressed, "AU24") > 0.6 and read(pressed, "AU12") == 0.0


def test_a_broad_smile_bares_the_teeth_without_the_levator() -> None:
    broad, faint, alone = levels(AU12=0.9, AU10=0.6), levels(AU12=0.2, AU10=0.6), levels(AU10=0.6)
    for row in (broad, faint, alone):
        tell_smiles(row, NONE, HIGH)
    assert read(broad, "AU10") < 0.25
    assert read(faint, "AU10") == read(alone, "AU10") == 0.6


def test_lips_parted_by_a_broad_smile_are_au25_and_by_a_levator_hardly() -> None:
    smile, levator = levels(AU12=0.9), levels(AU10=0.9)
    for row in (smile, levator):
        open_mouth(row, 0.13, 0.12, 0.0)
    assert read(smile, "AU25") == 1.0
    assert 0.2 < read(levator, "AU25") < 0.4


def test_a_mouth_too_open_for_the_lips_alone_says_nothing_of_au16() -> None:
    parted, opened = levels(AU16=0.8), levels(AU16=0.8)
    open_mouth(parted, 0.12, 0.1, 0.0)
    open_mouth(opened, 0.3, 0.1, 0.1)
    assert read(parted, "AU16") == 0.8
    assert read(opened, "AU16") == 0.0


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_knit_brows_over_narrowed_eyes_wrinkle_no_nose_that_does_not_rise(frown: float, nose: float) -> None:
    still, risen, wide = (levels(AU4=frown, AU9=nose, AU7=lids) for lids in (0.7, 0.7, 0.0))
    tell_frowns(still, NONE)
    tell_frowns(risen, (0.03, 0.03))
    tell_frowns(wide, NONE)
    assert read(still, "AU9") == 0.0 and read(still, "AU4") == frown + nose
    assert read(risen, "AU9") == read(wide, "AU9") == nose


def test_brows_rise_beside_a_widened_eye_as_far_as_it_is_widened() -> None:
    row = levels(AU5=0.4)
    raise_brows(row, ((1.0, 0.2), (0.0, 0.0)))
    assert row[COLUMN["AU1_right"]] == 0.4 and row[COLUMN["AU2_right"]] == 0.2
    assert row[COLUMN["AU1_left"]] == 0.0


def test_lips_sucked_in_are_not_pressed_and_a_smile_tightens_none() -> None:
    sucked, smiling = levels(AU24=0.5, AU28=1.0), levels(AU12=0.8, AU23=0.4, AU24=0.4)
    tell_lips(sucked)
    tell_lips(smiling)
    assert read(sucked, "AU24") == 0.0
    assert read(smiling, "AU23") == 0.0 and read(smiling, "AU24") == 0.2


def test_crow_s_feet_raise_cheeks_on_a_face_that_looks_ahead_and_does_not_blink() -> None:
    grown = [0.4, 0.4, 0.0, 0.0]
    ahead, turned, blinking = levels(), levels(), levels()
    read_skin(ahead, grown, (1.0, 1.0), (False, False), 2.0)
    read_skin(turned, grown, (1.0, 1.0), (False, False), 10.0)
    read_skin(blinking, grown, (1.0, 1.0), (True, True), 2.0)
    assert read(ahead, "AU6") == 0.8
    assert read(turned, "AU6") == read(blinking, "AU6") == 0.0


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(-30.0, 30.0))
def test_a_head_turned_aside_frowns_on_both_sides_or_not(right: float, left: float, yaw_deg: float) -> None:
    row = levels()
    frown, smile = (COLUMN["AU4_right"], COLUMN["AU4_left"]), (COLUMN["AU12_right"], COLUMN["AU12_left"])
    for pair in (frown, smile):
        row[pair[0]], row[pair[1]] = right, left
    even_out(row, yaw_deg)
    assert [row[column] for column in smile] == [right, left]
    found = [row[column] for column in frown]
    assert min(found) == pytest.approx(min(right, left))
    if abs(yaw_deg) <= 4.0:
        assert found == [right, left]
    if abs(yaw_deg) >= 7.0:
        assert found[0] == pytest.approx(found[1])
