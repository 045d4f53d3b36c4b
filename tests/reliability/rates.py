"""The four rates beside the score of the reliability list: flipped bits, two kinds of kills, error tests a refusal."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CODE = re.compile(r"E-[A-Z]+-\d+")


def rates(out: Path, *, flips: int = 200, training_kills: int = 50, prediction_kills: int = 20) -> dict[str, str]:
    """Measure and return the rates by name, each with its numbers; ``FAULT`` begins one that is not as promised.

    Takes about five minutes on one core. The process must not have trained before (see ``tests/forked.py``).

    Args:
        out: scratch folder; what is in it afterwards may be deleted.
    """
    import torch

    from tests.forked import import_package
    from tests.reliability.rate_bits import flip_rates
    from tests.reliability.rate_kills import kill_prediction, kill_training

    torch.set_num_threads(1)
    import_package("monai_isles")
    for name in ("monai.bundle", "itk", "highdicom"):
        importlib.import_module(name)
    bits = flip_rates(out / "bits", flips=flips)
    training = kill_training(out / "training", kills=training_kills)
    prediction = kill_prediction(out / "prediction", kills=prediction_kills)
    tests, places = error_tests()
    return {
        f"bit flips found, {flips} each": _said(
            "; ".join(one.text() for one in bits), [f"{one.name} {text}" for one in bits for text in one.wrong]
        ),
        f"kill -9 at {training.total} instants of training": _said(
            f"{training.good} of {training.total} resumed, curves and weights bit-equal, "
            f"at most {training.lost} save interval lost",
            training.faults,
        ),
        f"kill -9 at {prediction.total} instants of a 10-case prediction": _said(
            f"{prediction.good} of {prediction.total} finished by the rerun, "
            "0 unreadable outputs, no finished case redone, maps equal",
            prediction.faults,
        ),
        "error tests a refusal": _said(
            f"{tests / places:.2f} ({tests} tests of a code, {places} places that refuse)",
            [] if tests >= places else ["below 1"],
        ),
    }


def error_tests(root: Path = ROOT) -> tuple[int, int]:
    """Return the number of error tests and of places that refuse.

    A place that refuses is a ``raise`` with an exception, or a ``finding`` of severity error, in the package. An error
    test is a test function that names an error code, once for every code it names (parametrised or not).
    """
    places = sum(_places(path) for path in (root / "monai_isles").rglob("*.py"))
    return sum(len(codes) for path in (root / "tests").rglob("*.py") for codes in _tested(path).values()), places


def untested_codes(root: Path = ROOT) -> dict[str, tuple[int, int]]:
    """Return the codes that are raised at more places than there are tests of them: (places, tests)."""
    raised, tested = {}, {}
    for path in (root / "monai_isles").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                code = str(node.args[0].value)
                if _CODE.fullmatch(code) and node.keywords:
                    raised[code] = raised.get(code, 0) + 1
    for path in (root / "tests").rglob("*.py"):
        for codes in _tested(path).values():
            for code in codes:
                tested[code] = tested.get(code, 0) + 1
    return {code: (n, tested.get(code, 0)) for code, n in sorted(raised.items()) if n > tested.get(code, 0)}


def _places(path: Path) -> int:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    raises = sum(isinstance(node, ast.Raise) and node.exc is not None for node in nodes)
    calls = [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "finding"]
    return raises + sum(not any(getattr(arg, "id", "") == "WARNING" for arg in call.args) for call in calls)


def _tested(path: Path) -> dict[str, set[str]]:
    tests = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    texts = {test.name: [n.value for n in ast.walk(test) if isinstance(n, ast.Constant)] for test in tests}
    return {
        name: {code for text in found if isinstance(text, str) for code in _CODE.findall(text)}
        for name, found in texts.items()
    }


def _said(text: str, faults: list[str]) -> str:
    return f"FAULT: {text}: {'; '.join(faults[:3])}" if faults else text


def main() -> int:
    """Print the rates; 4 when one is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--training-kills", type=int, default=50)
    parser.add_argument("--prediction-kills", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = rates(
            Path(place),
            flips=args.flips,
            training_kills=args.training_kills,
            prediction_kills=args.prediction_kills,
        )
    for name, text in found.items():
        print(f"{name}: {text}")
    return 4 if any(text.startswith("FAULT") for text in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
