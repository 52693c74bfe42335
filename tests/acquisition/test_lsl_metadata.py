"""Specs survive the way through LSL metadata, and streams of other programs are understood or refused."""

from __future__ import annotations

import numpy as np
import pylsl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.lsl_metadata import read_stream_info, read_xml, to_stream_info
from acquisition.stream import Channel, FrameFormat, InvalidSignal, Kind, SampleType, StreamSpec

text = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=12
).filter(lambda value: value.strip() and "￾" not in value)
plain = text.filter(lambda value: "'" not in value and '"' not in value)
key = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
frames = st.builds(FrameFormat, st.integers(1, 4000), st.integers(1, 4000), st.just("MJPG"))
numeric = st.sampled_from([SampleType.FLOAT32, SampleType.FLOAT64, SampleType.INT16, SampleType.INT32])
numeric_kinds = st.sampled_from(
    [Kind.ACTION_UNITS, Kind.FACE_MOTION, Kind.MUSCLE_ACTIVITY, Kind.SKIN_TEMPERATURE, Kind.VALENCE]
)


def spec_of(info: pylsl.StreamInfo) -> StreamSpec:
    return read_stream_info(info).spec


def channels(unit: st.SearchStrategy[str] = text, kind: st.SearchStrategy[str] = text):
    return st.lists(
        st.builds(Channel, text, unit, kind), min_size=1, max_size=5, unique_by=lambda channel: channel.label
    ).map(tuple)


def specs() -> st.SearchStrategy[StreamSpec]:
    rate = st.one_of(st.just(0.0), st.floats(1e-3, 1e5))
    rest = {
        "name": plain,
        "source_id": plain,
        "metadata": st.dictionaries(key, text | st.just(""), max_size=3),
    }
    jpeg = (Channel("jpeg"), Channel("frame_number"))
    pixels = (Channel("frame_number"), Channel("ffc"))
    return st.one_of(
        st.builds(
            StreamSpec,
            kind=numeric_kinds,
            channels=channels(),
            rate_hz=rate,
            dtype=numeric,
            frame=st.none(),
            **rest,
        ),
        st.builds(
            StreamSpec,
            kind=st.just(Kind.EMG),
            channels=channels(st.just("microvolts"), st.just("EMG")),
            rate_hz=rate,
            dtype=st.just(SampleType.FLOAT32),
            frame=st.none(),
            **rest,
        ),
        st.builds(
            StreamSpec,
            kind=st.just(Kind.CAMERA),
            channels=st.just(jpeg),
            rate_hz=rate,
            dtype=st.just(SampleType.STRING),
            frame=frames,
            **rest,
        ),
        st.builds(
            StreamSpec,
            kind=st.just(Kind.THERMAL),
            channels=st.sampled_from([(), pixels]),
            rate_hz=rate,
            dtype=st.just(SampleType.INT16),
            frame=st.just(FrameFormat(160, 120, "centi_celsius")),
            **rest,
        ),
        st.builds(
            StreamSpec,
            kind=st.sampled_from([Kind.MARKERS, Kind.FACE_EVENTS]),
            channels=st.just((Channel("text"),)),
            rate_hz=st.just(0.0),
            dtype=st.just(SampleType.STRING),
            frame=st.none(),
            **rest,
        ),
    )


@settings(max_examples=60, deadline=None)
@given(spec=specs())
def test_own_specs_come_back_exactly(spec):
    info = to_stream_info(spec)
    assert info.channel_count() == spec.channel_count
    assert spec_of(info) == spec
    assert read_xml(info.as_xml().encode()).spec == spec


def test_conventional_places():
    spec = StreamSpec(
        "cam",
        Kind.CAMERA,
        (Channel("jpeg"), Channel("frame_number")),
        30.0,
        SampleType.STRING,
        "c1",
        FrameFormat(640, 480, "MJPG"),
        {"device": "C920", "manufacturer": "Logitech", "serial": "7"},
    )
    desc = to_stream_info(spec).desc()
    assert desc.child("encoding").child_value("width") == "640"
    assert desc.child("encoding").child_value("codec") == "MJPG"
    assert desc.child("synchronization").child_value("can_drop_samples") == "true"
    assert desc.child("acquisition").child_value("model") == "C920"
    assert desc.child("acquisition").child_value("serial_number") == "7"


@pytest.mark.parametrize("metadata", [{"two words": "x"}, {"x": "\x00"}, {"x": "  "}])
def test_what_xml_cannot_carry_is_refused(metadata):
    spec = StreamSpec("n", Kind.MARKERS, (Channel("text"),), 0.0, SampleType.STRING, "s", metadata=metadata)
    with pytest.raises(ValueError):
        to_stream_info(spec)


def test_streams_of_others_can_be_written_down_again():
    """As a recording must: without source id, with quotes, with facts zygoma would not write."""
    info = pylsl.StreamInfo("Anna's markers", "Markers", 1, 0.0, "string", "")
    node = info.desc().append_child("zygoma")
    node.append_child_value("größe", "9")
    node.append_child_value("fine", "1")
    spec = spec_of(info)
    assert dict(spec.metadata) == {"fine": "1"}
    assert spec_of(to_stream_info(spec)) == spec


