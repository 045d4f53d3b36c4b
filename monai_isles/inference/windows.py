"""Infer by sliding windows at an exact step in voxels, only on the brain, with Monte Carlo passes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type, ensure_tuple_rep
from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.inference.cpu.fast_form import fast_form, require_precision
from monai_isles.inference.malloc import HalvedOnce, forecast, keep_memory
from monai_isles.inference.windows_plan import (
    COVERS,
    WindowCutter,
    WindowMasks,
    brain_box,
    filled_up,
    site_sizes,
    window_starts,
    windows_at_once,
)
from monai_isles.networks.blocks import PredictionDropout
from monai_isles.progress import progress


@contextmanager
def prediction_dropout(network: nn.Module, rate: float, alpha: bool = False) -> Iterator[list[PredictionDropout]]:
    """Switch on the prediction dropout sites of ``network`` inside the ``with`` block; yield the sites.

    Batch normalisation and training dropout do not change: put the network into evaluation mode first.

    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3: rate 0.1 in the deepest levels.
    """
    sites = [module for module in network.modules() if isinstance(module, PredictionDropout)]
    if not sites or not 0.0 <= rate < 1.0:
        raise refused("E-INF-01", where=type(network).__name__, found=f"{len(sites)} dropout sites, rate {rate}")
    for site in sites:
        site.active, site.rate, site.alpha = True, rate, alpha
    try:
        yield sites
    finally:
        for site in sites:
            site.active, site.mask = False, None


def sum_passes(passes: Iterable[Tensor]) -> Tensor:
    """Add up the softmax of several passes over the same windows; of two classes only the last is kept.

    Shapes: logits ``(n, K, *roi)`` of each pass in; (n, parts, *roi) out: K classes, or the last of two, the square of
    the last, and the number of passes.
    """
    total: Tensor | None = None
    for logits in map(Tensor.float, passes):
        if logits.shape[1] == 2:
            # softmax of two = sigmoid of the difference: one exponential instead of two.
            probability = torch.sub(logits[:, 1], logits[:, 0]).sigmoid_()[:, None]
        else:
            probability = logits.softmax(1)
        if total is None:
            total = probability.new_zeros(len(logits), probability.shape[1] + 2, *logits.shape[2:])
        total[:, :-2] += probability
        # The square of the last class, from which close() takes the deviation.
        total[:, -2].addcmul_(probability[:, -1], probability[:, -1])
        total[:, -1] += 1
    return cast(Tensor, total)


class WindowSums:
    """Add up the sums of windows at each voxel.

    Shapes: a volume ``(H, W, D)``; windows ``(n, parts, *roi)`` of ``sum_passes``, one slice thick where ``flat``; K +
    2 volumes of float32 are held, 3 where there are two classes.
    """

    def __init__(self, space: Sequence[int], device: torch.device, *, flat: bool = False) -> None:
        self.axes = (2, 0, 1) if flat else (0, 1, 2)
        self.flat, self.device = flat, device
        self.space = tuple(space[axis] for axis in self.axes)
        self._sums: Tensor | None = None

    def add(self, starts: np.ndarray, parts: Tensor) -> None:
        """Add windows whose first voxels are ``starts`` (n, 3)."""
        if self._sums is None:
            self._sums = torch.zeros(parts.shape[1], *self.space, dtype=parts.dtype, device=self.device)
        parts = parts.to(self.device)[:, :, None] if self.flat else parts.to(self.device)
        roi = parts.shape[2:]
        for (i, j, k), part in zip(starts[:, self.axes].tolist(), parts, strict=True):
            self._sums[:, i : i + roi[0], j : j + roi[1], k : k + roi[2]] += part

    def close(self) -> tuple[Tensor, Tensor]:
        """Return the mean ``(K, H, W, D)`` and the last class's deviation, in place of the sums: add none after."""
        sums = torch.zeros(3, *self.space, device=self.device) if self._sums is None else self._sums
        seen = sums[-1:] > 0
        # In place: three volumes are held, not six.
        sums[:-1] /= sums[-1].clamp_min(1)
        mean, square = sums[:-2], sums[-2:-1]
        # E[p^2] - E[p]^2, clamped because rounding can make it slightly negative.
        deviation = square.sub_(mean[-1:] ** 2).clamp_min_(0).sqrt_()
        mean = torch.cat([torch.where(seen, 1 - mean, 0), mean]) if len(mean) == 1 else mean
        back = [1 + self.axes.index(axis) for axis in range(3)]
        return mean.permute(0, *back).contiguous(), deviation.permute(0, *back).contiguous()


