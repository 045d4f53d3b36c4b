"""Sliding windows at an exact step in voxels, only where there is brain, with Monte Carlo passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.inference.dropout import prediction_dropout


@dataclass(frozen=True)
class WindowResult:
    """Averages over all windows and passes.

    Shapes: ``probability`` (N, K, H, W, D); ``uncertainty`` (N, 1, H, W, D), the standard deviation of the last
    class's probability over every window and pass that saw the voxel; both 0 where no window came.
    """

    probability: Tensor
    uncertainty: Tensor
    windows: int


def window_starts(foreground: np.ndarray, roi: Sequence[int], step: Sequence[int]) -> np.ndarray:
    """Return the first voxel of every window, one window a step-sized cell that holds foreground.

    A window is centred on its cell and shifted inwards at the border, so each foreground voxel is covered whatever
    the step, and between neighbouring windows lies exactly ``step``.

    Shapes: ``foreground`` (H, W, D); (n, 3) out.
    Raises:
        IslesError: ``E-INF-02`` when the volume is smaller than a window, ``E-INF-03`` for a step that leaves gaps.
    Source: ours (MONAI turns an overlap into ``int(roi * (1 - overlap))``, off by one for a quarter of the steps);
    ``tests/inference/test_windows.py``.
    """
    size, roi_, step_ = np.array(foreground.shape), np.array(roi), np.array(step)
    if (size < roi_).any():
        raise IslesError(
            "E-INF-02",
            "volume smaller than the window",
            where="StepSlidingWindowInferer",
            found=f"{tuple(size.tolist())} voxels against a window of {tuple(roi_.tolist())}",
            fix="pad the volume by half a window first (BorderPadd)",
        )
    _require_no_gaps(roi, step)
    cells = np.unique(np.argwhere(foreground) // step_, axis=0)
    return np.clip(cells * step_ + step_ // 2 - roi_ // 2, 0, size - roi_)


def _require_no_gaps(roi: Sequence[int], step: Sequence[int]) -> None:
    if any(not 1 <= s <= r for s, r in zip(step, roi, strict=True)):
        raise IslesError(
            "E-INF-03",
            "windows would leave gaps",
            where="StepSlidingWindowInferer",
            found=f"a step of {tuple(step)} with a window of {tuple(roi)}",
            fix="take a step of at least 1 and at most the window on every axis",
        )


class StepSlidingWindowInferer(Inferer):
    """Average the softmax of overlapping windows that lie ``step`` voxels apart on the brain.

    Shapes: image ``(N, C, H, W, D)`` and ``foreground`` ``(N, 1, H, W, D)`` in; probabilities ``(N, K, H, W, D)`` out,
    with one more channel for the uncertainty when ``uncertainty`` is set.
    Args:
        roi_size: two sizes for a 2D network that sees axial slices, three for a 3D network.
        step: voxels between windows on the same axes.
        mc_passes: forward passes a window; above 1 the prediction dropout sites of the network are active.
        mc_rate: share of elements dropped in those passes.
        batch_size: windows a forward pass.
        seed: the dropout masks depend on it alone; None leaves the random state alone.
    Raises:
        IslesError: ``E-INF-03`` for a step that leaves gaps, ``E-INF-04`` for settings that do not fit together.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3; step 3 in its released code.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        step: Sequence[int],
        mc_passes: int = 1,
        mc_rate: float = 0.1,
        batch_size: int = 32,
        uncertainty: bool = False,
        seed: int | None = 0,
    ) -> None:
        super().__init__()
        if len(roi_size) != len(step) or len(step) not in (2, 3) or mc_passes < 1:
            raise IslesError(
                "E-INF-04",
                "window settings do not fit together",
                where="StepSlidingWindowInferer",
                found=f"roi_size {list(roi_size)}, step {list(step)}, mc_passes {mc_passes}",
                fix="give two sizes each for slices or three for volumes, and at least one pass",
            )
        _require_no_gaps(roi_size, step)
        self.flat = len(step) == 2
        self.roi = (*roi_size, 1) if self.flat else tuple(roi_size)
        self.step = (*step, 1) if self.flat else tuple(step)
        self.mc_passes, self.mc_rate, self.batch_size = mc_passes, mc_rate, batch_size
        self.uncertainty, self.seed = uncertainty, seed

    def __call__(self, inputs: Tensor, network: nn.Module, foreground: Tensor | None = None) -> Tensor:
        result = self.infer(inputs, network, foreground)
        joined = torch.cat([result.probability, result.uncertainty], 1) if self.uncertainty else result.probability
        if isinstance(inputs, torch.Tensor) and hasattr(inputs, "meta"):
            from monai.utils import convert_to_dst_type

            return convert_to_dst_type(joined, inputs, dtype=joined.dtype)[0]
        return joined

    def infer(self, inputs: Tensor, network: nn.Module, foreground: Tensor | None = None) -> WindowResult:
        """Return probability, uncertainty and the number of windows of a batch of volumes."""
        plain = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        masks = np.ones((len(plain), *plain.shape[2:]), bool)
        if foreground is not None:
            masks = (foreground.as_tensor() if hasattr(foreground, "as_tensor") else foreground).cpu().numpy()[:, 0] > 0
        with ExitStack() as stack, torch.inference_mode():
            if self.seed is not None:
                stack.enter_context(torch.random.fork_rng(devices=_devices(plain)))
                torch.manual_seed(self.seed)
            if self.mc_passes > 1:
                stack.enter_context(prediction_dropout(network, self.mc_rate))
            results = [self._volume(image, mask, network) for image, mask in zip(plain, masks, strict=True)]
        return WindowResult(
            torch.stack([r.probability for r in results]),
            torch.stack([r.uncertainty for r in results]),
            sum(r.windows for r in results),
        )

    def _volume(self, image: Tensor, mask: np.ndarray, network: nn.Module) -> WindowResult:
        starts = window_starts(mask, self.roi, self.step)
        space = image.shape[1:]
        count = torch.zeros(space)
        total, square = torch.zeros(0), torch.zeros(space)
        for batch in np.array_split(starts, max(1, -(-len(starts) // self.batch_size))) if len(starts) else ():
            places = [tuple(slice(a, a + r) for a, r in zip(start, self.roi, strict=True)) for start in batch.tolist()]
            for probability in self._passes(image, places, network):
                if not len(total):
                    total = torch.zeros(probability.shape[1], *space)
                for place, window in zip(places, probability, strict=True):
                    total[(slice(None), *place)] += window
                    square[place] += window[-1] ** 2
                    count[place] += 1
        if not len(total):
            total = torch.zeros(2, *space)
        seen = count.clamp_min(1)
        mean = total / seen
        deviation = (square / seen - mean[-1] ** 2).clamp_min(0).sqrt()
        return WindowResult(mean.to(image.device), deviation[None].to(image.device), len(starts))

    def _passes(self, image: Tensor, places: list[tuple[slice, ...]], network: nn.Module) -> Iterator[Tensor]:
        windows = torch.stack([image[(slice(None), *place)] for place in places])
        if self.flat:
            windows = windows[..., 0].contiguous(memory_format=torch.channels_last)
        fixed = network.fixed_part(windows) if hasattr(network, "fixed_part") else None
        for _ in range(self.mc_passes):
            logits = network(windows) if fixed is None else network.noisy_part(*fixed)
            probability = logits.float().softmax(1).cpu()
            yield probability[..., None] if self.flat else probability


def _devices(image: Tensor) -> list[int]:
    return [image.get_device()] if image.is_cuda else []
