"""Arousal does not rise with a camera's drift, whichever way the nose tip's delta was made."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fusion.valence_observations import Arousal
from tests.fusion.synthetic import skin_block


@pytest.mark.parametrize("relative", [False, True])
def test_drift_of_the_camera_is_no_arousal(relative: bool) -> None:
    spec = replace(skin_block(1.0).spec, metadata={"delta_reference": "forehead"} if relative else {})
    drift = 0.8
    row = [0.0] * spec.channel_count
    row[spec.index("nose_tip_valid")] = 1.0
    row[spec.index("forehead_delta_celsius")] = drift
    row[spec.index("nose_tip_delta_celsius")] = 0.0 if relative else drift
    arousal = Arousal(spec)
    assert [arousal.observe(float(t), row) for t in range(5)][-1] == 0.0
    row[spec.index("nose_tip_delta_celsius")] -= 0.6
    risen = [arousal.observe(float(t), row) for t in range(5, 12)][-1]
    assert math.isclose(risen, math.tanh(0.55 / 0.4), abs_tol=0.02)
