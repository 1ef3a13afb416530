"""Pages for people: jobs, a new job, a page with its text, the cluster. Made on the server, in three languages."""

from pero_worker.gateway.web import assets, jobs, new_job, signing_in
from pero_worker.gateway.web.faults import error_page, sign_in_needed
from pero_worker.gateway.web.visit import SignInNeeded

ROOMS = (assets, new_job, jobs, signing_in)
"""Modules with a router."""
__all__ = ["ROOMS", "SignInNeeded", "error_page", "sign_in_needed"]
