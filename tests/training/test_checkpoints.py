"""A run that was interrupted goes on as if it had not been."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events
from monai.transforms import SpatialPad

from monai_isles.errors import IslesError
from monai_isles.io import load_state
from monai_isles.io.weights import publish_state
from monai_isles.training import Checkpoints, WeightAverage, training_speed
from monai_isles.transforms.case_cache import KeptPreparation

Build = Callable[..., SimpleNamespace]


def losses(run: SimpleNamespace) -> list[tuple[float, float]]:
    return [(row["train_loss"], row["val_l1_error"]) for row in run.curves.rows]


def interrupt(run: SimpleNamespace, epoch: int) -> None:
    def stop(engine) -> None:
        raise KeyboardInterrupt

    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=epoch * len(run.loader) + 2), stop)
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()


def test_an_interrupted_and_resumed_run_equals_the_uninterrupted_one(small_run: Build) -> None:
    whole = small_run(epochs=3, folder="whole", flat=False)
    whole.trainer.run()
    interrupt(small_run(epochs=3, flat=False), epoch=2)
    resumed = small_run(epochs=3, flat=False)
    assert resumed.checkpoints.resume(resumed.trainer) == 2
    resumed.trainer.run()
    assert losses(resumed) == losses(whole) and len(losses(whole)) == 3
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_the_last_two_checkpoints_and_the_best_weights_stay(small_run: Build) -> None:
    run = small_run(epochs=3)
    run.trainer.run()
    names = sorted(p.name for p in run.folder.glob("*.pt"))
    assert names == ["checkpoint-0002.pt", "checkpoint-0003.pt", "model.pt"]
    best = min(range(3), key=lambda e: run.curves.rows[e]["val_l1_error"])
    if best == 2:
        for name, value in load_state(run.folder / "model.pt").items():
            assert torch.equal(value, run.network.state_dict()[name])
    assert run.checkpoints.best == pytest.approx(run.curves.rows[best]["val_l1_error"])


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(small_run: Build) -> None:
    interrupt(small_run(epochs=4), epoch=2)
    folder = small_run(epochs=4).folder
    newest = folder / "checkpoint-0002.pt"
    newest.write_bytes(newest.read_bytes()[:-400])
    run = small_run(epochs=4)
    assert run.checkpoints.resume(run.trainer) == 1


def test_no_readable_checkpoint_is_said_and_nothing_starts_anew(small_run: Build) -> None:
    interrupt(small_run(epochs=4), epoch=1)
    run = small_run(epochs=4)
    (run.folder / "checkpoint-0001.pt").write_bytes(b"broken")
    with pytest.raises(IslesError, match="E-TRAIN-04.*\n.*\n.*checkpoint-0001"):
        run.checkpoints.resume(run.trainer)


def test_a_resume_with_another_setting_is_refused_and_shows_the_difference(small_run: Build) -> None:
    interrupt(small_run(epochs=4), epoch=1)
    run = small_run(epochs=4, lr=0.5)
    with pytest.raises(IslesError, match=r"E-TRAIN-01.*\n.*\n.*optimizer was .*1\.0.*is .*0\.5"):
        run.checkpoints.resume(run.trainer)


def test_a_resume_with_another_metric_or_preparation_is_refused_but_not_of_a_checkpoint_that_states_none(
    small_run: Build,
) -> None:
    def begin(size: int) -> SimpleNamespace:
        return small_run(epochs=4, preparation=KeptPreparation(SpatialPad((size, 9))))

    interrupt(begin(8), epoch=1)
    wider, other = begin(9), begin(8)
    with pytest.raises(IslesError, match=r"E-TRAIN-01(?s:.*)preparation was .*\[8, 9\].*, is .*\[9, 9\]"):
        wider.checkpoints.resume(wider.trainer)
    wider.checkpoints._held.__exit__()
    other.checkpoints.settings["metric"] = "val_loss"
    with pytest.raises(IslesError, match=r"E-TRAIN-01(?s:.*)metric was .*val_l1_error.*, is .*val_loss"):
        other.checkpoints.resume(other.trainer)
    other.checkpoints._held.__exit__()
    saved, run = other.folder / "checkpoint-0001.pt", begin(9)
    state = load_state(saved)
    publish_state(saved, {**state, "settings": {k: state["settings"][k] for k in ("optimizer", "patches")}})
    assert run.checkpoints.resume(run.trainer) == 1


def test_a_run_begun_on_two_gpus_in_16_bits_goes_on_alone_in_32(small_run: Build) -> None:
    interrupt(small_run(epochs=3), epoch=1)
    run = small_run(epochs=3)
    saved = run.folder / "checkpoint-0001.pt"
    publish_state(saved, {**load_state(saved), "epoch_length": 2, "scaler": {"scale": 65536.0}})
    assert len(run.loader) == 3 and run.checkpoints.resume(run.trainer) == 1
    run.trainer.run()
    assert run.trainer.state.epoch_length == 3 and run.trainer.state.iteration == 9


def test_a_speed_that_the_machine_chose_may_change_and_one_that_was_given_not(
    small_run: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(units: bool, **given: str) -> SimpleNamespace:
        monkeypatch.setattr("monai_isles.training.speed.has_bf16_units", lambda: units)
        return small_run(epochs=3, speed=training_speed("cpu", batches=4000, compile=False, **given))

    monkeypatch.setattr("shutil.which", lambda name: name)
    interrupt(begin(True), epoch=1)
    run = begin(False)
    assert run.checkpoints.resume(run.trainer) == 1
    run.checkpoints._held.__exit__()
    run = begin(False, precision="fp32")
    with pytest.raises(IslesError, match=r"E-TRAIN-01(?s:.*)speed was .*bf16.*is .*fp32"):
        run.checkpoints.resume(run.trainer)


@pytest.mark.parametrize(("lr", "goes_on_at"), [(1.0, 0.1), (0.5, 0.5)], ids=["same", "other"])
def test_forced_a_rate_that_a_schedule_moved_stays_unless_another_is_given(
    small_run: Build, lr: float, goes_on_at: float
) -> None:
    run = small_run(epochs=4, described_too="first")
    run.checkpoints.objects["optimizer"].param_groups[0]["lr"] = 0.1  # as a schedule does
    interrupt(run, epoch=1)
    again = small_run(epochs=4, lr=lr, described_too="second")
    again.checkpoints.force = True
    assert again.checkpoints.resume(again.trainer) == 1
    assert again.checkpoints.objects["optimizer"].param_groups[0]["lr"] == goes_on_at


def test_forced_the_new_milestones_hold(small_run: Build) -> None:
    def begin(milestone: int) -> SimpleNamespace:
        run = small_run(epochs=4, milestone=milestone)
        rate = torch.optim.lr_scheduler.MultiStepLR(run.checkpoints.objects["optimizer"], [milestone])
        run.checkpoints.objects["rate"] = rate
        return run

    interrupt(begin(2), epoch=1)
    again = begin(3)
    again.checkpoints.force = True
    again.checkpoints.resume(again.trainer)
    assert list(again.checkpoints.objects["rate"].milestones) == [3]


def test_a_metric_that_the_validation_lacks_is_refused_with_those_it_has(small_run: Build) -> None:
    run = small_run(epochs=1)
    run.checkpoints.metric = "val_dice"
    with pytest.raises(IslesError, match=r"E-TRAIN-05(?s:.*)'val_dice'(?s:.*)name one of val_l1_error"):
        run.trainer.run()


def test_a_run_without_any_validation_states_no_best_score(small_run: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_isles.training.checkpoints.ran_in", lambda engine, evaluator: False)
    run = small_run(epochs=1)
    run.trainer.run()
    outcome = json.loads((run.folder / "run.json").read_text())["outcome"]
    assert outcome == "1 epochs, no validation: the last one is kept"


def test_a_finished_run_is_not_trained_over(small_run: Build) -> None:
    run = small_run(epochs=1)
    run.checkpoints.resume(run.trainer)
    run.trainer.run()
    again = small_run(epochs=1)
    with pytest.raises(IslesError, match="E-TRAIN-02.*\n.*\n.*1 epochs, best val_l1_error"):
        again.checkpoints.resume(again.trainer)


def test_a_folder_that_holds_the_record_of_another_command_is_refused(small_run: Build) -> None:
    run = small_run(epochs=1)
    run.folder.mkdir(exist_ok=True)
    (run.folder / "run.json").write_text('{"kind": "prediction"}')
    with pytest.raises(IslesError, match="E-TRAIN-02: this folder holds the results of another command"):
        run.checkpoints.resume(run.trainer)


def test_a_run_killed_between_its_last_checkpoint_and_its_record_is_not_trained_again(small_run: Build) -> None:
    for how in ({"epochs": 2}, {"epochs": 30, "patience": 2, "lr": 0.0}):
        folder = f"run{how['epochs']}"
        run = small_run(**how, folder=folder)
        run.trainer.run()
        (run.folder / "run.json").unlink()
        before = {path.name: path.read_bytes() for path in run.folder.glob("*.pt")}
        again = small_run(**how, folder=folder)
        assert again.checkpoints.resume(again.trainer) == len(run.curves.rows)
        again.trainer.run()
        assert losses(again) == losses(run) and (run.folder / "run.json").exists()
        assert {path.name: path.read_bytes() for path in run.folder.glob("*.pt")} == before
        assert f"{len(run.curves.rows)} epochs, best" in (run.folder / "run.json").read_text()


def test_early_stop_ends_the_run_after_its_patience(small_run: Build) -> None:
    run = small_run(epochs=30, patience=2, lr=0.0)
    run.checkpoints.resume(run.trainer)
    run.trainer.run()
    assert len(run.curves.rows) <= 5 and (run.folder / "run.json").exists()


def test_the_curves_file_holds_one_row_an_epoch(small_run: Build) -> None:
    run = small_run(epochs=2)
    run.trainer.run()
    lines = (run.folder / "curves.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_accuracy,val_l1_error,seconds"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


def test_a_loss_that_is_not_a_number_names_the_cases_and_spares_the_weights(small_run: Build) -> None:
    run = small_run(epochs=2)
    run.loader._cases[1].image[:] = float("nan")
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    run.loader.start[:24], run.loader.case[:24] = run.loader.start[24:], 1
    with pytest.raises(IslesError, match="E-TRAIN-03.*\n.*case_2\n.*nan in epoch 1, iteration 1"):
        run.trainer.run()
    assert all(torch.equal(value, before[name]) for name, value in run.network.named_parameters())


def test_the_early_stop_counts_only_falls_above_its_delta(tmp_path: Path) -> None:
    from monai_isles.training import EarlyStop

    class Engine:
        stopped = False
        state = SimpleNamespace(metrics={"m": 1.0}, epoch=0)

        def terminate(self) -> None:
            self.stopped = True

    evaluator = SimpleNamespace(state=Engine.state)
    stop, engine = EarlyStop(evaluator, "m", patience=2, min_delta=0.1), Engine()
    for value, waited in ((1.0, 0), (0.95, 1), (0.85, 0), (0.85, 1), (0.86, 2)):
        assert not engine.stopped
        evaluator.state.metrics["m"] = value
        stop(engine)
        assert stop.waited == waited
    assert engine.stopped


def test_a_new_run_starts_from_initial_weights_and_a_continued_one_from_its_checkpoint(small_run: Build) -> None:
    small_run(epochs=1, folder="former").trainer.run()
    weights = small_run(epochs=1, folder="former").folder / "model.pt"
    given, first = load_state(weights), small_run(epochs=2, initial_weights=weights)
    assert not torch.equal(given["0.weight"], first.network.state_dict()["0.weight"])
    assert first.checkpoints.resume(first.trainer) == 0
    assert all(torch.equal(value, given[name]) for name, value in first.network.state_dict().items())
    interrupt(first, epoch=1)
    first.checkpoints._held.__exit__(None, None, None)
    resumed = small_run(epochs=2, initial_weights=weights)
    assert resumed.checkpoints.resume(resumed.trainer) == 1
    assert not torch.equal(resumed.network[0].weight, given["0.weight"])
    assert resumed.checkpoints.settings["initial_weights"] == str(weights)


def test_initial_weights_reach_the_average_and_the_network_that_learns(small_run: Build, tmp_path: Path) -> None:
    run, weights = small_run(epochs=1), tmp_path / "given/model.pt"
    given = {name: torch.full_like(value, 0.25) for name, value in run.network.state_dict().items()}
    publish_state(weights, given)
    average = WeightAverage(run.network, share=0.1)
    objects = {"average": average}
    checkpoints = Checkpoints(
        str(run.folder), average.kept, None, "", objects=objects, describe={}, initial_weights=str(weights)
    )
    assert checkpoints.resume(run.trainer) == 0
    for network in (run.network, average.kept):
        assert all(torch.equal(value, given[name]) for name, value in network.state_dict().items())


def test_initial_weights_of_another_network_are_refused(small_run: Build) -> None:
    small_run(epochs=1, folder="former", flat=False).trainer.run()
    weights = small_run(epochs=1, folder="former").folder / "model.pt"
    run = small_run(epochs=1, initial_weights=weights)
    with pytest.raises(IslesError, match="E-INF-12"):
        run.checkpoints.resume(run.trainer)


def test_initial_weights_directly_below_the_root_are_looked_for(small_run: Build) -> None:
    run = small_run(epochs=1, initial_weights=Path("/nowhere.pt"))
    with pytest.raises(IslesError, match="(?s:.*)where /nowhere.pt\n"):
        run.checkpoints.resume(run.trainer)


def test_a_run_beyond_a_lowered_number_of_epochs_ends_with_what_it_has(small_run: Build) -> None:
    interrupt(small_run(epochs=4), epoch=2)
    run = small_run(epochs=1)
    assert run.checkpoints.resume(run.trainer) == 2
    run.trainer.run()
    assert json.loads((run.folder / "run.json").read_text())["outcome"].startswith("2 epochs, best")
