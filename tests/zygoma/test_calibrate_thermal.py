"""`zygoma calibrate thermal` on the simulated person, whose two cameras have a known geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acquisition.stream import DeviceNotFound, InvalidSignal
from hardware.simulated import Scenario
from hardware.simulated.thermal import to_thermal_px
from zygoma.calibrate_thermal import MomentCollector, load_mapping, mapping_from, save_mapping
from zygoma.simulation import simulated_blocks


@pytest.fixture(scope="module")
def collector() -> MomentCollector:
    scenario = Scenario.demo(seed=4, duration_s=7.0)
    collector = MomentCollector(spacing_s=0.7)
    blocks = [
        block
        for device in ("camera", "thermal")
        for block in simulated_blocks(device, scenario, rate_hz=8.77)
    ]
    for block in sorted(blocks, key=lambda block: float(block.timestamps[0])):
        collector.add(block)
    return collector


def test_the_simulated_persons_face_gives_the_cameras_geometry(
    collector: MomentCollector, tmp_path: Path
) -> None:
    assert 5 <= len(collector.moments) <= 10
    done: list[int] = []
    mapping = mapping_from(collector.moments, on_moment=done.append)
    assert done[-1] == len(collector.moments)
    face = np.array([[320.0, 150], [250, 250], [390, 250], [320, 360]])
    error = np.hypot(*(mapping.to_thermal(face) - to_thermal_px(face)).T)
    assert error.max() < 3.0 and mapping.residual_px < 3.0
    save_mapping(mapping, tmp_path / "map.json")
    np.testing.assert_allclose(load_mapping(tmp_path / "map.json").homography, mapping.homography)


def test_without_a_board_or_a_file_it_says_what_to_do(collector: MomentCollector, tmp_path: Path) -> None:
    with pytest.raises(InvalidSignal, match="heat it"):
        mapping_from(collector.moments[:1], board=(7, 5))
    with pytest.raises(DeviceNotFound, match="zygoma calibrate thermal"):
        load_mapping(tmp_path / "none.json")
