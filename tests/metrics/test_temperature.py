"""Temperature and shift, by hand, recovered from logits that are known, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from monai_isles.errors import IslesError
from monai_isles.metrics import calibrate, fit_temperature, reliability
from monai_isles.metrics.calibration import logit_counts


def network(seed: int, *, temperature: float, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits that say too much, what is true, and the probabilities that hold."""
    random = np.random.default_rng(seed)
    true = random.normal(-1.0, 1.2, 400_000)
    lesion = random.random(true.size) < expit(true)
    return (true - shift) * temperature, lesion, expit(true)


def test_by_hand() -> None:
    p = np.array([0.0, 0.5, 0.8, 1.0])
    assert calibrate(p, 1.0, 0.0) == pytest.approx(p)
    assert calibrate(p, 2.0, 0.0) == pytest.approx([0.0, 0.5, 2 / 3, 1.0])  # odds 4 become 2
    assert calibrate(p, 1.0, -np.log(4.0)) == pytest.approx([0.0, 0.2, 0.5, 1.0])  # odds a quarter
    assert calibrate(np.float32(p), 2.0, 0.1).dtype == np.float32


def test_counts_go_to_the_nearest_logit_and_add_up() -> None:
    counts = logit_counts(np.array([0.5, 0.5, 0.0, 1.0]), np.array([True, False, False, True]))
    assert counts.shape == (2, 1201) and counts.sum() == 4
    assert counts[:, 600].tolist() == [1, 1] and counts[0, 0] == 1 and counts[1, -1] == 1


@pytest.mark.parametrize(("temperature", "shift"), [(2.0, -0.8), (0.7, 0.5), (1.0, 0.0)])
def test_known_logits_give_their_temperature_and_shift_back(temperature: float, shift: float) -> None:
    logits, lesion, held = network(1, temperature=temperature, shift=shift)
    found = fit_temperature(logit_counts(expit(logits), lesion))
    assert found == pytest.approx((temperature, shift), abs=0.03)
    mended = calibrate(expit(logits), *found)
    assert np.abs(mended - held).max() < 0.01
    assert reliability(mended, lesion).ece() < 0.003


def test_it_is_the_line_that_scikit_learn_fits() -> None:
    logits, lesion, _ = network(2, temperature=1.6, shift=-0.4)
    temperature, shift = fit_temperature(logit_counts(expit(logits), lesion))
    theirs = LogisticRegression(C=1e9, tol=1e-8).fit(logits[:, None], lesion)
    assert 1 / temperature == pytest.approx(float(theirs.coef_[0, 0]), abs=2e-3)
    assert shift == pytest.approx(float(theirs.intercept_[0]), abs=2e-3)


def test_cases_without_lesion_alone_cannot_say() -> None:
    with pytest.raises(IslesError, match=r"E-CAL-04(?s:.*)\[3, 0\]"):
        fit_temperature(logit_counts(np.full(3, 0.2), np.zeros(3, bool)))