@dataclass(frozen=True)
class WindowResult:
    """Hold averages over all windows and passes.

    Shapes: ``probability`` (N, K, H, W, D); ``uncertainty`` (N, 1, H, W, D), the standard deviation of the last
    class's probability over every window and pass that saw the voxel; both 0 outside all windows. ``extra`` holds
    other maps that the network returned, (N, 1, H, W, D) each.
    """

    probability: Tensor
    uncertainty: Tensor
    windows: int
    extra: dict[str, Tensor] = field(default_factory=dict)


class CaseInferer(Inferer):
    """Infer the volumes of a case, by windows (``StepSlidingWindowInferer``) or whole slices (``WholeSliceInferer``).

    ``spreads``: one network alone gives an uncertainty, as several together do.
    """

    spreads = uncertainty = False

    @abstractmethod
    def infer(self, inputs: Tensor, network: Any, foreground: Tensor | None = None) -> WindowResult:
        """Return the maps of a batch of volumes, the mean of several networks over the same windows.

        Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 4.2, which averages patch by patch.
        """

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, foreground: Tensor | None = None
    ) -> Tensor:
        meta = getattr(inputs, "meta", {})
        if foreground is None and "foreground" in meta:  # of LabelForegroundd, one volume
            foreground = meta["foreground"][None]
        result = self.infer(inputs, network, foreground)
        spread = [result.uncertainty] if self.uncertainty else []
        joined = torch.cat([result.probability, *result.extra.values(), *spread], 1)
        return convert_to_dst_type(joined, inputs, dtype=joined.dtype)[0]


