"""Panoptic quality and lesion counts against panoptica, by faces and by corners."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from monai_isles.metrics import count_lesions, panoptic_quality


@pytest.mark.filterwarnings("ignore")  # panoptica's own
def test_panoptic_quality_is_that_of_panoptica(client: Callable[..., str], record: Callable[..., None]) -> None:
    """Panoptica counts components by corners and takes an IoU of 0.5 itself as found; ours above 0.5."""
    version = client("panoptica")
    from panoptica import ConnectedComponentsInstanceApproximator as Components
    from panoptica import InputType, Panoptica_Evaluator
    from panoptica import NaiveThresholdMatching as Matching

    evaluator = Panoptica_Evaluator(InputType.SEMANTIC, Components(), Matching(matching_threshold=0.5 + 1e-9))
    rng, compared = np.random.default_rng(5), 0
    for _ in range(12):
        smooth = ndimage.gaussian_filter(rng.standard_normal((24, 24, 12)), 1.6)
        ref = smooth > 0.16
        pred = smooth + 0.25 * ndimage.gaussian_filter(rng.standard_normal(smooth.shape), 1.6) > 0.18
        theirs = evaluator.evaluate(pred.astype(np.uint8), ref.astype(np.uint8), verbose=False)["ungrouped"]
        assert panoptic_quality(pred, ref, 26) == pytest.approx(theirs.pq, abs=1e-9)
        assert (count_lesions(pred, 26), count_lesions(ref, 26)) == (
            theirs.n_pred_instances,
            theirs.n_ref_instances,
        )
        compared += theirs.tp > 0 and theirs.pq < 1
    assert compared > 6
    record("panoptica", version, "PQ and number of lesions of 12 mask pairs, 26-connected", "equal to 9 digits")
