"""Image quality agrees with scikit-image and MONAI, and knows where the lesion is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import SSIMMetric
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from monai_isles.errors import IslesError
from monai_isles.metrics import image_quality, psnr_db, ssim_map
from monai_isles.metrics.image import lesion_region

RNG = np.random.default_rng(0)
TRUTH = RNG.random((40, 36, 3))
IMAGE = np.clip(TRUTH + RNG.normal(0, 0.1, TRUTH.shape), 0, 1)
LESION = np.zeros(TRUTH.shape, np.uint8)
LESION[15:20, 12:14, 1] = 1


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_global_values_are_those_of_scikit_image_slice_by_slice(depth: int) -> None:
    image, truth = IMAGE[..., :depth], TRUTH[..., :depth]
    found = image_quality(image, truth, LESION[..., :depth])
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [structural_similarity(image[..., d], truth[..., d], **settings) for d in range(depth)]
    assert found["ssim"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=1.0), abs=1e-9)


def test_monai_s_metric_of_2d_slices_agrees() -> None:
    slices = [torch.from_numpy(np.moveaxis(x, -1, 0)[:, None]).float() for x in (IMAGE, TRUTH)]
    metric = SSIMMetric(spatial_dims=2, data_range=1.0, win_size=11, kernel_sigma=1.5)
    assert image_quality(IMAGE, TRUTH, LESION)["ssim"] == pytest.approx(float(metric(*slices).mean()), abs=1e-5)


def test_the_region_is_the_wider_box_of_each_slice() -> None:
    region = lesion_region(LESION > 0, 3)
    expected = np.zeros(TRUTH.shape, bool)
    expected[12:23, 9:17, 1] = True
    assert np.array_equal(region, expected)
    corner = np.zeros((20, 20, 1), bool)
    corner[0, 19, 0] = True
    assert lesion_region(corner, 4).sum() == 25


def test_local_values_are_means_over_the_region() -> None:
    found = image_quality(IMAGE, TRUTH, LESION, dilation_vox=3)
    box = (slice(12, 23), slice(9, 17), 1)
    assert found["local_ssim"] == pytest.approx(ssim_map(IMAGE, TRUTH)[box].mean())
    assert found["local_psnr"] == pytest.approx(-10 * math.log10(((IMAGE - TRUTH)[box] ** 2).mean()))


def test_an_error_far_from_the_lesion_is_seen_globally_alone() -> None:
    image = TRUTH.copy()
    image[:5, :5, 2] = 0
    found = image_quality(image, TRUTH, LESION, dilation_vox=2)
    assert found["local_ssim"] == pytest.approx(1) and found["local_psnr"] == math.inf
    assert found["ssim"] < 1 and found["psnr"] < 40


def test_without_lesion_there_is_no_local_value() -> None:
    found = image_quality(IMAGE, TRUTH, LESION * 0)
    assert math.isnan(found["local_ssim"]) and math.isnan(found["local_psnr"]) and found["ssim"] > 0


def test_equal_images_and_a_known_error() -> None:
    assert psnr_db(TRUTH, TRUTH) == math.inf and psnr_db(TRUTH + 0.1, TRUTH) == pytest.approx(20)
    assert np.allclose(ssim_map(TRUTH, TRUTH), 1)


def test_shapes_that_differ_and_slices_too_small_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-MET-11.*differ in shape"):
        image_quality(IMAGE, TRUTH[..., :2], LESION)
    with pytest.raises(IslesError, match=r"E-MET-12.*smaller than the SSIM window"):
        image_quality(IMAGE[:10], TRUTH[:10], LESION[:10])
