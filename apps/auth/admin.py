"""Users in the admin: to find, to close, to let into the administration. And the mails to them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from apps.auth import services
from apps.auth.mail import queueing
from apps.auth.mail.sending import draw, message_of
from apps.auth.models import Mail, User
from apps.core.admin import ReadOnly

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[User]
    MailModelAdmin = admin.ModelAdmin[Mail]
else:
    # Only the stubs know which model an admin is of.
    ModelAdmin = MailModelAdmin = admin.ModelAdmin


@admin.register(User)
class UserAdmin(ModelAdmin):
    """Read-only but for the actions, which go through services and so publish what changed."""

    list_display = ("email", "is_active", "is_staff", "registered_at", "id")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "id__exact")
    search_help_text = "An address, a part of one, or a user id"
    ordering = ("-registered_at",)
    date_hierarchy = None
    list_per_page = 50
    show_full_result_count = False
    fields = ("email", "is_active", "is_staff", "version", "registered_at", "locked_until")
    actions = ("close", "reopen", "let_in", "keep_out", "unlock")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:  # noqa: ARG002
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("email", "is_active", "is_staff", "version", "registered_at", "locked_until")

    @admin.action(description="Close the selected accounts", permissions=["change"])
    def close(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_active(
                user_id=user_id, is_active=False, now=timezone.now()
            ),
            "closed; they stay signed in elsewhere until their token expires",
        )

    @admin.action(description="Reopen the selected accounts", permissions=["change"])
    def reopen(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_active(
                user_id=user_id, is_active=True, now=timezone.now()
            ),
            "open again",
        )

    @admin.action(description="Let into the administration", permissions=["change"])
    def let_in(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_staff(user_id=user_id, is_staff=True),
            "now staff, from their next sign-in on",
        )

    @admin.action(description="Keep out of the administration", permissions=["change"])
    def keep_out(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_staff(user_id=user_id, is_staff=False),
            "no longer staff; elsewhere their token says so until it expires",
        )

    @admin.action(description="Take passwords again", permissions=["change"])
    def unlock(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        for user in chosen:
            services.unlock(user=user)
        self.message_user(request, f"{len(chosen)} accounts take passwords again.")

    def _each(
        self,
        request: HttpRequest,
        chosen: QuerySet[User],
        change: Callable[[str], object],
        outcome: str,
    ) -> None:
        """Change the chosen users one by one, the member of staff who does it left out."""
        user_ids = [str(each) for each in chosen.values_list("pk", flat=True)]
        others = [user_id for user_id in user_ids if user_id != str(request.user.pk)]
        for user_id in others:
            change(user_id)
        if len(others) < len(user_ids):
            self.message_user(request, "Your own account was left alone.", messages.WARNING)
        if others:
            self.message_user(request, f"{len(others)} accounts are {outcome}.", messages.SUCCESS)


@admin.register(Mail)
class MailAdmin(ReadOnly, MailModelAdmin):
    """Every mail: whether it was sent, why not, and how it looks."""

    list_display = ("queued_at", "kind", "state", "why", "recipient", "about", "attempts", "due_at")
    list_filter = ("state", "kind", "queued_at")
    search_fields = ("=order_id", "=user_id", "=recipient", "=event_id")
    search_help_text = "An id (order, user or event), or an address, whole."
    ordering = ("-queued_at",)
    list_per_page = 50
    show_full_result_count = False
    actions = ("try_again",)
    fieldsets = (
        (None, {"fields": ("state", "kind", "recipient", "subject", "files", "page")}),
        ("As plain text", {"fields": ("text",)}),
        (
            "Sending",
            {
                "fields": (
                    "attempts",
                    "due_at",
                    "last_error",
                    "queued_at",
                    "trying_since",
                    "sent_at",
                )
            },
        ),
        ("Where it comes from", {"fields": ("id", "order_id", "user_id", "event_id", "facts")}),
    )
    readonly_fields = ("files", "page")

    @admin.display(description="subject", ordering="subject")
    def about(self, mail: Mail) -> str:
        return Truncator(mail.subject).chars(60) or "not written yet"

    @admin.display(description="last error")
    def why(self, mail: Mail) -> str:
        return Truncator(mail.last_error).chars(60)

    @admin.display(description="message")
    def page(self, mail: Mail) -> SafeString | str:
        if not mail.html:
            return "It is written when it is first sent."
        # Sandboxed without any allowance: nothing in it runs, and its links lead nowhere.
        return format_html(
            '<iframe sandbox="" width="640" height="620" title="The mail" srcdoc="{}"></iframe>',
            mail.html,
        )

    @admin.display(description="files")
    def files(self, mail: Mail) -> SafeString | str:
        if not mail.html:
            return "none yet"
        as_sent = format_html(
            '<a href="{}">The mail as it was sent (.eml)</a>',
            reverse("admin:accounts_mail_message", args=(mail.pk,)),
        )
        if mail.kind != Mail.Kind.PAID:
            return as_sent
        ticket = reverse("admin:accounts_mail_ticket", args=(mail.pk,))
        return format_html('{}, <a href="{}">the ticket (.pdf)</a>', as_sent, ticket)

    @admin.action(description="Try to send again now", permissions=["view"])
    def try_again(self, request: HttpRequest, chosen: QuerySet[Mail]) -> None:
        tried = 0
        for mail_id in chosen.values_list("pk", flat=True):
            try:
                queueing.try_again(mail_id=mail_id, now=timezone.now())
                tried += 1
            except queueing.NothingToTry as refusal:
                self.message_user(request, f"{mail_id}: {refusal.message}", messages.WARNING)
        if tried:
            self.message_user(request, f"Due now: {tried}.", messages.SUCCESS)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:mail_id>/message.eml", view(self._message), name="accounts_mail_message"),
            path("<uuid:mail_id>/ticket.pdf", view(self._ticket), name="accounts_mail_ticket"),
            *super().get_urls(),
        ]

    def _message(self, request: HttpRequest, mail_id: uuid.UUID) -> HttpResponse:
        mail = self._written(request, mail_id)
        body = message_of(mail, draw(mail)).message().as_bytes()
        return _download(body, "message/rfc822", f"{mail.pk}.eml")

    def _ticket(self, request: HttpRequest, mail_id: uuid.UUID) -> HttpResponse:
        mail = self._written(request, mail_id)
        ticket = draw(mail)
        if ticket is None:
            raise Http404
        return _download(ticket, "application/pdf", f"{mail.pk}.pdf")

    def _written(self, request: HttpRequest, mail_id: uuid.UUID) -> Mail:
        if not self.has_view_permission(request):
            raise PermissionDenied
        mail = Mail.objects.filter(pk=mail_id).first()
        if mail is None or not mail.html:
            raise Http404
        return mail


def _download(body: bytes, media_type: str, name: str) -> HttpResponse:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(body, content_type=media_type, headers=disposition)
