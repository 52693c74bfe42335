"""How well skin temperature is read: a simulated face of known temperatures, filmed with every fault at once.

The face of the simulated person is placed, tilted and turned; regions warm by known amounts; the camera
drifts, is noisy, has dead pixels and rows, and calibrates itself. The truth of a region is the mean of what
was added to the skin inside its polygon.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from acquisition.stream import Block, Channel, FrameFormat, InvalidSignal, Kind, SampleType, StreamSpec
from hardware.simulated.portrait import resting_portrait
from hardware.simulated.thermal import resting_skin
from hardware.simulated.thermal_inputs import REFUSALS, bad_input, counts_of, room
from hardware.simulated.thermal_scene import ThermalPerson, ThermalScene
from hardware.thermal_formats import MODELS, confirm_model, unpack
from processing.landmarks import FaceMesh
from processing.thermal import SkinTemperature
from processing.thermal_regions import POLYGONS, REFERENCE, REGIONS
from zygoma.options import errors

WARMING = {"nose_tip": -0.4, "cheek_left": 0.3, "glabella": 0.2}
FAULTS = {"dead_pixels": 6, "dead_rows": (57,), "drift_celsius": 0.5, "noise_celsius": 0.02, "sway_px": 10.0}
CONDITIONS: Mapping[str, Mapping[str, object]] = {
    "motion, drift, noise, dead pixels and row": {},
    # As measured on a Lepton 3.5 that films a room: columns 10 mK, rows 6, the whole picture 8.
    "the same, line noise and flicker": {"line_noise_celsius": 0.008, "flicker_celsius": 0.008},
    "the same, face 40 px wide": {"face_width_px": 40.0},
    "the same, face 84 px wide": {"face_width_px": 84.0, "sway_px": 8.0},
    "the same, tilted 15 deg": {"tilt_deg": 15.0},
    "the same, turning +-10 deg": {"turn_deg": 10.0},
    "the same, fast (.6 Hz)": {"sway_hz": 0.6},
    "the same, cold glasses and nose": {"glasses": True, "cold_nose_celsius": 3.0},
    "the same, warm things behind": {"warm_objects": 6},
    "the same, off-centre": {"offset_px": (32.0, 6.0), "face_width_px": 50.0},
    "the same, with an FFC": {"ffc_at_s": (9.0,)},
}
BAD_INPUTS_PER_KIND = 200
_BASELINE_S = 10.0


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure and print a table.

    Args:
        quick: One film per condition instead of three, 20 bad inputs of each kind instead of 200.

    Returns:
        ``conditions``: condition -> delta_error_mk (mean over regions), worst_region_mk, frame_noise_mk,
        standard_error_mk (median), within_95 (share of errors inside their 95 % interval), covered,
        cpu_ms (median per frame); ``ffc``: true, detected, false; ``drift_suppression``;
        ``cpu_ms_per_frame`` (of the worst condition); ``bad_inputs``: generated, refused, good_refused;
        machine.
    """
    films = 1 if quick else 3
    results: dict[str, dict[str, float]] = {}
    for name, changes in track(CONDITIONS.items(), "Films", console=errors, transient=True):
        runs = [_Run(_scene(seed, **changes)) for seed in range(films)]
        results[name] = _summary(runs)
    result: dict[str, object] = {
        "conditions": results,
        "ffc": _corrections(films),
        "drift_suppression": _drift_suppression(films),
        "cpu_ms_per_frame": max(row["cpu_ms"] for row in results.values()),
        "bad_inputs": _bad_inputs(20 if quick else BAD_INPUTS_PER_KIND),
        "machine": platform.processor() or platform.machine(),
    }
    _print(result)
    return result


@lru_cache(maxsize=1)
def person() -> ThermalPerson:
    """The simulated person, with the mesh that a face model finds in the portrait."""
    with FaceMesh("image") as mesh:
        found = mesh.detect(np.ascontiguousarray(resting_portrait().skin[:, :, ::-1]), 0.0)
    assert found is not None
    return ThermalPerson(resting_skin().celsius, found.points_px[:, :2].astype(np.float64))


