from __future__ import annotations

import pytest
from django.contrib.admin import site
from django.test import RequestFactory

from apps.expiration.models import Deadline

pytestmark = pytest.mark.django_db(transaction=True)


def test_deadlines_can_be_looked_at_and_not_changed():
    request = RequestFactory().get("/expiration/admin/")
    admin = site.get_model_admin(Deadline)

    assert admin.has_add_permission(request) is False
    assert admin.has_change_permission(request) is False
    assert admin.has_delete_permission(request) is False