class StepSlidingWindowInferer(CaseInferer):
    """Average the softmax of overlapping windows, ``step`` voxels apart, on the brain.

    Shapes: image ``(N, C, H, W, D)`` and ``foreground`` ``(N, 1, H, W, D)`` in; probabilities ``(N, K, H, W, D)`` out,
    with one more channel for the uncertainty when ``uncertainty`` is set.
    Args:
        roi_size: two sizes for a 2D network that sees axial slices, three for a 3D network.
        step: voxels between windows on the same axes; one number for all of them.
        mc_passes: forward passes per window; above 1 the prediction dropout sites of the network are active.
        mc_rate: share of elements that a pass drops.
        mc_alpha: drop as alpha dropout does, which the paper's released code has; the paper says dropout.
        batch_size: most windows per forward pass; on a CPU 16 to 32 are best.
        cover: windows of the grid to run: ``"centre"``, those centred on the brain; ``"touch"``, all that reach it, so
            that every brain voxel gets the average over the whole grid.
        memory_mb: limit on the layers' memory, by fewer windows per pass; None sets no limit.
        seed: on a CPU the dropout masks depend only on it, the window's place and the pass (``WindowMasks``), on a GPU
            on it alone; None draws one.
        precision: ``"bf16"`` computes in 16 bits: faster on CPUs with 16-bit units; probabilities differ in the third
            digit.
        compiled: compile the networks with their weights frozen in, for groups of ``batch_size``; the first case is
            slower.
        whole_slices: one window per slice, as large as the brain with half a window around it, instead of ``step``.
        masked: return background wherever ``foreground`` is 0; else windows reach half their size beyond it.
    Raises: ``E-INF-03`` for a step that leaves gaps, ``E-INF-04`` for settings that do not fit together, ``E-INF-41``
    without a compiler, and others.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), section 3.3; step 3 in its released code.
    Volumes at step 4 x 4 x 1: Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 3.5.

    >>> inferer = StepSlidingWindowInferer(roi_size=(8, 8), step=4)
    >>> image, brain = torch.zeros(1, 1, 16, 16, 1), torch.ones(1, 1, 16, 16, 1)
    >>> inferer(image, torch.nn.Conv2d(1, 2, 3, padding=1), foreground=brain).shape
    torch.Size([1, 2, 16, 16, 1])
    """

    spreads = True

    def __init__(
        self,
        roi_size: Sequence[int],
        step: int | Sequence[int],
        mc_passes: int = 1,
        mc_rate: float = 0.1,
        batch_size: int = 32,
        uncertainty: bool = False,
        seed: int | None = 0,
        cover: str = "centre",
        memory_mb: float | None = None,
        precision: str = "fp32",
        compiled: bool = False,
        whole_slices: bool = False,
        masked: bool = False,
        mc_alpha: bool = False,
    ) -> None:
        super().__init__()
        step = ensure_tuple_rep(step, len(roi_size)) if isinstance(step, int) else step
        where = "StepSlidingWindowInferer"
        if len(roi_size) != len(step) or len(step) not in (2, 3) or mc_passes < 1:
            found = f"roi_size {list(roi_size)}, step {list(step)}, mc_passes {mc_passes}"
            raise refused("E-INF-04", where=where, found=found)
        if any(not 1 <= s <= r or s % 1 for s, r in zip(step, roi_size, strict=True)):
            found = f"a step of {tuple(step)} with a window of {tuple(roi_size)}"
            raise refused("E-INF-03", where=where, found=found)
        if cover not in COVERS:
            raise refused("E-INF-20", where=where, found=repr(cover), covers=", ".join(COVERS))
        require_precision(precision)
        self.flat = len(step) == 2
        if whole_slices and not self.flat:
            raise refused("E-INF-42", where=where, found=f"whole_slices with windows of {list(roi_size)}")
        if whole_slices and compiled:
            raise refused("E-INF-44", where=where, found="whole_slices and compiled")
        self.roi = (*roi_size, 1) if self.flat else tuple(roi_size)
        self.step = (*map(int, step), 1) if self.flat else tuple(map(int, step))
        self.mc_passes, self.mc_rate, self.mc_alpha, self.batch_size = mc_passes, mc_rate, mc_alpha, batch_size
        self.uncertainty, self.seed, self.cover, self.memory_mb = uncertainty, seed, cover, memory_mb
        self.precision, self.compiled, self.whole_slices, self.masked = precision, compiled, whole_slices, masked
        self._compiled: dict[nn.Module, nn.Module] = {}

    def infer(
        self, inputs: Tensor, network: nn.Module | Sequence[nn.Module], foreground: Tensor | None = None
    ) -> WindowResult:
        """Return probability, uncertainty and the number of windows of a batch of volumes.

        Several networks process each group of windows one after the other, each with its own dropout masks: windows are
        cut and sums folded back only once.
        """
        keep_memory()
        networks = [network] if isinstance(network, nn.Module) else list(network)
        plain = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        seen = torch.ones_like(plain[:, :1]) if foreground is None else foreground
        masks = np.asarray(seen.cpu())[:, 0] > 0
        with ExitStack() as stack, torch.inference_mode():
            seed = int(torch.randint(2**31, (1,))) if self.seed is None else self.seed
            # The caller's random state is left as it was.
            stack.enter_context(torch.random.fork_rng(devices=[plain.get_device()] if plain.is_cuda else []))
            torch.manual_seed(seed)
            forms = [self._form(item, plain.device) for item in networks]
            noisy = forms if self.mc_passes > 1 else []
            dropout = [stack.enter_context(prediction_dropout(form, self.mc_rate, self.mc_alpha)) for form in noisy]
            members = list(zip(forms, dropout or [[]] * len(forms), strict=True))
            item = self._whole if self.whole_slices else self._volume
            results = [item(image, mask, members, seed) for image, mask in zip(plain, masks, strict=True)]
        if self.masked:
            results = [_within(result, mask) for result, mask in zip(results, masks, strict=True)]
        return WindowResult(
            torch.stack([r.probability for r in results]),
            torch.stack([r.uncertainty for r in results]),
            sum(r.windows for r in results),
        )

    def _form(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the form that predicts; compiled forms are kept, since compilation is slow."""
        if not self.compiled:
            return fast_form(network, device, self.precision)
        if network not in self._compiled:
            self._compiled[network] = fast_form(network, device, self.precision, compiled_for=self.batch_size)
        return self._compiled[network]

    def _whole(self, image: Tensor, mask: np.ndarray, members: list[Member], seed: int) -> WindowResult:
        """Predict whole slices, and return the maps on the grid of the image."""
        box = brain_box(mask, [width // 2 for width in self.roi[:2]])
        block, inside = filled_up(image[:, *box], mask[box], max(getattr(form, "divisor", 1) for form, _ in members))
        result = self._volume(block, inside, members, seed, roi=(*block.shape[1:3], 1))
        sizes = [item.stop - item.start for item in box]
        maps = [part.new_zeros(len(part), *image.shape[1:]) for part in (result.probability, result.uncertainty)]
        for whole, part in zip(maps, (result.probability, result.uncertainty), strict=True):
            whole[:, *box] = part[:, : sizes[0], : sizes[1]]
        return WindowResult(maps[0], maps[1], result.windows)

    def _volume(
        self, image: Tensor, mask: np.ndarray, members: list[Member], seed: int, roi: tuple[int, ...] | None = None
    ) -> WindowResult:
        """Predict windows of the inferer's size and step, or of another size side by side."""
        roi, step = (self.roi, self.step) if roi is None else (roi, roi)
        # Larger windows, fewer a pass: the memory of a pass stays about the same.
        most = max(1, self.batch_size * math.prod(self.roi) // math.prod(roi))
        starts = window_starts(mask, roi, step, self.cover)
        cutter = WindowCutter(image, roi, flat=self.flat)
        sums = WindowSums(image.shape[1:], image.device, flat=self.flat)
        room = HalvedOnce(f"{' x '.join(map(str, roi))} voxels")
        masks: list[WindowMasks] = []
        if self.mc_passes > 1 and len(starts) and not image.is_cuda:
            sizes = site_sizes(members[0][0], cutter.cut(starts[:1]))
            # The first uses the seed itself, as a single network does.
            masks = [WindowMasks(sizes, self.mc_passes, self.mc_rate, seed + number) for number in range(len(members))]
        if len(starts) and self.memory_mb is not None:
            most = windows_at_once(members[0][0], cutter.cut(starts[:1]), most=most, memory_mb=self.memory_mb)
        groups = [starts[i : i + most] for i in range(0, len(starts), most)]

        def moments(group: np.ndarray) -> Tensor:
            return sum_passes(self._passes(cutter.cut(group), group, members, masks))

        forecast(lambda group: room.run(moments, group), groups, len(starts), step)
        for group in progress(groups, "windows", unit="pass", delay_s=2.0):
            room.run(lambda group: sums.add(group, moments(group)), group)
        return WindowResult(*sums.close(), len(starts))

    def _passes(
        self, windows: Tensor, starts: np.ndarray, members: list[Member], masks: list[WindowMasks]
    ) -> Iterator[Tensor]:
        """Yield the logits of every network and pass over a group of windows."""
        for number, (form, sites) in enumerate(members):
            bits = masks[number].draw(starts) if masks else None
            outside = self.precision == "bf16" and not hasattr(form, "products")
            with torch.autocast(windows.device.type, torch.bfloat16, enabled=outside):
                # What lies before the first dropout site is the same in every pass: computed once a window.
                fixed = form.fixed_part(windows) if hasattr(form, "fixed_part") else None
                for turn in range(self.mc_passes):
                    if bits is not None:
                        masks[number].lay(bits, turn, sites)
                    yield form(windows) if fixed is None else form.noisy_part(*fixed)


Member = tuple[Any, list[PredictionDropout]]


def _within(result: WindowResult, mask: np.ndarray) -> WindowResult:
    """Return the maps with the first class certain outside ``mask`` (H, W, D)."""
    inside = torch.from_numpy(mask).to(result.probability.device)
    background = torch.zeros_like(result.probability)
    background[0] = 1
    probability = torch.where(inside, result.probability, background)
    return WindowResult(probability, result.uncertainty * inside, result.windows)
