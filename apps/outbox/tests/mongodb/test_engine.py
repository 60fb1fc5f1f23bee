"""The three faults of django-mongodb-backend that apps.outbox.mongodb repairs (docs/adr/0003)."""

from __future__ import annotations

import json

import pytest
from bson import ObjectId
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, IntegrityError, connection, models
from django_mongodb_backend.transaction import atomic  # noqa: TID251 (its repair is tested)
from pymongo.errors import OperationFailure

pytestmark = pytest.mark.django_db


def stages_of(node):
    """Yield the name of every stage of a query plan, however deep."""
    if isinstance(node, dict):
        if isinstance(name := node.get("stage"), str):
            yield name
        for key, value in node.items():
            if key.startswith("$"):
                yield key
            if key not in {"rejectedPlans", "command"}:
                yield from stages_of(value)
    elif isinstance(node, list):
        for each in node:
            yield from stages_of(each)


def plan_of(queryset):
    """Return the stages that the server would walk for the queryset."""
    return set(stages_of(json.loads(queryset.explain())))


def unique_indexes_of(model):
    return [
        index
        for index in connection.database[model._meta.db_table].index_information().values()
        if index.get("unique")
    ]


@pytest.fixture
def groups():
    Group.objects.bulk_create([Group(name=f"group {number:03}") for number in range(200)])


@pytest.mark.parametrize("model", [Group, Permission, ContentType])
def test_a_unique_index_has_no_condition_where_nothing_can_be_null(model):
    (index,) = unique_indexes_of(model)

    assert "partialFilterExpression" not in index


def test_a_unique_index_still_lets_nulls_stand_beside_each_other():
    class Seat(models.Model):
        number = models.IntegerField(null=True, unique=True)

        class Meta:
            app_label = "core"
            db_table = "core_test_seat"

    with connection.schema_editor() as editor:
        editor.create_model(Seat)
    try:
        Seat.objects.create(number=None)
        Seat.objects.create(number=None)
        Seat.objects.create(number=1)
        with pytest.raises(IntegrityError):
            Seat.objects.create(number=1)
        assert Seat.objects.count() == 3
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Seat)


@pytest.mark.usefixtures("groups")
def test_a_lookup_by_a_unique_field_walks_its_index():
    stages = plan_of(Group.objects.filter(name="group 007"))

    assert "IXSCAN" in stages
    assert "COLLSCAN" not in stages


@pytest.mark.usefixtures("groups")
def test_a_sorted_list_walks_the_index_instead_of_sorting_in_memory():
    stages = plan_of(Group.objects.order_by("name")[:10])

    assert "IXSCAN" in stages
    assert not stages & {"SORT", "$sort", "COLLSCAN"}


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        (("name",), ["group 000", "group 001", "group 002"]),
        (("-name",), ["group 199", "group 198", "group 197"]),
    ],
)
def test_a_sorted_list_is_sorted(ordering, expected):
    assert list(Group.objects.order_by(*ordering).values_list("name", flat=True)[:3]) == expected
    assert [group.name for group in Group.objects.order_by(*ordering)[:3]] == expected


def test_a_list_sorted_by_what_must_be_computed_is_sorted_too():
    for name in ("bb", "a", "ccc"):
        Group.objects.create(name=name)

    by_length = Group.objects.annotate(length=models.functions.Length("name")).order_by("-length")

    assert [group.name for group in by_length] == ["ccc", "bb", "a"]


def test_a_list_sorted_by_a_neighbours_field_is_sorted_too():
    kinds = Permission.objects.order_by("content_type__app_label", "codename")

    labels = [each.content_type.app_label for each in kinds.select_related("content_type")]

    assert labels == sorted(labels)
    assert len(set(labels)) > 1


def write_and_fail_to_commit(name, monkeypatch, hook=lambda: None):
    def commit():
        raise OperationFailure("the commit failed", 251)

    with atomic():
        Group.objects.create(name=name)
        connection.on_commit(hook)
        monkeypatch.setattr(connection.session, "commit_transaction", commit)


def write_and_fail(name):
    with atomic():
        Group.objects.create(name=name)
        raise ZeroDivisionError


def test_a_failed_commit_is_a_database_error_and_leaves_nothing_behind(monkeypatch):
    ran = []

    with pytest.raises(DatabaseError, match="the commit failed"):
        write_and_fail_to_commit("half", monkeypatch, hook=lambda: ran.append("hook"))

    assert connection.session is None
    assert not connection.in_atomic_block_mongo
    assert not Group.objects.filter(name="half").exists()
    assert ran == []


def test_a_thread_has_real_transactions_after_a_failed_commit(monkeypatch):
    with pytest.raises(DatabaseError):
        write_and_fail_to_commit("first", monkeypatch)

    with pytest.raises(ZeroDivisionError):
        write_and_fail("second")
    with atomic():
        Group.objects.create(name="third")

    assert list(Group.objects.values_list("name", flat=True)) == ["third"]


def test_the_keys_of_djangos_own_models_are_object_ids():
    group = Group.objects.create(name="ops")

    assert isinstance(group.pk, ObjectId)
    assert Group.objects.get(pk=str(group.pk)) == group
