"""A data folder that is a URL is read through a local mirror, checked, and confined like any other."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath

import fsspec
import nibabel
import pytest

from monai_isles.cli.main import main
from monai_isles.crossval.plan import make_plan
from monai_isles.data import find_data_list, find_inputs, load_entries, make_datalist
from monai_isles.data.remote import fetch_entry, is_url, local_root, relative_path
from monai_isles.errors import IslesError
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.phantom import dataset_or_phantom

KEYS = ("ct", "cbf")
BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MONAI_ISLES_REMOTE", str(tmp_path / "mirrors"))
    return tmp_path / "mirrors"


@pytest.fixture(scope="module")
def content(phantom_folder: Path) -> dict:
    return make_datalist(phantom_folder, folds=2)


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, phantom_folder: Path, tmp_path: Path) -> str:
    if request.param == "file":
        return phantom_folder.as_uri()
    memory = fsspec.filesystem("memory")
    memory.put(str(phantom_folder / "TRAINING"), "/study/TRAINING", recursive=True)
    return "memory://study"


def listed(content: dict, **first: object) -> dict:
    copy = json.loads(json.dumps(content))
    copy["training"][0] |= first
    return copy


def test_files_of_a_url_are_fetched_whole_to_the_same_places(url: str, content: dict, phantom_folder: Path) -> None:
    entries = load_entries(content, url, keys=KEYS, need_label=True)
    here = load_entries(content, phantom_folder, keys=KEYS, need_label=True)
    for one, other in zip(entries, here, strict=True):
        for key in (*KEYS, "label"):
            assert sha256_of(one[key]) == sha256_of(other[key]) and one[key] != other[key]
            assert Path(one[key]).relative_to(local_root(url)) == Path(other[key]).relative_to(phantom_folder)
    before = {path: path.stat().st_ino for path in local_root(url).rglob("*.nii")}
    assert load_entries(content, url, keys=KEYS, need_label=True) == entries
    assert before == {path: path.stat().st_ino for path in local_root(url).rglob("*.nii")}


def test_a_case_is_fetched_when_it_is_read(url: str, content: dict) -> None:
    entries = load_entries(content, url, keys=KEYS, need_label=False, fetch=False)
    assert not list(local_root(url).rglob("*.nii"))
    fetch_entry(entries[1])
    assert len(list(local_root(url).rglob("*.nii"))) == 3


def test_checksums_of_the_list_are_held_to_and_a_stale_mirror_is_fetched_again(url: str, content: dict) -> None:
    right = sha256_of(load_entries(content, url, keys=KEYS, need_label=False)[0]["ct"])
    (path,) = [Path(e["ct"]) for e in load_entries(content, url, keys=KEYS, need_label=False)[:1]]
    path.write_bytes(b"stale")
    entries = load_entries(listed(content, sha256={"ct": right.upper()}), url, keys=KEYS, need_label=False)
    assert sha256_of(entries[0]["ct"]) == right
    with pytest.raises(IslesError, match=rf"E-LIST-72: file is not the one(?s:.*)SHA-256 {right}, the list has 0000"):
        load_entries(listed(content, sha256={"ct": "0" * 64}), url, keys=KEYS, need_label=False)
    assert not path.exists()


def test_checksums_hold_for_local_folders_too(content: dict, phantom_folder: Path) -> None:
    with pytest.raises(IslesError, match="E-LIST-72"):
        load_entries(listed(content, sha256={"ct": "0" * 64}), phantom_folder, keys=KEYS, need_label=False)
    assert load_entries(content, phantom_folder, keys=KEYS, need_label=False)  # the file was left alone


@pytest.mark.parametrize("wrong", [{"ct": "abc"}, {"ct": 1}, {"zz": "0" * 64}, ["a"]])
def test_checksums_that_are_none_are_malformed(content: dict, phantom_folder: Path, wrong: object) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-04(?s:.*)sha256 is"):
        load_entries(listed(content, sha256=wrong), phantom_folder, keys=KEYS, need_label=False)


def test_urls_below_the_folder_are_its_files(url: str, content: dict, phantom_folder: Path) -> None:
    ct = content["training"][0]["ct"]
    named = listed(content, ct=f"{url}/{ct}")
    assert Path(load_entries(named, url, keys=KEYS, need_label=False)[0]["ct"]) == local_root(url) / ct
    own = listed(content, ct=(phantom_folder / ct).as_uri())
    assert load_entries(own, phantom_folder, keys=KEYS, need_label=False)[0]["ct"] == str(phantom_folder / ct)


@pytest.mark.parametrize("path", ["file:///etc/passwd", "memory://other/ct.nii", "https://host/ct.nii",
                                  "file://host/ct.nii", "s3://study/ct.nii"])  # fmt: skip
def test_urls_elsewhere_are_refused(url: str, content: dict, phantom_folder: Path, path: str) -> None:
    for root in (url, phantom_folder):
        with pytest.raises(IslesError, match="E-LIST-70: path leaves the data folder"):
            load_entries(listed(content, ct=path), root, keys=KEYS, need_label=False)


@pytest.mark.parametrize("path", ["%2e%2e/secret.nii", "a/%2E%2e/%2e%2e/secret.nii"])
def test_a_masked_way_up_is_refused(path: str) -> None:
    root = local_root("memory://study")
    with pytest.raises(IslesError, match="E-LIST-70"):
        relative_path(root, f"memory://study/{path}")


def test_a_file_that_is_not_there_names_itself(content: dict) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-74: file cannot be fetched\n.*memory://nothing/TRAINING"):
        load_entries(content, "memory://nothing", keys=KEYS, need_label=False)
    assert not list(local_root("memory://nothing").rglob("*.nii"))


def test_a_store_without_a_driver_says_what_to_install(content: dict) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-73: this kind of store cannot be read(?s:.*)pip install fsspec"):
        load_entries(content, "nostore://x/y", keys=KEYS, need_label=False)


def test_a_url_without_a_list_is_refused() -> None:
    with pytest.raises(IslesError, match="E-LIST-71: a data folder that is a URL needs a data list"):
        find_inputs(["memory://study"])
    assert is_url("s3://a") and not is_url("/a") and not is_url(Path("s3://a"))


def test_the_files_used_longest_ago_leave_the_mirrors_first(url: str, content: dict, monkeypatch) -> None:
    entries = load_entries(content, url, keys=KEYS, need_label=False, fetch=False)
    fetch_entry(entries[0])
    size = sum(path.stat().st_size for path in local_root(url).rglob("*.nii"))
    monkeypatch.setenv("MONAI_ISLES_REMOTE_GB", str(1.5 * size / 1e9))
    fetch_entry(entries[1])
    fetch_entry(entries[2])
    assert all(Path(entries[2][key]).is_file() for key in KEYS) and not Path(entries[0]["ct"]).is_file()
    assert sum(path.stat().st_size for path in local_root(url).rglob("*.nii")) <= 2.1 * size


def test_predict_reads_a_url_and_names_it_nowhere_wrong(
    content: dict, phantom_folder: Path, untrained_weights: Path, tmp_path: Path, capsys
) -> None:
    publish_json(tmp_path / "list.json", content)
    words = ["predict", phantom_folder.as_uri(), "--data-list", str(tmp_path / "list.json"), "--folds", "0", "--bundle",
             str(BUNDLE), "--weights", str(untrained_weights), "--out", str(tmp_path / "out"), "--step", "32",
             "--mc-passes", "1", "--threads", "1", "--no-report", "--json", "--cache",
             str(tmp_path / "cache")]  # fmt: skip
    assert main(words) == 0, capsys.readouterr()
    outcomes = {one["outcome"] for one in json.loads(capsys.readouterr().out)["cases"].values()}
    assert outcomes == {"ok"} and list((tmp_path / "cache").glob("case-*.entry"))
    assert main(words) == 0 and '"done before"' in capsys.readouterr().out


def test_references_of_a_url_are_scored_as_those_of_the_folder(
    url: str, content: dict, phantom_folder: Path, tmp_path: Path, capsys
) -> None:
    for entry in content["training"]:
        mask = nibabel.load(phantom_folder / entry["label"])
        (tmp_path / "pred" / entry["case"]).mkdir(parents=True)
        nibabel.save(mask, tmp_path / "pred" / entry["case"] / "lesion.nii.gz")
    publish_json(tmp_path / "list.json", content)
    words = ["evaluate", "--pred", str(tmp_path / "pred"), "--data-list", str(tmp_path / "list.json"), "--baseline"]
    for name, ref in (("here", str(phantom_folder)), ("there", url)):
        assert main([*words, "--ref", ref, "--out", str(tmp_path / name)]) == 0, capsys.readouterr()
    for table in ("per_case.csv", "baseline_per_case.csv", "summary.json"):
        assert (tmp_path / "here" / table).read_bytes() == (tmp_path / "there" / table).read_bytes()
    assert json.loads((tmp_path / "there/run.json").read_text())["settings"]["ref"] == url


@pytest.mark.parametrize(("words", "code", "said"), [
    (("--pred", "PRED", "--ref", "memory://study"), 4, "E-LIST-71: a data folder that is a URL needs a data list"),
    (("--pred", "s3://study/pred", "--ref", "PRED"), 2, "E-USE-64: predictions cannot be read from a URL"),
])  # fmt: skip
def test_urls_that_cannot_be_scored_are_refused(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, capsys
) -> None:
    (tmp_path / "pred").mkdir()
    given = [str(tmp_path / "pred") if word == "PRED" else word for word in words]
    assert main(["evaluate", *given, "--out", str(tmp_path / "out")]) == code
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_cross_validation_reads_a_url_by_its_mirror(url: str, content: dict, phantom_folder: Path, tmp_path) -> None:
    publish_json(tmp_path / "list.json", content)
    plan, _ = make_plan(BUNDLE, data_list=tmp_path / "list.json", dataset_dir=url)
    here, _ = make_plan(BUNDLE, data_list=tmp_path / "list.json", dataset_dir=phantom_folder)
    assert plan.fingerprints == here.fingerprints and Path(plan.dataset_dir) == local_root(url)
    assert load_entries(content, plan.dataset_dir, keys=KEYS, need_label=True)  # as a fold's training asks


def test_a_training_takes_a_url_only_with_a_list(url: str, tmp_path: Path, capsys) -> None:
    root = dataset_or_phantom(url, folder="", cases=1, seed=0)
    assert root == local_root(url)
    for place in (root, url):
        with pytest.raises(IslesError, match=r"E-LIST-71(?s:.*)data_list in a training"):
            find_data_list(place)
    assert main(["crossval", str(BUNDLE), "--dataset-dir", url, "--out", str(tmp_path / "cv")]) == 4
    assert "E-LIST-71" in capsys.readouterr().err and not (tmp_path / "cv").exists()


def test_a_mirror_too_small_for_what_must_be_there_at_once_says_so(url: str, content: dict, monkeypatch) -> None:
    monkeypatch.setenv("MONAI_ISLES_REMOTE_GB", "1e-6")
    with pytest.raises(IslesError, match=r"E-LIST-75: the mirror is too small(?s:.*)MONAI_ISLES_REMOTE_GB=1e-6"):
        load_entries(content, url, keys=KEYS, need_label=True)


@pytest.mark.parametrize("inside", ["", "data"])
def test_a_file_inside_an_archive_is_fetched(tmp_path: Path, inside: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(str(PurePosixPath(inside, "p1/ct.nii")), b"voxels")
    path = local_root(f"zip://{inside}::file://{tmp_path}/a.zip") / "p1/ct.nii"
    fetch_entry({"case": "p1", "ct": str(path)})
    assert path.read_bytes() == b"voxels"
