"""What configurations are checked against: the names that are registered, and what is to be known of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from camstudy.figures import FigureRecord
    from camstudy.tables import TableRecord

    Record = TableRecord | FigureRecord  # of what a study shows


class Registered(TypedDict, total=False):
    """Registered names; what is not there is not checked. `camstudy.pipeline.head.registered` returns all.

    ``arrays`` are the names of what each method stores beside its maps. ``bind`` checks a method's parameters,
    given its name and them. ``methods`` explain models, ``controls`` look at none; ``references`` has the reference
    of each, ``variants`` the variant that those have to have which explain no other model, ``attention`` are those that
    read the attention of transformers. ``rules`` are those of the workflow, ``families`` the families of metrics that a
    table or figure shows, ``protocols`` those that ship; ``metrics`` returns the metrics of a family.
    """

    bind: Callable[[str, Mapping], object]
    methods: Sequence[str]
    controls: Sequence[str]
    references: Mapping[str, str | None]
    arrays: Mapping[str, Sequence[str]]
    variants: Mapping[str, str]
    attention: Sequence[str]
    rules: Sequence[str]
    families: Mapping[str, Sequence[str]]
    protocols: Mapping[str, Mapping]
    metrics: Callable[[str], Sequence[str]]
