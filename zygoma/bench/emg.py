"""How well and how fast muscle bursts are found: ours beside NeuroKit2 and BioSPPy on the same simulated EMG.

The peers see a whole recording at once; ours sees it sample by sample. The settings of ours were chosen on
seeds 101-103, those of the peers on seed 111; seeds from 1 on are scored. NeuroKit2 needs seconds per minute
of signal, so it gets the first recording of each condition at 1 kHz, the others get all of them.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numba import njit
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from processing.emg import MuscleActivity
from processing.emg_kernel import advance
from zygoma.bench.emg_peers import Detector, peers
from zygoma.bench.emg_recordings import agreement
from zygoma.bench.emg_signals import Condition, Interval, Score, muscle_noise, score, simulate
from zygoma.options import errors

OURS = "zygoma"
SNRS_DB = (3.0, 6.0, 12.0, 20.0)
RATES_HZ = (250.0, 500.0, 1000.0, 2000.0)
MAINS_UV = 10.0
RAMPS_S = (0.02, 0.05, 0.1)
RECORDING_S = 60.0
RECORDINGS = 4
CHUNK_SAMPLES = 20
CHUNK_CHANNELS = 2

_SHORT_NAMES = {
    "NeuroKit2 threshold": "NK thr",
    "NeuroKit2 mixture": "NK mix",
    "NeuroKit2 biosppy": "NK bio",
    "BioSPPy Lidierth": "Lidier",
    "BioSPPy Silva": "Silva",
    "BioSPPy Bonato": "Bonato",
    "BioSPPy Hodges-Bui": "Hodges",
}
_SLOW_PEERS = "NeuroKit2"  # seconds per minute of signal: at 1 kHz only


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure and print a table.

    Args:
        quick: 1 kHz only, one recording of 60 s per condition instead of four.

    Returns:
        ``conditions``: condition -> detector -> f1, onset_mae_ms, onset_bias_ms, offset_mae_ms, found, true;
        ``samples_per_s`` per detector; ``kernel_us_per_chunk`` and ``process_us_per_chunk`` for 2 channels x
        20 samples; ``false_bursts``, ``false_flags`` in ``rest_minutes``; ``peers_false_bursts`` in
        ``peers_rest_minutes``; ``decision_ms`` (bursts -> median, p90); ``recordings`` (detector -> agreement
        with the eye on real EMG, empty without the package EMGFlow); machine.
    """
    detectors: dict[str, Detector] = {OURS: zygoma_bursts, **peers()}
    conditions = [
        Condition(rate_hz, snr_db, mains_uv, short, RECORDING_S)
        for rate_hz in ((1000.0,) if quick else RATES_HZ)
        for short in (False, True)
        for mains_uv in (0.0, MAINS_UV)
        for snr_db in SNRS_DB
    ]
    results: dict[str, dict[str, dict[str, float]]] = {}
    for condition in track(conditions, "Simulated EMG", console=errors, transient=True):
        results[words(condition)] = {
            name: _summary(_scores(detector, name, condition, 1 if quick else RECORDINGS))
            for name, detector in detectors.items()
            if condition.rate_hz == 1000.0 or not name.startswith(_SLOW_PEERS)
        }
    minutes, peers_minutes = (5, 1) if quick else (20, 2)
    found, flags = false_bursts(minutes)
    result: dict[str, object] = {
        "conditions": results,
        "samples_per_s": {name: samples_per_s(detector) for name, detector in detectors.items()},
        "kernel_us_per_chunk": kernel_us_per_chunk(),
        "process_us_per_chunk": process_us_per_chunk(),
        "false_bursts": found,
        "false_flags": flags,
        "rest_minutes": minutes,
        "peers_false_bursts": {
            name: len(detector(_rest(peers_minutes), 1000.0)) for name, detector in peers().items()
        },
        "peers_rest_minutes": peers_minutes,
        "decision_ms": decision_ms(1 if quick else RECORDINGS),
        "recordings": agreement(detectors, OURS),
        "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
    }
    _print(results, list(detectors), result)
    return result


def words(condition: Condition) -> str:
    """A condition as the key of the results."""
    length = "40-200 ms" if condition.short else "0.2-2 s"
    mains = f"{condition.mains_uv:g} uV mains" if condition.mains_uv else "clean"
    return f"{condition.rate_hz:g} Hz, {length}, {mains}, {condition.snr_db:g} dB"


