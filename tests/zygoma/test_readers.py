from __future__ import annotations

from acquisition.inlet import Incident
from zygoma.readers import GAP_DIGEST_S, GapDigest


def gap(time_s: float, lost: int) -> Incident:
    return Incident(time_s, "gap", lost, lost / 30, f"Camera lost {lost} samples.")


def test_the_first_gap_is_told_at_once_and_the_following_ones_together() -> None:
    digest = GapDigest("Camera")
    assert digest.told([gap(1.0, 2)], 1.0) == [gap(1.0, 2)]
    assert digest.told([gap(2.0, 1)], 2.0) == []
    assert digest.told([gap(3.0, 4), gap(3.5, 1)], 3.5) == []
    (told,) = digest.told([], 1.0 + GAP_DIGEST_S)
    assert told.lost == 6
    assert told.sentence == "Camera lost 6 samples in 3 gaps."
    assert digest.told([], 20.0) == []


def test_anything_but_a_gap_is_never_held_back() -> None:
    digest = GapDigest("Camera")
    digest.told([gap(1.0, 2)], 1.0)
    silence = Incident(2.0, "silence", 0, 1.0, "Camera has sent nothing for 1.0 s.")
    assert digest.told([gap(2.0, 1), silence], 2.0) == [silence]
