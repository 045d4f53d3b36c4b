"""The metadata of a bundle: complete, true to the code beside it, and accepted by MONAI's own check."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import pytest
from monai.bundle import verify_metadata

from monai_isles.errors import IslesError
from monai_isles.export.bundle import check_metadata, complete_metadata, installed_version
from monai_isles.modalities import MODALITIES

SOURCE = Path(__file__).parents[2] / "bundles" / "clerigues"
REQUIRED_BY_MONAI = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task",
    "description", "authors", "copyright", "network_data_format",
)  # fmt: skip
REQUIRED_OF_TENSORS = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")


@pytest.fixture
def metadata() -> dict:
    return json.loads((SOURCE / "metadata.json").read_text(encoding="utf-8"))


def test_the_bundle_s_own_metadata_is_fit_to_share(metadata: dict) -> None:
    assert check_metadata(metadata, "metadata.json") is metadata


@pytest.mark.parametrize("key", [*REQUIRED_BY_MONAI, "changelog", "intended_use", "not_intended_use", "data_source"])
def test_a_missing_field_is_named(metadata: dict, key: str) -> None:
    del metadata[key]
    with pytest.raises(
        IslesError, match=rf"E-EXP-05: metadata is not fit to share\n.*metadata.json\n.*{key} is missing"
    ):
        check_metadata(metadata, "metadata.json")


def test_all_faults_come_in_one_error(metadata: dict) -> None:
    image = metadata["network_data_format"]["inputs"]["image"]
    del image["dtype"], metadata["network_data_format"]["outputs"]["pred"]
    image["spatial_shape"] = [64, "*"]
    metadata.update(version="9.9.9", required_packages_version={"no-such-package": "1"})
    with pytest.raises(IslesError, match="E-EXP-05") as caught:
        check_metadata(metadata, "metadata.json")
    for words in ("no entry for version 9.9.9", "no-such-package is not installed", "inputs#image#dtype is missing",
                  "spatial_shape '*' is neither", "no outputs#pred"):  # fmt: skip
        assert words in caught.value.found


@pytest.mark.parametrize(
    ("content", "words"),
    [([], "a JSON list"), ({"required_packages_version": ["monai"]}, "required_packages_version is not an object")],
)
def test_what_is_no_metadata_is_refused(content: object, words: str) -> None:
    with pytest.raises(IslesError, match=rf"E-EXP-05(?s:.*){words}"):
        check_metadata(content, "metadata.json")


def test_versions_and_checksum_are_filled_in(metadata: dict) -> None:
    measured = {**metadata, "monai_version": "0", "weights_sha256": "ab" * 32, "eval_metrics": {"dsc": 0.5}}
    complete = complete_metadata(measured, "ab" * 32)
    assert complete["monai_version"] == version("monai")
    assert complete["pytorch_version"] == version("torch").split("+")[0]
    assert complete["required_packages_version"]["nibabel"] == version("nibabel")
    assert complete["weights_sha256"] == "ab" * 32
    assert complete["eval_metrics"] == {"dsc": 0.5}
    assert installed_version("no-such-package") is None


@pytest.mark.parametrize(("recorded", "kept"), [("ab" * 32, True), ("cd" * 32, False)])
def test_results_stay_with_the_weights_they_were_measured_with(metadata: dict, recorded: str, kept: bool) -> None:
    metadata.update(weights_sha256=recorded, eval_metrics={"dsc": 0.5})
    assert ("eval_metrics" in complete_metadata(metadata, "ab" * 32)) is kept


def test_channels_and_ranges_are_those_of_the_code(metadata: dict) -> None:
    config = json.loads((SOURCE / "inference.json").read_text(encoding="utf-8"))
    channels = metadata["network_data_format"]["inputs"]["image"]["channel_def"]
    assert list(channels.values()) == config["channels"]
    assert list(metadata["modalities"]) == config["modalities"]
    for key, said in metadata["modalities"].items():
        known = MODALITIES[key]
        assert (said["name"], said["unit"]) == (known.name, known.unit)
        assert [*said["value_range"], said["typical_max_in_brain"]] == [known.lowest, known.highest, known.typical_max]
    assert f"thresholded at {config['threshold']}" in metadata["description"]
    assert f"below {config['min_cluster_ml']} ml" in metadata["description"]


def test_monai_verifies_the_metadata(metadata: dict, tmp_path: Path) -> None:
    tensor = {"type": "object", "required": list(REQUIRED_OF_TENSORS)}
    sides = {side: {"type": "object", "additionalProperties": tensor} for side in ("inputs", "outputs")}
    formats = {"type": "object", "required": list(sides), "properties": sides}
    schema = {"type": "object", "required": list(REQUIRED_BY_MONAI), "properties": {"network_data_format": formats}}
    there, content = tmp_path / "schema.json", json.dumps(schema).encode()
    there.write_bytes(content)  # MONAI downloads nothing when a file of this checksum is there

    def verify() -> None:
        (tmp_path / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(there), hash_val=checksum)

    verify()
    del metadata["network_data_format"]["inputs"]["image"]["dtype"]
    with pytest.raises(ValueError, match="'dtype' is a required property"):
        verify()
