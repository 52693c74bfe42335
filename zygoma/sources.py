"""From what a person asks `publish` or `analyze` for to the source that gives it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from acquisition import network
from acquisition.clock import lsl_clock
from acquisition.stream import DeviceNotFound, InvalidSignal, Kind, Source
from processing.camera import MIRRORED
from zygoma.options import say, warn
from zygoma.publish import publish
from zygoma.signals import orphaned, stop_signals

DEMO_SCENARIO_S = 60.0


@dataclass(frozen=True)
class SourceRequest:
    """One device, as asked for on the command line."""

    kind: str
    device: str | None = None
    simulate: bool = False
    file: Path | None = None
    rate_hz: float | None = None
    channels: Mapping[str, str] = field(default_factory=dict)
    board_options: Mapping[str, str] = field(default_factory=dict)
    scenario: str = "demo"
    seed: int = 0
    start_s: float | None = None
    duration_s: float = 0.0
    loop: bool = False
    tlinear: bool = False
    size_px: tuple[int, int] | None = None


def build_source(request: SourceRequest) -> Source:
    """The source for `request`, not yet opened.

    Raises:
        DeviceNotFound, InvalidSignal: In one sentence that says what to do.
    """
    if request.simulate:
        return _simulated(request)
    if request.file is not None:
        if not request.file.exists():
            raise DeviceNotFound(f"{request.file} does not exist: check the path given to --file.")
        return file_source(
            Kind.CAMERA if request.kind == "camera" else Kind.EMG if request.kind == "emg" else Kind.THERMAL,
            request.file,
            paced=True,
            loop=request.loop,
            channels=request.channels,
            rate_hz=request.rate_hz,
        )
    return _hardware(request)


def _simulated(request: SourceRequest) -> Source:
    import cv2

    from hardware.simulated import Scenario, simulated_source

    # A device has one core at most: the engine needs the others.
    cv2.setNumThreads(1)
    length_s = request.duration_s or DEMO_SCENARIO_S
    scenario = getattr(Scenario, request.scenario)(seed=request.seed, duration_s=length_s)
    start_s = request.start_s if request.start_s is not None else lsl_clock() + 0.5
    return simulated_source(
        "ground_truth" if request.kind == "truth" else request.kind,
        scenario,
        clock=lsl_clock,
        sleep=time.sleep,
        start_s=start_s,
        rate_hz=request.rate_hz,
        seed=request.seed,
        loop=request.duration_s == 0.0 or request.loop,
        size_px=request.size_px,
    )


def _hardware(request: SourceRequest) -> Source:
    if request.kind == "camera":
        from hardware.webcam import Webcam

        device = request.device or "0"
        width, height = request.size_px or (1280, 720)
        return Webcam(
            int(device) if device.isdigit() else device,
            clock=lsl_clock,
            width=width,
            height=height,
            rate_hz=request.rate_hz or 30.0,
        )
    if request.kind == "emg":
        from hardware.brainflow_board import BrainFlowBoard

        if request.device is None:
            raise DeviceNotFound(
                "Say which board with --device, e.g. CYTON_BOARD; 'zygoma devices' lists them."
            )
        return BrainFlowBoard(
            request.device, clock=lsl_clock, channels=request.channels, parameters=request.board_options
        )
    from hardware.thermal_camera import ThermalCamera

    return ThermalCamera(
        request.device,
        clock=lsl_clock,
        sleep=time.sleep,
        tlinear=request.tlinear,
        give_up_s=math.inf,
        on_notice=warn,
    )


def file_source(
    kind: Kind,
    path: Path,
    *,
    paced: bool,
    loop: bool = False,
    channels: Mapping[str, str] | None = None,
    rate_hz: float | None = None,
    scale: float | None = None,
) -> Source:
    """A file that plays a device.

    Args:
        kind: Camera, EMG or Thermal.
        path: The file.
        paced: In real time on the LSL clock (to publish), else as fast as it is read, from time 0.
        loop: Start again at its end.
        channels: EMG column -> muscle and side.
        rate_hz: Of a thermal or EMG file that carries no times.
        scale: Kelvin per count of a thermal file.
    """
    if kind is Kind.CAMERA:
        from hardware.video_file import VideoFile

        return VideoFile(path, encode=paced, paced=paced, loop=loop, clock=lsl_clock, sleep=time.sleep)
    if kind is Kind.EMG:
        if path.suffix.lower() == ".xdf":
            raise InvalidSignal(
                f"{path.name} is a recording: use 'zygoma replay {path}' or 'zygoma analyze {path}'."
            )
        from hardware.emg_file import EmgFile

        return EmgFile(
            path,
            channels=channels or {},
            rate_hz=rate_hz,
            paced=paced,
            loop=loop,
            clock=lsl_clock,
            sleep=time.sleep,
        )
    from hardware.thermal_file import ThermalFile

    return ThermalFile(
        path, scale=scale, rate_hz=rate_hz, paced=paced, loop=loop, clock=lsl_clock, sleep=time.sleep
    )


def publish_until_stopped(
    source: Source, *, name: str | None, quiet: bool, lan: bool, mirrored: bool = False
) -> None:
    """Publish `source` until it ends, one of `zygoma.signals.ENDING` asks to stop, or its owner is gone.

    Args:
        source: What to publish.
        name: Another stream name than the source's own.
        quiet: Say nothing but errors.
        lan: Other machines may listen.
        mirrored: Declare a camera's pictures mirrored, so that left and right are swapped back from them.
    """
    network.configure(lan=lan)
    notices = (lambda sentence: None) if quiet else say
    metadata = {MIRRORED: "true"} if mirrored else {}
    with stop_signals() as stop:

        def over() -> bool:
            return stop.is_set() or orphaned()

        publish(source, until=over, on_notice=notices, on_loss=warn, name=name, metadata=metadata)
