"""A process builds a thing once, and holds one at a time."""

from monai_isles.cohort.task import cache_in_process


def test_a_thing_is_built_once_and_gives_way_to_the_next() -> None:
    built: list[str] = []

    def build(name: str) -> list[str]:
        built.append(name)
        return [name]

    first = cache_in_process("a", lambda: build("a"))
    assert cache_in_process("a", lambda: build("a")) is first and built == ["a"]
    assert cache_in_process("b", lambda: build("b")) == ["b"]
    assert cache_in_process("a", lambda: build("a")) is not first and built == ["a", "b", "a"]
