"""The file formats of thermal recordings, each as an iterator of raw pictures with their times."""

from __future__ import annotations

import gzip
import json
import logging
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import av
import numpy as np
import tifffile
from cptv import CPTVReader
from numpy.typing import NDArray

from acquisition.stream import DeviceNotFound, InvalidSignal

_PURETHERMAL_MAGIC = b"PTY16V1\n"
_PURETHERMAL_HEADER = struct.Struct("<Qdq")


@dataclass(frozen=True, eq=False)
class FileFrame:
    """One raw picture [height, width], its time in the file's own seconds (None: none), FFC or not."""

    picture: NDArray[Any]
    time_s: float | None
    ffc: bool = False


class Recording(Protocol):
    """An opened thermal recording.

    Attributes:
        metadata: Facts worth telling: device, serial.
        kelvin_per_count: When the file says so.
        truncated: Set while `frames` runs, when the file ends too early.
    """

    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def kelvin_per_count(self) -> float | None: ...
    @property
    def truncated(self) -> bool: ...
    def frames(self) -> Iterator[FileFrame]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


@dataclass
class _Opened:
    path: Path
    metadata: dict[str, str] = field(default_factory=dict)
    kelvin_per_count: float | None = None
    truncated: bool = False

    def frames(self) -> Iterator[FileFrame]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held open by default."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_recording(path: Path) -> Recording:
    """Open a thermal recording by its content and name.

    Raises:
        DeviceNotFound: No such file.
        InvalidSignal: None of the formats, or too damaged to begin.
    """
    if not path.is_file():
        raise DeviceNotFound(f"There is no thermal file {path}; check the path.")
    name = path.name.lower()
    if name.endswith((".y16", ".y16.gz")):
        return _PureThermalDump(path)
    if name.endswith((".tif", ".tiff")):
        return _TiffStack(path)
    if name.endswith(".npz"):
        return _NumpyArchive(path)
    if name.endswith(".cptv"):
        return _Cptv(path)
    if name.endswith((".mkv", ".avi", ".mov", ".mp4", ".nut")):
        return _GreyVideo(path)
    raise InvalidSignal(
        f"{path.name} is no thermal recording that is known here: give a 16-bit TIFF stack, an MKV with "
        "gray16 frames, NPZ, CPTV or .y16.gz."
    )


class _PureThermalDump(_Opened):
    """PureThermal Y16 dump: magic, JSON header, then records of index, unix time and little-endian counts."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file: Any = gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
        try:
            magic = self._file.read(len(_PURETHERMAL_MAGIC))
            (length,) = struct.unpack("<I", self._file.read(4))
            header = json.loads(self._file.read(length)) if magic == _PURETHERMAL_MAGIC else {}
            self._shape = (int(header["height"]), int(header["width"]))
        except (OSError, EOFError, KeyError, ValueError, struct.error):
            self._file.close()
            raise InvalidSignal(
                f"{path.name} is no PureThermal Y16 dump (its header is missing or cut off)."
            ) from None
        self.metadata["device"] = "PureThermal"

    def frames(self) -> Iterator[FileFrame]:
        height, width = self._shape
        size = _PURETHERMAL_HEADER.size + 2 * height * width
        while True:
            try:
                record = self._file.read(size)
            except (OSError, EOFError):
                self.truncated = True
                return
            if len(record) < size:
                self.truncated = len(record) > 0
                return
            _, time_s, _ = _PURETHERMAL_HEADER.unpack_from(record)
            counts = np.frombuffer(record, dtype="<u2", offset=_PURETHERMAL_HEADER.size)
            yield FileFrame(counts.reshape(height, width).astype(np.uint16, copy=False), time_s)

    def close(self) -> None:
        self._file.close()


class _TiffStack(_Opened):
    """Multi-page TIFF; no times."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # What is wrong with a file is told by this program's own sentences.
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
        try:
            self._file = tifffile.TiffFile(path)
            self._count = len(self._file.pages)
        except (tifffile.TiffFileError, OSError, ValueError, IndexError, struct.error):
            raise InvalidSignal(f"{path.name} cannot be read as TIFF; it is damaged or cut off.") from None

    def frames(self) -> Iterator[FileFrame]:
        promised, read = self._promised(), 0
        for picture in self._pictures(promised):
            if picture.ndim == 3 and picture.shape[2] in (3, 4):
                raise InvalidSignal(
                    f"{self.path.name} holds colour pictures, not temperatures: export 16-bit radiometric "
                    "TIFF."
                )
            # One page may hold a whole stack (ImageJ hyperstacks).
            for plane in picture.reshape(-1, *picture.shape[-2:]):
                read += 1
                yield FileFrame(plane, None)
        self.truncated = self.truncated or read < promised

    def _promised(self) -> int:
        """Frames that the first page's description speaks of."""
        shaped = self._file.shaped_metadata or ({},)
        shape = shaped[0].get("shape", ())
        stacked = int((self._file.imagej_metadata or {}).get("images", 0))
        return int(shape[0]) if len(shape) == 3 else stacked

    def _pictures(self, promised: int) -> Iterator[NDArray[Any]]:
        page = self._file.pages[0]
        if promised > self._count == 1 and page.compression == 1 and page.ndim == 2:
            # Cut off before the directory of the later pages: their pixels still follow the first one's.
            stored = np.dtype(page.dtype)
            offset, size = page.dataoffsets[0], page.size * stored.itemsize
            whole = (self.path.stat().st_size - offset) // size
            in_file = stored.newbyteorder(self._file.byteorder)
            stack = np.memmap(self.path, in_file, "r", offset, (min(whole, promised), *page.shape))
            yield from (np.asarray(picture, dtype=stored) for picture in stack)
            return
        for index in range(self._count):
            try:
                picture = np.asarray(self._file.pages[index].asarray())
            except (tifffile.TiffFileError, OSError, ValueError, IndexError, RuntimeError, struct.error):
                self.truncated = True
                return
            yield picture

    def close(self) -> None:
        self._file.close()


