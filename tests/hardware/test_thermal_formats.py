"""Raw thermal frames become degrees, or are refused with the sentence that helps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from acquisition.stream import INVALID_CENTI_CELSIUS, InvalidSignal
from hardware.simulated.thermal_inputs import REFUSALS, bad_input, counts_of
from hardware.thermal_formats import (
    CENTIKELVIN,
    INFIRAY_KELVIN,
    MODELS,
    FfcState,
    check_celsius,
    check_counts,
    confirm_model,
    lepton_telemetry,
    unpack,
)

LEPTON, BOSON, TC001 = MODELS["lepton"], MODELS["boson640"], MODELS["tc001"]


def scene(rng: np.random.Generator, shape: tuple[int, int] = (60, 80)) -> NDArray[np.float64]:
    """A room at 18-26 degC with a warm blob of skin: degC."""
    room = gaussian_filter(rng.normal(0, 8, shape), 6) + rng.uniform(18, 26)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre, size = rng.uniform(0.3, 0.7, 2) * shape, rng.uniform(0.15, 0.3) * shape[0]
    blob = np.clip(1.3 - np.hypot(y - centre[0], (x - centre[1]) * 1.3) / size, 0, 1)
    return np.asarray(room + blob * (rng.uniform(32, 36) - room) + rng.normal(0, 0.02, shape))


def telemetry_rows(
    ffc: int, *, swapped: bool = False, tlinear: tuple[int, int] = (1, 1)
) -> NDArray[np.uint16]:
    words = np.zeros(320, np.uint16)
    words[0], words[24], words[29] = 14, 30100, 30000
    words[3:5] = (0, ffc << 4) if swapped else (ffc << 4, 0)
    words[20:22] = (1234, 0)
    words[160 + 48 : 160 + 50] = tlinear
    return words.reshape(2, 160)


def test_lepton_counts_are_exact_centi_degrees() -> None:
    celsius = scene(np.random.default_rng(1), (120, 160))
    frame = unpack(counts_of(celsius), LEPTON)
    conversion = confirm_model(frame, LEPTON)
    centi = conversion.centi_celsius(frame.counts)
    assert centi.dtype == np.int16
    np.testing.assert_array_equal(centi, frame.counts.astype(int) - 27315)
    assert "degC" in conversion.evidence


def test_nothing_is_stripped_at_120_rows_and_telemetry_is_at_122() -> None:
    celsius = counts_of(scene(np.random.default_rng(2), (120, 160)))
    assert unpack(celsius, LEPTON).counts.shape == (120, 160)
    assert unpack(celsius, LEPTON).telemetry is None
    footer = unpack(np.vstack([celsius, telemetry_rows(2)]), LEPTON)
    np.testing.assert_array_equal(footer.counts, celsius)
    assert footer.telemetry is not None and footer.telemetry.ffc is FfcState.IN_PROGRESS
    assert footer.telemetry.frame_counter == 1234
    header = unpack(np.vstack([telemetry_rows(3), celsius]), LEPTON)
    np.testing.assert_array_equal(header.counts, celsius)
    assert header.telemetry is not None and header.telemetry.ffc is FfcState.COMPLETE


def test_a_small_lepton_has_three_rows_of_telemetry() -> None:
    small = MODELS["lepton2"]
    celsius = counts_of(scene(np.random.default_rng(3), (60, 80)))
    rows = telemetry_rows(2).ravel()[:240].reshape(3, 80)
    assert unpack(celsius, small).telemetry is None
    for picture in (np.vstack([celsius, rows]), np.vstack([rows, celsius])):
        for buffer in (picture, picture.reshape(1, -1), picture.view(np.uint8).reshape(1, -1)):
            frame = unpack(buffer, small)
            np.testing.assert_array_equal(frame.counts, celsius)
            assert frame.telemetry is not None and frame.telemetry.ffc is FfcState.IN_PROGRESS
    with pytest.raises(InvalidSignal, match="lepton2@NUMBER fits"):
        unpack(celsius, LEPTON)
    with pytest.raises(InvalidSignal, match="lepton@NUMBER fits"):
        unpack(np.zeros((122, 160), np.uint16), small)


@pytest.mark.parametrize("state", list(FfcState))
def test_ffc_state_reads_the_same_in_either_word_order(state: FfcState) -> None:
    for swapped in (False, True):
        found = lepton_telemetry(telemetry_rows(state, swapped=swapped).ravel())
        assert found is not None and found.ffc is state


def test_telemetry_tells_resolution_and_counts() -> None:
    celsius = scene(np.random.default_rng(3), (120, 160))
    coarse = np.vstack([counts_of(celsius, 0.1), telemetry_rows(3, tlinear=(1, 0))])
    frame = unpack(coarse, LEPTON)
    degrees = confirm_model(frame, LEPTON).centi_celsius(frame.counts) / 100
    assert np.abs(degrees - celsius).max() < 0.06
    off = unpack(np.vstack([counts_of(celsius), telemetry_rows(3, tlinear=(0, 1))]), LEPTON)
    with pytest.raises(InvalidSignal, match="switch TLinear on"):
        confirm_model(off, LEPTON)


def test_pixel_rows_are_not_taken_for_telemetry() -> None:
    rows = counts_of(scene(np.random.default_rng(4), (122, 160)))
    assert lepton_telemetry(rows[120:].ravel()) is None


@pytest.mark.parametrize("shape", [(120, 160), (1, 19200), (19200, 1), (19200,)])
def test_flattened_buffers_are_put_back_in_shape(shape: tuple[int, ...]) -> None:
    counts = counts_of(scene(np.random.default_rng(5), (120, 160)))
    np.testing.assert_array_equal(unpack(counts.reshape(shape), LEPTON).counts, counts)
    as_bytes = np.ascontiguousarray(counts).view(np.uint8).reshape(1, -1)
    np.testing.assert_array_equal(unpack(as_bytes, LEPTON).counts, counts)


def test_lower_half_of_stacked_cameras_holds_the_temperatures() -> None:
    celsius = scene(np.random.default_rng(6), (192, 256))
    picture = np.full((192, 256), 0x8010, np.uint16)
    raw = np.vstack([picture, counts_of(celsius, INFIRAY_KELVIN)])
    for buffer in (raw, raw.view(np.uint8).reshape(384, 256, 2), raw.reshape(1, -1)):
        frame = unpack(buffer, TC001)
        degrees = confirm_model(frame, TC001).centi_celsius(frame.counts) / 100
        assert np.abs(degrees - celsius).max() < 0.02


def test_boson_is_refused_until_tlinear_is_confirmed() -> None:
    frame = unpack(counts_of(scene(np.random.default_rng(7), (512, 640))), BOSON)
    with pytest.raises(InvalidSignal, match="TLinear"):
        confirm_model(frame, BOSON)
    assert confirm_model(frame, BOSON, tlinear=True).kelvin_per_count == CENTIKELVIN


def test_zero_counts_are_no_temperature() -> None:
    counts = counts_of(scene(np.random.default_rng(8)))
    counts[3, 4] = 0
    conversion = check_counts(counts, CENTIKELVIN, "test")
    assert conversion.centi_celsius(counts)[3, 4] == INVALID_CENTI_CELSIUS
    celsius = check_celsius(counts.astype(float) / 100 - 273.15, "degC", 1.0, "test")
    values = np.array([[20.0, np.nan, 1e9]])
    assert celsius.centi_celsius(values).tolist() == [[2000, INVALID_CENTI_CELSIUS, INVALID_CENTI_CELSIUS]]


def test_another_scale_is_suggested() -> None:
    counts = counts_of(scene(np.random.default_rng(9)), INFIRAY_KELVIN)
    with pytest.raises(InvalidSignal, match=r"1/64 K.*0\.015625"):
        check_counts(counts, CENTIKELVIN, "test")


@pytest.mark.parametrize("kind", list(REFUSALS))
def test_two_hundred_bad_inputs_of_each_kind_are_refused_with_the_right_sentence(kind: str) -> None:
    rng = np.random.default_rng(list(REFUSALS).index(kind))
    for _ in range(200):
        raw = bad_input(kind, rng)
        with pytest.raises(InvalidSignal, match=REFUSALS[kind]):
            confirm_model(unpack(raw, LEPTON), LEPTON)


def test_good_inputs_are_never_refused() -> None:
    rng = np.random.default_rng(99)
    for _ in range(200):
        confirm_model(unpack(counts_of(scene(rng, (120, 160))), LEPTON), LEPTON)
