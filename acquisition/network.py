"""Finding streams: which part of the network Lab Streaming Layer may use, and what is on it now.

LSL is unauthenticated plain text. By default streams are announced and looked for on this machine only;
the local network is an explicit choice (`--lan`). One limit remains: liblsl opens its data ports on every
interface, so on an untrusted network a firewall must close TCP/UDP 16572-16699.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pylsl

from acquisition.lsl_metadata import TYPE_NAMES, read_stream_info
from acquisition.stream import FRAME_KINDS, DeviceNotFound, InvalidSignal, Kind, StreamSpec, ZygomaError

SESSION_VARIABLE = "ZYGOMA_LSL_SESSION"
"""Environment variable with the LSL session id; programs in different sessions do not see each other."""

_INFO_TIMEOUT_S = 1.0
_ALL_ANSWER_S = 0.3  # by then every stream that is there has answered a search
_MORE_THAN_THERE_ARE = 1024  # as a minimum, it makes a search last for its whole time
_configuration: tuple[bool, str] | None = None
_used = False

# Loopback answers within a millisecond, so discovery need not wait half a second for stragglers; the longest
# waits are cut as well, because a search that ends just as liblsl asks again lingers that long. The port
# range is widened because a 33rd stream on a machine falls outside liblsl's 32 ports and is never found.
# Small reserves: liblsl sets them aside at once, and a VGA thermal frame is 600 kB.
_LOOPBACK = """\
[log]
level = -3
[ports]
IPv6 = disable
PortRange = 128
[multicast]
ResolveScope = machine
ListenAddress = 127.0.0.1
Interfaces = {{127.0.0.1}}
[lab]
SessionID = {session}
[tuning]
MulticastMinRTT = 0.1
MulticastMaxRTT = 0.6
UnicastMinRTT = 0.1
UnicastMaxRTT = 0.6
OutletBufferReserveSamples = 8
InletBufferReserveSamples = 8
"""
_LAN = """\
[log]
level = -3
[lab]
SessionID = {session}
[tuning]
OutletBufferReserveSamples = 8
InletBufferReserveSamples = 8
"""


def configure(lan: bool = False) -> None:
    """Choose how far discovery reaches; call once, before anything else uses LSL.

    Args:
        lan: Look for streams, and be found, on the local network. A user's own LSL configuration file
            (``LSLAPICFG``, ``lsl_api.cfg``) is then respected. Otherwise this machine only.

    Raises:
        ZygomaError: LSL is already in use with another reach; liblsl reads its settings only once.
    """
    global _configuration
    wanted = (lan, os.environ.get(SESSION_VARIABLE, "default"))
    if _configuration == wanted:
        return
    if _used:
        raise ZygomaError(
            "Streams are already in use in this process, so the network can no longer be chosen; "
            "call acquisition.network.configure before the first outlet, inlet or search."
        )
    if not (lan and _user_configuration()):
        pylsl.util.set_config_content((_LAN if lan else _LOOPBACK).format(session=wanted[1]))
    _configuration = wanted


def _user_configuration() -> bool:
    # The places where liblsl itself looks, in its order.
    places = [
        Path("lsl_api.cfg"),
        Path("~/lsl_api/lsl_api.cfg").expanduser(),
        Path("/etc/lsl_api/lsl_api.cfg"),
    ]
    return "LSLAPICFG" in os.environ or any(place.is_file() for place in places)


def ensure_configured() -> None:
    """Mark LSL as used, on this machine only unless `configure` was called."""
    global _used
    if _configuration is None:
        configure()
    _used = True


def this_host() -> str:
    """Name of this machine, as LSL announces it."""
    return socket.gethostname()


def reaches_lan() -> bool:
    """Whether streams of other machines can be found."""
    return _configuration is not None and _configuration[0]


def usual_buffer_s(kind: Kind) -> float:
    """What outlet and inlet keep for a slow reader: 2 s of frames, 60 s of anything else.

    liblsl's own 360 s would be 10 GB of raw VGA.
    """
    return 2.0 if kind in FRAME_KINDS else 60.0


@dataclass(frozen=True)
class FoundStream:
    """One stream as it is announced on the network.

    Attributes:
        name, kind_name: LSL name and LSL type as announced.
        host: Name of the machine it comes from.
        spec: What it is in zygoma's words, or None.
        problem: One sentence why `spec` is None, else empty.
        uid: Changes whenever the publisher restarts.
        answered: Whether it told what it is; a busy publisher may do so when asked again.
    """

    name: str
    kind_name: str
    host: str
    spec: StreamSpec | None
    problem: str
    uid: str
    answered: bool


def full_info(info: Any, timeout_s: float = _INFO_TIMEOUT_S) -> Any:
    """Return the announcement with its description, which discovery leaves out.

    Raises:
        DeviceNotFound: The stream ended between being found and being asked.
    """
    try:
        return pylsl.StreamInlet(info, max_buflen=1, recover=False).info(timeout_s)
    except (pylsl.util.TimeoutError, pylsl.util.LostError, RuntimeError):
        raise DeviceNotFound(
            f"Stream {info.name()!r} was announced but does not answer; check that its program still runs."
        ) from None


def _look_at(info: Any) -> FoundStream:
    spec, problem, answered = None, "", True
    try:
        spec = read_stream_info(full_info(info)).spec
    except InvalidSignal as error:
        problem = str(error)
    except DeviceNotFound as error:
        problem, answered = str(error), False
    return FoundStream(info.name(), info.type(), info.hostname(), spec, problem, info.uid(), answered)


def _literal(text: str) -> str:
    """Write `text` as an XPath string."""
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    raise ValueError(f"a stream cannot be searched by a name with both kinds of quotes: {text}")


def predicate(kind: Kind | None, name: str | None, source_id: str | None) -> str:
    """XPath condition for the streams that match all that is given; empty for any stream."""
    conditions = []
    if kind is not None:
        names = " or ".join(f"type={_literal(spelling)}" for spelling in TYPE_NAMES[kind])
        conditions.append(f"({names})")
    if name is not None:
        conditions.append(f"name={_literal(name)}")
    if source_id is not None:
        conditions.append(f"source_id={_literal(source_id)}")
    return " and ".join(conditions)


def find_infos(
    kind: Kind | None, name: str | None, source_id: str | None, minimum: int, timeout_s: float
) -> list[Any]:
    """Announcements (pylsl.StreamInfo) that match, the newest first; may be fewer than `minimum`."""
    ensure_configured()
    condition = predicate(kind, name, source_id)
    if condition and minimum > 0:
        infos = pylsl.resolve_bypred(condition, minimum, timeout_s)
    elif condition:
        infos = pylsl.resolve_bypred(condition, _MORE_THAN_THERE_ARE, min(timeout_s, _ALL_ANSWER_S))
    else:
        deadline = time.monotonic() + timeout_s
        infos = pylsl.resolve_streams(min(timeout_s, _ALL_ANSWER_S))
        while len(infos) < minimum and (left := deadline - time.monotonic()) > 0:
            infos = pylsl.resolve_streams(min(left, 0.5))
    return sorted(infos, key=lambda info: -float(info.created_at()))


def resolve(
    kind: Kind | None = None,
    name: str | None = None,
    source_id: str | None = None,
    minimum: int = 1,
    timeout_s: float = 2.0,
) -> list[StreamSpec]:
    """Look for streams and return what they are, sorted by name.

    Args:
        kind, name, source_id: Conditions; those left out match anything.
        minimum: Wait until so many have been found; 0 takes what is there.
        timeout_s: Longest wait, seconds.

    Raises:
        DeviceNotFound: Fewer than `minimum` were found; the message lists all streams that are there.
        InvalidSignal: The one stream that matches cannot be read.
    """
    found = [_look_at(info) for info in find_infos(kind, name, source_id, minimum, timeout_s)]
    specs = [stream.spec for stream in found if stream.spec is not None]
    if len(specs) < minimum:
        problems = [stream.problem for stream in found if stream.problem]
        if problems and (name is not None or source_id is not None or len(found) >= minimum):
            raise InvalidSignal(problems[0])
        raise DeviceNotFound(not_found_sentence(kind, name, source_id))
    return sorted(specs, key=lambda spec: (spec.name, spec.source_id))


def not_found_sentence(kind: Kind | None, name: str | None, source_id: str | None) -> str:
    """Say what was looked for, what is there instead, and what to do."""
    wanted = " ".join(
        part
        for part in (
            f"{kind} stream" if kind else "stream",
            f"named {name!r}" if name else "",
            f"with source id {source_id!r}" if source_id else "",
        )
        if part
    )
    others = pylsl.resolve_streams(_ALL_ANSWER_S)
    there = ", ".join(sorted(f"{info.name()} ({info.type() or 'no type'})" for info in others)) or "none"
    reach = "the local network" if reaches_lan() else f"this machine ({this_host()})"
    advice = (
        "start its publisher" if reaches_lan() else "start its publisher, or add --lan if it runs elsewhere"
    )
    return f"No {wanted} on {reach}; streams found: {there}. Please {advice}."


class StreamWatcher:
    """Watches the network in the background, for lists that stay up to date and streams that come late.

    The descriptions of streams already seen are kept, so asking often is cheap. Use as a context manager.
    """

    def __init__(self, kind: Kind | None = None, forget_after_s: float = 3.0) -> None:
        ensure_configured()
        condition = predicate(kind, None, None)
        self._resolver: Any = pylsl.ContinuousResolver(pred=condition or None, forget_after=forget_after_s)
        self._seen: dict[str, FoundStream] = {}

    def found(self) -> list[FoundStream]:
        """Every stream announced now, readable or not, sorted by name."""
        if self._resolver is None:
            return []
        there = [self._seen.get(info.uid()) or _look_at(info) for info in self._resolver.results()]
        self._seen = {stream.uid: stream for stream in there if stream.answered}
        return sorted(there, key=lambda stream: (stream.name, stream.uid))

    def specs(self) -> list[StreamSpec]:
        """The readable streams announced now, sorted by name."""
        return [stream.spec for stream in self.found() if stream.spec is not None]

    def close(self) -> None:
        """Stop watching."""
        self._resolver = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
