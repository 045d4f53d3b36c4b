"""Weights come back bit for bit, or not at all."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.io import load_state
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch /tmp/never",)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    publish_state(
        tmp_path / "model.pt", {"w": torch.arange(4000.0), "epoch": 3, "history": [(1, 0.5), None], "name": "x"}
    )
    return tmp_path / "model.pt"


def refused(path: Path, words: str, **how: object) -> IslesError:
    with pytest.raises(IslesError, match=words) as caught:
        load_state(path, **how)
    assert str(path) in caught.value.where
    return caught.value


def test_the_state_comes_back(saved: Path) -> None:
    state = load_state(saved, sha256=sha256_of(saved).upper())
    assert (
        torch.equal(state["w"], torch.arange(4000.0)) and state["epoch"] == 3 and state["history"] == [(1, 0.5), None]
    )
    assert os.listdir(saved.parent) == ["model.pt"]


def test_missing_weights_are_named(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", r"E-FILE-01(?s:.*)train first")


def test_a_graph_in_place_of_weights_is_named_as_one(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Conv2d(1, 1, 1)).save(str(tmp_path / "model.ts"))
    refused(tmp_path / "model.ts", r"E-SAFE-02(?s:.*)TorchScript graph(?s:.*)state dictionary")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_cut_checkpoint_is_refused(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    refused(saved, r"E-FILE-14: checkpoint is cut short(?s:.*)previous checkpoint")


def test_flipped_bits_in_the_tensors_are_caught(saved: Path) -> None:
    whole, rng = saved.read_bytes(), np.random.default_rng(0)
    start = whole.index(torch.arange(4000.0).numpy().tobytes()[:64])
    for position in rng.integers(start, start + 16000, 30):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(bytes(damaged))
        refused(saved, r"E-FILE-15: checkpoint is damaged(?s:.*)archive check failed at")


def test_another_checksum_is_refused_and_both_are_named(saved: Path) -> None:
    error = refused(saved, rf"E-SAFE-03(?s:.*){sha256_of(saved)}, expected {'0' * 64}", sha256="0" * 64)
    assert error.exit_code == 5


def test_code_in_a_checkpoint_is_refused_and_named_without_unsafe_advice(tmp_path: Path) -> None:
    torch.save({"w": Evil()}, tmp_path / "evil.pt")
    error = refused(tmp_path / "evil.pt", r"E-SAFE-01(?s:.*)system")
    assert "weights_only" not in str(error)


@pytest.mark.parametrize("content", [pickle.dumps({"w": 1}), b"text"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "old.pt").write_bytes(content)
    refused(tmp_path / "old.pt", r"E-SAFE-02: file is no checkpoint archive")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"net": torch.nn.Linear(1, 1)}, r"state\['net'\] is a torch.nn"),
        ({"a": [{"b": Evil()}]}, r"\['a'\]\[0\]\['b'\]"),
        ({"n": np.float32(1)}, "numpy.float32"),
    ],
)
def test_only_tensors_and_plain_values_are_saved(tmp_path: Path, state: dict, words: str) -> None:
    with pytest.raises(IslesError, match=rf"E-SAFE-12(?s:.*){words}"):
        publish_state(tmp_path / "m.pt", state)
    assert os.listdir(tmp_path) == []


def test_equal_states_are_equal_bytes_whatever_the_file_is_called(tmp_path: Path) -> None:
    for state in ({}, {"w": torch.arange(3.0)}):
        for name in ("a.pt", "b.pt"):
            publish_state(tmp_path / name, state)
        assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: dict, file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0\nmore")

    before = saved.read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(IslesError, match="E-FILE-10(?s:.*)unexpected pos"):
        publish_state(saved, {"w": torch.zeros(1)})
    assert saved.read_bytes() == before and os.listdir(saved.parent) == ["model.pt"]


def test_no_flipped_bit_in_the_archives_directory_is_a_crash_or_changes_a_tensor(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    publish_state(path, {"a": torch.arange(64.0), "b": torch.ones(3)})
    whole, truth, bits = path.read_bytes(), load_state(path), 0
    for at in range(whole.find(b"PK\x01\x02"), len(whole), 2):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at // 2 % 8
        path.write_bytes(bytes(damaged))
        try:
            state = load_state(path)
        except IslesError as error:
            assert error.code in ("E-FILE-14", "E-FILE-15", "E-SAFE-01", "E-SAFE-02")
            bits += 1
        else:  # dates, versions and the like
            assert set(state) == set(truth) and all(torch.equal(state[name], truth[name]) for name in truth)
    assert bits > 100


def test_a_tensor_that_the_archive_calls_a_folder_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"  # torch 2.13 returns memory as it was before for such a tensor
    publish_state(path, {"a": torch.arange(64.0)})
    raw = bytearray(path.read_bytes())
    entry = raw.rfind(b"PK\x01\x02", 0, raw.find(b"data/0", raw.find(b"PK\x01\x02")))
    raw[entry + 38] ^= 0x10
    path.write_bytes(bytes(raw))
    with pytest.raises(IslesError, match=r"E-FILE-15(?s:.*)archive check failed at .*data/0"):
        load_state(path)
