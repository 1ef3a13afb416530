"""Signs visitors in with an API key, and out."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pero_worker.gateway.auth import known_key
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Role
from pero_worker.gateway.sessions import COOKIE, is_own_site, new_session
from pero_worker.gateway.web.forms import read_form
from pero_worker.gateway.web.render import go_to, show
from pero_worker.gateway.web.visit import Guest, Visit, own_path

router = APIRouter(prefix="/web", include_in_schema=False)


@router.get("/sign-in")
def get_sign_in(visit: Guest) -> Response:
    return show(visit, "sign_in.html", next=own_path(visit.request.query_params.get("next", "")), fault="")


@router.post("/sign-in")
async def post_sign_in(visit: Guest) -> Response:
    form = await read_form(visit.request)
    return await run_in_threadpool(_sign_in, visit, form.get("key", "").strip(), own_path(form.get("next", "")))


def _sign_in(visit: Visit, text: str, following: str) -> Response:
    """Refuses other sites' pages here as well: they could sign visitors in with a key of their own, and get their
    scans."""
    if not is_own_site(visit.request):
        raise ApiError(403, "ORIGIN_FORBIDDEN", visit.words("error.other_site"))
    try:
        key = known_key(visit.gateway, text)
    except ApiError as error:
        fault = visit.words("sign_in.inactive" if error.status == 403 else "sign_in.wrong")
        return show(visit, "sign_in.html", status=error.status, next=following, fault=fault)
    if key.role is Role.WORKER:
        following = "/web/cluster"
    return go_to(replace(visit, key=key, fresh_session=new_session(visit.gateway, key)), following)


@router.post("/sign-out")
def post_sign_out(visit: Guest) -> Response:
    if not is_own_site(visit.request):
        raise ApiError(403, "ORIGIN_FORBIDDEN", visit.words("error.other_site"))
    reply = go_to(visit, "/web/sign-in")
    reply.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return reply
