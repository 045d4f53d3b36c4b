from __future__ import annotations

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.phantom.mri.facts import SISS, SPES, MriKind, volume_of


def test_grids_are_those_of_the_release_and_coarser_ones_keep_the_field_of_view() -> None:
    assert SISS.grid() == ((230, 230, 153), 1.0) and SPES.grid() == ((96, 110, 71), 2.0)
    assert SISS.grid(2.0) == ((115, 115, 77), 2.0) and SPES.grid(4.0) == ((48, 55, 36), 4.0)


@pytest.mark.parametrize(("kind", "spacing"), [(SISS, 0.5), (SPES, 1.0), (SISS, 9.0), (SPES, float("nan"))])
def test_grids_that_the_model_cannot_fill_are_refused(kind: MriKind, spacing: float) -> None:
    with pytest.raises(
        IslesError, match=r"E-PHAN-07: the spacing of the phantom is not valid\n  where phantom of kind s(?s:.*)to 8 mm"
    ):
        kind.grid(spacing)


@pytest.mark.parametrize(("kind", "median"), [(SISS, (13, 22)), (SPES, (16, 25))], ids=["siss", "spes"])
def test_few_subjects_already_show_all_sizes(kind: MriKind, median: tuple[float, float]) -> None:
    volumes = [volume_of(kind, i, seed=3) for i in range(28)]
    assert median[0] < np.median(volumes) < median[1]
    assert min(volumes) < 3 and max(volumes) > 80 and np.mean(volumes) > 1.3 * np.median(volumes)
