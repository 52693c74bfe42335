"""Makes a killed or cut-off recording whole again, and keeps the damaged files beside the repaired ones."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from acquisition.matroska import is_finished, remux
from acquisition.recording import find_xdf
from acquisition.session import SessionInfo, file_facts, now_iso, sync_folder
from acquisition.stream import ZygomaError
from acquisition.xdf_format import BOUNDARY, FILE_HEADER, MAGIC, Tag, encode_chunk, footer_xml
from acquisition.xdf_header import INDEX_TYPE, read_index_header
from acquisition.xdf_reader import XdfFile

DAMAGED_SUFFIX = ".damaged"
"""Added to the name of the file as it was found; a number follows when that name is taken."""


class StillRecording(ZygomaError):
    """A recorder is writing this file."""


@dataclass(frozen=True)
class RepairReport:
    """What a repair did.

    Attributes:
        path: The XDF file.
        repaired: Files that were written anew.
        kept: The damaged files, under the names they have now.
        dropped_bytes: Bytes of the XDF that no reader could use.
        frames: Frames in each Matroska file that was written anew, by file name.
        sentence: All of that for a person.
    """

    path: Path
    repaired: tuple[Path, ...]
    kept: tuple[Path, ...]
    dropped_bytes: int
    frames: dict[str, int]
    sentence: str

    @property
    def changed(self) -> bool:
        return bool(self.repaired)


def repair(path: Path | str) -> RepairReport:
    """Repair one run: half chunks dropped, missing footers written, Matroska files finished, hashes renewed.

    Every new file is written beside the old one and takes its place in one step; the old one is kept with
    ``.damaged`` behind its name. A recording that is whole is left as it is, and so is one that is repaired
    already.

    Args:
        path: A session folder, an ``.xdf`` or a ``_session.json``.

    Raises:
        DeviceNotFound: There is no such recording.
        InvalidSignal: The file does not even begin as XDF.
        StillRecording: A recorder has it open.
    """
    xdf_path = find_xdf(Path(path))
    _check_not_recording(xdf_path)
    xdf = XdfFile(xdf_path)
    repaired: list[Path] = []
    kept: list[Path] = []
    told: list[str] = []
    dropped = sum(damage.length for damage in xdf.damage)
    if xdf.damage or not all(stream.footer for stream in xdf.streams):
        kept.append(_replace(xdf_path, _whole_xdf(xdf)))
        repaired.append(xdf_path)
        told.append(_xdf_sentence(xdf, dropped))
    frames: dict[str, int] = {}
    for frames_path in _frame_files(xdf):
        if not frames_path.exists():
            told.append(f"{frames_path.name} is missing.")
        elif not is_finished(frames_path):
            temporary = _free_name(frames_path, ".repairing")
            frames[frames_path.name] = remux(frames_path, temporary)
            kept.append(_take_place(frames_path, temporary))
            repaired.append(frames_path)
            told.append(f"{frames_path.name}: finished with {frames[frames_path.name]} whole frames.")
    if repaired:
        told.append(f"The files as they were found end in {DAMAGED_SUFFIX}.")
    sentence = f"{xdf_path.name}: " + (" ".join(told) or "nothing to repair.")
    if repaired or _is_open_ended(xdf_path):
        _renew_sidecar(xdf_path, [xdf_path, *_frame_files(xdf)], sentence)
    return RepairReport(xdf_path, tuple(repaired), tuple(kept), dropped, frames, sentence)


def _whole_xdf(xdf: XdfFile) -> list[bytes | memoryview]:
    parts: list[bytes | memoryview] = [xdf.raw(start, stop) for start, stop in xdf.good_ranges()]
    if xdf.good_ranges()[-1][1] == len(MAGIC):
        parts.append(encode_chunk(Tag.FILE_HEADER, FILE_HEADER))
    for stream in xdf.streams:
        if not stream.footer:
            stamps = stream.timestamps
            first, last = (float(stamps[0]), float(stamps[-1])) if len(stamps) else (0.0, 0.0)
            footer = footer_xml(first, last, len(stamps), stream.offsets)
            content = struct.pack("<I", stream.stream_id) + footer.encode()
            parts.append(encode_chunk(Tag.STREAM_FOOTER, content))
    parts.append(encode_chunk(Tag.BOUNDARY, BOUNDARY))
    return parts


def _xdf_sentence(xdf: XdfFile, dropped: int) -> str:
    kept_s = max((s.timestamps[-1] for s in xdf.streams if len(s)), default=0.0) - min(
        (s.timestamps[0] for s in xdf.streams if len(s)), default=0.0
    )
    samples = sum(len(stream) for stream in xdf.streams)
    whole = f"{samples} samples in {len(xdf.streams)} streams ({kept_s:.1f} s) are whole"
    missing = sum(not stream.footer for stream in xdf.streams)
    footers = f"{missing} missing footers were written" if missing else "no footer was missing"
    if not dropped:
        return f"Nothing was lost of what had been written: {whole}, {footers}."
    places = (
        "the half chunk at its end"
        if len(xdf.damage) == 1 and xdf.damage[0].at_end
        else (f"{len(xdf.damage)} broken stretches")
    )
    return f"Lost {places} ({dropped} bytes): {whole}, {footers}."


def _frame_files(xdf: XdfFile) -> list[Path]:
    files = []
    for stream in xdf.streams:
        if stream.kind == INDEX_TYPE:
            try:
                files.append(xdf.path.parent / Path(read_index_header(stream.header).file_name).name)
            except ValueError:
                continue
    return files


def _check_not_recording(path: Path) -> None:
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StillRecording(f"{path.name} is being recorded: stop the recording first") from None
        except OSError:
            return  # a file system without locks


def _sidecar_of(xdf_path: Path) -> Path | None:
    sidecar = xdf_path.with_name(f"{xdf_path.stem}_session.json")
    return sidecar if sidecar.exists() and sidecar.stat().st_size else None


def _is_open_ended(xdf_path: Path) -> bool:
    """Whether the recorder died between closing its files and writing their hashes."""
    sidecar = _sidecar_of(xdf_path)
    return sidecar is not None and SessionInfo.load(sidecar).state == "recording"


def _renew_sidecar(xdf_path: Path, files: list[Path], sentence: str) -> None:
    sidecar = _sidecar_of(xdf_path)
    if sidecar is None:
        return
    info = SessionInfo.load(sidecar)
    replace(
        info,
        state="repaired",
        ended=info.ended or now_iso(),
        files=file_facts(file for file in files if file.exists()),
        notes=(*info.notes, f"{now_iso()} {sentence}"),
    ).save(sidecar)


def _replace(path: Path, parts: list[bytes | memoryview]) -> Path:
    temporary = _free_name(path, ".repairing")
    with temporary.open("xb") as stream:
        for part in parts:
            stream.write(part)
        stream.flush()
        os.fsync(stream.fileno())
    return _take_place(path, temporary)


def _take_place(path: Path, new: Path) -> Path:
    """Put `new` in the place of `path`, which is kept; at no instant is there no file called `path`."""
    kept = _free_name(path, DAMAGED_SUFFIX)
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)
    new.replace(path)
    sync_folder(path.parent)
    return kept


def _free_name(path: Path, suffix: str) -> Path:
    candidate, number = path.with_name(path.name + suffix), 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}{suffix}{number}")
        number += 1
    return candidate
