"""A config may call what the allowed packages define, and nothing that merely lies within their reach."""

from __future__ import annotations

import pytest

from monai_isles.bundle.configs import target_fault


@pytest.mark.parametrize(
    "name",
    [
        "monai.transforms.Compose",
        "monai.transforms.LoadImageDict",
        "monai.handlers.from_engine",
        "monai.utils.set_determinism",
        "monai.data.CacheDataset",
        "torch.nn.Conv2d",
        "torch.optim.Adadelta",
        "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "torch.utils.data.DataLoader",
        "ignite.metrics.Loss",
        "monai_isles.io.LoadVerifiedd",
        "monai_isles.data.load_entries",
    ],
)
def test_what_bundles_need_passes(name: str) -> None:
    assert target_fault(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("os.system", "outside"),
        ("builtins.eval", "outside"),
        ("subprocess.Popen", "outside"),
        ("torch.load", "outside"),
        ("torch.hub.load", "outside"),
        ("monaix.evil", "outside"),
        ("monai", "outside"),
        ("Compose", "outside"),
        ("monai.data.", "dotted"),
        ("monai.data.utils.os.system", "not defined"),
        ("monai.data.dataset.tempfile.mkdtemp", "not defined"),
        ("torch.nn.modules.module.torch.load", "not defined"),
        ("monai.transforms.NoSuchThing", "not defined"),
        ("monai.bundle.run", "deny"),
        ("monai.bundle.scripts.download", "deny"),
        ("monai.apps.utils.extractall", "deny"),
        ("monai.utils.module.optional_import", "deny"),
        ("monai.data.load_net_with_metadata", "deny"),
        ("monai_isles.cli.main.main", "deny"),
        ("monai_isles.io.archives.unpack_zip", "deny"),
        ("monai.transforms.Compose.__init__.__globals__", "private"),
        ("torch.utils.data._utils.worker.x", "private"),
        ("monai.data; import os", "dotted"),
        ("", "dotted"),
    ],
)
def test_everything_else_is_refused_with_a_reason(name: str, why: str) -> None:
    assert why in (target_fault(name) or "")