def foreign(
    kind: str,
    count: int,
    fmt: str,
    *,
    units: list[str] | None = None,
    types: list[str] | None = None,
    **encoding: object,
) -> pylsl.StreamInfo:
    info = pylsl.StreamInfo("theirs", kind, count, 100.0, fmt, "their-id")
    if units is not None:
        node = info.desc().append_child("channels")
        for index, unit in enumerate(units):
            child = node.append_child("channel")
            child.append_child_value("label", "same")
            child.append_child_value("unit", unit)
            child.append_child_value("type", types[index] if types else "EMG")
    if encoding:
        node = info.desc().append_child("encoding")
        for name, value in encoding.items():
            node.append_child_value(name, str(value))
    return info


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("V", 1e6), ("volts", 1e6), ("mV", 1e3), ("uV", 1.0), ("µV", 1.0), ("microvolts", 1.0), ("-6", 1.0)],
)
@pytest.mark.parametrize("fmt", ["float32", "double64", "int16", "int64", "int8"])
def test_emg_in_volts_becomes_microvolts(unit, factor, fmt):
    announced = read_stream_info(foreign("EMG", 2, fmt, units=[unit, unit]))
    assert announced.spec.dtype is SampleType.FLOAT32
    assert [channel.unit for channel in announced.spec.channels] == ["microvolts", "microvolts"]
    assert len(set(announced.spec.labels)) == 2
    raw = np.array([[1, 2], [3, 4]]).astype({"double64": "float64"}.get(fmt, fmt))
    values = announced.wire.convert(raw, announced.spec.dtype)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, (raw * factor).astype(np.float32))


@pytest.mark.parametrize("units", [None, ["counts", "counts"], ["", ""], ["0", "0"], ["uV", "raw"]])
def test_emg_without_a_known_unit_is_refused(units):
    with pytest.raises(InvalidSignal, match=r"theirs.*microvolts"):
        spec_of(foreign("EMG", 2, "float32", units=units))


def test_a_trigger_channel_beside_emg_is_left_out():
    info = foreign("EMG", 3, "float32", units=["uV", "none", "mV"], types=["EMG", "TRIGGER", "EMG"])
    announced = read_stream_info(info)
    assert len(announced.spec.channels) == 2
    raw = np.array([[1, 9, 2]], np.float32)
    assert announced.wire.convert(raw, SampleType.FLOAT32).tolist() == [[1.0, 2000.0]]


def test_foreign_thermal():
    assert spec_of(foreign("Thermal", 12, "int16", width=4, height=3)).channel_count == 12
    celsius = read_stream_info(foreign("Thermal", 13, "float32", width=4, height=3, unit="celsius"))
    values = celsius.wire.convert(
        np.array([[36.5, np.nan, -273.15, 400.0, *[30.0] * 8, 7.0]], np.float32), SampleType.INT16
    )
    assert values.dtype == np.int16
    assert values[0, :5].tolist() == [3650, -32768, -27315, -32768, 3000]
    assert values[0, 12] == 7
    kelvin = read_stream_info(foreign("Thermal", 12, "int16", width=4, height=3, unit="centikelvin"))
    assert kelvin.wire.convert(np.full((1, 12), 30315, np.int16), SampleType.INT16)[0, 0] == 3000


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (("Thermal", 12, "int16", {}), "width and height"),
        (("Thermal", 12, "int16", {"width": 40, "height": 3}), "not a picture"),
        (("Thermal", 12, "int8", {"width": 4, "height": 3, "unit": "celsius"}), "temperatures"),
        (("Thermal", 12, "float32", {"width": 4, "height": 3}), "no unit"),
        (("Camera", 1, "string", {}), "width and height"),
        (("Camera", 1, "string", {"width": 4, "height": 3, "codec": "H264"}), "H264"),
        (("Camera", 36, "int8", {"width": 4, "height": 3}), "JPEG"),
        (("Gaze", 2, "float32", {}), "Gaze"),
        (("Valence", 2, "string", {}), "texts"),
    ],
)
def test_foreign_streams_that_cannot_be_read(info, says):
    kind, count, fmt, encoding = info
    with pytest.raises(InvalidSignal, match=says) as caught:
        spec_of(foreign(kind, count, fmt, **encoding))
    assert str(caught.value).count(". ") == 0


def test_foreign_camera_and_markers():
    camera = read_stream_info(foreign("VideoCompressed", 1, "string", width=8, height=6, codec="mjpeg"))
    assert camera.spec.labels == ("jpeg",)
    assert camera.spec.frame == FrameFormat(8, 6, "MJPG")
    assert camera.wire.counter == -1
    assert spec_of(foreign("Markers", 1, "int32")).dtype is SampleType.STRING
    assert spec_of(foreign("markers", 3, "string")).kind is Kind.MARKERS


def test_foreign_numbers_get_labels():
    spec = spec_of(foreign("Valence", 2, "int64"))
    assert spec.labels == ("ch1", "ch2")
    assert spec.dtype is SampleType.FLOAT64


def test_broken_xml():
    with pytest.raises(InvalidSignal, match="broken XML"):
        read_xml("<info><name>")
