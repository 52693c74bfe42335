"""The EMG bench: its truth, its score, and the bars that do not depend on the machine."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zygoma.bench import emg as bench
from zygoma.bench import emg_recordings as recordings
from zygoma.bench.emg_peers import peers
from zygoma.bench.emg_signals import REST_S, Condition, score, simulate


def test_overlap_decides_what_matches() -> None:
    truth = [(1.0, 2.0), (4.0, 5.0)]
    both = score([(1.1, 2.1), (4.0, 4.9), (7.0, 8.0)], truth)
    assert (both.matched, both.true, both.found) == (2, 2, 3) and both.f1 == pytest.approx(0.8)
    assert both.onset_mae_s == pytest.approx(0.05) and both.offset_mae_s == pytest.approx(0.1)
    assert score([(1.8, 3.0)], truth).f1 == 0.0
    assert math.isnan(score([], truth).onset_mae_s)


def test_simulated_bursts_have_the_power_and_ramp_that_is_asked_for() -> None:
    wave, truth = simulate(Condition(snr_db=12.0, seconds=30.0, seed=3, ramp_s=0.02))
    stamps = np.arange(len(wave)) / 1000
    plateau = np.concatenate([wave[(stamps > on + 0.02) & (stamps < off - 0.02)] for on, off in truth])
    rest = wave[stamps < REST_S]
    assert 10 * math.log10(np.var(plateau) / np.var(rest)) == pytest.approx(12.0, abs=0.5)


@pytest.mark.parametrize("mains_uv", [0.0, bench.MAINS_UV])
def test_our_bursts_meet_the_bars(mains_uv: float) -> None:
    for short, least in ((False, 0.99), (True, 0.94)):
        wave, truth = simulate(Condition(snr_db=12.0, mains_uv=mains_uv, short=short, seconds=60.0, seed=2))
        result = score(bench.zygoma_bursts(wave, 1000.0), truth)
        assert result.f1 >= least and result.onset_mae_s < 0.04
    wave, truth = simulate(Condition(snr_db=3.0, mains_uv=mains_uv, seconds=60.0, seed=2))
    assert score(bench.zygoma_bursts(wave, 1000.0), truth).f1 >= 0.85


def test_rest_is_quiet_and_decisions_come_soon() -> None:
    assert bench.false_bursts(5) == (0, 0)
    decided = bench.decision_ms(1)
    assert decided["20 ms ramp"]["median"] < 30 and decided["50 ms ramp"]["median"] < 45
    assert decided["0.2-2 s"]["median"] < 65


def test_peers_find_strong_bursts() -> None:
    pytest.importorskip("biosppy")
    wave, truth = simulate(Condition(snr_db=20.0, seconds=20.0, seed=2))
    fast = {name: detect for name, detect in peers().items() if not name.startswith("NeuroKit2")}
    found = {name: score(detect(wave, 1000.0), truth).f1 for name, detect in fast.items()}
    assert set(found) >= {"BioSPPy Lidierth", "BioSPPy Silva", "BioSPPy Bonato", "BioSPPy Hodges-Bui"}
    assert min(found[name] for name in ("BioSPPy Lidierth", "BioSPPy Silva", "BioSPPy Bonato")) > 0.8


def test_contractions_of_a_real_face_are_found() -> None:
    if recordings.folder() is None:
        pytest.skip("the package EMGFlow with the recordings is not installed")
    ours = recordings.agreement({bench.OURS: bench.zygoma_bursts}, bench.OURS)[bench.OURS]
    assert ours["found"] == ours["contractions"] == 5 and ours["onset_error_ms"] < 20
    assert ours["in_rest"] <= 2, "a click, and a swing of the corrugator's electrodes"