def _spec(rate_hz: float, channels: int) -> StreamSpec:
    labels = ("ZYG_L", "COR_L", "ZYG_R", "COR_R")[:channels]
    return StreamSpec(
        "bench", Kind.EMG, tuple(Channel(label, "microvolts", "EMG") for label in labels), rate_hz,
        SampleType.FLOAT64, "bench",
    )  # fmt: skip


def _run_ours(wave: NDArray[np.float64], rate_hz: float) -> tuple[MuscleActivity, Block]:
    processor = MuscleActivity()
    block = Block(_spec(rate_hz, 1), np.arange(len(wave)) / rate_hz, wave[:, None], 0)
    return processor, processor.process(block)


def zygoma_bursts(wave: NDArray[np.float64], rate_hz: float) -> list[Interval]:
    """Bursts as `MuscleActivity` reports them, with no rest named and no calibration."""
    processor, _ = _run_ours(wave, rate_hz)
    return [(burst.onset_s, burst.offset_s) for burst in processor.take_bursts()]


def _scores(detector: Detector, name: str, condition: Condition, seeds: int) -> list[Score]:
    if name.startswith(_SLOW_PEERS):
        seeds = 1
    scores = []
    for seed in range(1, seeds + 1):
        wave, truth = simulate(replace(condition, seed=seed))
        scores.append(score(detector(wave, condition.rate_hz), truth))
    return scores


def _summary(scores: Sequence[Score]) -> dict[str, float]:
    true, found, matched = (sum(getattr(s, key) for s in scores) for key in ("true", "found", "matched"))

    def mean_ms(key: str) -> float:
        if not matched:
            return float("nan")
        return float(1e3 * sum(getattr(s, key) * s.matched for s in scores if s.matched) / matched)

    return {
        "f1": 2 * matched / max(true + found, 1),
        "onset_mae_ms": mean_ms("onset_mae_s"),
        "onset_bias_ms": mean_ms("onset_bias_s"),
        "offset_mae_ms": mean_ms("offset_mae_s"),
        "found": found,
        "true": true,
    }


