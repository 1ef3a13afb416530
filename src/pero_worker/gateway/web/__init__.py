"""The web pages: jobs, a new job, a page with its text, the cluster. Rendered on the server, in three languages."""

from pero_worker.gateway.web import again, assets, cluster, jobs, new_job, page, scans, signing_in
from pero_worker.gateway.web.faults import error_page, sign_in_needed
from pero_worker.gateway.web.render import prepare
from pero_worker.gateway.web.visit import SignInNeeded

ROOMS = (assets, cluster, new_job, jobs, again, page, scans, signing_in)
"""The modules that have a router."""
__all__ = ["ROOMS", "SignInNeeded", "error_page", "prepare", "sign_in_needed"]
