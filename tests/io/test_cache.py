"""What a cache keeps comes back whole or not at all, within its bound, to many processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io.cache import Cache

ROOT = Path(__file__).parents[2]


def test_what_was_written_comes_back_under_its_own_key_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new")
    assert cache.read("a") is None
    cache.write("a", b"\n\x00 payload \n")
    assert cache.read("a") == b"\n\x00 payload \n" and cache.read("b") is None
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["case-a.entry"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(IslesError, match=r"E-RUN-02: cache cannot be written(?s:.*)file"):
        with Cache(tmp_path / "file").making("a"):
            pass


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, rng = Cache(tmp_path), np.random.default_rng(0)
    cache.write("a", bytes(range(256)))
    path = cache.path("a")
    whole = path.read_bytes()
    harmed = [whole[:n] for n in (0, 1, 64, 65, 200)] + [whole + b"\0"]
    for _ in range(200):
        place, bit = int(rng.integers(len(whole))), int(rng.integers(8))
        harmed.append(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    for content in harmed:
        path.write_bytes(content)
        assert cache.read("a") is None and not path.exists()
    assert caplog.text.count("dropped a damaged cache entry") == len(harmed)


def test_an_entry_under_another_ones_name_is_damaged(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("a", b"x")
    cache.path("a").rename(cache.path("b"))
    assert cache.read("b") is None and not cache.path("b").exists()


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit_gb=1e-6)
    for n, key in enumerate("abc"):
        cache.write(key, b"0" * 200)
        os.utime(cache.path(key), (n, n))
    assert cache.read("a") is not None  # used now
    (tmp_path / ".part-1-dead").touch()
    os.utime(tmp_path / ".part-1-dead", (1, 1))
    (tmp_path / ".part-2-busy").touch()
    cache.write("d", b"0" * 200)
    assert {p.name for p in tmp_path.iterdir()} == {*(f"case-{k}.entry" for k in "acd"), ".part-2-busy"}
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 1000


def test_an_entry_larger_than_the_bound_is_not_kept_and_that_is_said(tmp_path: Path, caplog) -> None:
    cache = Cache(tmp_path, limit_gb=1e-7)
    cache.write("a", b"0" * 200)
    assert cache.read("a") is None and "does not fit into the cache" in caplog.text


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_bound_that_holds_nothing_is_refused(tmp_path: Path, limit: float) -> None:
    with pytest.raises(IslesError, match="E-CACHE-02: the limit of the cache is not above 0"):
        Cache(tmp_path, limit_gb=limit)


def test_two_writers_that_are_killed_and_a_reader_never_see_a_part(tmp_path: Path) -> None:
    script = (
        "import sys, os; from monai_isles.io.cache import Cache; cache = Cache(sys.argv[1], limit_gb=0.003)\n"
        "n = 0\nwhile True:\n    n += 1; cache.write(f'k{n % 7}', bytes([n % 256]) * 500_000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT) for _ in range(2)]
    cache, whole, until = Cache(tmp_path), 0, time.monotonic() + 20
    while whole < 60 and time.monotonic() < until:
        payload = cache.read(f"k{whole % 7}")
        if payload is not None:
            assert len(payload) == 500_000 and len(set(payload)) == 1
            whole += 1
    for process in writers:
        process.kill()
        process.wait()
    assert whole == 60
    entries = [p for p in tmp_path.iterdir() if not p.name.startswith(".part-")]
    assert sum(p.stat().st_size for p in entries) < 4.2e6
    for n in range(7):
        payload = cache.read(f"k{n}")
        assert payload is None or len(payload) == 500_000


def test_one_that_wants_what_another_makes_waits_for_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from monai_isles.io.cache import Cache; cache = Cache(sys.argv[1])\n"
        "with cache.making('a'):\n    print('held', flush=True); time.sleep(0.5); cache.write('a', b'theirs')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline().strip() == "held"
        cache = Cache(tmp_path)
        assert cache.read("a") is None
        with cache.making("a"):
            assert cache.read("a") == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["case-a.entry"]
