from __future__ import annotations

import ctypes

import pytest

from zygoma import doctor


def test_a_healthy_installation_passes_every_check() -> None:
    checks = list(doctor.examine())
    assert [check.name for check in checks if check.ok is False] == []
    assert {"face model", "face landmarks", "Lab Streaming Layer"} <= {check.name for check in checks}


def test_missing_system_libraries_are_named_as_debian_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ctypes.CDLL

    def without_egl(name: str, *arguments: object) -> ctypes.CDLL:
        if name == "libEGL.so.1":
            raise OSError(name)
        return real(name)

    monkeypatch.setattr(ctypes, "CDLL", without_egl)
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    assert doctor.missing_system_libraries() == ["libegl1"]
    checks = list(doctor.examine())
    failed = [check for check in checks if check.ok is False]
    assert "apt-get install -y libegl1" in failed[0].remedy
    # What would load the missing library is not tried.
    assert "face landmarks" not in {check.name for check in checks}
