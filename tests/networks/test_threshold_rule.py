"""The threshold rule scores above one half exactly where the rule holds, and has nothing to learn."""

from __future__ import annotations

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.networks import ThresholdRule, with_aux


def volume(flow: list[float], delay: list[float], brain: list[float]) -> torch.Tensor:
    return torch.tensor([flow, delay, brain]).reshape(1, 3, len(flow), 1, 1)


IMAGE = volume([0.0, 0.29, 0.30, 0.31, 1.0, 0.1], [9.0, 6.1, 6.0, 5.9, 0.0, 9.0], [1, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("target", ["core", "hypoperfused"])
def test_the_score_is_above_one_half_exactly_where_the_rule_holds(target: str) -> None:
    score = ThresholdRule(target)(IMAGE).softmax(1)[0, 1].flatten()
    assert (score > 0.5).tolist() == [True, True, False, False, False, False]
    assert float(score[5]) == 0.0  # outside the brain, whatever the maps say


def test_the_score_by_hand() -> None:
    score = ThresholdRule()(volume([0.15, 0.6], [0, 0], [1, 1])).softmax(1)[0, 1].flatten()
    assert score.tolist() == pytest.approx([16 / 17, 1 / 17])  # (0.30 / 0.15) ** 4 = 16 to 1


def test_both_scores_come_with_aux_and_the_target_is_one_of_them() -> None:
    found = with_aux(ThresholdRule("hypoperfused"))(IMAGE)
    assert torch.equal(found.logits.softmax(1)[:, 1:] > 0.5, found.hypoperfused > 0.5)
    assert torch.equal(found.core, with_aux(ThresholdRule("core"))(IMAGE).core)


def test_slices_and_volumes_are_the_same_to_it() -> None:
    rule = ThresholdRule()
    assert torch.equal(rule(IMAGE)[..., 0], rule(IMAGE[..., 0]))


def test_there_is_nothing_to_learn() -> None:
    rule = ThresholdRule(core_rcbf=0.25, delay_s=8)
    assert not rule.state_dict() and repr(rule) == "ThresholdRule(target=core, core_rcbf=0.25, delay_s=8)"


@pytest.mark.parametrize("wrong", [{"target": "penumbra"}, {"core_rcbf": 0.0}, {"delay_s": -6.0}])
def test_other_targets_and_cuts_are_refused(wrong: dict) -> None:
    with pytest.raises(
        IslesError, match=r"(?s)E-NET-60: the target or a limit of the threshold rule is not valid.*core, hypoperfused"
    ):
        ThresholdRule(**wrong)
