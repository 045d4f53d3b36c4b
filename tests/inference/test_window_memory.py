"""When memory runs out, half as many windows go on; when that is too much too, the setting is named."""

from __future__ import annotations

import pytest

from monai_isles.cohort.task import failed_record
from monai_isles.errors import IslesError, out_of_memory
from monai_isles.inference.malloc import HalvedOnce

ALLOCATOR = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes."


def worker(most: int, fault: Exception) -> tuple[list, object]:
    """Return what was done, and work that fails on more than ``most`` at a time."""
    done: list[list[int]] = []

    def work(group: list[int]) -> None:
        if len(group) > most:
            raise fault
        done.append(list(group))

    return done, work


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError(ALLOCATOR), RuntimeError("CUDA out of memory. Tried")])
def test_from_the_first_time_on_groups_are_halved(fault: Exception, caplog) -> None:
    done, work = worker(3, fault)
    room = HalvedOnce("64 x 64 voxels")
    for group in ([1, 2], [1, 2, 3, 4, 5], [6, 7, 8], [9]):
        room.run(work, group)
    assert done == [[1, 2], [1, 2, 3], [4, 5], [6, 7], [8], [9]]
    assert caplog.text.count("memory ran out at window_batch 5, going on with half") == 1


def test_half_a_group_that_does_not_fit_is_an_error_with_the_setting() -> None:
    _, work = worker(1, RuntimeError(ALLOCATOR))
    with pytest.raises(IslesError, match=r"E-RUN-40: memory ran out.*\n.*64 x 64(?s:.*)window_batch 4 did not fit"):
        HalvedOnce("64 x 64 voxels").run(work, [1, 2, 3, 4])


@pytest.mark.parametrize("first", [True, False])
def test_other_faults_are_not_taken_for_memory(first: bool) -> None:
    room = HalvedOnce("64 x 64 voxels")
    room.halved = not first
    _, work = worker(0, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        room.run(work, [1, 2])
    assert not out_of_memory(RuntimeError("shapes differ")) and not out_of_memory(ValueError("out of memory"))


def test_a_case_that_memory_ends_is_recorded_in_four_lines() -> None:
    try:
        raise RuntimeError("applying transform") from MemoryError("Unable to allocate 9 GiB")
    except RuntimeError as error:
        said = str(failed_record(error)["error"])
    assert said.startswith("E-RUN-41: memory ran out\n  where this case\n  found Unable to allocate 9 GiB\n  fix   end")
