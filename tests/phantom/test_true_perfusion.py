from __future__ import annotations

import numpy as np

from monai_isles.perfusion import perfusion_maps
from monai_isles.phantom import case_with_truth, true_haemodynamics

SEED = 7


def test_the_truth_belongs_to_the_case_and_leaves_its_bits_alone(case) -> None:
    again, true = case_with_truth(2, seed=SEED, max_slices=2)
    assert np.array_equal(again.ctp, case.ctp) and np.array_equal(again.images["cbf"], case.images["cbf"])
    assert true.how.kind == case.truth["residue"]
    alone = true_haemodynamics(2, seed=SEED, max_slices=2)
    assert np.array_equal(alone.cbf, true.cbf) and np.array_equal(alone.path_mm, true.path_mm)


def test_volume_is_flow_times_transit_and_flow_is_lost_in_the_lesion(case) -> None:
    true = true_haemodynamics(2, seed=SEED, max_slices=2)
    brain = (true.matter > 0.9) & (true.cbf > 1)
    assert np.allclose(true.cbv[brain], true.cbf[brain] * true.mtt[brain] / 60, rtol=1e-4)
    assert true.cbf[brain & case.label].mean() < 0.5 * true.cbf[brain & ~case.label].mean()
    assert true.delay[brain & case.label].mean() > true.delay[brain & ~case.label].mean() + 3


def test_the_measured_artery_is_the_true_blood_made_thinner(case) -> None:
    true = true_haemodynamics(2, seed=SEED, max_slices=2)
    widest = np.unravel_index(int(true.artery.argmax()), true.artery.shape)
    rise = case.ctp[(slice(None), *widest)].astype(float)
    rise -= rise[:3].mean()
    assert np.corrcoef(rise, true.blood_hu)[0, 1] > 0.95 and len(true.blood_hu) == len(case.ctp)


def test_the_artery_is_measured_where_the_phantom_has_its_arteries(case) -> None:
    true = true_haemodynamics(2, seed=SEED, max_slices=2)
    places = perfusion_maps(case.ctp, case.dt_s, spacing_mm=case.spacing_mm).aif_vox
    most = np.quantile(true.artery, 0.999)  # one voxel in a thousand holds as much artery
    assert len(places) >= 5 and most > 0.2 and true.artery[tuple(places.T)].min() > most
