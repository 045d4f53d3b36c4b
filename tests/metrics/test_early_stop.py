"""The early-stop metric by hand, over uneven batches, and in an engine."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError

from monai_isles.errors import IslesError
from monai_isles.metrics import L1ErrorRate


def _batches(sizes: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(4)
    return [
        (torch.randn(n, 2, 6, 5, generator=generator) * 3, torch.randint(0, 2, (n, 1, 6, 5), generator=generator))
        for n in sizes
    ]


def _by_numpy(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    logits = np.concatenate([b[0].double().numpy() for b in batches])
    label = np.concatenate([b[1].numpy() for b in batches])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    one_hot = np.concatenate([label == 0, label == 1], axis=1).astype(float)
    l1 = np.abs(e / e.sum(axis=1, keepdims=True) - one_hot).mean()
    return float(l1 + (logits.argmax(axis=1) != label[:, 0]).mean())


def test_one_voxel_worked_by_hand() -> None:
    metric = L1ErrorRate()
    metric.update((torch.tensor([[math.log(3.0), 0.0]]).reshape(1, 2, 1, 1), torch.ones(1, 1, 1, 1)))
    # softmax 3/4, 1/4 against 0, 1: mean of 3/4 and 3/4; argmax wrong
    assert metric.compute() == pytest.approx(0.75 + 1.0)


def test_a_perfect_and_a_blind_network_bound_it() -> None:
    metric, label = L1ErrorRate(), torch.tensor([[0, 1], [1, 0]])[None]
    metric.update((torch.stack([1 - label, label], dim=1) * 200.0, label))
    assert metric.compute() == 0.0
    metric.reset()
    metric.update((torch.stack([label, 1 - label], dim=1) * 200.0, label))
    assert metric.compute() == pytest.approx(2.0)


def test_uneven_batches_give_the_value_of_all_voxels_together() -> None:
    batches = _batches((5, 1, 3))
    metric = L1ErrorRate()
    for batch in batches:
        metric.update(batch)
    assert metric.compute() == pytest.approx(_by_numpy(batches), abs=1e-6)
    whole = L1ErrorRate()
    whole.update((torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])))
    assert metric.compute() == pytest.approx(whole.compute(), abs=1e-9)


def test_many_batches_do_not_lose_digits() -> None:
    batch = _batches((2,))
    once, often = L1ErrorRate(), L1ErrorRate()
    once.update(batch[0])
    for _ in range(2000):
        often.update(batch[0])
    assert often.compute() == pytest.approx(once.compute(), abs=1e-9)


def test_half_precision_logits_and_label_without_channel_are_taken() -> None:
    logits, label = _batches((2,))[0]
    half, single = L1ErrorRate(), L1ErrorRate()
    half.update((logits.bfloat16(), label[:, 0].float()))
    single.update((logits.bfloat16().float(), label))
    assert half.compute() == single.compute()


@pytest.mark.parametrize("decollated", [False, True], ids=["batch", "list-of-items"])
def test_an_engine_drives_it_and_starts_each_epoch_anew(decollated: bool) -> None:
    batches = _batches((4, 2))
    engine = Engine(lambda _, b: (list(b[0]), list(b[1])) if decollated else {"pred": b[0], "label": b[1]})
    pick = (lambda out: out) if decollated else (lambda out: (out["pred"], out["label"]))
    L1ErrorRate(output_transform=pick).attach(engine, "l1_error")
    for _ in range(2):
        assert engine.run(batches, max_epochs=1).metrics["l1_error"] == pytest.approx(_by_numpy(batches), abs=1e-6)


def test_asking_before_any_batch_is_an_error() -> None:
    with pytest.raises(NotComputableError, match="at least one batch"):
        L1ErrorRate().compute()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-05: logits and label do not fit.*\(1, 2, 4, 4\) and \(1, 4, 3\)"):
        L1ErrorRate().update((torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 3)))


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_a_label_that_is_no_class_is_refused(value: float) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-06: label is not a class index.*whole numbers 0\.\.1"):
        L1ErrorRate().update((torch.zeros(1, 2, 2, 2), torch.full((1, 1, 2, 2), value)))


def test_logits_that_are_not_finite_are_refused() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0, 0, 0] = float("nan")
    with pytest.raises(IslesError, match=r"(?s)E-MET-07: logits are not finite.*1 values.*last good checkpoint"):
        L1ErrorRate().update((logits, torch.zeros(1, 1, 2, 2)))
