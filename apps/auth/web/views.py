"""The account pages."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.auth import selectors, services
from apps.auth.models import User
from apps.auth.web.forms import ChangeEmailForm, ChangePasswordForm, SignInForm, SignUpForm
from apps.core.errors import DomainError
from apps.core.http import add_error, status_of
from apps.core.identity import (
    Principal,
    clear_session_cookie,
    principal_required,
    set_session_cookie,
)
from apps.core.throttling import SignInThrottle, SignUpThrottle, is_allowed

TOO_MANY = "Too many attempts from your network. Please wait a minute and try again."


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an account and sign in with it."""
    after = _next(request)
    if _principal(request) is not None:
        return HttpResponseRedirect(after)
    form = SignUpForm(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        status = 400
        if not is_allowed(SignUpThrottle, request):
            form.add_error(None, TOO_MANY)
            status = 429
        elif form.is_valid():
            try:
                user = services.sign_up(**form.cleaned_data, now=timezone.now())
            except DomainError as exc:
                add_error(form, exc)
            else:
                messages.success(request, "Welcome. Your account is ready.")
                return _signed_in(request, user, after)
    facts = {"form": form, "next": after}
    return render(request, "accounts/signup.html", facts, status=status)


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in, and go on to where the visitor was heading."""
    after = _next(request)
    if _principal(request) is not None:
        return HttpResponseRedirect(after)
    form = SignInForm(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        status = 400
        if not is_allowed(SignInThrottle, request):
            form.add_error(None, TOO_MANY)
            status = 429
        elif form.is_valid():
            try:
                user = services.sign_in(**form.cleaned_data, now=timezone.now())
            except DomainError as exc:
                add_error(form, exc)
                status = status_of(exc)
            else:
                return _signed_in(request, user, after)
    facts = {"form": form, "next": after}
    return render(request, "accounts/signin.html", facts, status=status)


@never_cache
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out of every service at once."""
    response = HttpResponseRedirect("/")
    clear_session_cookie(response)
    rotate_token(request)
    messages.info(request, "You are signed out.")
    return response


@never_cache
@principal_required
@sensitive_post_parameters("current_password", "new_password")
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Show the account; change its address or its password."""
    principal = _principal(request)
    user = selectors.find_user(user_id=principal.id) if principal else None
    if user is None or not user.is_active:
        response = redirect("accounts:signin")
        clear_session_cookie(response)
        return response
    action = request.POST.get("action")
    email_form = ChangeEmailForm(request.POST if action == "email" else None, prefix="email")
    password_form = ChangePasswordForm(
        request.POST if action == "password" else None, prefix="password"
    )
    form = email_form if action == "email" else password_form
    status = 400 if form.is_bound else 200
    if form.is_bound and not is_allowed(SignInThrottle, request):
        form.add_error(None, TOO_MANY)
        status = 429
    elif form.is_bound and form.is_valid():
        try:
            user, said = _change(user, form)
        except DomainError as exc:
            add_error(form, exc)
        else:
            messages.success(request, said)
            return _signed_in(request, user, request.path)
    facts = {"user": user, "email_form": email_form, "password_form": password_form}
    return render(request, "accounts/account.html", facts, status=status)


def _change(user: User, form: ChangeEmailForm | ChangePasswordForm) -> tuple[User, str]:
    user_id = str(user.pk)
    if isinstance(form, ChangeEmailForm):
        changed = services.change_email(user_id=user_id, **form.cleaned_data, now=timezone.now())
        return changed, f"From now on you sign in as {changed.email}."
    changed = services.change_password(user_id=user_id, **form.cleaned_data)
    return changed, "Your password is changed."


def _principal(request: HttpRequest) -> Principal | None:
    principal: Principal | None = request.principal  # type: ignore[attr-defined]
    return principal


def _next(request: HttpRequest) -> str:
    """Return where to go afterwards; never to another site, whatever the address says."""
    after = request.POST.get("next") or request.GET.get("next") or "/"
    is_safe = after.startswith("/") and url_has_allowed_host_and_scheme(
        after, allowed_hosts=None, require_https=request.is_secure()
    )
    return after if is_safe and not after.startswith("/auth/sign") else "/"


def _signed_in(request: HttpRequest, user: User, after: str) -> HttpResponse:
    response = HttpResponseRedirect(after)
    set_session_cookie(response, services.token_for(user, now=timezone.now()))
    # Whoever knew the form's secret before shall not know it now.
    rotate_token(request)
    return response
