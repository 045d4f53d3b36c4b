"""Sliding windows at an exact step in voxels, only where there is brain, with Monte Carlo passes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.inference.accumulate import WindowSums
from monai_isles.inference.dropout import prediction_dropout
from monai_isles.inference.windows_plan import require_cover, require_no_gaps, window_starts, windows_at_once
from monai_isles.progress import progress

_log = logging.getLogger(__name__)
_WARM_UP, _WORTH_A_BAR_S, _WORTH_A_LINE_S = 3, 2.0, 10.0


@dataclass(frozen=True)
class WindowResult:
    """Averages over all windows and passes.

    Shapes: ``probability`` (N, K, H, W, D); ``uncertainty`` (N, 1, H, W, D), the standard deviation of the last
    class's probability over every window and pass that saw the voxel; both 0 where no window came. ``extra`` holds
    other maps that the network returned, (N, 1, H, W, D) each.
    """

    probability: Tensor
    uncertainty: Tensor
    windows: int
    extra: dict[str, Tensor] = field(default_factory=dict)


class StepSlidingWindowInferer(Inferer):
    """Average the softmax of overlapping windows that lie ``step`` voxels apart on the brain.

    Shapes: image ``(N, C, H, W, D)`` and ``foreground`` ``(N, 1, H, W, D)`` in; probabilities ``(N, K, H, W, D)`` out,
    with one more channel for the uncertainty when ``uncertainty`` is set.
    Args:
        roi_size: two sizes for a 2D network that sees axial slices, three for a 3D network.
        step: voxels between windows on the same axes.
        mc_passes: forward passes a window; above 1 the prediction dropout sites of the network are active.
        mc_rate: share of elements dropped in those passes.
        batch_size: most windows a forward pass; on a processor 16 to 32 are best.
        cover: which windows of the grid run: ``"centre"``, those centred on the brain; ``"touch"``, all that reach it,
            which gives every brain voxel the average over the whole grid.
        memory_mb: fewer windows a pass where their layers would need more than this; None does not look.
        bfloat16: multiply in 16 bits: faster, probabilities differ in the third digit.
        seed: the dropout masks depend on it alone; None leaves the random state alone.
    Raises:
        IslesError: ``E-INF-03`` for a step that leaves gaps, ``E-INF-04`` for settings that do not fit together,
            ``E-INF-20`` for another cover.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3; step 3 in its released code.
    Volumes at step 4 x 4 x 1: Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 3.5.
    """

    spreads = True

    def __init__(
        self,
        roi_size: Sequence[int],
        step: Sequence[int],
        mc_passes: int = 1,
        mc_rate: float = 0.1,
        batch_size: int = 32,
        uncertainty: bool = False,
        seed: int | None = 0,
        cover: str = "centre",
        memory_mb: float | None = None,
        bfloat16: bool = False,
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
        require_no_gaps(roi_size, step)
        require_cover(cover)
        self.flat = len(step) == 2
        self.roi = (*roi_size, 1) if self.flat else tuple(roi_size)
        self.step = (*step, 1) if self.flat else tuple(step)
        self.mc_passes, self.mc_rate, self.batch_size = mc_passes, mc_rate, batch_size
        self.uncertainty, self.seed = uncertainty, seed
        self.cover, self.memory_mb, self.bfloat16 = cover, memory_mb, bfloat16

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
        starts = window_starts(mask, self.roi, self.step, self.cover)
        sums = WindowSums(image.shape[1:], image.device)
        for batch in self._batches(starts, image, network):
            places = [self._place(start) for start in batch.tolist()]
            for probability in self._passes(image, places, network):
                sums.add(places, probability)
        probability, deviation = sums.close()
        return WindowResult(probability, deviation, len(starts))

    def _batches(self, starts: np.ndarray, image: Tensor, network: nn.Module) -> Iterator[np.ndarray]:
        """Yield the windows of one pass at a time behind a bar; say how long all will take once that is known."""
        if not len(starts):
            return
        size = self.batch_size
        if self.memory_mb is not None:
            first = self._cut(image, [self._place(starts[0].tolist())])
            size = windows_at_once(network, first, most=size, memory_mb=self.memory_mb)
        batches = np.array_split(starts, math.ceil(len(starts) / size))
        begun = 0.0
        for done, batch in enumerate(
            progress(batches, "windows", total=len(batches), unit="pass", delay_s=_WORTH_A_BAR_S)
        ):
            if done == 1:
                begun = time.monotonic()
            elif done == _WARM_UP:
                self._announce(len(starts), size, (time.monotonic() - begun) / (done - 1) * len(batches))
            yield batch

    def _announce(self, windows: int, size: int, seconds: float) -> None:
        if seconds > _WORTH_A_LINE_S:
            at = " x ".join(map(str, self.step))
            _log.info("%d windows at step %s, %d a pass: about %.0f s", windows, at, size, seconds)

    def _place(self, start: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(a, a + r) for a, r in zip(start, self.roi, strict=True))

    def _cut(self, image: Tensor, places: Sequence[tuple[slice, ...]]) -> Tensor:
        windows = torch.stack([image[(slice(None), *place)] for place in places])
        if self.flat:
            return windows[..., 0].contiguous(memory_format=torch.channels_last)
        return windows.contiguous(memory_format=torch.channels_last_3d)

    def _passes(self, image: Tensor, places: Sequence[tuple[slice, ...]], network: nn.Module) -> Iterator[Tensor]:
        windows = self._cut(image, places)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bfloat16):
            fixed = network.fixed_part(windows) if hasattr(network, "fixed_part") else None
            for _ in range(self.mc_passes):
                logits = network(windows) if fixed is None else network.noisy_part(*fixed)
                probability = logits.float().softmax(1)
                yield probability[..., None] if self.flat else probability


def _devices(image: Tensor) -> list[int]:
    return [image.get_device()] if image.is_cuda else []