def _least_cpu_s(call: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the fastest of `repeats` calls, after one that warms up."""
    call()
    least = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        call()
        least = min(least, time.process_time() - start)
    return least


def samples_per_s(detector: Detector) -> float:
    """Throughput on one minute of one channel at 1 kHz, CPU time of this process."""
    wave, _ = simulate(Condition(seconds=60.0, seed=1))
    return len(wave) / _least_cpu_s(lambda: detector(wave, 1000.0), 1)


@njit(nogil=True)
def _kernel_loop(data, stamps, chunks, size, memory):  # type: ignore[no-untyped-def]
    rows = 0
    for k in range(chunks):
        a = (k * size) % (data.shape[0] - size)
        rows += advance(data[a : a + size], stamps[a : a + size], data.shape[0] + k * size, memory)[0]
    return rows


def kernel_us_per_chunk(chunks: int = 1000) -> dict[str, float]:
    """CPU microseconds the compiled chain takes for 2 channels x 20 samples at 1 kHz, best of 100 runs.

    Returns:
        ``clean`` (no mains found) and ``mains`` (nine harmonics followed).
    """
    result = {}
    for key, mains_uv in (("clean", 0.0), ("mains", MAINS_UV)):
        wave, _ = simulate(Condition(mains_uv=mains_uv, seconds=30.0, seed=1))
        data = np.column_stack([wave] * CHUNK_CHANNELS) + np.random.default_rng(0).normal(
            0, 1, (len(wave), 2)
        )
        stamps = np.arange(len(wave)) / 1000.0
        processor = MuscleActivity()
        processor.process(Block(_spec(1000.0, CHUNK_CHANNELS), stamps, data, 0))
        loop = partial(_kernel_loop, data, stamps, chunks, CHUNK_SAMPLES, processor.memory)
        seconds = _least_cpu_s(loop, 100)
        result[key] = 1e6 * seconds / chunks
    return result


def process_us_per_chunk(chunks: int = 2000) -> float:
    """CPU microseconds of a whole `MuscleActivity.process` call, blocks and all."""
    spec = _spec(1000.0, CHUNK_CHANNELS)
    data = np.random.default_rng(0).normal(0, 3, (chunks * CHUNK_SAMPLES, CHUNK_CHANNELS))
    stamps = np.arange(len(data)) / 1000.0
    blocks = [
        Block(spec, stamps[a : a + CHUNK_SAMPLES], data[a : a + CHUNK_SAMPLES], a)
        for a in range(0, len(data), CHUNK_SAMPLES)
    ]

    def all_blocks() -> None:
        processor = MuscleActivity()
        for block in blocks:
            processor.process(block)

    return 1e6 * _least_cpu_s(all_blocks, 3) / chunks


def _rest(minutes: int) -> NDArray[np.float64]:
    n = minutes * 60_000
    rng = np.random.default_rng(1)
    return np.asarray(rng.normal(0, 2.5, n) + muscle_noise(rng, n, 1000.0))


def false_bursts(minutes: int) -> tuple[int, int]:
    """Bursts that we report in rest at 1 kHz, where there is none, and how often the live flag rises."""
    processor, out = _run_ours(_rest(minutes), 1000.0)
    return len(processor.take_bursts()), int(np.sum(np.diff(out.column("ZYG_L_burst")) > 0))


def decision_ms(recordings: int) -> dict[str, dict[str, float]]:
    """From the start of a burst's ramp to the burst flag of the live output, at 12 dB and 1 kHz.

    By ramp, and for the bursts of the tables above, whose ramps are 20 % of their length, at most 100 ms.
    """
    kinds = {f"{1e3 * ramp_s:.0f} ms ramp": Condition(seconds=240.0, ramp_s=ramp_s) for ramp_s in RAMPS_S}
    kinds |= {"0.2-2 s": Condition(seconds=240.0), "40-200 ms": Condition(seconds=240.0, short=True)}
    result = {}
    for name, condition in kinds.items():
        late = []
        for seed in range(1, recordings + 1):
            wave, truth = simulate(replace(condition, seed=seed))
            _, out = _run_ours(wave, 1000.0)
            rises = out.timestamps[1:][np.diff(out.column("ZYG_L_burst")) > 0]
            late += [rises[(rises > on) & (rises < off + 0.05)][:1] - on for on, off in truth]
        delays = 1e3 * np.concatenate(late)
        result[name] = {
            "median": float(np.median(delays)),
            "p90": float(np.percentile(delays, 90)),
        }
    return result


def _print(
    results: dict[str, dict[str, dict[str, float]]], names: Sequence[str], result: dict[str, object]
) -> None:
    table = Table(
        title="Burst F1 at IoU >= 0.5 (ms: our mean absolute onset error; short: 40-200 ms, long: 0.2-2 s)",
        box=None,
        padding=(0, 0, 0, 1),
    )
    headings = ["Hz", "bursts", "mains", "dB", *(_SHORT_NAMES.get(name, name) for name in names)]
    headings.insert(5, "ms")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for condition, found in results.items():
        best = max(entry["f1"] for entry in found.values())
        rate, length, mains, snr = condition.split(", ")
        length, mains = "short" if length == "40-200 ms" else "long", "no" if mains == "clean" else "yes"
        cells = [rate.removesuffix(" Hz"), length, mains, snr.removesuffix(" dB")]
        for name in names:
            entry = found.get(name)
            text = "-" if entry is None else f"{entry['f1']:.2f}"
            cells.append(f"[bold]{text}[/bold]" if entry and entry["f1"] >= best - 0.005 else text)
        cells.insert(5, f"{found[OURS]['onset_mae_ms']:.0f}")
        table.add_row(*cells)
    rates = result["samples_per_s"]
    assert isinstance(rates, dict)
    table.add_section()
    speeds = [f"{rates[name] / 1000:,.0f}" for name in names]
    table.add_row("", "kS/s", "", "", speeds[0], "", *speeds[1:])
    errors.print(table)
    kernel, decision = result["kernel_us_per_chunk"], result["decision_ms"]
    assert isinstance(kernel, dict) and isinstance(decision, dict)
    decided = ", ".join(f"{entry['median']:.0f} ms ({bursts})" for bursts, entry in decision.items())
    errors.print(
        f"2 channels x 20 samples: {kernel['clean']:.2f} µs in the kernel ({kernel['mains']:.2f} with "
        f"mains), {result['process_us_per_chunk']:.0f} µs a call. In {result['rest_minutes']} min of rest "
        f"{result['false_bursts']} false bursts, {result['false_flags']} false flags. Decided after the true "
        f"onset, at 12 dB: {decided}.",
        highlight=False,
    )
    false, real = result["peers_false_bursts"], result["recordings"]
    assert isinstance(false, dict) and isinstance(real, dict)
    told = ", ".join(f"{name} {count}" for name, count in false.items())
    errors.print(f"The peers' in {result['peers_rest_minutes']} min: {told}.", highlight=False)
    for name, entry in real.items():
        errors.print(
            f"Real EMG: {name} finds {entry['found']} of {entry['contractions']} contractions, onsets off by "
            f"{entry['onset_error_ms']:.0f} ms, {entry['in_rest']} bursts in rest.",
            highlight=False,
        )
