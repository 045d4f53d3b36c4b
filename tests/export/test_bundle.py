"""The exported bundle is complete, checked, and moved into place whole; a refusal leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.errors import IslesError
from monai_isles.export.bundle import Exported, export_bundle
from monai_isles.inference.calibrated import Calibration
from monai_isles.inference.predictor import load_predictor
from monai_isles.io import publish_json
from monai_isles.io.archives import unpack_zip
from monai_isles.io.weights import publish_state

Edit = Callable[..., None]
ROOT = Path(__file__).parents[2]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_layout_is_that_of_the_bundle_specification(exported: Exported) -> None:
    names = set(contents(exported.folder))
    assert {"LICENSE", "SHA256SUMS", "docs/README.md", "configs/metadata.json", "configs/inference.json",
            "configs/train.json", "configs/evaluate.json", "configs/logging.conf", "models/model.pt", "models/model.ts",
            "models/model.onnx"} <= names  # fmt: skip
    assert {name.split("/")[0] for name in names} == {"LICENSE", "README.md", "SHA256SUMS", "docs", "configs", "models"}
    for name in ("inference", "train"):
        config = read(exported.folder / f"configs/{name}.json")
        assert (config["bundle_root"], config["output_dir"]) == (".", "eval")
    assert not [f for f in Bundle(exported.folder).judge() if f.severity == "error"]


def test_the_zip_holds_the_folder(exported: Exported, tmp_path: Path) -> None:
    assert exported.archive.name == "clerigues.zip" and exported.archive_sha256 == sha256(exported.archive)
    with zipfile.ZipFile(exported.archive) as archive:
        assert all(name.startswith("clerigues/") for name in archive.namelist())
    unpack_zip(exported.archive, tmp_path / "unpacked")
    assert contents(tmp_path / "unpacked" / "clerigues") == contents(exported.folder)
    assert sorted(p.name for p in exported.folder.parent.iterdir()) == ["clerigues", "clerigues.zip"]


def test_checksums_are_in_the_metadata_and_beside_it(exported: Exported) -> None:
    metadata, found = read(exported.folder / "configs/metadata.json"), contents(exported.folder)
    lines = (exported.folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    assert dict(reversed(line.split("  ")) for line in lines) == {k: v for k, v in found.items() if k != "SHA256SUMS"}
    assert metadata["weights_sha256"] == found["models/model.pt"]
    for name, graph in metadata["graphs"].items():
        assert graph["sha256"] == found[name] and 0 <= graph["largest_logit_difference"] <= 1e-4
    assert set(metadata["graphs"]) == {"models/model.ts", "models/model.onnx"} == set(exported.differences)


def test_the_source_stays_and_the_same_bundle_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    before = contents(bundle)
    first = export_bundle(bundle, tmp_path / "a", graphs=False)
    second = export_bundle(bundle, tmp_path / "b", graphs=False)
    assert contents(bundle) == before
    assert first.archive_sha256 == second.archive_sha256
    assert not (first.folder / "models/model.ts").exists() and "graphs" not in read(
        first.folder / "configs/metadata.json"
    )


def test_other_weights_take_the_place_of_the_bundle_s(
    bundle: Path, other_weights: Path, tmp_path: Path, edit: Edit
) -> None:
    edit(bundle / "metadata.json", weights_sha256=sha256(bundle / "models/model.pt"), eval_metrics={"dsc": 0.5})
    kept = export_bundle(bundle, tmp_path / "a", graphs=False)
    assert read(kept.folder / "configs/metadata.json")["eval_metrics"] == {"dsc": 0.5} and kept.dropped == []
    done = export_bundle(bundle, tmp_path / "b", weights=other_weights, graphs=False)
    assert done.checksums["models/model.pt"] == sha256(other_weights) and done.dropped == [
        "eval_metrics", "training_intensities", "training_split"
    ]  # fmt: skip
    assert "eval_metrics" not in read(done.folder / "configs/metadata.json")
    card = (done.folder / "docs/README.md").read_text(encoding="utf-8")
    assert card.startswith(f"> These weights (SHA-256 {sha256(other_weights)})") and card.endswith("# A model card\n")


def test_a_calibration_goes_with_the_weights_it_is_of_alone(bundle: Path, other_weights: Path, tmp_path: Path) -> None:
    fitted = Calibration(1.5, -0.2, [{"up_to_ml": None, "low": -1.0, "high": 1.0, "n": 40}], [0.5, 0.5, 0.5])
    publish_json(bundle / "models/calibration.json", asdict(fitted))
    config = read(bundle / "inference.json") | {"calibration": "$@bundle_root + '/models/calibration.json'"}
    publish_json(bundle / "inference.json", config)
    own = export_bundle(bundle, tmp_path / "own", graphs=False)
    assert Calibration.read(own.folder / "models/calibration.json") == fitted
    for threshold, shared in ((config["threshold"], fitted), (0.99, replace(fitted, volume=[], lesions=[]))):
        place = tmp_path / f"at_{threshold}"  # interval and confidence hold for the bundle's own rule alone
        chosen = export_bundle(bundle, place, graphs=False, settings={"threshold": threshold})
        assert Calibration.read(chosen.folder / "models/calibration.json") == shared
    assert read(own.folder / "configs/inference.json")["calibration"] == config["calibration"]
    other = export_bundle(bundle, tmp_path / "other", weights=other_weights, graphs=False)
    assert not (other.folder / "models/calibration.json").exists()
    assert read(other.folder / "configs/inference.json")["calibration"] is None


def test_narrow_weights_bring_their_width_and_leave_others_alone(tmp_path: Path) -> None:
    source = shutil.copytree(ROOT / "bundles/unet", tmp_path / "unet", ignore=shutil.ignore_patterns("models"))
    publish_json(source / "inference.json", read(source / "inference.json") | {"calibration": None})
    widths = {"first": [2, 4, 8, 8, 8], "wide": [2, 4, 8, 8, 16]}
    files = {"first": source / "models/model.pt", "wide": source / "models/wide.pt"}
    for name, path in files.items():
        network = (
            Bundle(source, settings={"widths": widths[name]}).config("inference").get_parsed_content("network_def")
        )
        publish_state(path, network.state_dict())
    publish_json(source / "shipped.json", {"widths": widths["first"], "threshold": 0.3})
    publish_json(source / "shipped_wide.json", {"widths": widths["wide"], "threshold": 0.7})
    publish_json(source / "wide.json", {"lr": 0.5})
    metadata = read(source / "metadata.json") | {"weights_sha256": sha256(files["first"])}
    publish_json(source / "metadata.json", metadata | {"variants": {"wide": {"weights_sha256": sha256(files["wide"])}}})
    for overlays, name, threshold in (((), "first", 0.3), (("wide.json",), "wide", 0.7)):
        bundle = Bundle(source, overlays)
        assert bundle.weights == files[name] and bundle.weights_sha256 == sha256(files[name])
        predictor = load_predictor(bundle, tmp_path / "out")
        assert list(predictor.weights) == [str(files[name])] and predictor.settings["threshold"] == threshold
        done = export_bundle(source, tmp_path / name, graphs=False, overlays=overlays)
        configs = [read(done.folder / "configs" / one) for one in ("inference.json", "train.json")]
        assert [one["widths"] for one in configs] == [widths[name]] * 2 and configs[0]["threshold"] == threshold
        assert not list((done.folder / "configs").glob("shipped*")) and sha256(files[name]) in done.checksums.values()
        assert "variants" not in read(done.folder / "configs/metadata.json")
    with pytest.raises(IslesError, match="E-INF-12"):  # the width of the bundle's own weights is not that of others
        load_predictor(source, tmp_path / "out", weights=[files["first"]])


def test_the_metadata_states_the_images_and_channels_of_an_overlay(tmp_path: Path) -> None:
    done = export_bundle(ROOT / "bundles/clerigues_mri", tmp_path / "spes", overlays=("spes.json",))
    metadata = read(done.folder / "configs/metadata.json")
    image, inputs = metadata["network_data_format"]["inputs"]["image"], metadata["modalities"]
    assert [*inputs] == ["dwi", "cbf", "cbv", "t1c", "t2", "tmax", "ttp"] and inputs["tmax"]["unit"] == "s"
    assert image["num_channels"] == 14 and image["channel_def"]["3"] == "t1c"
    card = (done.folder / "docs/README.md").read_text(encoding="utf-8")
    assert card.startswith(f"> These weights (SHA-256 {metadata['weights_sha256']}) replace the released ones")
    assert "\n- tmax: time to maximum of the residue function, s\n" in card and "\n- flair: " not in card


def test_an_export_is_not_exported_again(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-EXP-01(?s:.*)fix   name the bundle that this export was made of"):
        export_bundle(exported.folder, tmp_path / "out")


def test_everything_missing_is_listed(bundle: Path, tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE", "models/model.pt"):
        (bundle / name).unlink()
    with pytest.raises(IslesError, match=r"E-EXP-01: bundle is not complete(?s:.*)README.md, LICENSE, .*model.pt"):
        export_bundle(bundle, tmp_path / "out")


def test_a_config_that_may_not_run_is_not_shared(bundle: Path, tmp_path: Path, edit: Edit) -> None:
    edit(bundle / "inference.json", network_def={"_target_": "os.system", "command": "true"})
    with pytest.raises(IslesError, match="E-SAFE-07") as caught:
        export_bundle(bundle, tmp_path / "out")
    assert caught.value.exit_code == 5 and not (tmp_path / "out").exists()


def test_weights_that_are_not_the_recorded_ones_are_refused(bundle: Path, tmp_path: Path, edit: Edit) -> None:
    edit(bundle / "metadata.json", weights_sha256="ab" * 32)
    with pytest.raises(IslesError, match="E-SAFE-03"):
        export_bundle(bundle, tmp_path / "out", graphs=False)


def test_metadata_that_is_not_json_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "metadata.json").write_text("{", encoding="utf-8")
    with pytest.raises(IslesError, match="E-EXP-11: metadata is not JSON\n.*metadata.json"):
        export_bundle(bundle, tmp_path / "out")


def test_a_folder_in_use_is_refused_unless_forced(bundle: Path, other_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first = export_bundle(bundle, out, graphs=False)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    before = contents(out)
    with pytest.raises(IslesError, match="E-EXP-02: output folder is in use(?s:.*)--force"):
        export_bundle(bundle, out, graphs=False)
    assert contents(out) == before
    second = export_bundle(bundle, out, weights=other_weights, graphs=False, force=True)
    assert second.folder == first.folder and second.archive_sha256 != first.archive_sha256
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert sorted(p.name for p in out.iterdir()) == ["clerigues", "clerigues.zip", "notes.txt"]


def test_force_does_not_replace_what_is_no_export(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "clerigues").mkdir(parents=True)
    (tmp_path / "out" / "clerigues" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(IslesError, match="E-EXP-02(?s:.*)not an export"):
        export_bundle(bundle, tmp_path / "out", graphs=False, force=True)
    assert contents(tmp_path / "out").keys() == {"clerigues/thesis.txt"}


@pytest.mark.parametrize("inside", [".", "export", ".."])
def test_the_bundle_itself_is_never_the_target(bundle: Path, inside: str) -> None:
    before = contents(bundle.parent)
    with pytest.raises(IslesError, match="E-EXP-03: export would go into the bundle itself"):
        export_bundle(bundle, bundle / inside, force=True)
    assert contents(bundle.parent) == before


def test_a_place_that_cannot_be_written_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(IslesError, match="E-EXP-04: export cannot be written\n.*file/out"):
        export_bundle(bundle, tmp_path / "file" / "out", graphs=False)


def test_a_refusal_halfway_leaves_the_earlier_export_and_no_parts(bundle: Path, tmp_path: Path) -> None:
    export_bundle(bundle, tmp_path / "out", graphs=False)
    publish_state(tmp_path / "stranger.pt", {"epoch": 3})
    before = contents(tmp_path)
    with pytest.raises(IslesError, match="E-EXP-06"):
        export_bundle(bundle, tmp_path / "out", weights=tmp_path / "stranger.pt", graphs=False, force=True)
    assert contents(tmp_path) == before
