"""Lab Streaming Layer in tests: this machine only, and every test process in a session of its own."""

from __future__ import annotations

import os
import uuid

import hypothesis
import pytest

# The same examples each time on CI, so that a run says something about the change; fresh ones at a desk.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

# Before anything imports a module that could touch LSL; programs that tests start inherit the session.
os.environ["ZYGOMA_LSL_SESSION"] = f"test-{uuid.uuid4().hex}"


@pytest.fixture(scope="session", autouse=True)
def _lsl_on_this_machine_only() -> None:
    from acquisition import network

    network.configure(lan=False)
