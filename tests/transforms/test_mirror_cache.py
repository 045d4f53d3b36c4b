from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_isles.transforms import symmetry as mirror_cache
from monai_isles.transforms.mirror import reflection
from monai_isles.transforms.registration import Registration
from monai_isles.transforms.symmetry import cache_folder, cache_key, read_stored, store

HEAD, AFFINE, SETTINGS = np.zeros((4, 4, 2), np.float32), np.eye(4), {"method": "rigid", "window": (0.0, 60.0)}
FOUND = Registration(reflection(7.25, -3.1), "rigid", 2.1, 3.4, 0.97, 0.8)


def test_what_was_stored_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    store(tmp_path / "new", "k", FOUND)
    back = read_stored(tmp_path / "new", "k")
    np.testing.assert_array_equal(back.mirror.matrix, FOUND.mirror.matrix)
    np.testing.assert_array_equal(back.mirror.shift_mm, FOUND.mirror.shift_mm)
    assert (back.method, back.residual_mm, back.overlap) == ("rigid", 2.1, 0.97)
    assert read_stored(tmp_path / "new", "other") is None


def test_the_key_changes_with_every_input_and_setting(monkeypatch) -> None:
    other_head, other_affine = HEAD.copy(), AFFINE.copy()
    other_head[1, 2, 1], other_affine[0, 0] = 1, 0.9
    keys = [
        cache_key(HEAD, AFFINE, SETTINGS),
        cache_key(other_head, AFFINE, SETTINGS),
        cache_key(HEAD, other_affine, SETTINGS),
        cache_key(HEAD.reshape(4, 2, 4), AFFINE, SETTINGS),
        cache_key(HEAD, AFFINE, SETTINGS | {"method": "itk"}),
        cache_key(HEAD, AFFINE, SETTINGS | {"window": None}),
    ]
    monkeypatch.setattr(mirror_cache, "ALGORITHM", mirror_cache.ALGORITHM + 1)
    keys.append(cache_key(HEAD, AFFINE, SETTINGS))
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    assert cache_key(HEAD.copy(), AFFINE.copy(), dict(SETTINGS)) == keys[0]


@pytest.mark.parametrize("harm", ["cut", "empty", "digit", "list", "bytes", "swapped"])
def test_a_damaged_entry_is_dropped_and_said(tmp_path: Path, caplog, harm: str) -> None:
    store(tmp_path, "k", FOUND)
    path = tmp_path / "mirror-k.entry"
    text = path.read_text()
    if harm == "swapped":
        path.rename(tmp_path / "mirror-j.entry")
        path = tmp_path / "mirror-j.entry"
    else:
        digit = text.replace("2.1", "2.4").encode()
        path.write_bytes(
            {
                "cut": text[: len(text) // 2].encode(),
                "empty": b"",
                "digit": digit,
                "list": b"[1]",
                "bytes": b"\xff\xfe\x00",
            }[harm]
        )
    assert read_stored(tmp_path, path.stem.split("-")[1]) is None
    assert not path.exists() and "damaged cache entry" in caplog.text and path.name in caplog.text


def test_the_cache_lies_in_its_own_folder_beside_the_data(tmp_path: Path) -> None:
    inside = tmp_path / ".monai_isles_cache"
    assert cache_folder(tmp_path) == inside == cache_folder(inside)


def test_the_registrations_of_a_url_lie_in_its_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_ISLES_REMOTE", str(tmp_path / "mirrors"))
    monkeypatch.chdir(tmp_path)
    folder = cache_folder("file:///data/isles")
    assert folder.is_relative_to(tmp_path / "mirrors") and folder.name == mirror_cache.FOLDER
    store(folder, "k", FOUND)
    assert [p.name for p in tmp_path.iterdir()] == ["mirrors"]
