"""Infer whole axial slices, or the whole volume at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.inference.cpu.fast_form import fast_form, require_precision
from monai_isles.inference.windows import CaseInferer, WindowResult
from monai_isles.sampling.slices import stacked_slices


class WholeSliceInferer(CaseInferer):
    """Run a 2D network on every whole axial slice, or a 3D network on the whole volume; return its softmax.

    A network may return a NamedTuple: its ``logits`` are the classes, the fields named in ``extras`` are further maps.

    Shapes: image ``(N, C, H, W, D)`` in; probabilities ``(N, K, H, W, D)`` out, then one channel per name of
        ``extras``.
    Args:
        extras: fields of the network's output to return, each ``(N, 1, H, W)``.
        neighbours: slices on either side that a 2D network sees with each (``monai_isles.sampling.slices``).
        mirrored: average with the flipped slice, flipped back, on grids whose middle is the midline (``UprightHeadd``).
        precision: ``"bf16"`` multiplies in 16 bits.
        compiled: compile the network with its weights frozen in; the first case waits for it.
    Raises: ``E-INF-05`` for other spatial_dims, ``E-INF-06`` when the network returns no such field, and others.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4; ``tests/inference/test_whole_slices.py``.

    >>> image = torch.zeros(1, 5, 16, 16, 3)
    >>> WholeSliceInferer()(image, nn.Conv2d(5, 2, 1)).shape
    torch.Size([1, 2, 16, 16, 3])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        batch_size: int = 4,
        extras: Sequence[str] = (),
        precision: str = "fp32",
        compiled: bool = False,
        neighbours: int = 0,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        self.neighbours, self.mirrored = neighbours, mirrored
        if spatial_dims not in (2, 3) or batch_size < 1:
            found = f"spatial_dims {spatial_dims}, batch_size {batch_size}"
            raise refused("E-INF-05", where="WholeSliceInferer", found=found)
        require_precision(precision)
        self.flat, self.batch_size, self.extras = spatial_dims == 2, batch_size, tuple(extras)
        self.precision, self.compiled = precision, compiled
        self._compiled: dict[nn.Module, nn.Module] = {}

    def infer(
        self, inputs: Tensor, network: nn.Module | Sequence[nn.Module], foreground: Tensor | None = None
    ) -> WindowResult:
        """Return the mean maps of a batch of volumes and the deviation between networks; ``foreground`` is ignored."""
        plain = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        networks = [network] if isinstance(network, nn.Module) else network
        half = torch.autocast(plain.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), half:
            results = [self._volumes(plain, self._form(item, plain.device)) for item in networks]
        maps = [torch.stack(parts) for parts in zip(*results, strict=True)]
        deviation = maps[0][:, :, -1:].std(0, correction=0)
        probability, *extra = (part.mean(0) for part in maps)
        return WindowResult(probability, deviation, plain.shape[-1], dict(zip(self.extras, extra, strict=True)))

    def _form(self, network: nn.Module, device: torch.device) -> nn.Module:
        if self.compiled and network not in self._compiled:
            self._compiled[network] = fast_form(network, device, compiled_for=self.batch_size if self.flat else 1)
        return self._compiled.get(network, network)

    def _volumes(self, images: Tensor, network: nn.Module) -> list[Tensor]:
        volumes = [self._slices(item, network) if self.flat else self._forward(item[None], network) for item in images]
        return [torch.cat(parts) for parts in zip(*volumes, strict=True)]

    def _slices(self, image: Tensor, network: nn.Module) -> list[Tensor]:
        slices = image.movedim(-1, 0)
        if self.neighbours:
            slices = torch.stack([stacked_slices(image, n, self.neighbours) for n in range(image.shape[-1])])
        batches = [self._forward(part, network) for part in slices.split(self.batch_size)]
        return [torch.cat(parts).movedim(0, -1)[None] for parts in zip(*batches, strict=True)]

    def _forward(self, batch: Tensor, network: nn.Module) -> list[Tensor]:
        there = self._once(batch, network)
        if not self.mirrored:
            return there
        back = [value.flip(2) for value in self._once(batch.flip(2), network)]
        return [(item + other) / 2 for item, other in zip(there, back, strict=True)]

    def _once(self, batch: Tensor, network: nn.Module) -> list[Tensor]:
        output = network(batch)
        if isinstance(output, Tensor) and not self.extras:
            return [output.float().softmax(1)]
        missing = [name for name in ("logits", *self.extras) if not isinstance(getattr(output, name, None), Tensor)]
        if missing:
            where, found = f"WholeSliceInferer with {type(network).__name__}", f"no {', '.join(missing)} in its output"
            raise refused("E-INF-06", where=where, found=found)
        return [output.logits.float().softmax(1), *(getattr(output, name).float() for name in self.extras)]
