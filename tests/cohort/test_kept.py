"""A process builds a thing once, and holds one at a time."""

from monai_isles.cohort.task import kept


def test_a_thing_is_built_once_and_gives_way_to_the_next() -> None:
    built: list[str] = []

    def build(name: str) -> list[str]:
        built.append(name)
        return [name]

    first = kept("a", lambda: build("a"))
    assert kept("a", lambda: build("a")) is first and built == ["a"]
    assert kept("b", lambda: build("b")) == ["b"]
    assert kept("a", lambda: build("a")) is not first and built == ["a", "b", "a"]
