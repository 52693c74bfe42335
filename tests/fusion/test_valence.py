"""The valence filter: sign, calm, honest error, and what each modality may say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import Block
from fusion.valence import ValenceEstimate, ValenceFilter
from fusion.valence_observations import _contraction, one_muscle_words
from tests.fusion.synthetic import (
    START_S,
    Curve,
    activity_block,
    activity_spec,
    plateau,
    skin_block,
    skin_spec,
    units_block,
    units_spec,
)


def run(
    duration_s: float,
    units: dict[str, Curve] | None = None,
    emg: dict[str, Curve] | None = None,
    with_camera: bool = True,
    with_emg: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Times since the start [n] and estimates [n, 6] at the camera's rows."""
    camera = units_block(duration_s, units)
    muscles = activity_block(duration_s, emg)
    valence = ValenceFilter(camera.spec, muscles.spec)
    rows = []
    for i, stamp in enumerate(camera.timestamps):
        j = min(int(np.searchsorted(muscles.timestamps, stamp)), len(muscles) - 1)
        rows.append(
            valence.update(
                float(stamp),
                camera.array[i].tolist() if with_camera else None,
                muscles.array[j].tolist() if with_emg else None,
                None,
            )
        )
    return camera.timestamps - START_S, np.array(rows)


SMILE = ({"AU12": plateau(2, 5, 0.7), "AU6": plateau(2, 5, 0.5)}, {"ZYG": plateau(2, 5, 13.0)})
FROWN = ({"AU4": plateau(2, 5, 0.6)}, {"COR": plateau(2, 5, 12.0)})
DISGUST = (
    {"AU9": plateau(2, 5, 0.6), "AU10": plateau(2, 5, 0.5)},
    {"ZYG": plateau(2, 5, 12.0), "COR": plateau(2, 5, 8.0)},
)


