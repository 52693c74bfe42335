"""XDF stream headers: LSL's own for every stream, and one for the index of a stream of frames.

Frames live in a Matroska file; the XDF holds, per frame, its exact stamp and where to find it, under a header
that carries the frame stream's whole spec.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

import pylsl

from acquisition.lsl_metadata import COUNTER_LABEL, to_stream_info
from acquisition.session import spec_from_dict, spec_to_dict
from acquisition.stream import Channel, Kind, SampleType, StreamSpec

INDEX_TYPE = "FrameIndex"
"""LSL type of an index stream."""

MEDIA_TIME_LABEL = "media_time_s"

INCIDENTS = StreamSpec(
    "zygoma_incidents", Kind.MARKERS, (Channel("json"),), 0.0, SampleType.STRING, "zygoma-incidents"
)
"""What went wrong while recording, one JSON object per sample; every zygoma recording has this stream."""


@dataclass(frozen=True)
class FrameIndex:
    """What the header of an index stream says.

    Attributes:
        spec: The stream of frames.
        file_name: The Matroska file beside the XDF.
    """

    spec: StreamSpec
    file_name: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns of the index: frame number, media time, then the columns that follow a frame's pixels."""
        extra = self.spec.labels if self.spec.pixel_count else ()
        # The device's own counter wraps (int16); it must not pass for the running number in front.
        own = tuple(f"device_{label}" if label == COUNTER_LABEL else label for label in extra)
        return (COUNTER_LABEL, MEDIA_TIME_LABEL, *own)


def header_of(spec: StreamSpec) -> str:
    """The header of a stream whose samples are in the XDF itself.

    Raises:
        ValueError: A text of the spec cannot be carried (see `to_stream_info`).
    """
    if not spec.source_id:
        # Programs that set no source id are filed under their name.
        spec = replace(spec, source_id=spec.name)
    return str(to_stream_info(spec).as_xml())


def index_header(index: FrameIndex) -> str:
    """The header of an index stream."""
    spec = index.spec
    info: Any = pylsl.StreamInfo(
        f"{spec.name}_index", INDEX_TYPE, len(index.labels), 0.0, "double64", f"{spec.source_id}_index"
    )
    desc = info.desc()
    channels = desc.append_child("channels")
    for label in index.labels:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("unit", "seconds" if label == MEDIA_TIME_LABEL else "none")
        channel.append_child_value("type", "Misc")
    desc.append_child("synchronization").append_child_value("can_drop_samples", "true")
    frames = desc.append_child("frames")
    frames.append_child_value("file", index.file_name)
    frames.append_child_value("spec", json.dumps(spec_to_dict(spec)))
    return str(info.as_xml())


def read_index_header(header: str) -> FrameIndex:
    """What `index_header` wrote.

    Raises:
        ValueError: Not the header of an index stream.
    """
    frames = ElementTree.fromstring(header).find("desc/frames")
    if frames is None:
        raise ValueError("an index of frames that does not name their file")
    try:
        spec = spec_from_dict(json.loads(frames.findtext("spec") or ""))
    except (KeyError, TypeError) as error:
        raise ValueError(f"an index of frames without their description ({error})") from error
    return FrameIndex(spec, frames.findtext("file") or "")
