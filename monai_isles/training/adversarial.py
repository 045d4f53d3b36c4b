"""Train a discriminator together with the generator."""

from __future__ import annotations

from typing import Any, cast

from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_isles.losses.synthesis import discriminator_ls_loss, verdicts
from monai_isles.training.distributed import shared, world_size


class DiscriminatorStep:
    """Update the discriminator once after each step of the network, on the same images.

    The network's own adversarial term is part of ``SynthesisLoss``; the gradients that its backward pass leaves in the
    discriminator are cleared first. In a stage without the generator nothing is done. With several processes each one
    judges its own images, and the gradients are averaged.

    Args:
        discriminator: judges ``(N, 1, H, W)`` images, or perfusion maps and image together; on the trainer's device.
    Source: Mao 2017 (arXiv:1611.04076); Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2.1.

    >>> judge = nn.Conv2d(1, 1, 1)
    >>> step = DiscriminatorStep(judge, torch.optim.Adam(judge.parameters()), nn.MSELoss())
    >>> step.last is None  # attach it to a trainer: the loss of each step then stands here
    True
    """

    def __init__(self, discriminator: nn.Module, optimizer: Optimizer, loss: nn.Module) -> None:
        self.discriminator, self.optimizer, self.loss = discriminator, optimizer, loss
        self.judge = discriminator
        if world_size() > 1:
            self.judge = shared(discriminator, next(discriminator.parameters()).device)
        self._last: Tensor | None = None

    @property
    def last(self) -> float | None:
        """Return the discriminator's loss in the last step, None before the first."""
        return None if self._last is None else self._last.item()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if "generator" not in getattr(self.loss, "parts", ("generator",)):
            return
        output = cast(dict[str, Any], engine.state.output)
        fake, real, maps = output["pred"].pseudo_dwi.detach(), output["label"][:, 1:2], output["pred"].maps
        self.optimizer.zero_grad(set_to_none=True)
        loss = discriminator_ls_loss(verdicts(self.judge, real, maps), verdicts(self.judge, fake, maps))
        loss.backward()
        self.optimizer.step()
        self._last = loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
