"""Which pictures of a user's files and folders show one object."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from geo3d.data.images.folders import evenly, find_masks, find_objects, read_frames


@pytest.fixture
def root(tmp_path):
    for name in (
        "mug/IMG_10.JPG",
        "mug/IMG_9.jpg",
        "mug/notes.txt",
        "chair/rendering/00.png",
        "chair/.hidden.png",
        ".git/a.png",
    ):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "root"


def found(*paths):
    return [(each.name, [file.name for file in each.files]) for each in find_objects(paths)]


def test_a_folder_of_folders_holds_objects(root):
    assert found(root) == [("chair", ["00.png"]), ("mug", ["IMG_9.jpg", "IMG_10.JPG"])]


def test_a_folder_of_pictures_is_one_object(root):
    assert found(root / "mug") == [("mug", ["IMG_9.jpg", "IMG_10.JPG"])]
    assert found(root / "chair") == found(root / "chair/rendering") == [("chair", ["00.png"])]


def test_files_are_views_of_one_object(root):
    (root / "film.mp4").touch()
    nine, zero = root / "mug/IMG_9.jpg", root / "chair/rendering/00.png"
    assert found(nine, zero) == [("IMG_9", ["IMG_9.jpg", "00.png"])]
    assert found(zero, nine) == [("chair", ["00.png", "IMG_9.jpg"])]  # a number is no name
    assert found(nine, root / "film.mp4", root / "mug") == [
        ("IMG_9", ["IMG_9.jpg"]),
        ("film", ["film.mp4"]),
        ("mug", ["IMG_9.jpg", "IMG_10.JPG"]),
    ]


def test_what_holds_no_pictures(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no pictures"):
        find_objects([tmp_path / "empty"])
    with pytest.raises(ValueError, match=r"notes.txt: expected a picture, a video or a folder"):
        find_objects([root / "mug/notes.txt"])
    with pytest.raises(FileNotFoundError, match="no such file"):
        find_objects([root / "mug/IMG_11.jpg"])
    with pytest.raises(ValueError, match="got none"):
        find_objects([])


def test_masks_by_name(root, tmp_path):
    [mug] = find_objects([root / "mug"])
    masks = tmp_path / "masks"
    (masks / "mug").mkdir(parents=True)
    for folder in (masks, masks / "mug"):
        for name in ("IMG_9.png", "IMG_10.png"):
            (folder / name).touch()
    assert find_masks(mug.files, masks) == [masks / "IMG_9.png", masks / "IMG_10.png"]
    assert find_masks(mug.files, masks, "mug") == [masks / "mug" / "IMG_9.png", masks / "mug" / "IMG_10.png"]
    assert find_masks(mug.files[:1], masks / "IMG_9.png") == [masks / "IMG_9.png"]
    with pytest.raises(ValueError, match="one mask for 2 pictures"):
        find_masks(mug.files, masks / "IMG_9.png")
    with pytest.raises(FileNotFoundError, match="nothing: no such file"):
        find_masks(mug.files, masks / "nothing")
    (masks / "IMG_10.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"masks: no mask IMG_10.png for .*IMG_10.JPG"):
        find_masks(mug.files, masks)


def test_evenly():
    assert evenly(3, 8) == [0, 1, 2]
    assert evenly(40, 8) == [0, 5, 10, 15, 20, 25, 30, 35]


def test_frames_of_a_video(tmp_path):
    path = tmp_path / "turn.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for number in range(30):
        writer.write(np.full((48, 64, 3), (0, 0, 8 * number), np.uint8))  # B, G, R: ever redder
    writer.release()
    frames = read_frames(path, 5)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    np.testing.assert_allclose([frame[..., 0].mean() for frame in frames], [0, 48, 96, 144, 192], atol=6)
    assert max(frame[..., 2].mean() for frame in frames) < 20
    assert len(read_frames(path, 100)) == 30


def test_what_is_no_video(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="expected a video, got no frame"):
        read_frames(path, 5)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_frames(tmp_path / "missing.mp4", 5)
