from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zygoma.shown import percent


@given(st.floats(0.0, 1.0))
def test_nothing_is_called_certain(confidence: float) -> None:
    assert percent(confidence) != "100 %"
    assert percent(0.421) == "42 %"
    assert percent(1.0) == "> 99 %"
