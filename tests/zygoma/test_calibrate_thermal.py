"""`zygoma calibrate thermal` on the simulated person, whose two cameras have a known geometry."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from acquisition.clock import lsl_clock
from acquisition.outlet import LslOutlet
from acquisition.stream import Block, DeviceNotFound, InvalidSignal, Kind
from hardware.simulated import Scenario
from hardware.simulated.thermal import to_thermal_px
from zygoma.calibrate_thermal import (
    MomentCollector,
    calibrate_thermal,
    mapping_from,
    save_mapping,
)
from zygoma.options import read_thermal_mapping
from zygoma.pipeline import Pipeline, PipelineSettings
from zygoma.simulation import simulated_blocks

FACE_PX = np.array([[320.0, 150], [250, 250], [390, 250], [320, 360]])


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    """Both cameras in order of time."""
    scenario = Scenario.demo(seed=4, duration_s=7.0)
    made = [
        block
        for device in ("camera", "thermal")
        for block in simulated_blocks(device, scenario, rate_hz=8.77)
    ]
    return sorted(made, key=lambda block: float(block.timestamps[0]))


@pytest.fixture(scope="module")
def collector(blocks: list[Block]) -> MomentCollector:
    collector = MomentCollector(spacing_s=0.7)
    for block in blocks:
        collector.add(block)
    return collector


def play(blocks: list[Block], over: threading.Event) -> None:
    """Onto LSL, as two devices would, again and again."""
    with ExitStack() as stack:
        specs = {block.spec.kind: block.spec for block in blocks}
        outlets = {kind: stack.enter_context(LslOutlet(spec)) for kind, spec in specs.items()}
        length_s = float(blocks[-1].timestamps[0] - blocks[0].timestamps[0]) + 0.1
        shift_s, frames = lsl_clock() - float(blocks[0].timestamps[0]), len(blocks)
        while not over.is_set():
            for block in blocks:
                stamps = block.timestamps + shift_s
                if over.wait(max(0.0, float(stamps[0]) - lsl_clock())):
                    return
                outlets[block.spec.kind].push(Block(block.spec, stamps, block.data, block.first + frames))
            shift_s, frames = shift_s + length_s, frames + len(blocks)


def test_the_simulated_persons_face_gives_the_cameras_geometry(
    collector: MomentCollector, tmp_path: Path
) -> None:
    assert 5 <= len(collector.moments) <= 10
    done: list[int] = []
    mapping = mapping_from(collector.moments, on_moment=done.append)
    assert done[-1] == len(collector.moments)
    error = np.hypot(*(mapping.to_thermal(FACE_PX) - to_thermal_px(FACE_PX)).T)
    assert error.max() < 3.0 and mapping.residual_px < 3.0
    save_mapping(mapping, tmp_path / "map.json")
    np.testing.assert_allclose(read_thermal_mapping(tmp_path / "map.json").homography, mapping.homography)


def test_without_a_board_or_a_file_it_says_what_to_do(collector: MomentCollector, tmp_path: Path) -> None:
    with pytest.raises(InvalidSignal, match="heat it"):
        mapping_from(collector.moments[:1], board=(7, 5))
    with pytest.raises(DeviceNotFound, match="zygoma calibrate thermal"):
        read_thermal_mapping(tmp_path / "none.json")


def test_two_live_streams_give_a_map_that_carries_a_face_the_thermal_picture_hides(
    blocks: list[Block], tmp_path: Path
) -> None:
    over = threading.Event()
    player = threading.Thread(target=play, args=(blocks, over))
    player.start()
    try:
        out = tmp_path / "map.json"
        made = calibrate_thermal(None, board=None, seconds=5.0, out=out, lan=False, quiet=True)
    finally:
        over.set()
        player.join()
    assert made.samples >= 4
    assert np.hypot(*(made.to_thermal(FACE_PX) - to_thermal_px(FACE_PX)).T).max() < 3.0

    specs = {block.spec.kind: block.spec for block in blocks}
    pipeline = Pipeline(specs, PipelineSettings(thermal_mapping=read_thermal_mapping(out)))
    assert pipeline._thermal is not None
    pipeline._thermal._tracker._find_face = lambda rgb: None
    rows = []
    with closing(pipeline):
        for block in blocks[:40]:
            if block.spec.kind is Kind.CAMERA:
                pipeline.face(block)
            else:
                rows.append(pipeline.thermal(block))
    carried = np.concatenate([row.column("carried_over") for row in rows])
    assert np.nanmax(carried) == 1
    assert np.isfinite(rows[-1].column("forehead_celsius")).all()
    # The file rounds the residual, and the metadata once more.
    assert abs(float(rows[0].spec.metadata["mapping_residual_px"]) - made.residual_px) < 0.011
