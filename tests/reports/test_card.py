"""The model card says everything or is refused."""

from __future__ import annotations

import pytest

from monai_isles.errors import IslesError
from monai_isles.reports import model_card
from monai_isles.reports.card import COST, REQUIRED, WITHOUT_WEIGHTS

METRICS = {
    "net": {
        "n": 2,
        "subjects": 2,
        "empty_references": 1,
        "empty_predictions": 0,
        "volumes": {"r2": 0.5},
        "metrics": {"dsc": {"n": 2, "mean": 0.5, "sd": 0.1, "median": 0.5, "ci95": [0.4, 0.6]}},
    }
}
LISTS = ("not_intended_use", "inputs", "outputs", "limits", "references")
FACTS = {
    **{name: f"the {name}" for name in REQUIRED},
    **{name: [f"first of {name}", f"second of {name}"] for name in LISTS},
    "simulated": True,
    "metrics": METRICS,
    "lesion_ml_range": (0.8, 260),
    "memory_gb": 3.1,
}


def test_every_fact_is_on_the_card() -> None:
    card = model_card(FACTS)
    for name in set(REQUIRED) - set(LISTS) - {"simulated", "metrics", "lesion_ml_range", "memory_gb"}:
        assert f"the {name}" in card
    assert all(f"- second of {name}" in card for name in LISTS)
    assert "Research only, not a medical device" in card and "0.8 to 260 ml" in card and "3.1 GB" in card
    for line in ("n | 2 (2 subjects)", "Dice | 0.500 ± 0.100", "95 % interval | 0.400 to 0.600", "R² | 0.50"):
        assert f"| {line} |" in card
    assert "1 references empty, 0 predictions empty" in card


def test_prose_commands_and_long_rows_fit_120_columns() -> None:
    words, options = " ".join(["lesion"] * 40), " ".join(f"--option_{k} value" for k in range(12))
    facts = {"limits": [words], "split": words, "commands": {"Train": f"python train.py {options}"}}
    card = model_card({**FACTS, **facts})
    assert max(map(len, card.splitlines())) <= 120
    assert "- lesion lesion" in card and "\n  lesion lesion" in card and "\n- Split: lesion lesion" in card
    command = card.split("Train:\n```\n")[1].split("\n```")[0]
    assert command.count(" \\\n    --option_") == 1 and " ".join(command.replace("\\\n", "").split()) == (
        f"python train.py {options}"
    )


def test_simulated_data_are_said_to_be_simulated_and_others_are_not() -> None:
    assert "simulated data" in model_card(FACTS) and "simulated" not in model_card(
        {**FACTS, "simulated": False}
    ).replace("the simulated", "")


def test_optional_facts_appear_where_given() -> None:
    more = {
        "curves_figure": "docs/curves.png",
        "commands": {"Predict": "monai-isles predict"},
        "versions": {"torch": "2.13"},
        "notes": ["a note"],
        "contact": "an issue",
        "uncertainty": "three passes",
        "picture": "docs/case.png",
    }
    card = model_card({**FACTS, **more})
    for word in (
        "(docs/curves.png)",
        "monai-isles predict",
        "| torch | 2.13 |",
        "- a note",
        "an issue",
        "three passes",
        "(docs/case.png)",
    ):
        assert word in card and word not in model_card(FACTS)


def test_a_missing_or_unknown_fact_is_named() -> None:
    facts = {**FACTS, "weights_sha256": "", "colour": "red"} | {"limits": None}
    with pytest.raises(IslesError, match=r"E-REP-08.*\n.*the name\n.*missing weights_sha256, limits; unknown colour"):
        model_card(facts)


MEASURED = {
    "parameters_m": 46.72,
    "peak_memory_mb": 812,
    "seconds_per_slice_cpu": 0.61,
    "seconds_per_slice_gpu": None,
    "measured_by": "python benchmarks/cost.py, one thread",
}
BARE = {**{name: FACTS.get(name, f"the {name}") for name in WITHOUT_WEIGHTS}, "cost": MEASURED, "weights": None}


def test_the_cost_is_stated_and_what_was_not_measured_is_said() -> None:
    for facts in (BARE, {**FACTS, "cost": MEASURED}):
        card = model_card(facts)
        for line in ("| Parameters | 46.72 M |", "| Peak memory | 812 MB |", "| Time per slice, CPU | 0.61 s |"):
            assert line in card and line not in model_card(FACTS)
        assert "| Time per slice, GPU | not measured |" in card and "python benchmarks/cost.py" in card


def test_a_bundle_without_weights_says_so_and_claims_nothing_of_them() -> None:
    card = model_card(BARE)
    assert "No trained weights are shipped" in card and "| Weights | none shipped |" in card and "the results" in card
    for absent in ("SHA-256", "## Data", "Time per case", "Dice", " h on ", "None"):
        assert absent not in card
    assert "No trained weights" not in model_card(FACTS)
    assert "\n\n\n" not in card


def test_a_cost_left_out_or_unknown_is_named() -> None:
    cost = {name: 1 for name in COST if name != "measured_by"} | {"price": 3}
    with pytest.raises(IslesError, match=r"E-REP-08.*\n.*\n.*missing cost.measured_by; unknown cost.price"):
        model_card({**BARE, "cost": cost})
    with pytest.raises(IslesError, match=r"missing results, cost"):
        model_card({**BARE, "cost": None, "results": ""})
