"""EMG channels under the names of the muscles they lie on, for streams that call them something else.

What `zygoma wiring` found, given as ``--channel``, holds for everything that is measured and recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from acquisition.stream import Block, InvalidSignal, Kind, StreamSpec


def channel_numbers(spec: StreamSpec) -> list[int]:
    """Number of each channel on its board, or in its stream where that is not told; counted from 0."""
    told = spec.metadata.get("channel_numbers", "").split(",")
    if len(told) == len(spec.channels) and all(number.isdigit() for number in told):
        return [int(number) for number in told]
    return list(range(len(spec.channels)))


def name_channels(spec: StreamSpec, channels: Mapping[str, str]) -> StreamSpec:
    """`spec` with its EMG channels renamed; a stream of another kind stays as it is.

    Args:
        spec: A stream.
        channels: Name or number of a channel -> muscle_side. A channel that bears one of these names without
            being given it is called by its place.

    Raises:
        InvalidSignal: The stream has no such channel, or one is given two names.
    """
    if spec.kind is not Kind.EMG or not channels:
        return spec
    given: dict[int, str] = {}
    for key, label in channels.items():
        index = _find(spec, key)
        if index in given:
            raise InvalidSignal(f"{spec.name}: --channel gives {key} both {given[index]} and {label}.")
        given[index] = label
    taken = set(given.values())
    named = []
    for index, channel in enumerate(spec.channels):
        label = given.get(index, channel.label)
        if index not in given and label in taken:
            label = f"ch{index + 1}"
        named.append(replace(channel, label=label))
    return replace(spec, channels=tuple(named))


def under_names(spec: StreamSpec, handle: Callable[[Block], None]) -> Callable[[Block], None]:
    """`handle` for blocks of the stream that `spec` renames."""
    return lambda block: handle(Block(spec, block.timestamps, block.data, block.first))


def _find(spec: StreamSpec, key: str) -> int:
    if key in spec.labels:
        return spec.labels.index(key)
    numbers = channel_numbers(spec)
    if key.isdigit() and int(key) in numbers:
        return numbers.index(int(key))
    there = ", ".join(f"{number} ({label})" for number, label in zip(numbers, spec.labels, strict=True))
    raise InvalidSignal(f"{spec.name} has no channel {key!r}: choose among {there}.")
