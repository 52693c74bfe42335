"""The clip generator keeps its promises, and the scoring counts as MEGC does."""

from __future__ import annotations

import numpy as np
import pytest

from processing.spotting_evidence import WEIGHTS
from zygoma.bench.clip_skin import PULSE_SHAPES, Bump, pulse
from zygoma.bench.clips import Clip, ClipSettings, Photograph, TrueEvent, photograph
from zygoma.bench.spotting_fit import AGAINST, EVIDENCE, fit
from zygoma.bench.spotting_peers import intervals_above
from zygoma.bench.spotting_score import Score, best_case, errors_ms, micro, overlap, score_of


@pytest.fixture(scope="module")
def portrait():
    """A textured square with a plausible spread of landmarks: enough to warp."""
    rng = np.random.default_rng(0)
    image = np.repeat(rng.integers(60, 200, (400, 400, 1)), 3, axis=2).astype(np.uint8)
    points = np.stack((rng.uniform(130, 270, 478), rng.uniform(110, 330, 478)), axis=1)
    points[[33, 133], 0], points[[263, 362], 0] = (130, 170), (270, 230)
    points[[33, 133, 263, 362], 1] = 168
    points[[234, 454], 0] = 110, 290
    points[[10, 152], 1] = 90, 350
    points[[159, 386], 1], points[[145, 374], 1] = 162, 176
    return Photograph("noise", image, points)


def event(onset, offset, amplitude=1.0):
    return TrueEvent("micro", "12", "both", onset, 0.5 * (onset + offset), offset, amplitude)


def test_equal_settings_give_equal_frames_and_truth(portrait):
    settings = ClipSettings(seed=4, seconds=8.0)
    one, other = Clip(portrait, settings), Clip(portrait, settings)
    assert one.events == other.events
    for _, (first, second) in zip(range(3), zip(one, other, strict=True), strict=False):
        assert first[0] == second[0]
        assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize("hard", [False, True])
def test_micro_expressions_keep_to_their_definition(portrait, hard):
    events = [e for seed in range(6) for e in micro(Clip(portrait, ClipSettings(seed, 40.0, hard=hard)))]
    assert len(events) > 20
    for each in events:
        assert 0.04 <= each.duration_s <= 0.55
        assert each.onset_s < each.apex_s < each.offset_s
        assert 0.4 < each.amplitude_px < 3.5


def test_distractors_only(portrait):
    clip = Clip(portrait, ClipSettings(1, 60.0, micro_share=0.0))
    assert not micro(clip)
    assert {"blink", "speech", "gaze"} <= {each.kind for each in clip.events}


def test_a_picture_without_a_face_is_refused():
    with pytest.raises(ValueError, match="no face found in wall"):
        photograph("wall", np.zeros((64, 64, 3), np.uint8), lambda rgb: None)


def test_overlap_is_intersection_over_union():
    assert overlap((0, 1), (0.5, 1.5)) == pytest.approx(1 / 3)
    assert overlap((0, 1), (2, 3)) == 0


def test_errors_are_those_of_what_was_found():
    truth = [event(1.0, 1.4), event(3.0, 3.2), event(5.0, 5.4)]
    score = score_of([truth], [[(5.01, 5.43, 5.2), (1.03, 1.39, 1.22), (7.0, 7.2, 7.1)]])
    assert [each.onset_s for each in score.found] == [1.0, 5.0]
    assert errors_ms(score) == pytest.approx({"onset": 20.0, "apex": 10.0, "offset": 20.0})
    assert np.isnan(errors_ms(Score())["apex"])


def test_each_movement_counts_once():
    truth = [event(1.0, 1.4), event(3.0, 3.2, 2.0)]
    score = Score()
    score.add(truth, [(1.0, 1.4), (1.02, 1.42), (3.15, 3.5)])
    assert (len(score.found), len(score.missed), score.false) == (1, 1, 2)
    assert score.f1 == pytest.approx(2 / 5)
    assert score.recall == 0.5
    assert score.precision == pytest.approx(1 / 3)
    assert score.recall_where(1.5, 2.5, "amplitude_px") == 0.0
    assert score.recall_where(7.0, 8.0, "amplitude_px") is None


def test_counts_are_pooled_over_clips():
    score = score_of([[event(1, 1.3)], [event(1, 1.3)]], [[(1, 1.3)], []])
    assert score.f1 == pytest.approx(2 / 3)


def test_a_peer_is_given_its_best_threshold():
    times = np.arange(0, 10, 1 / 30)
    strength = np.random.default_rng(0).uniform(0, 1, len(times))
    strength[(times > 4.0) & (times < 4.3)] = 5.0
    assert intervals_above(times, strength, 2.0) == [
        (pytest.approx(4.033, abs=0.01), pytest.approx(4.267, abs=0.04))
    ]
    best = best_case(
        [[event(4.0, 4.3)]], lambda level: [intervals_above(times, strength, level)], [0.2, 0.5, 2.0, 9.0]
    )
    assert best.f1 == 1.0


def test_fitted_weights_keep_their_signs():
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.3
    features = rng.normal(0, 1, (400, len(EVIDENCE + AGAINST)))
    features[:, 0] += 2.0 * truth
    # A feature that stands against must not gain weight by chance agreement.
    features[:, -1] += 1.0 * truth
    weights, _ = fit(features, truth)
    assert weights[EVIDENCE[0]] > 0.5
    assert weights[AGAINST[-1]] == 0.0
    assert set(weights) == set(WEIGHTS)


def test_skin_beyond_a_bump_does_not_move():
    y, x = np.mgrid[0:80, 0:80].astype(np.float32)
    moved_x, moved_y = np.zeros_like(x), np.zeros_like(y)
    bump = Bump(40, 40, 20, 10, 1.5, -3.0, pulse(0.0, 0.1, 0.2, 0.0, 1), 0.0, 0.2)
    bump.add(0.1, x, y, moved_x, moved_y, (0.0, 0.0))
    assert moved_y.min() == pytest.approx(-3.0)
    assert moved_x[40, 40] == pytest.approx(1.5)
    assert not moved_y[((x - 40) / 20) ** 2 + ((y - 40) / 10) ** 2 > 1].any()


@pytest.mark.parametrize("shape", range(PULSE_SHAPES))
def test_pulses_start_peak_and_end_where_they_say(shape):
    drive = pulse(1.0, 1.2, 1.5, 0.1, shape)
    assert drive(1.0) == drive(1.5) == 0.0
    assert drive(1.2) == pytest.approx(1.0)
    values = [drive(t) for t in np.linspace(1.0, 1.2, 20)]
    assert values == sorted(values)