@pytest.mark.parametrize(("camera", "emg"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("face", "sign"), [(SMILE, 1), (FROWN, -1)])
def test_sign_is_right_through_an_expression(
    face: tuple[dict[str, Curve], dict[str, Curve]], sign: int, camera: bool, emg: bool
) -> None:
    # Section 4.1: zygomaticus (AU12, AU6) tells positive, corrugator (AU4) negative emotion.
    t, rows = run(7.0, *face, with_camera=camera, with_emg=emg)
    shown = (t > 2.15) & (t < 4.85)  # above half of its peak
    assert np.mean(np.sign(rows[shown, 0]) == sign) >= 0.95
    assert abs(rows[(t > 3) & (t < 4), 0].mean()) > 0.4


def test_neutral_is_near_zero() -> None:
    _, rows = run(10.0)
    assert np.abs(rows[:, 0]).mean() < 0.03
    assert np.abs(rows[:, 0]).max() < 0.15


@pytest.mark.parametrize(("camera", "emg"), [(True, True), (True, False)])
def test_disgust_with_zygomaticus_is_never_positive(camera: bool, emg: bool) -> None:
    t, rows = run(7.0, *DISGUST, with_camera=camera, with_emg=emg)
    shown = (t > 2.2) & (t < 4.8)
    assert (rows[shown, 0] < 0).all()


def test_zygomaticus_with_corrugator_is_not_positive_without_a_camera() -> None:
    t, rows = run(7.0, {}, DISGUST[1], with_camera=False)
    assert rows[(t > 2.2) & (t < 4.8), 0].max() < 0.05
    assert rows[(t > 2.5) & (t < 4.5), 0].max() < 0.0


def test_a_raised_brow_is_not_a_frown() -> None:
    # The frontalis reaches the corrugator's electrodes; surprise is neither positive nor negative (4.3).
    brows = {"AU1": plateau(2, 5, 0.6), "AU2": plateau(2, 5, 0.6), "AU5": plateau(2, 5, 0.5)}
    t, rows = run(7.0, brows, {"COR": plateau(2, 5, 7.0)})
    assert np.abs(rows[(t > 2.5) & (t < 4.5), 0]).max() < 0.15


def test_losing_a_modality_widens_the_error_at_once() -> None:
    camera, muscles = units_block(3.0, SMILE[0]), activity_block(3.0, SMILE[1])
    valence = ValenceFilter(camera.spec, muscles.spec)
    for i, stamp in enumerate(camera.timestamps):
        both = valence.update(
            float(stamp), camera.array[i].tolist(), muscles.array[i * 10 // 3].tolist(), None
        )
    stamp = float(camera.timestamps[-1]) + 1 / 30
    last_units, last_emg = camera.array[-1].tolist(), muscles.array[-1].tolist()
    errors = []
    for units, emg in ((None, last_emg), (last_units, None), (None, None)):
        other = ValenceFilter(camera.spec, muscles.spec)
        for i, time_s in enumerate(camera.timestamps):
            other.update(float(time_s), camera.array[i].tolist(), muscles.array[i * 10 // 3].tolist(), None)
        errors.append(other.update(stamp, units, emg, None).standard_error)
    assert all(error > both.standard_error for error in errors)
    assert errors[2] > max(errors[:2])


def test_a_micro_expression_under_way_widens_the_error_and_nothing_else() -> None:
    row = units_block(0.1).array[0].tolist()
    calm, moved = (
        ValenceFilter(units_spec()).update(START_S, row, None, None, twitching=twitching)
        for twitching in (False, True)
    )
    assert moved.standard_error > calm.standard_error + 0.1
    assert moved._replace(standard_error=calm.standard_error) == calm


def test_slack_muscles_are_averaged_over_seconds_and_a_contraction_is_not() -> None:
    def spread(emg: dict[str, Curve]) -> tuple[float, float]:
        t, rows = run(20.0, None, emg, with_camera=False)
        return float(rows[(t > 3) & (t < 15), 0].std()), float(rows[t > 15.6, 0].max())

    noise, reached = spread({"ZYG": plateau(15, 20, 13.0, 0.2)})
    raw = [_contraction(float(z), 15.0) for z in activity_block(20.0).column("ZYG_L_z")[300:1500]]
    assert noise < 0.3 * float(np.std(raw))
    assert reached > 0.5


def test_shares_follow_the_modalities() -> None:
    _, both = run(3.0, *SMILE)
    assert both[-1, 2] + both[-1, 3] == pytest.approx(1.0, abs=0.05)
    assert both[-1, 2] > 0.2
    assert both[-1, 3] > 0.2
    _, camera_only = run(3.0, *SMILE, with_emg=False)
    assert camera_only[-1, 2] > 0.95
    assert camera_only[-1, 3] == 0.0
    assert camera_only[-1, 5] < both[-1, 5]


def test_simulated_truth_is_covered() -> None:
    # A person whose valence is the readings' own scale: intervals of 1.96 standard errors.
    t, rows = run(9.0, *SMILE)
    truth = np.asarray(plateau(2, 5, 0.85)(t))
    assert np.mean(np.abs(rows[:, 0] - truth) < 1.96 * rows[:, 1]) > 0.9


def test_thermal_carries_arousal_only() -> None:
    skin = skin_block(10.0, plateau(2, 10, -0.5, 2.0))
    plain, warm = ValenceFilter(units_spec()), ValenceFilter(units_spec(), None, skin.spec)
    row = units_block(0.1).array[0].tolist()
    for i, stamp in enumerate(skin.timestamps):
        first = plain.update(float(stamp), row, None, None)
        second = warm.update(float(stamp), row, None, skin.array[i].tolist())
        assert first[:4] == second[:4]
        assert math.isnan(first.arousal)
    assert ValenceEstimate._fields[4] == "arousal"
    assert second.arousal > 0.5


def test_a_shutter_closing_holds_the_arousal() -> None:
    skin = skin_block(4.0)
    data = skin.array.copy()
    data[20:, skin.spec.index("ffc")] = 1.0
    data[20:, skin.spec.index("nose_tip_delta_celsius")] = 2.0
    valence = ValenceFilter(skin_temperature=skin.spec)
    arousal = [
        valence.update(float(s), None, None, data[i].tolist()).arousal for i, s in enumerate(skin.timestamps)
    ]
    assert max(arousal) == 0.0


def test_one_channel_and_foreign_columns_are_tolerated() -> None:
    valence = ValenceFilter(None, activity_spec(["ZYG_L"]))
    block: Block = activity_block(2.0, {"ZYG": plateau(0.5, 9, 12.0)}, channels=["ZYG_L"])
    for i, stamp in enumerate(block.timestamps):
        estimate = valence.update(float(stamp), None, block.array[i].tolist(), None)
    assert estimate.valence > 0.3
    with pytest.raises(ValueError, match="valence"):
        valence.bind(_camera_spec())


def _camera_spec():  # type: ignore[no-untyped-def]
    from acquisition.stream import Channel, FrameFormat, Kind, SampleType, StreamSpec

    frame = FrameFormat(640, 480, "MJPG")
    return StreamSpec("camera", Kind.CAMERA, (Channel("jpeg"),), 30.0, SampleType.STRING, "c", frame)


nasty = st.one_of(st.floats(-1e3, 1e3), st.just(math.nan), st.just(math.inf), st.just(-math.inf))


@given(st.lists(st.tuples(nasty, nasty, nasty, st.booleans(), st.booleans()), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_whatever_comes_in_the_estimate_stays_in_its_range(
    moments: list[tuple[float, float, float, bool, bool]],
) -> None:
    units, muscles = units_spec(), activity_spec()
    valence = ValenceFilter(units, muscles, skin_spec())
    for i, (a, b, c, seen, felt) in enumerate(moments):
        row = [a] * len(units.labels) if seen else None
        emg = [b] * len(muscles.labels) if felt else None
        estimate = valence.update(i / 30.0, row, emg, [c] * len(skin_spec().labels))
        assert -1.0 <= estimate.valence <= 1.0
        assert 0.0 < estimate.standard_error <= 1.0
        assert 0.0 <= estimate.quality <= 1.0
        assert 0.0 <= estimate.share_camera + estimate.share_emg <= 1.0 + 1e-9


def test_a_blink_in_the_corrugator_says_nothing_of_valence() -> None:
    duration_s = 6.0
    camera = units_block(duration_s, None)
    muscles = activity_block(duration_s, {"COR": plateau(2.0, 2.3, 9.0)})
    blink_s = (START_S + 1.9, START_S + 2.4)

    def lowest(*, told: bool) -> float:
        valence = ValenceFilter(camera.spec, muscles.spec)
        rows = []
        for i, stamp in enumerate(camera.timestamps.tolist()):
            j = min(int(np.searchsorted(muscles.timestamps, stamp)), len(muscles) - 1)
            blinking = told and blink_s[0] <= stamp < blink_s[1]
            rows.append(
                valence.update(
                    stamp, camera.array[i].tolist(), muscles.array[j].tolist(), None, blinking=blinking
                )
            )
        return min(row.valence for row in rows)

    assert lowest(told=False) < -0.04 and lowest(told=True) > 0.5 * lowest(told=False)


def test_half_of_the_scale_is_said() -> None:
    assert one_muscle_words(["ZYG_L", "COR_R"]) == one_muscle_words(["FRO_L"]) == ""
    assert "no channel on the corrugator" in one_muscle_words(["ZYG_L", "ZYG_R"])
    assert "no channel on the zygomaticus" in one_muscle_words(["COR_L"])
