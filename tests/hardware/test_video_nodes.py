"""Cameras in a made-up sysfs: listed by number, and the same one found again in whatever place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hardware.video_nodes import VideoNode, same_camera, video_nodes

ONE = VideoNode(0, "HD Webcam", "046d:0825", "Webcam", "S1", "1-1")
NAMELESS = VideoNode(0, "Cheap Cam", "1bcf:2b98", "", "", "1-1")


def test_nodes_are_read_with_what_tells_cameras_apart(tmp_path: Path) -> None:
    for number, port, index in ((10, "1-2", "0"), (2, "1-1.4", "0"), (3, "1-1.4", "1")):
        interface = tmp_path / "usb" / port / f"{port}:1.0"
        interface.mkdir(parents=True, exist_ok=True)
        for file, text in (("idVendor", "046D"), ("idProduct", "0825"), ("product", "C270")):
            (interface.parent / file).write_text(text + "\n")
        node = tmp_path / "v4l" / f"video{number}"
        node.mkdir(parents=True)
        (node / "name").write_text("HD Webcam\n")
        (node / "index").write_text(index + "\n")
        (node / "device").symlink_to(interface)
    (tmp_path / "v4l" / "video_of_something_else").mkdir()
    assert video_nodes(tmp_path / "v4l") == [
        VideoNode(2, "HD Webcam", "046d:0825", "C270", "", "1-1.4"),
        VideoNode(10, "HD Webcam", "046d:0825", "C270", "", "1-2"),
    ]
    assert video_nodes(tmp_path / "none") == []


def test_a_serial_number_is_followed_to_any_port_and_number() -> None:
    twin = replace(ONE, number=2, serial="S2", port="1-2")
    moved = replace(ONE, number=5, port="2-3")
    assert same_camera(ONE, [twin, moved]) == moved
    assert same_camera(ONE, [twin]) is None


def test_without_serial_numbers_the_port_tells_and_a_neighbour_is_never_taken() -> None:
    neighbour = replace(NAMELESS, number=2, port="1-2")
    back, elsewhere = replace(NAMELESS, number=4), replace(NAMELESS, number=4, port="1-3")
    assert same_camera(NAMELESS, [neighbour], others=[neighbour]) is None
    assert same_camera(NAMELESS, [neighbour, elsewhere], others=[neighbour]) == elsewhere
    assert same_camera(NAMELESS, [elsewhere, back]) == back
    assert same_camera(NAMELESS, [replace(back, usb_id="046d:0825")]) is None
