"""What the members of a committee are to become, and which of them can learn in one program."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from deltarule.committee import MOST_MEMBERS
from deltarule.data import Dataset
from deltarule.data.unread import unread
from deltarule.data.views import view, viewed
from deltarule.learning import Recipe
from deltarule.learning.plan import room_of
from deltarule.learning.setup import USUAL_BATCH_SIZE, check_data
from deltarule.network import Network

MOST_IN_ONE = 32  # members: with 80 tiny ones it takes half a minute to compile
ROOM_IN_ONE = 1 << 30  # bytes of gradients and of what layers hand on

T = TypeVar("T")


@dataclass(frozen=True)
class Member:
    """What one member is to become."""

    network: Network
    recipe: Recipe
    view: str

    def is_like(self, other: "Member") -> bool:
        """Whether the two differ in their seeds alone."""
        return self == replace(other, recipe=replace(other.recipe, seed=self.recipe.seed))


Numbered = tuple[int, Member]  # from 1


def wanted_members(
    networks: Network | Sequence[Network],
    recipes: Recipe | Sequence[Recipe],
    views: str | Sequence[str],
    members: int,
) -> list[Member]:
    """Return what each member is to become."""
    if isinstance(members, bool) or not isinstance(members, int) or members < 1:
        raise ValueError(f"members must be a whole number of at least 1, got {members!r}.")
    if members > MOST_MEMBERS:
        raise ValueError(f"members must be at most {MOST_MEMBERS:,}, got {members:,}.")
    each_recipe = _each("recipes", recipes, Recipe, members)
    if isinstance(recipes, Recipe):
        each_recipe = [replace(recipes, seed=recipes.seed + i) for i in range(members)]
    each_network = _each("networks", networks, Network, members)
    wanted = list(map(Member, each_network, each_recipe, _each("views", views, str, members)))
    for position, member in enumerate(wanted):
        view(member.view)
        if member in wanted[:position]:
            raise ValueError(
                f"members {wanted.index(member) + 1} and {position + 1} have the same network, "
                "recipe and view, so they would be equal; give their recipes different seeds."
            )
    return wanted


def check_together(wanted: Sequence[Member], training: Dataset, combine: str) -> None:
    """Refuse, before any of them is trained, members that could not be or answer together."""
    if combine == "vote" and not training.classes:
        raise ValueError("combine 'vote' needs classes; choose 'mean' for regression.")
    for member in dict.fromkeys(wanted):
        shown = viewed(training[:1], member.view)
        check_data(member.network, shown, None, member.recipe)
        ours, first = member.network.output, wanted[0].network.output
        if ours != first:
            raise ValueError(
                f"members must all have the same output activation; the first has {first!r}, "
                f"another {ours!r}: end their networks alike."
            )


def _each(name: str, value: T | Sequence[T], kind: type[T], members: int) -> list[T]:
    if isinstance(value, kind):
        return [value] * members
    found: list[T] = list(value)  # type: ignore[arg-type]
    if len(found) != members:
        raise ValueError(
            f"{name} must be one for all members or one each for {members}, got {len(found)}; "
            f"pass members={len(found)}, or as many {name} as members."
        )
    return found


def in_one_program(
    members: Sequence[Numbered], most: int | None, training: Dataset, validation: Dataset | None
) -> list[list[Numbered]]:
    """Return the members in groups of at most ``most``, each of which can learn in one program.

    They do if they differ in their seeds alone and see the same examples, all of them in memory.
    With None, as many are together as memory should hold and as are compiled in some seconds.
    """
    groups: list[list[Numbered]] = []
    for number, member in members:
        recipe = member.recipe
        cuts_its_own = recipe.early_stopping is not None and validation is None
        alone = cuts_its_own or recipe.method.all_data or unread(training.x) is not None
        limit = 1 if alone else most or _most(member, training)
        for group in groups:
            if len(group) < limit and member.is_like(group[0][1]):
                group.append((number, member))
                break
        else:
            groups.append([(number, member)])
    return groups


def _most(member: Member, training: Dataset) -> int:
    """Return how many like ``member`` may learn in one program if nobody says how many."""
    recipe = member.recipe
    examples = min(recipe.batch_size or USUAL_BATCH_SIZE, len(training))
    shape = viewed(training[:1], member.view).shape
    each = room_of(member.network, shape, examples, recipe.precision)
    return max(1, min(MOST_IN_ONE, ROOM_IN_ONE // each))