def blocks(scene: ThermalScene) -> Iterator[Block]:
    """The film as a thermal stream, one frame per block."""
    spec = StreamSpec(
        "thermal film",
        Kind.THERMAL,
        (Channel("frame_number"), Channel("ffc")),
        0.0,
        SampleType.INT16,
        "zygoma-thermal-film",
        FrameFormat(scene.width, scene.height, "centi_celsius"),
        {"frame_rate_hz": f"{scene.rate_hz:g}"},
    )
    for frame in scene.frames():
        row = np.empty((1, spec.channel_count), dtype=np.int16)
        row[0, :-2] = frame.centi.ravel()
        row[0, -2:] = (frame.number, int(frame.ffc))
        yield Block(spec, np.array([frame.time_s]), row, frame.number)


def _scene(seed: int, **changes: object) -> ThermalScene:
    settings: dict[str, object] = {"warming": WARMING, "duration_s": 20.0, "seed": seed, **FAULTS, **changes}
    return ThermalScene(person(), POLYGONS, **settings)  # type: ignore[arg-type]


class _Run:
    """What was measured of one film: ``times`` [n] and the columns of the stream."""

    def __init__(self, scene: ThermalScene) -> None:
        self.scene = scene
        skin = SkinTemperature()
        found, costs = [], []
        for block in blocks(scene):
            began_s = time.thread_time()
            found.append(skin.process(block))
            costs.append(1e3 * (time.thread_time() - began_s))
        self.spec = found[0].spec
        self.times = np.array([block.timestamps[0] for block in found])
        self.rows = np.concatenate([block.array for block in found]).astype(np.float64)
        # The frame that the face is searched in costs a model; it comes once.
        self.cpu_ms = float(np.median(costs))
        self.corrections = sum(event.kind == "ffc" for event in skin.events())

    def column(self, label: str) -> NDArray[np.float64]:
        return self.rows[:, self.spec.labels.index(label)]

    def deviations(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Error of each region's delta over the last 10 s and the standard error given for it, degC."""
        truth = [self.scene.true_change(time_s) for time_s in self.times.tolist()]
        late = self.times > self.times[-1] - _BASELINE_S
        found = {}
        for region in REGIONS:
            if region != REGIONS[REFERENCE]:
                true = np.array([row[region] - row[REGIONS[REFERENCE]] for row in truth])
                error = self.column(f"{region}_delta_celsius") - true
                found[region] = (error[late], self.column(f"{region}_delta_se_celsius")[late])
        return found

    def errors(self) -> dict[str, float]:
        """Root-mean-square error of each region's delta, degC, over the last 10 s."""
        return {
            region: float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else np.nan
            for region, (error, _) in self.deviations().items()
        }

    def frame_noise(self) -> float:
        """Median over regions of the noise from frame to frame, degC."""
        steps = [np.diff(self.column(f"{region}_celsius")) for region in REGIONS]
        return float(
            np.nanmedian([np.sqrt(np.nanmean(step**2) / 2) for step in steps if np.isfinite(step).any()])
        )


def _summary(runs: Sequence[_Run]) -> dict[str, float]:
    errors = np.array([list(run.errors().values()) for run in runs]).T
    # Glasses may cover a region in every film.
    regions = [float(np.nanmean(region)) for region in errors if np.isfinite(region).any()]
    pairs = [pair for run in runs for pair in run.deviations().values()]
    error, standard = (np.concatenate(part) for part in zip(*pairs, strict=True))
    known = np.isfinite(error) & np.isfinite(standard)
    return {
        "delta_error_mk": 1e3 * float(np.nanmean(errors)),
        "worst_region_mk": 1e3 * max(regions),
        "standard_error_mk": 1e3 * float(np.median(standard[known])),
        "within_95": float(np.mean(np.abs(error[known]) < 1.96 * standard[known])),
        "frame_noise_mk": 1e3 * float(np.mean([run.frame_noise() for run in runs])),
        "covered": float(np.mean([np.isfinite(run.column("cheek_left_celsius")[6:]).mean() for run in runs])),
        "cpu_ms": float(np.mean([run.cpu_ms for run in runs])),
    }


def _corrections(films: int) -> dict[str, int]:
    """FFCs told by the camera and not, and films without one."""
    true = detected = false = 0
    for seed in range(films):
        for flagged in (True, False):
            run = _Run(_scene(seed, ffc_at_s=(6.0, 12.0, 18.0), flagged=flagged, duration_s=24.0))
            true += 3
            detected += min(run.corrections, 3)
            false += max(run.corrections - 3, 0)
        false += _Run(_scene(seed)).corrections
    return {"true": true, "detected": detected, "false": false}


def _drift_suppression(films: int) -> float:
    """How much a region follows the camera's drift, over how much it does relative to the forehead."""
    ratios = []
    for seed in range(films):
        run = _Run(_scene(seed, warming={}))
        drift = np.array([run.scene.drift_at(time_s) for time_s in run.times.tolist()])
        for region in REGIONS:
            if region != REGIONS[REFERENCE]:
                raw = run.column(f"{region}_celsius")
                relative = run.column(f"{region}_minus_forehead_celsius")
                ratios.append(abs(_follows(raw, drift) / _follows(relative, drift)))
    return float(np.median(ratios))


def _follows(signal: NDArray[np.float64], drift: NDArray[np.float64]) -> float:
    """Slope of a signal against the drift: 1 follows it fully."""
    good = np.isfinite(signal)
    return float(np.polyfit(drift[good], signal[good], 1)[0])


def _bad_inputs(count: int) -> dict[str, int]:
    lepton = MODELS["lepton"]
    refused = good_refused = 0
    for index, (kind, sentence) in enumerate(REFUSALS.items()):
        rng = np.random.default_rng(index)
        for _ in range(count):
            try:
                confirm_model(unpack(bad_input(kind, rng), lepton), lepton)
            except InvalidSignal as refusal:
                refused += re.search(sentence, str(refusal)) is not None
    rng = np.random.default_rng(99)
    for _ in range(count):
        try:
            confirm_model(unpack(counts_of(room(rng)), lepton), lepton)
        except InvalidSignal:
            good_refused += 1
    return {"generated": count * len(REFUSALS), "refused": refused, "good_refused": good_refused}


def _print(result: Mapping[str, object]) -> None:
    conditions, ffc, bad = result["conditions"], result["ffc"], result["bad_inputs"]
    assert isinstance(conditions, dict) and isinstance(ffc, dict) and isinstance(bad, dict)
    table = Table(title="Skin temperature of a simulated face, 160 x 120 at 8.77 Hz", box=None)
    for column in (
        "condition",
        "delta error mK",
        "worst region",
        "frame noise mK",
        "SE mK",
        "in 95 %",
        "covered",
        "CPU ms",
    ):
        table.add_column(column, justify="left" if column == "condition" else "right")
    for name, row in conditions.items():
        keys = ("delta_error_mk", "worst_region_mk", "frame_noise_mk", "standard_error_mk")
        shares = (f"{100 * row[key]:.0f} %" for key in ("within_95", "covered"))
        table.add_row(name, *(f"{row[key]:.0f}" for key in keys), *shares, f"{row['cpu_ms']:.1f}")
    errors.print(table)
    errors.print(
        f"FFC: {ffc['detected']} of {ffc['true']} detected, {ffc['false']} false. "
        f"Drift suppressed {result['drift_suppression']:.0f} times by the forehead. "
        f"{result['cpu_ms_per_frame']:.2f} ms of CPU per frame at worst.\n"
        f"Bad inputs: {bad['refused']} of {bad['generated']} refused with the right sentence, "
        f"{bad['good_refused']} good ones refused.",
        highlight=False,
    )
