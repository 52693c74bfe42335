"""Recording without processing: every stream on the network goes to disk, late ones included."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from acquisition.clock import Clock, lsl_clock
from acquisition.inlet import Incident
from acquisition.network import StreamWatcher
from acquisition.recorder import Recorder
from acquisition.session import new_run
from acquisition.stream import Block, DeviceNotFound, StreamSpec
from zygoma.readers import StreamReaders

REQUIRED_WAIT_S = 20.0
STALE_S = 1.0


class StreamRecorder:
    """Records all streams until it is left; use as a context manager.

    Args:
        labels: (subject, session, task) of the session folder.
        recordings: Folder of all sessions.
        require: Kinds or names of streams that must be there before recording starts.
        stop: Ends the waiting for required streams.
        channels: EMG channel -> muscle_side, see `zygoma.channel_names`.
        clock: The LSL clock.

    Raises:
        DeviceNotFound: A required stream did not appear in time, or before `stop`; nothing was created.
    """

    def __init__(
        self,
        labels: tuple[str, str, str],
        recordings: Path,
        require: list[str],
        *,
        stop: threading.Event,
        channels: Mapping[str, str] | None = None,
        clock: Clock = lsl_clock,
    ) -> None:
        self._require = require
        self._stop = stop
        self._clock = clock
        self._await_required()
        self.paths = new_run(recordings, *labels)
        self._recorder = Recorder(self.paths)
        self._incidents: list[Incident] = []
        self._readers = StreamReaders(self._attach, on_incident=self._report, clock=clock, channels=channels)

    def __enter__(self) -> StreamRecorder:
        self._readers.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._readers.stop()
        self._recorder.close()
        self._readers.raise_failure()

    @property
    def running(self) -> bool:
        """False once a thread failed (a full disk, say)."""
        return self._readers.running

    def _await_required(self) -> None:
        if not self._require:
            return
        end_s = self._clock() + REQUIRED_WAIT_S
        with StreamWatcher() as watcher:
            while not self._stop.wait(0.1):
                present = {word for spec in watcher.specs() for word in (str(spec.kind), spec.name)}
                known = {word.casefold() for word in present}
                missing = [word for word in self._require if word.casefold() not in known]
                if not missing:
                    return
                if self._clock() > end_s:
                    there = ", ".join(sorted(present)) or "none"
                    raise DeviceNotFound(
                        f"Required stream {', '.join(missing)} is not there (found: {there}): start its "
                        "device or leave it out of --require."
                    )
        raise DeviceNotFound("Stopped before every required stream was there: nothing was recorded.")

    def _attach(self, spec: StreamSpec) -> Callable[[Block], None]:
        self._recorder.add_stream(spec)
        return self._recorder.write

    def _report(self, incident: Incident) -> None:
        self._incidents.append(incident)
        if incident.kind != "gap":  # The recorder sees those in the blocks themselves.
            self._recorder.incident(incident.kind, sentence=incident.sentence)

    def view(self) -> RenderableType:
        """Streams with their counts, and the growing files."""
        status = self._recorder.status()
        size_mb = sum(status.bytes_by_file.values()) / 1e6
        table = Table(box=None, title=f"● REC {status.seconds:.0f} s  {size_mb:.1f} MB")
        if status.disk_warning:
            table.caption = f"Only {status.free_bytes / 1e9:.1f} GB of disk are left."
        for heading in ("stream", "kind", "samples", "lost", "age"):
            table.add_column(heading)
        for inlet in list(self._readers.inlets.values()):
            health = inlet.health
            style = "red" if health.age_s > STALE_S and inlet.spec.rate_hz > 0 else ""
            age = Text(f"{health.age_s:.1f} s", style=style)
            table.add_row(
                escape(inlet.spec.name), inlet.spec.kind, str(health.received), str(health.lost), age
            )
        return table

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "xdf": str(self.paths.xdf),
            "streams": {
                inlet.spec.name: {"received": inlet.health.received, "lost": inlet.health.lost}
                for inlet in self._readers.inlets.values()
            },
            "incidents": [incident.sentence for incident in self._incidents],
        }

    def closing_sentence(self) -> str:
        """What was recorded, with a warning when it was nothing."""
        if not self._readers.inlets:
            return f"Nothing was recorded: no stream appeared ({self.paths.xdf} is empty)."
        healths = [inlet.health for inlet in self._readers.inlets.values()]
        received, lost = sum(h.received for h in healths), sum(h.lost for h in healths)
        return f"{len(healths)} streams, {received} samples, {lost} lost: {self.paths.xdf}"
