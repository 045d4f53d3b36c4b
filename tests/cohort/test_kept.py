"""A process loads a recipe once, and holds one at a time."""

from dataclasses import dataclass, field

from monai_isles.cohort.task import load_in_process


@dataclass(frozen=True)
class Named:
    name: str
    built: list[str] = field(compare=False)

    def load(self) -> list[str]:
        self.built.append(self.name)
        return [self.name]


def test_a_thing_is_loaded_once_and_gives_way_to_the_next() -> None:
    built: list[str] = []
    first = load_in_process(Named("a", built))
    assert load_in_process(Named("a", built)) is first and built == ["a"]
    assert load_in_process(Named("b", built)) == ["b"]
    assert load_in_process(Named("a", built)) is not first and built == ["a", "b", "a"]
