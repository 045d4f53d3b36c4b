from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import median

import numpy as np
import pytest

from benchmarks.posed_heads import head_with_pose
from monai_isles.errors import IslesError
from monai_isles.transforms import register_mirror, registration
from monai_isles.transforms.mirror import reflection

THICK = [(seed, 4) for seed in range(7)] + [(seed, 16) for seed in range(7, 10)]
THIN = [(seed, 2) for seed in range(10)]


@pytest.fixture(scope="module")
def error_px(posed, landmark_error_px) -> Callable[[int, int, str], float]:
    """How far from its place a landmark of the head of a seed comes to lie, each head registered once a method."""

    @cache
    def measured(seed: int, slices: int, method: str) -> float:
        head = posed(seed, slices)
        return landmark_error_px(register_mirror(head.ct, head.spacing_mm[:2], method=method).mirror, head)

    return measured


@pytest.mark.parametrize("method", ["rigid", "affine"])
def test_four_of_five_heads_are_within_a_pixel(error_px, method: str) -> None:
    errors = [error_px(*which, method) for which in (*THICK[:4], THICK[-1])]
    assert sum(error <= 1.0 for error in errors) >= 4, errors


@pytest.mark.long
@pytest.mark.parametrize("method", ["rigid", "affine", "itk"])
def test_nine_of_ten_heads_of_four_slices_and_more_are_within_a_pixel(error_px, method: str) -> None:
    errors = [error_px(*which, method) for which in THICK]
    assert sum(error <= 1.0 for error in errors) >= 9, errors


@pytest.mark.parametrize("method", ["rigid", "affine", pytest.param("itk", marks=pytest.mark.long)])
def test_two_slice_slabs_are_within_a_pixel_and_a_half_in_the_median(error_px, method: str) -> None:
    errors = [error_px(*which, method) for which in THIN]
    assert median(errors) <= 1.5, errors


@pytest.mark.long  # loading ITK takes ten seconds and more
def test_itk_finds_the_mirror_too(egg) -> None:
    found = register_mirror(egg(8, 5), (2.0, 2.0), method="itk").mirror
    assert found.angle_deg == pytest.approx(8, abs=0.3) and found.offset_mm == pytest.approx(5, abs=0.5)


def test_registering_is_never_worse_than_the_plain_flip(posed, landmark_error_px, error_px) -> None:
    for which in [*THICK[:4], THICK[-1], *THIN, *((seed, 1) for seed in range(5))]:
        assert error_px(*which, "rigid") <= landmark_error_px(reflection(0, 0), posed(*which)), which


@pytest.mark.parametrize("seed", range(3))
def test_an_upright_head_keeps_the_plain_flip(posed, seed: int) -> None:
    head = posed(seed, 4, True)
    found = register_mirror(head.ct, head.spacing_mm[:2])
    assert found.method == "flip"
    np.testing.assert_array_equal(found.mirror.matrix, reflection(0, 0).matrix)
    assert found.residual_mm == found.flip_residual_mm


def test_pixels_of_unequal_sides_are_honoured(egg) -> None:
    found = register_mirror(egg(8, 5, spacing_mm=(2.4, 1.9)), (2.4, 1.9)).mirror
    assert found.angle_deg == pytest.approx(8, abs=0.3) and found.offset_mm == pytest.approx(5, abs=0.5)


def test_the_window_of_other_modalities_is_found_from_the_image(egg) -> None:
    head = np.where(egg(8, 5) > -500, egg(8, 5).clip(0, 60) * 7 + 100, 0)
    found = register_mirror(head, (2.0, 2.0), window=None).mirror
    assert found.angle_deg == pytest.approx(8, abs=0.3) and found.offset_mm == pytest.approx(5, abs=0.5)


def test_a_refinement_that_runs_away_is_not_kept(egg, monkeypatch, caplog) -> None:
    monkeypatch.setattr(registration, "itk_mirror", lambda image, grid, start: reflection(-30, 40))
    with caplog.at_level("INFO"):
        found = register_mirror(egg(8, 5), (2.0, 2.0), method="itk", where="case_3")
    assert found.method == "rigid" and found.mirror.angle_deg == pytest.approx(8, abs=0.3)
    assert "case_3: itk moved" in caplog.text


def broken(kind: str, head: np.ndarray) -> np.ndarray:
    x, y = np.meshgrid(*(np.arange(96) - 47.5,) * 2, indexing="ij")
    noise = np.random.default_rng(0).normal(0, 300, size=head.shape)
    return {
        "empty": np.full_like(head, -1000),
        "no-air": np.full_like(head, 30),
        "disc": np.repeat(np.where(np.hypot(x, y) < 35, 30.0, -1000.0)[..., None], 2, axis=2),
        "noise": noise,
        "half": np.where(x[..., None] > 5, -1000, head),
        "flat": head[..., 0],
        "tiny": head[:8, :8],
        "nan": np.where(head > 500, np.nan, head),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("empty", "E-REG-01", "no head"),
        ("no-air", "E-REG-01", "no head"),
        ("disc", "E-REG-02", "no left-right axis"),
        ("noise", "E-REG-0[23]", "the head"),
        ("half", "E-REG-03", "does not match its mirror image"),
        ("flat", "E-REG-05", "not a volume"),
        ("tiny", "E-REG-05", "not a volume"),
        ("nan", "E-REG-06", "not numbers"),
    ],
)
def test_a_head_that_cannot_be_registered_is_reported(egg, kind: str, code: str, words: str) -> None:
    with pytest.raises(IslesError, match=rf"{code}.*{words}.*\n.*case_5.*\n  found .*\d.*\n  fix "):
        register_mirror(broken(kind, egg(8, 5)), (2.0, 2.0), where="case_5")


def test_the_report_of_a_bad_fit_holds_the_residual(egg) -> None:
    with pytest.raises(IslesError, match=r"E-REG-03(?s:.*)overlap 0\.\d\d.*residual \d+\.\d\d mm"):
        register_mirror(broken("half", egg()), (2.0, 2.0))


def test_an_unknown_method_is_refused_with_the_known_ones(egg) -> None:
    with pytest.raises(IslesError, match=r"E-REG-04.*method(?s:.*)'elastix'(?s:.*)rigid, affine, itk"):
        register_mirror(egg(), (2.0, 2.0), method="elastix")


def test_a_fit_that_turns_further_than_any_scanned_tilt_is_not_taken(landmark_error_px) -> None:
    pose = {"tilt_deg": -11.04, "shift_px": (1.12, 13.37), "roll_deg": -10.74}
    head = head_with_pose(seed=9, slices=8, lesion="left", change="stroke", **pose)
    found = register_mirror(head.ct, head.spacing_mm[:2])  # the fit of least residual lies at 66 degrees, 96 px off
    assert found.mirror.angle_deg == pytest.approx(-11, abs=3) and landmark_error_px(found.mirror, head) < 10


def test_a_mirror_beyond_the_scan_does_not_match(egg, monkeypatch) -> None:
    monkeypatch.setattr(registration, "refine", lambda *args, **more: reflection(50, 5))
    monkeypatch.setattr(registration, "_agreement", lambda *args: (1.0, 1.0))
    monkeypatch.setitem(registration.SETTINGS, 2, replace(registration.SETTINGS[2], chance=-1.0))  # no plain flip
    with pytest.raises(IslesError, match=r"E-REG-03(?s:.*)tilt of 50.0 degrees"):
        register_mirror(egg(8, 5), (2.0, 2.0))
