"""The model of transit against curves convolved by hand, at several steps, delays and in noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from monai_isles.errors import IslesError
from monai_isles.perfusion.maps import voxel_maps
from monai_isles.perfusion.transit import (
    DELAYS_S,
    DISPERSION,
    TRANSITS_S,
    likeliest_shape,
    transit_solver,
    transit_table,
)

FINE_S, TO_FLOW = 0.02, 6000.0 * 0.73 / 1.04


def artery(t: np.ndarray) -> np.ndarray:
    return 250.0 * stats.gamma.pdf(t - 5.0, 4.0, scale=1.5) / stats.gamma.pdf(4.5, 4.0, scale=1.5)


def curve(
    cbf: float, mtt_s: float, delay_s: float, dt_s: float, *, shape: float = 2.0, tau_s: float = 0.0
) -> np.ndarray:
    """A tissue curve over 60 s by direct convolution; transit times are gamma distributed (scipy's own survival)."""
    t = np.arange(0, 60, FINE_S)
    left = stats.gamma.sf(t, shape, scale=mtt_s / shape)
    passed = np.convolve(artery(t), left)[: len(t)] * FINE_S
    if tau_s:
        passed = np.convolve(passed, stats.expon.pdf(t, scale=tau_s))[: len(t)] * FINE_S
    return (cbf / TO_FLOW * np.interp(t - delay_s, t, passed, left=0.0))[:: round(dt_s / FINE_S)]


def measured(rows: list[np.ndarray], dt_s: float, method: str = "bayes") -> dict[str, np.ndarray]:
    aif = torch.tensor(artery(np.arange(len(rows[0])) * dt_s), dtype=torch.float32)
    curves = torch.tensor(np.array(rows), dtype=torch.float32)
    found = voxel_maps(curves, aif, dt_s, method=method, level=0.5)
    return {key: one.numpy() for key, one in zip(("cbf", "cbv", "mtt", "tmax", "ttp"), found, strict=True)}


@pytest.mark.parametrize(("cbf", "mtt_s"), [(60.0, 4.0), (22.0, 5.5), (8.0, 12.0)], ids=["grey", "white", "core"])
def test_flow_volume_and_transit_time_of_the_model_come_back(cbf: float, mtt_s: float) -> None:
    rng = np.random.default_rng(0)
    found = measured([curve(cbf, mtt_s, 2.0, 1.0) + rng.normal(0, 0.3, 60) for _ in range(100)], 1.0)
    assert np.median(found["cbf"]) == pytest.approx(cbf, rel=0.12)
    assert np.median(found["cbv"]) == pytest.approx(cbf * mtt_s / 60, rel=0.08)
    np.testing.assert_allclose(found["mtt"], 60 * found["cbv"] / found["cbf"], rtol=1e-4)


@pytest.mark.parametrize("shape", [1.0, 2.8, 8.0])
def test_the_shape_of_transit_is_found_from_many_curves_and_gives_their_flow(shape: float) -> None:
    rng = np.random.default_rng(2)
    facts = [(rng.uniform(3, 7), rng.uniform(0, 2)) for _ in range(200)]
    clean = [curve(50, mtt_s, late, 1.0, shape=shape, tau_s=DISPERSION * late) for mtt_s, late in facts]
    rows = [one + rng.normal(0, 0.8, 60) for one in clean]
    aif, curves = (torch.tensor(np.array(a), dtype=torch.float32) for a in (artery(np.arange(60.0)), rows))
    found = likeliest_shape(curves, aif, 1.0, spread=0.5)
    assert found == pytest.approx(shape, rel=0.15)
    cbf = voxel_maps(curves, aif, 1.0, method="learned", level=0.5)[0]
    assert float(cbf.median()) == pytest.approx(50.0, rel=0.12)


@pytest.mark.parametrize("dispersion", [0.0, 0.3], ids=["none", "0.3-s-a-second"])
def test_the_table_holds_curves_dispersed_by_their_delay(dispersion: float) -> None:
    aif = torch.tensor(artery(np.arange(60.0)))
    table = transit_table(aif, 1.0, spread=0.5, dispersion=dispersion)
    for transit, delay in ((3, 10), (7, 5)):
        row, late = transit * len(DELAYS_S) + delay, DELAYS_S[delay]
        wanted = curve(TO_FLOW, TRANSITS_S[transit], late, 1.0, tau_s=dispersion * late)
        np.testing.assert_allclose(table.curves[row].numpy(), wanted, atol=0.02 * wanted.max())


def test_late_tissue_keeps_its_flow_though_the_bolus_disperses_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of a second a second: 7 s late, 1.4 s of dispersion; the flow of late tissue is 36 % of the healthy."""
    rng = np.random.default_rng(5)
    rows = [curve(50, 5.0, 1.0, 1.0, tau_s=0.2)] * 900 + [curve(18, 7.0, 7.0, 1.0, tau_s=1.4)] * 300
    noisy, found = [one + rng.normal(0, 0.5, 60) for one in rows], []
    for dispersion in (DISPERSION, 0.0):
        monkeypatch.setattr("monai_isles.perfusion.transit.DISPERSION", dispersion)
        cbf = measured(noisy, 1.0, "learned")["cbf"]
        found.append(float(np.median(cbf[900:]) / np.median(cbf[:900])))
    assert found[0] == pytest.approx(0.36, rel=0.08) and found[1] < 0.95 * found[0], found


def test_of_few_curves_nothing_is_learned() -> None:
    rng = np.random.default_rng(4)
    rows = [curve(50, 5.0, 1.0, 1.0, shape=1.0) + rng.normal(0, 0.5, 60) for _ in range(150)]
    plain, learned = (measured(rows, 1.0, method) for method in ("bayes", "learned"))
    assert all(np.array_equal(plain[name], learned[name]) for name in plain)


def test_late_curves_of_a_noisy_scan_keep_their_low_flow_and_healthy_ones_theirs() -> None:
    rng = np.random.default_rng(3)
    healthy, core = curve(50, 5.0, 1.0, 1.0), curve(8, 12.0, 6.0, 1.0)
    found = measured([one + rng.normal(0, 1.5, 60) for one in [healthy] * 1800 + [core] * 200], 1.0, "learned")
    assert np.median(found["cbf"][:1800]) == pytest.approx(50, rel=0.12)
    assert np.median(found["cbf"][1800:]) == pytest.approx(8, rel=0.25)
    assert (found["tmax"][:1800] > 6.0).mean() < 0.001 and (found["tmax"][1800:] > 6.0).mean() > 0.98


@pytest.mark.parametrize("mtt_s", [4.0, 8.0])
def test_flow_does_not_depend_on_the_step(mtt_s: float) -> None:
    fine, coarse = (measured([curve(40, mtt_s, 1.0, dt)] * 20, dt)["cbf"].mean() for dt in (1.0, 2.0))
    assert 0.9 < coarse / fine < 1.1


def test_delay_moves_tmax_by_as_much_and_leaves_flow_alone() -> None:
    found = measured([curve(40, 4.0, delay, 1.0) for delay in (0.0, 3.0, 8.0)], 1.0)
    np.testing.assert_allclose(np.diff(found["tmax"]), [3.0, 5.0], atol=0.25)
    np.testing.assert_allclose(found["cbf"], found["cbf"][0], rtol=0.03)


def test_tmax_is_on_the_scale_of_the_conventional_method() -> None:
    rows = [curve(40, 5.0, delay, 1.0) for delay in (0.0, 2.0, 6.0)]
    aif = torch.tensor(artery(np.arange(60.0)), dtype=torch.float32)
    conventional = voxel_maps(torch.tensor(np.array(rows), dtype=torch.float32), aif, 1.0, method="bcsvd", level=0.1)
    np.testing.assert_allclose(measured(rows, 1.0)["tmax"], conventional[3].numpy(), atol=0.35)


def test_noise_alone_is_hardly_ever_above_six_seconds() -> None:
    """By truncated decomposition most voxels of noise alone are: the largest value may lie anywhere."""
    noise = np.random.default_rng(1).normal(0, 3, (2000, 60))
    aif = torch.tensor(artery(np.arange(60.0)), dtype=torch.float32)
    conventional = voxel_maps(torch.tensor(noise, dtype=torch.float32), aif, 1.0, method="bcsvd", level=0.1)[3]
    assert float((conventional > 6.0).float().mean()) > 0.5
    assert (measured(list(noise), 1.0)["tmax"] > 6.0).mean() < 0.15


def test_curves_of_another_length_and_an_artery_without_a_bolus_are_refused() -> None:
    with pytest.raises(IslesError, match="E-PERF-02"):
        transit_solver(torch.zeros(3, 20), torch.ones(30), 1.0, spread=0.5)
    with pytest.raises(IslesError, match="E-PERF-01"):
        transit_solver(torch.zeros(3, 30), torch.zeros(30), 1.0, spread=0.5)
