"""A preprocessing is known by every setting of every transform, the same in every process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose, CropForegroundd, Lambdad, NormalizeIntensityd, OneOf, RandFlipd, ScaleIntensityd

from monai_isles.errors import IslesError
from monai_isles.transforms import case_cache as module
from monai_isles.transforms.case_cache import settings_key
from tests.reliability.children import Forks


def chain(**change: object) -> Compose:
    return Compose([ScaleIntensityd("a"), NormalizeIntensityd(**({"keys": "a", "nonzero": False} | change))])


def test_the_key_changes_with_every_setting_and_the_order_and_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        settings_key(one)
        for one in (
            chain(),
            chain(nonzero=True),
            chain(keys="b"),
            chain(subtrahend=np.array([1.0])),
            chain(subtrahend=np.array([2.0])),
            Compose(chain().transforms[::-1]),
            Compose([chain()]),
        )
    }
    monkeypatch.setattr(module, "__version__", "another")
    assert len(keys | {settings_key(chain())}) == 8


def test_the_key_is_the_same_in_another_process(server: Forks) -> None:
    done = server.run(program="tests.transforms.test_settings_key")  # forked from a process of another hash seed
    assert done.text.strip() == settings_key(chain()) == settings_key(chain())


def test_the_key_comes_from_the_settings_not_from_the_text_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = settings_key(chain())

    def fail(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert settings_key(chain()) == wanted


@pytest.mark.parametrize("random", [RandFlipd("a"), OneOf([chain()])])
def test_a_random_transform_is_refused(random: object) -> None:
    with pytest.raises(
        IslesError, match=rf"E-CACHE-01: a random transform cannot be cached(?s:.*){type(random).__name__}"
    ):
        settings_key(Compose([chain(), random]))


def test_a_function_counts_by_its_name_and_one_without_is_refused() -> None:
    one, other = (settings_key(Compose([CropForegroundd("a", "a", select_fn=fn)])) for fn in (np.isfinite, np.isnan))
    assert one != other
    with pytest.raises(IslesError, match=r"E-CACHE-03: a setting of the preprocessing cannot be recorded(?s:.*)lambda"):
        settings_key(Lambdad("a", func=lambda x: x))


if __name__ == "__main__":
    print(settings_key(chain()))
