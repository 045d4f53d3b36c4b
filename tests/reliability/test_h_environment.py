"""Group H of the reliability list: disks, memory, kills, names, and two runs at once."""

from __future__ import annotations

import csv
import gzip
import json
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_isles.io import load_state, read_image
from tests.reliability import gates
from tests.reliability.children import Forks, Shown
from tests.reliability.conftest import BUNDLE, settings, training_command
from tests.reliability.scanner import write_scan

Gate, Run = Callable[..., object], Callable[..., object]
MIB = 2**20
NAMES = {"CT": "ct", "CT_CBF": "cbf", "CT_CBV": "cbv", "CT_MTT": "mtt", "CT_Tmax": "tmax", "OT": "lesion"}


def curve(run: Path) -> list[dict[str, str]]:
    """Return the rows of a training's curve without what the clock decides."""
    with (run / "curves.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def require_same_training(one: Path, other: Path) -> None:
    """Curves and weights are the same, bit for bit."""
    assert curve(one) == curve(other)
    mine, theirs = (load_state(run / "model.pt") for run in (one, other))
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_h1_paths_with_other_scripts_and_spaces_work_in_every_reader_and_writer(
    folder: Path, run: Run, predict: Run, works: Gate, same_maps: Callable, tmp_path: Path
) -> None:
    place = tmp_path / "Ångström Müller – 脳卒中 données"
    place.mkdir()
    data, out, listed = folder.rename(place / "Fälle 1"), place / "ergebnisse ü", place / "liste é.json"
    works(run, "check", data)
    works(run, "datalist", data, "--folds", "2", "--out", listed)
    works(predict, data, "--data-list", listed, "--folds", "0", "1", out=out)
    same_maps("case_1", out=out)
    works(run, "evaluate", "--pred", out, "--ref", data, "--out", place / "werte ß")
    series = write_scan(place / "série 時間")
    works(run, "perfusion", series, "--out", place / "kärtchen", "--threads", "1", "--no-motion")


@pytest.mark.long
def test_h1_training_works_there_too(phantom_folder: Path, halfway: Path, server: Forks, tmp_path: Path) -> None:
    place = tmp_path / "Ångström – 脳卒中"
    data = shutil.copytree(phantom_folder, place / "Fälle 1", ignore=shutil.ignore_patterns("truth"))
    listed = shutil.copy(halfway / "list.json", place / "liste é.json")
    words = training_command(data, listed, place / "läufe", epochs=1)
    gates.require_success(server.run(*words, program="monai.bundle"))
    gates.require_nothing_partial(place)


@pytest.mark.parametrize("words", [("out.txt",), ("out.txt", "deeper/still")])
def test_h2_a_file_in_the_place_of_the_output_folder_is_refused_before_any_work(
    case: Path, predict: Run, refused: Gate, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "out.txt").write_text("mine")
    out = tmp_path.joinpath(*words)
    refused(predict, case, out=out, exit_code=4, code="E-RUN-02", says=[str(out), "choose a writable folder"])


def test_h2_training_refuses_it_too(training: Run, refused: Gate, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    refused(training, exit_code=4, code="E-(RUN-02|FILE-10)", says=[str(tmp_path / "run")])


def test_h3_a_read_only_output_folder_is_refused_before_any_work(
    case: Path, predict: Run, refused: Gate, tmp_path: Path
) -> None:
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    sealed.chmod(0o555)
    says = [str(sealed), "Permission denied", "choose a writable folder"]
    for out in (sealed, sealed / "new"):
        refused(predict, case, out=out, bound_by_permissions=True, exit_code=4, code="E-RUN-02", says=says)
    assert list(sealed.iterdir()) == []


def test_h4_a_full_disk_keeps_the_earlier_result_whole_and_the_other_cases(
    case: Path, finished: Path, predict: Run, refused: Gate, works: Gate, same_maps: Callable, tmp_path: Path
) -> None:
    works(predict, case)
    says = ["case_7: failed", "probability.nii.gz", "free space", "the previous file is unchanged"]
    how = {"file_bytes": 100_000, "exit_code": 3, "code": "E-FILE-10", "says": says}
    refused(predict, case, "--threshold", "0.4", **how)
    same_maps()
    works(predict, case, says=["case_7: done before"])
    gates.require_success(predict(case, "--threshold", "0.4"), ["case_7: ok"])
    gates.require_nothing_partial(tmp_path)


def test_h5_a_full_disk_at_a_checkpoint_keeps_the_checkpoint_before(
    resumed: Run, refused: Gate, uninterrupted: Path, tmp_path: Path
) -> None:
    says = ["checkpoint-0003.pt", "free space"]
    before = gates.digests(tmp_path)
    shown = resumed(file_bytes=5_000_000)
    gates.require_refusal(shown, exit_code=4, code="E-FILE-10", says=says)
    gates.require_nothing_lost(tmp_path, before, may_change={*gates.RECORDS, "run/model.pt"})
    gates.require_nothing_partial(tmp_path)
    assert load_state(tmp_path / "run/checkpoint-0002.pt")["epoch"] == 2
    gates.require_success(resumed(), ["resuming after epoch 2"])
    require_same_training(tmp_path / "run", uninterrupted)


@pytest.mark.long
def test_h6_a_kill_while_checkpoints_are_saved_leaves_a_good_one(resumed: Run, server: Forks, halfway: Path,
    phantom_folder: Path, tmp_path: Path) -> None:  # fmt: skip
    run, draw, epoch = tmp_path / "run", random.Random(6), 2
    for _ in range(4):
        words = training_command(phantom_folder, halfway / "list.json", run, epochs=60)
        child = server.start(*words, program="monai.bundle")
        wanted = run / f"checkpoint-{epoch + 1:04d}.pt"
        child.wait_until(lambda wanted=wanted: wanted.exists() or list(run.glob(f".part-*{wanted.name}")))
        time.sleep(draw.uniform(0.0, 0.04))
        child.kill()
        assert child.wait().code == -signal.SIGKILL
        kept = sorted(run.glob("checkpoint-*.pt"))
        assert kept and [load_state(path)["epoch"] for path in kept][-1] >= epoch
        epoch = load_state(kept[-1])["epoch"]
    gates.require_success(resumed(epochs=epoch + 1), [f"resuming after epoch {epoch} of"])
    gates.require_nothing_partial(run)


def test_h7_a_killed_and_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    resumed: Run, uninterrupted: Path, tmp_path: Path
) -> None:
    gates.require_success(resumed(), ["resuming after epoch 2"])
    assert len(curve(tmp_path / "run")) == 4
    require_same_training(tmp_path / "run", uninterrupted)
    gates.require_nothing_partial(tmp_path / "run")


@pytest.mark.long
def test_h7_a_kill_between_the_last_checkpoint_and_the_record_trains_nothing_again(
    resumed: Run, uninterrupted: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "run")
    shutil.copytree(uninterrupted, tmp_path / "run", ignore=shutil.ignore_patterns("run.json"))
    gates.require_success(resumed(), ["resuming after epoch 4"])
    require_same_training(tmp_path / "run", uninterrupted)
    assert (tmp_path / "run/run.json").exists()


@pytest.mark.long
def test_h8_a_second_writer_is_refused_and_no_reader_sees_a_part(
    case: Path, predict: Run, refused: Gate, works: Gate, server: Forks, untrained_weights: Path, tmp_path: Path
) -> None:
    works(predict, case)
    out, maps = tmp_path / "out", ("lesion", "probability", "uncertainty")
    slow = ("--bundle", BUNDLE, "--weights", untrained_weights, "--step", "12", "--threads", "1", "--no-report")
    writer = server.start("predict", case, *slow, "--out", out)
    writer.wait_until((out / "run.lock").exists)
    try:
        says = [f"held by process {writer.pid} on {socket.gethostname()}", "run.lock", "wait for it"]
        shown = predict(case)
        gates.require_refusal(shown, exit_code=4, code="E-RUN-01", says=says)
        reads = 0
        while (out / "run.lock").exists():
            for name in maps:
                read_image(out / f"case_7/{name}.nii.gz")
                reads += 1
    finally:
        shown = writer.wait()
    gates.require_success(shown)
    assert reads > 10
    gates.require_nothing_partial(out)


def test_h9_an_output_that_is_an_input_is_refused(
    case: Path, image_of: Callable, run: Run, predict: Run, refused: Gate, tmp_path: Path
) -> None:
    plain = tmp_path / "plain/case_8"
    plain.mkdir(parents=True)
    for key, name in NAMES.items():
        (plain / f"{name}.nii.gz").write_bytes(gzip.compress(image_of(case, key).read_bytes()))
    before = gates.digests(tmp_path / "plain")
    says = ["case_8", "lesion.nii.gz", "choose another output folder"]
    shown = predict(plain, out=tmp_path / "plain")
    gates.require_refusal(shown, exit_code=3, code="E-USE-50|E-FILE-11", says=says)
    assert {name: gates.digests(tmp_path / "plain").get(name) for name in before} == before


def test_h9_maps_never_take_the_place_of_their_series(run: Run, refused: Gate, tmp_path: Path) -> None:
    series = write_scan(tmp_path / "maps", nifti="cbf.nii.gz")
    words = ("perfusion", series, "--out", tmp_path / "maps", "--threads", "1", "--no-motion")
    refused(run, *words, exit_code=4, code="E-FILE-11", says=[str(series), "choose another output folder"])


def test_h10_a_name_too_long_is_refused_before_inference(
    case: Path, predict: Run, refused: Gate, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 300)
    says = ["300 bytes; at most 255 allowed", "choose a shorter output folder or case name"]
    shown = refused(predict, case, out=long, exit_code=4, code="E-RUN-03", says=says)
    assert "case_7:" not in shown.text
    deep = tmp_path.joinpath(*["y" * 200] * 20)
    refused(predict, case, out=deep, exit_code=4, code="E-RUN-03", says=["at most 4000 allowed"])


def many_large_windows(config: dict) -> None:
    """Let one pass take every window of a volume at once, and make them large."""
    config["window_batch"], config["patch"], config["border"] = 4096, [128, 128], [64, 64, 0]


@pytest.fixture
def in_room(case: Path, bundle_with: Callable, predict: Run, tmp_path: Path) -> Callable[[int], Shown]:
    """Predict with so many MiB of memory; what ends by itself holds the gates (a native library may crash first)."""
    bundle = bundle_with(many_large_windows)

    def attempt(mib: int) -> Shown:
        shown = predict(case, "--step", "16", bundle=bundle, memory_bytes=mib * MIB)
        if shown.code > 0:
            named = ["case_7: failed"] if shown.code == 3 else ["monai-isles predict"]
            gates.require_refusal(shown, exit_code=3 if shown.code == 3 else 4, code="E-RUN-4[01]", says=named)
            gates.require_nothing_partial(tmp_path)
        shutil.rmtree(tmp_path / "out/case_7", ignore_errors=True)
        return shown

    return attempt


@pytest.mark.long
def test_h11_where_memory_runs_out_half_the_windows_go_on(in_room: Callable[[int], Shown]) -> None:
    enough, too_little, seen = 1500, 300, []
    while enough - too_little > 8:
        room = (enough + too_little) // 2
        shown = in_room(room)
        halved = "memory ran out at window_batch" in shown.text
        seen.append((room, shown.code, halved))
        if shown.code == 0 and halved:
            return
        enough, too_little = (room, too_little) if shown.code == 0 else (enough, room)
    raise AssertionError(f"no room in which half the windows fit and all do not: {seen}")


@pytest.mark.long
def test_h11_where_half_is_too_much_case_patch_and_setting_are_named(in_room: Callable[[int], Shown]) -> None:
    shown = next(shown for room in (600, 520, 450, 400, 350, 300, 250) if "E-RUN-40" in (shown := in_room(room)).text)
    gates.require_words(shown, ["windows of 128 x 128 x 1 voxels", "window_batch", "give a smaller window_batch"])


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_h12_a_gpu_that_is_not_there_is_said_with_the_way_out(
    case: Path, predict: Run, refused: Gate, device: str
) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    says = [f"device '{device}'", "sees 0 CUDA devices", "--device cpu"]
    refused(predict, case, "--device", device, exit_code=4, code="E-RUN-20", says=says)


@pytest.mark.long
def test_h13_one_bad_case_takes_no_other_and_the_rerun_does_what_is_missing(
    folder: Path, image_of: Callable, predict: Run, works: Gate, same_maps: Callable, tmp_path: Path
) -> None:
    bad = image_of(folder / "TRAINING/case_1", "CT_CBV")
    sound = bad.read_bytes()
    bad.write_bytes(sound[:1000])
    shown = predict(folder)
    gates.require_refusal(shown, exit_code=3, code="E-FILE-05", says=["case_1: failed", "case_3: ok", "2 of 3 cases"])
    record = json.loads((tmp_path / "out/run.json").read_text())["cases"]
    assert [one["outcome"] for one in record.values()] == ["failed", "ok", "ok"]
    assert "E-FILE-05" in record["case_1"]["error"] and not (tmp_path / "out/case_1").exists()
    bad.write_bytes(sound)
    says = ["case_1: ok", "case_2: done before", "case_3: done before", "3 of 3 cases"]
    works(predict, folder, says=says)
    same_maps("case_1")
    same_maps("case_2", like="case_2")


def test_h14_sigterm_in_training_saves_exits_143_and_resumes_bit_for_bit(
    resumed: Run, server: Forks, halfway: Path, phantom_folder: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = training_command(phantom_folder, halfway / "list.json", run, epochs=4)
    child = server.start(*words, program="monai.bundle")
    child.wait_until((run / "checkpoint-0003.pt").exists)
    child.kill(signal.SIGTERM)
    shown = child.wait()
    gates.require_bounded(shown)
    assert shown.code == 143, shown.text
    gates.require_nothing_partial(run)
    assert load_state(run / "checkpoint-0003.pt")["epoch"] == 3 and not (run / "run.json").exists()
    gates.require_success(resumed(), ["resuming after epoch "])
    require_same_training(run, uninterrupted)


@pytest.mark.long
def test_h14_sigterm_within_an_epoch_loses_no_iteration(
    server: Forks, halfway: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    more = ("--batch_size", "2")  # 16 iterations an epoch
    whole, run = (training_command(phantom_folder, halfway / "list.json", tmp_path / out, *more, epochs=2)
                  for out in ("whole", "run"))  # fmt: skip
    gates.require_success(server.run(*whole, program="monai.bundle"))
    child = server.start(*run, program="monai.bundle")
    child.wait_until((tmp_path / "run/checkpoint-0001.pt").exists)
    time.sleep(0.4)  # the second epoch has begun: a signal between two epochs finds nothing of its own to keep
    child.kill(signal.SIGTERM)
    shown = child.wait()
    gates.require_bounded(shown)
    assert shown.code == 143, shown.text
    gates.require_nothing_partial(tmp_path / "run")
    assert list((tmp_path / "run").glob("checkpoint-0002*.pt")), shown.text
    gates.require_success(server.run(*run, program="monai.bundle"), ["resuming after epoch "])
    require_same_training(tmp_path / "run", tmp_path / "whole")


def test_h14_sigterm_in_prediction_leaves_whole_cases_and_the_rerun_does_the_rest(
    folder: Path, predict: Run, works: Gate, server: Forks, untrained_weights: Path, same_maps: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "fresh"
    child = server.start("predict", folder, *settings(untrained_weights), "--out", out)
    child.wait_until((out / "case_1/result.json").exists)
    child.kill(signal.SIGTERM)
    shown = child.wait()
    gates.require_bounded(shown)
    assert shown.code == 143, shown.text
    gates.require_nothing_partial(out)
    works(predict, folder, out=out, says=["case_1: done before", "3 of 3 cases"])
    same_maps("case_1", out=out)
