"""What gunicorn serves; DJANGO_SETTINGS_MODULE says which service."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

from ticketing import telemetry

application = get_wsgi_application()
# gunicorn imports this in each of its processes, after the fork.
telemetry.set_up()
