"""Measure how similar a synthesised image is to the true one: SSIM and PSNR, globally and around the lesion."""

from __future__ import annotations

import math

import numpy as np

from monai_isles.errors import refused

WINDOW_VOX = 11
DILATION_VOX = 10


def image_quality(
    pseudo: np.ndarray, dwi: np.ndarray, lesion: np.ndarray, *, dilation_vox: int = DILATION_VOX
) -> dict[str, float]:
    """Return ``ssim``, ``psnr``, ``local_ssim`` and ``local_psnr`` of one case.

    Local means within ``lesion_region``; the paper only says "the region around the ground truth lesion". SSIM is
    computed in plane on the whole slice, then averaged over the region. Without lesion the local values are nan.

    Shapes: all (H, W, D). Units: images on the scale 0..1, of which 1 is the data range; PSNR in dB.
    Raises: ``E-MET-11`` shapes that differ or are not volumes, ``E-MET-12`` slices below 11 x 11 voxels.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1; ``tests/metrics/test_image.py``.

    >>> image, lesion = np.zeros((16, 16, 1)), np.zeros((16, 16, 1), bool)
    >>> lesion[8, 8] = True
    >>> round(image_quality(image + 0.1, image, lesion)["local_psnr"], 6)  # an error of 0.1 is 20 dB
    20.0
    """
    pseudo, dwi, mask = np.asarray(pseudo, np.float64), np.asarray(dwi, np.float64), np.asarray(lesion) > 0
    if pseudo.ndim != 3 or not pseudo.shape == dwi.shape == mask.shape:
        found = f"synthesised {pseudo.shape}, true {dwi.shape}, lesion {mask.shape}"
        raise refused("E-MET-11", where="image quality", found=found)
    if min(pseudo.shape[:2]) < WINDOW_VOX:
        found = f"{pseudo.shape[0]} x {pseudo.shape[1]} voxels, the window is {WINDOW_VOX} x {WINDOW_VOX}"
        raise refused("E-MET-12", where="image quality", found=found)
    similarity = ssim_map(pseudo, dwi)
    rim, region = WINDOW_VOX // 2, lesion_region(mask, dilation_vox)
    return {
        "ssim": float(similarity[rim:-rim, rim:-rim].mean()),
        "psnr": psnr_db(pseudo, dwi),
        "local_ssim": float(similarity[region].mean()) if region.any() else math.nan,
        "local_psnr": psnr_db(pseudo[region], dwi[region]) if region.any() else math.nan,
    }


def lesion_region(lesion: np.ndarray, dilation_vox: int = DILATION_VOX) -> np.ndarray:
    """Return the box around the lesion of each slice, widened on all four sides and cut at the image border."""
    region = np.zeros(lesion.shape, bool)
    for level in np.flatnonzero(lesion.any(axis=(0, 1))):
        places = np.argwhere(lesion[..., level])
        low, high = np.maximum(places.min(0) - dilation_vox, 0), places.max(0) + dilation_vox + 1
        region[low[0] : high[0], low[1] : high[1], level] = True
    return region


def psnr_db(image: np.ndarray, truth: np.ndarray) -> float:
    """Return ``-10 log10`` of the mean square error for a data range of 1; infinite for equal images. Units: dB.

    >>> round(psnr_db(np.full((4, 4), 0.1), np.zeros((4, 4))), 6)
    20.0
    """
    error = float(np.mean((np.asarray(image, np.float64) - np.asarray(truth, np.float64)) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim_map(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the structural similarity at each voxel, slice by slice, data range 1.

    The window is a Gaussian of 1.5 voxels cut at 11 x 11, mirrored at the edges of the slice.
    Shapes: (H, W, D) in and out. Source: Wang, Bovik 2004 (doi:10.1109/TIP.2003.819861), equation (13),
    by scikit-image.

    >>> image = np.random.default_rng(0).random((16, 16, 1))
    >>> float(ssim_map(image, image).min())  # equal images
    1.0
    """
    from skimage.metrics import structural_similarity

    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return structural_similarity(image, truth, data_range=1.0, channel_axis=2, full=True, **window)[1]
