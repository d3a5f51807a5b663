"""Class sampling, written from docs/data.md 5.4 with plain loops."""

from collections.abc import Callable


def class_sample(
    labels: list[int], batch_size: int, draw: Callable[[list[int], int], list[int]]
) -> list[int]:
    """Window indices; `draw(members, b)` stands for b draws with replacement."""
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    share = batch_size // len(members)
    result: list[int] = []
    for batch in range(2 * (len(labels) // batch_size)):
        for label in sorted(members):
            own = members[label]
            following = own[batch * share : (batch + 1) * share]
            result += following if len(following) == share else draw(own, share)
    return result
