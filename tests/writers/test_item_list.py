"""Items on the disk behave as a sorted list would, and take no memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from writers.item_list import Subset, sort_items
from writers.items import Item
from writers.sources import Box, Candidate


def item(number: int, name: str | None = None) -> Item:
    return Item("s", Candidate(name or f"{number}.jpg", number, box=Box(1, 2, 3.5, number)), f"s/{number % 3}")


def key(item: Item) -> bytes:
    return item.candidate.name.encode()


@given(numbers=st.lists(st.integers(0, 10_000), unique=True), data=st.data())
def test_it_is_the_sorted_list(numbers: list[int], data: st.DataObject) -> None:
    items = sort_items(map(item, numbers), key)
    expected = sorted(map(item, numbers), key=key)
    assert list(items) == expected and len(items) == len(expected)
    start, stop = data.draw(st.integers(-9, 20)), data.draw(st.none() | st.integers(-9, 20))
    assert list(items[start:stop]) == expected[start:stop]
    inner = items[start:stop][1:]
    assert [inner[i] for i in range(len(inner))] == expected[start:stop][1:]


@given(names=st.lists(st.sampled_from("abc"), max_size=9), at=st.integers(0, 8))
def test_namesakes_but_the_first_are_refused_wherever_a_slice_begins(names: list[str], at: int) -> None:
    items = sort_items((item(i, name) for i, name in enumerate(names)), key)
    faults = [bool(found.candidate.fault) for found in items]
    order = sorted(names)
    assert faults == [i > 0 and order[i] == order[i - 1] for i in range(len(order))]
    assert [bool(found.candidate.fault) for found in items[at:]] == faults[at:]
    assert all((found.identity is None) == bool(found.candidate.fault) for found in items)


@given(
    numbers=st.lists(st.integers(0, 60), unique=True),
    people=st.none() | st.integers(1, 9),
    images=st.none() | st.integers(1, 5),
)
def test_a_subset_is_the_first_images_of_the_first_people(
    numbers: list[int], people: int | None, images: int | None
) -> None:
    def who(item: Item) -> bytes | None:  # every seventh shows nobody in particular
        place = item.candidate.place
        return None if place % 7 == 0 else str((place % 5) * 3 % 5).encode()

    found = list(sort_items(map(item, numbers), key, Subset(who, people, images)))
    by_person: dict[bytes, list[Item]] = {}
    for each in sorted(map(item, numbers), key=key):
        if (person := who(each)) is not None:
            by_person.setdefault(person, []).append(each)
    expected = [each for person in sorted(by_person)[:people] for each in by_person[person][:images]]
    assert found == sorted(expected, key=key)


def test_names_that_are_no_text_and_many_blocks() -> None:
    items = sort_items((item(i) for i in range(10_000)), lambda item: item.candidate.place.to_bytes(8, "big"))
    assert [found.candidate.place for found in items] == list(range(10_000))
    odd = item(1, "caf\udce9.jpg")
    assert list(sort_items([odd], lambda item: b"")) == [odd]


def test_memory_stays_flat() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            items = sort_items((item(i) for i in range(count)), key)
            assert sum(1 for _ in items) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    assert peak(40_000) - peak(10_000) < 1 << 18


@given(numbers=st.lists(st.integers(0, 30), unique=True, min_size=1), other=st.lists(st.integers(0, 30), unique=True))
def test_rows_are_equal_for_equal_lists_alone(numbers: list[int], other: list[int]) -> None:
    def rows(numbers: list[int]) -> bytes:
        return b"".join(sort_items(map(item, numbers), key).rows())

    assert rows(numbers) == rows(sorted(numbers))
    assert (rows(numbers) == rows(other)) == (set(numbers) == set(other))
    assert (
        b"".join(sort_items(map(item, numbers), key)[1:].rows()) == rows(sorted(numbers, key=str)[1:])
        or len(numbers) == 1
    )
