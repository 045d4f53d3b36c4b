"""Find the in-plane movement of the head between frames at the edges of the skull, and undo it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from monai_isles.perfusion.masks import largest_part, smooth_slices

WINDOW_HU = (-50.0, 500.0)
HEAD_RADIUS_MM = 80.0
LEAST_MOVEMENT_MM, LEAST_GAIN, SMALL_STEP_MM = 0.10, 0.02, 1e-3
_SKULL_HU, _STEEP_HU_MM, _POINTS, _START_REACH_MM = 150.0, 5.0, 8000, 40.0
_LEVELS = ((6.0, 8), (2.5, 8))  # smoothing in voxels, most Gauss-Newton steps
_REACH = torch.tensor([1.0, 1.0, HEAD_RADIUS_MM])  # mm at the edge of the head by mm, mm and radians


@dataclass(frozen=True)
class Motion:
    """Hold how the head moved against the frames before the bolus.

    Shapes: ``path`` (T, 3), ``after_hu`` (T,).
    Units: ``path`` is mm to the right, mm to the front, degrees counter-clockwise about the middle of the grid;
    ``after_hu`` is the median absolute difference at the edges once moved back.
    ``helps`` says that moving back is worth its blur; a path that does not help is kept for the record.
    """

    path: np.ndarray
    after_hu: np.ndarray
    helps: bool

    @property
    def largest_mm(self) -> float:
        """Return the farthest that any point of the head, 80 mm from its middle, has gone."""
        right_mm, front_mm, turn_deg = self.path.T
        return float((np.hypot(right_mm, front_mm) + np.abs(np.deg2rad(turn_deg)) * HEAD_RADIUS_MM).max())


def head_motion(series_hu: Tensor, spacing_mm: tuple[float, float, float], *, baseline_frames: int = 3) -> Motion:
    """Find the rigid in-plane movement of every frame, one for all slices, against the mean of the first frames.

    Bone dominates contrast in the window ``WINDOW_HU``, and Tukey's weights remove the remaining contrast.

    Shapes: ``series_hu`` (T, H, W, D).  Units: HU, mm.
    Source: phase correlation, Kuglin and Hines 1975, for the start; inverse-compositional Gauss-Newton, Baker and
        Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd; ``tests/perfusion/test_motion.py``.
    """
    pooled, spacing = _pool(series_hu, spacing_mm)
    path = torch.zeros(len(pooled), 3)
    for width_vox, steps in _LEVELS:
        fwhm_mm = width_vox * max(spacing)
        images = smooth_slices(pooled, torch.ones(pooled.shape[1:]), fwhm_mm=fwhm_mm, spacing_mm=spacing)
        reference = images[:baseline_frames].mean(0)
        edges = _Edges(reference, spacing)
        if not len(edges.index):
            return Motion(np.zeros((len(images), 3)), np.zeros(len(images)), helps=False)
        if not path.any():
            start = torch.zeros_like(path)
            start[:, :2] = _start(images.mean(1), reference.mean(0), spacing)
            better = edges.unlike(images, start) < edges.unlike(images, path)
            path = torch.where(better[:, None], start, path)
        for _ in range(steps):
            step = edges.step(images, path)
            path = path - step
            if float((step.abs() * _REACH).sum(1).max()) < SMALL_STEP_MM:
                break
    before, after = edges.unlike(images, torch.zeros_like(path)), edges.unlike(images, path)
    path = torch.where((after < before)[:, None], path, 0.0)
    after = torch.minimum(after, before)
    result = np.stack([path[:, 0], path[:, 1], torch.rad2deg(path[:, 2])], 1).astype(np.float64)
    gain = 1.0 - float(after.mean()) / max(float(before.mean()), 1e-6)
    motion = Motion(result, after.numpy().astype(float), helps=False)
    return replace(motion, helps=motion.largest_mm >= LEAST_MOVEMENT_MM and gain >= LEAST_GAIN)


def correct_motion(series_hu: Tensor, motion: Motion, spacing_mm: tuple[float, float, float]) -> Tensor:
    """Return the series with the movement undone, by cubic interpolation in plane.

    Shapes: (T, H, W, D) in and out, float32.  Units: HU, mm.

    >>> still, spacing_mm = torch.from_numpy(np.stack([head] * 5)).float(), (3.0, 3.0, 5.0)
    >>> bool((correct_motion(still, head_motion(still, spacing_mm), spacing_mm) - still).abs().max() < 1)
    True
    """
    t, h, w, d = series_hu.shape
    out = series_hu.new_empty((t, h, w, d), dtype=torch.float32)
    x, y = (torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in (h, w))
    x, y = x[:, None] * spacing_mm[0], y[None, :] * spacing_mm[1]
    path = torch.as_tensor(motion.path, dtype=torch.float32)
    path = torch.stack([path[:, 0], path[:, 1], torch.deg2rad(path[:, 2])], 1)
    for frame, (right, front, turn) in enumerate(path):
        if not path[frame].any():
            out[frame] = series_hu[frame]
            continue
        at_x, at_y = x + right - turn * y, y + front + turn * x
        grid = torch.stack([at_y / spacing_mm[1] * 2 / (w - 1), at_x / spacing_mm[0] * 2 / (h - 1)], -1)
        stack = series_hu[frame].permute(2, 0, 1)[None].float().contiguous()
        moved = functional.grid_sample(stack, grid[None], mode="bicubic", padding_mode="border", align_corners=True)
        out[frame] = moved[0].permute(1, 2, 0)
    return out


class _Edges:
    """Compare frames with a reference where its gradient is steep, on and around the skull; images (T, D, H, W)."""

    def __init__(self, reference: Tensor, spacing: tuple[float, float]) -> None:
        self.shape, self.spacing = reference.shape, spacing
        down, across = torch.gradient(reference, dim=(1, 2))
        slope = torch.stack([down / spacing[0], across / spacing[1]], -1).reshape(-1, 2)
        steep = slope.norm(dim=1) * _near_skull(reference, spacing).flatten()
        count = min(4 * _POINTS, int((steep > _STEEP_HU_MM).sum()))
        self.index = steep.topk(count).indices.sort().values[:: -(-count // _POINTS) or 1]
        at = np.unravel_index(self.index.numpy(), tuple(self.shape))
        self.level, h, w = (torch.as_tensor(a) for a in at)
        self.x = (h - (self.shape[1] - 1) / 2) * spacing[0]
        self.y = (w - (self.shape[2] - 1) / 2) * spacing[1]
        gx, gy = slope[self.index].T
        self.jacobian = torch.stack([gx, gy, -gx * self.y + gy * self.x], 1)
        self.values = reference.flatten()[self.index]

    def differences(self, images: Tensor, path: Tensor) -> Tensor:
        """Return frame minus reference (T, N) at the points carried along ``path`` (T, 3), mm, mm, radians."""
        _, h, w = self.shape
        right, front, turn = (path[:, k : k + 1] for k in range(3))
        row = ((self.x + right - turn * self.y) / self.spacing[0] + (h - 1) / 2).clamp(0, h - 1.001)
        column = ((self.y + front + turn * self.x) / self.spacing[1] + (w - 1) / 2).clamp(0, w - 1.001)
        r, c = row.long(), column.long()
        a, b = row - r, column - c
        flat, base = images.reshape(len(images), -1), (self.level * h + r) * w + c
        at = [flat.gather(1, base + shift) for shift in (0, 1, w, w + 1)]
        value = (1 - a) * ((1 - b) * at[0] + b * at[1]) + a * ((1 - b) * at[2] + b * at[3])
        return value - self.values

    def unlike(self, images: Tensor, path: Tensor) -> Tensor:
        """Return the median absolute difference (T,) in HU."""
        return self.differences(images, path).abs().median(dim=1).values

    def step(self, images: Tensor, path: Tensor) -> Tensor:
        """Return the Gauss-Newton step (T, 3), differences beyond 4.7 robust deviations without weight."""
        gap = self.differences(images, path)
        scale = 1.4826 * gap[:, ::4].abs().median(dim=1, keepdim=True).values.clamp_min(1e-3)
        # Tukey's weight: arriving contrast is a difference that no movement explains.
        weight = (1 - (gap / (4.685 * scale)) ** 2).clamp_min(0) ** 2
        lean = weight[:, :, None] * self.jacobian
        normal = lean.transpose(1, 2) @ self.jacobian
        ridge = 1e-6 * normal.diagonal(dim1=1, dim2=2).clamp_min(1e-6)
        right = (lean * gap[:, :, None]).sum(1)
        return torch.linalg.solve((normal + torch.diag_embed(ridge)).double(), right.double()).float()


def _pool(series_hu: Tensor, spacing_mm: tuple[float, float, float]) -> tuple[Tensor, tuple[float, float]]:
    """Return the windowed series (T, D, H, W), halved in plane when it is large, and its spacing."""
    t, h, w, d = series_hu.shape
    step = 2 if min(h, w) >= 128 else 1
    out = torch.empty(t, d, h // step, w // step)
    for frame, volume in enumerate(series_hu):
        even = volume[: h - h % step, : w - w % step].float().clamp(*WINDOW_HU)
        rows = sum(even[i::step] for i in range(step))
        out[frame] = sum(rows[:, j::step] for j in range(step)).permute(2, 0, 1)
    return out.div_(step * step), (step * spacing_mm[0], step * spacing_mm[1])


def _near_skull(reference: Tensor, spacing: tuple[float, float]) -> Tensor:
    skull, steps = (reference > _SKULL_HU).numpy(), max(1, round(3.0 / min(spacing)))
    near = np.zeros(skull.shape, bool)
    for level in range(len(skull)):
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(skull[level], iterations=steps))
        near[level] = ndimage.binary_dilation(largest_part(filled), iterations=steps)
    return torch.from_numpy(near)


def _start(images: Tensor, reference: Tensor, spacing: tuple[float, float]) -> Tensor:
    """Return the shift (T, 2) in mm at the peak of the phase correlation, whole voxels."""
    h, w = reference.shape
    cross = torch.fft.rfft2(images) * torch.fft.rfft2(reference).conj()
    # Phase alone: the height of the skull's edge must not outvote its place.
    peaks = torch.fft.irfft2(cross / cross.abs().clamp_min(1e-6), s=(h, w))
    down, across = (torch.fft.fftfreq(n, 1 / n)[:, None] * s for n, s in zip((h, w), spacing, strict=True))
    peaks[:, torch.hypot(down, across.T) > _START_REACH_MM] = -1.0
    best = peaks.flatten(1).argmax(1)
    return torch.stack([down[best // w, 0], across[best % w, 0]], 1)
