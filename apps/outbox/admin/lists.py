"""Lists of rows that only the outbox may write, bounded however many rows there are.

No list counts or sorts a whole table: each either goes through an index that holds only what
waits or is dead, or ends at the newest rows. What is older is found by its id.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from ..conf import settings

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    BasePaginator = Paginator[Any]
else:
    # Only the stubs know which model they are of.
    ModelAdmin = admin.ModelAdmin
    BasePaginator = Paginator

MOST_FOUND = 1000


class BoundedPaginator(BasePaginator):
    """Counts no further than a person would turn the pages."""

    MOST = 10_000
    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.MOST)

    @property
    def has_more(self) -> bool:
        """Whether there is more than is counted and listed."""
        return self._counted > self.MOST

    @cached_property
    def _counted(self) -> int:
        return self.object_list.order_by()[: self.MOST + 1].count()


class BoundedList(ChangeList):
    """Sorts as an index does, and reads no further back than it must."""

    paginator: BoundedPaginator
    is_of_newest = False

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        of: Any = self.model_admin
        if request.method == "POST" and request.POST.get("select_across") != "1":
            # Those that were chosen, whatever has become of them: who acts upon them must be told.
            return self.root_queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        found = super().get_queryset(request, exclude_parameters)
        newest = {} if self.query or of.is_bounded(request) else of.newest()
        self.is_of_newest = bool(newest)
        return found.filter(**newest)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:  # noqa: ARG002
        return list(self.model_admin.get_ordering(request))


class ChoiceFilter(admin.SimpleListFilter):
    """Narrows a list down to one of a few values that are known without asking the table."""

    default: str | None = None
    """What is shown unless something else is chosen or searched for; then "all" is no choice."""

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        raise NotImplementedError

    def value(self) -> str | None:
        return super().value() or self.default

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        choices = super().choices(changelist)
        if self.default is not None:
            next(choices)
        return choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        is_search = bool(request.GET.get("q", "").strip()) and not super().value()
        value = self.value()
        return queryset if value is None or is_search else queryset.filter(**self.matching(value))

    def matching(self, value: str) -> dict[str, Any]:
        """Return what a row must have."""
        return {str(self.parameter_name): value}


class TopicFilter(ChoiceFilter):
    """The topics that are declared."""

    title = "topic"
    parameter_name = "topic"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [(topic.name, topic.name) for topic in settings.OUTBOX_TOPICS]


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only the outbox itself may write."""

    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by: ClassVar[tuple[str, ...]] = ()
    change_list_template = "admin/outbox/change_list.html"
    exact_search: ClassVar[tuple[str, ...]] = ()
    """Fields that a search compares whole: an index can do that, and a substring needs none."""
    NEWEST = 10_000

    class Media:
        css: ClassVar = {"all": ("outbox/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ANN401, ARG002
        return BoundedList

    def is_bounded(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Say whether the list is short by its nature, or by an index that the filters use."""
        return False

    def newest(self) -> dict[str, Any]:
        """Return what the newest rows have, if there are older ones: keys grow with time."""
        [*oldest] = self.model.objects.order_by("-pk")[self.NEWEST - 1 : self.NEWEST]
        return {"pk__gte": oldest[0].pk} if oldest else {}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return super().get_search_results(request, queryset, "")
        found: set[Any] = set()
        # One by one, so that each goes by its own index and none by that of the list's order.
        for condition in self.conditions(term):
            rows = self.model.objects.filter(**condition)
            found |= set(rows.values_list("pk", flat=True)[:MOST_FOUND])
        return queryset.filter(pk__in=found), False

    def conditions(self, term: str) -> Iterable[dict[str, Any]]:
        """Return what is meant by a search term: rows that match any of it."""
        for name in self.exact_search:
            yield {name: term}


def by_uuid(term: str) -> Iterable[dict[str, uuid.UUID]]:
    try:
        yield {"pk": uuid.UUID(term)}
    except ValueError:
        return
