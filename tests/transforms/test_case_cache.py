"""A case that was preprocessed comes back the same, for the same content and settings alone."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, Dataset, MetaTensor
from monai.transforms import Compose, Lambdad

from monai_isles.bundle import Bundle
from monai_isles.data import find_entries
from monai_isles.io.findings import WARNING, collect_remarks, finding, tell
from monai_isles.transforms import KeptPreparation

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"
KEYS = ["ct", "cbf", "cbv", "mtt", "tmax"]


class Counted:
    """A preprocessing that counts how often it ran."""

    def __init__(self, inside: Compose) -> None:
        self.inside = inside
        Counted.ran = 0

    def __call__(self, data: dict) -> dict:
        Counted.ran += 1
        return dict(self.inside(data))


@pytest.fixture
def preprocessing(phantom_folder: Path, tmp_path: Path) -> Counted:
    config = Bundle(BUNDLE).config("inference")
    config.update({"dataset_dir": str(tmp_path / "registrations")})
    return Counted(config.get_parsed_content("preprocessing"))


@pytest.fixture
def entry(phantom_folder: Path) -> dict:
    return find_entries(phantom_folder, keys=KEYS)[0]


def same(one: dict, two: dict) -> bool:
    tensors = [key for key in one if isinstance(one[key], MetaTensor)]
    assert list(one) == list(two) and len(tensors) == 3
    return one["case"] == two["case"] and all(
        torch.equal(one[key], two[key])
        and one[key].dtype == two[key].dtype
        and str(one[key].meta) == str(two[key].meta)
        and one[key].applied_operations == two[key].applied_operations
        for key in tensors
    )


def test_the_second_time_gives_the_same_without_work(preprocessing: Counted, entry: dict, tmp_path: Path) -> None:
    kept = KeptPreparation(preprocessing, cache_dir=tmp_path / "cache")
    first, second = kept(entry), KeptPreparation(preprocessing, cache_dir=tmp_path / "cache")(entry)
    assert Counted.ran == 1 and same(first, second) and same(first, preprocessing(entry))


def test_without_a_folder_it_works_every_time(preprocessing: Counted, entry: dict, tmp_path: Path) -> None:
    kept = KeptPreparation(preprocessing)
    assert same(kept(entry), kept(entry)) and Counted.ran == 2 and not (tmp_path / "cache").exists()


def test_another_name_and_place_of_the_same_content_are_put_in(
    preprocessing: Counted, entry: dict, phantom_folder: Path, tmp_path: Path
) -> None:
    kept = KeptPreparation(preprocessing, cache_dir=tmp_path / "cache")
    kept(entry)
    moved = Path(shutil.copytree(phantom_folder, tmp_path / "moved"))
    other = find_entries(moved, keys=KEYS)[0] | {"case": "anna", "fold": 3}
    made = kept(other)
    assert Counted.ran == 1 and made["case"] == "anna"
    assert made["image"].meta["filename_or_obj"] == other["ct"] and str(moved) in other["ct"]


def test_a_case_named_as_its_subject_keeps_its_name_when_the_list_names_another_subject(
    preprocessing: Counted, entry: dict, tmp_path: Path
) -> None:
    kept = KeptPreparation(preprocessing, cache_dir=tmp_path / "cache")
    kept(entry | {"subject": entry["case"]})
    assert kept(entry | {"subject": "anna"})["case"] == entry["case"] and Counted.ran == 1


def test_other_content_or_settings_are_made_anew(preprocessing: Counted, entry: dict, tmp_path: Path) -> None:
    kept = KeptPreparation(preprocessing, cache_dir=tmp_path / "cache")
    kept(entry)
    kept(entry | {"cbf": entry["mtt"]})
    kept(entry | {"label_values": [1]})
    assert Counted.ran == 3
    preprocessing.inside.transforms = preprocessing.inside.transforms[:-1]
    assert "ct" in KeptPreparation(preprocessing, cache_dir=tmp_path / "cache")(entry) and Counted.ran == 4


def test_a_damaged_entry_is_dropped_said_and_made_again(
    preprocessing: Counted, entry: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = KeptPreparation(preprocessing, cache_dir=tmp_path / "cache")
    first, path = kept(entry), kept.cache.path(kept.key(entry))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(len(whole), size=5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert same(kept(entry), first)
    assert Counted.ran == 6 and caplog.text.count("dropped a damaged cache entry") == 5
    assert same(kept(entry), first) and Counted.ran == 6  # the entry made last is whole


def test_what_cannot_be_stored_safely_is_not_kept_and_that_is_said(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.WARNING)
    kept = KeptPreparation(Lambdad("a", func=frozenset), cache_dir=tmp_path)
    assert kept({"a": [1]})["a"] == frozenset([1])
    assert "not kept: it holds a builtins.frozenset" in caplog.text and not list(tmp_path.glob("*.entry"))


def test_data_sets_of_monai_take_it(preprocessing: Counted, entry: dict, tmp_path: Path) -> None:
    kept = KeptPreparation(preprocessing.inside, cache_dir=tmp_path / "cache")
    plain = Dataset([entry], transform=kept)[0]
    cached = CacheDataset([entry], transform=kept, progress=False)
    assert same(dict(plain), dict(cached[0])) and cached._cache[0]["image"].shape == plain["image"].shape


def test_other_frame_times_beside_a_series_are_other_content(tmp_path: Path) -> None:
    (tmp_path / "s.nii.gz").write_bytes(b"voxels")
    kept = KeptPreparation(Compose([]), cache_dir=tmp_path / "cache")
    bare = kept.key({"ctp": str(tmp_path / "s.nii.gz")})
    (tmp_path / "s.json").write_text('{"RepetitionTime": 1.5}')
    assert kept.key({"ctp": str(tmp_path / "s.nii.gz")}) != bare


def remarked(data: dict) -> dict:
    tell(finding("E-GEOM-09", WARNING, where=f"{data['case']}: cbf against ct", found="0.3 mm"))
    return {"case": data["case"]}


@pytest.mark.parametrize(("case", "subject"), [("c", "c"), ("case", "case"), ("P1", "P1"), ("12", "2"), ("sub", "b")])
def test_a_remark_names_the_case_again_whatever_its_name_is(tmp_path: Path, case: str, subject: str) -> None:
    kept = KeptPreparation(Counted(remarked), cache_dir=tmp_path / "cache")
    for name, person in ((case, subject), (case, subject), ("other", "b")):
        with collect_remarks() as remarks:
            kept({"case": name, "subject": person})
        assert [remark.where for remark in remarks] == [f"{name}: cbf against ct"]
    assert Counted.ran == 1