class _NumpyArchive(_Opened):
    """A 3-D array [frame, row, column]; a 1-D float array as long: seconds; a scalar ``scale``: K/count."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            raise InvalidSignal(f"{path.name} cannot be read as NPZ; it is damaged or cut off.") from None
        stacks = [array for array in arrays.values() if array.ndim == 3]
        if len(stacks) != 1:
            raise InvalidSignal(
                f"{path.name} holds {len(stacks)} 3-D arrays: give exactly one, [frame, row, column]."
            )
        self._stack = stacks[0]
        self._times = None
        for array in arrays.values():
            if array.shape == (len(self._stack),) and np.issubdtype(array.dtype, np.floating):
                self._times = array.astype(np.float64)
        if self._times is not None:
            self._check_times(self._times)
        if "scale" in arrays and arrays["scale"].size == 1:
            self.kelvin_per_count = float(arrays["scale"])

    def frames(self) -> Iterator[FileFrame]:
        for index, picture in enumerate(self._stack):
            yield FileFrame(picture, None if self._times is None else float(self._times[index]))

    def _check_times(self, times: NDArray[np.float64]) -> None:
        wrong = np.flatnonzero(~np.isfinite(times))
        if wrong.size:
            raise InvalidSignal(
                f"{self.path.name} has no time for frame {wrong[0]}: give finite seconds for all, or leave "
                "them out and give the frame rate."
            )
        back = np.flatnonzero(np.diff(times) < 0)
        if back.size:
            raise InvalidSignal(
                f"{self.path.name} steps back in time at frame {back[0] + 1}: sort its frames by their "
                "seconds."
            )


class _Cptv(_Opened):
    """Cacophony Project thermal video of a Lepton, through its own library."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path.open("rb")
        try:
            self._reader = CPTVReader(self._file)
        except (OSError, EOFError, ValueError, IndexError, KeyError, struct.error):
            self._file.close()
            raise InvalidSignal(f"{path.name} cannot be read as CPTV; it is damaged or cut off.") from None
        for key, value in (("device", self._reader.model), ("serial", self._reader.camera_serial)):
            if value:
                self.metadata[key] = (
                    value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                )

    def frames(self) -> Iterator[FileFrame]:
        fps = float(self._reader.fps or 0) or 9.0
        count = 0
        last_ffc = None
        reader = iter(self._reader)
        while True:
            try:
                frame = next(reader, None)
            except (OSError, EOFError, ValueError, IndexError, KeyError, struct.error):
                self.truncated = True
                return
            if frame is None:
                promised = self._reader.num_frames
                self.truncated = bool(promised and count < promised)
                return
            count += 1
            if frame.background_frame:
                continue
            ffc = last_ffc is not None and frame.last_ffc_time is not None and frame.last_ffc_time > last_ffc
            last_ffc = frame.last_ffc_time
            timed = frame.time_on is not None and frame.time_on.total_seconds() > 0
            time_s = frame.time_on.total_seconds() if timed else count / fps
            yield FileFrame(np.asarray(frame.pix, dtype=np.uint16), time_s, bool(ffc))

    def close(self) -> None:
        self._file.close()


class _GreyVideo(_Opened):
    """Video with 16-bit grey frames, FFV1 in Matroska as this program records: centikelvin."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._container = av.open(str(path), metadata_errors="replace")
        except (av.FFmpegError, ValueError):
            raise InvalidSignal(f"{path.name} cannot be read as a video; it is damaged or cut off.") from None
        if not self._container.streams.video:
            self.close()
            raise InvalidSignal(f"{path.name} has no pictures in it.")
        self._video = self._container.streams.video[0]
        pixel_format = self._video.codec_context.pix_fmt or ""
        if not pixel_format.startswith("gray16"):
            self.close()
            raise InvalidSignal(
                f"{path.name} holds {pixel_format or 'unknown'} frames, an 8-bit picture made for display "
                "(AGC): give a recording with 16-bit grey frames to get temperatures."
            )

    def frames(self) -> Iterator[FileFrame]:
        last_s = None
        try:
            for frame in self._container.decode(self._video):
                last_s = None if frame.time is None else float(frame.time)
                yield FileFrame(frame.to_ndarray(format="gray16le"), last_s)
        except (av.FFmpegError, EOFError):
            self.truncated = True
            return
        length = self._container.duration
        if length and last_s is not None and length / av.time_base - last_s > 1.0:
            self.truncated = True

    def close(self) -> None:
        self._container.close()
