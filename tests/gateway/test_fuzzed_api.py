"""What schemathesis makes up from the descriptions of both dialects: no 500, no reply that is not described."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from gateway.conftest import Roles, RunningGateway, dummy_pipeline, roles_of, running

from pero_worker.gateway.legacy import user, worker

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""Not among them: whether all that the description allows is taken. A deadline in the past fits the description."""
FAILURE = {
    "type": "object",
    "required": ["status", "message"],
    "properties": {"status": {"const": "failure"}, "message": {"type": "string", "minLength": 1}},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway of its own: what is made up with an administrator's key would change engines and jobs of other tests."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with running(folder / "data", "--pipeline", str(dummy_pipeline(folder / "dummy")), "--jobs", "1") as started:
        yield started


@pytest.fixture(scope="module")
def roles(gateway: RunningGateway) -> Roles:
    return roles_of(gateway)


def legacy_description() -> dict[str, Any]:
    """Errors of the old API are JSON with a message, whatever is asked."""
    app = FastAPI(title="legacy", version="1")
    routes: list[Any] = [*user.router.routes, *worker.router.routes]
    for route in routes:
        route.include_in_schema = True
    for room in (user, worker):
        app.include_router(room.router, include_in_schema=True)
    schema = app.openapi()
    for route in routes:
        route.include_in_schema = False
    for operations in schema["paths"].values():
        for operation in operations.values():
            operation["responses"] = {
                "200": {"description": "It was done."},
                "204": {"description": "There is nothing."},
                "4XX": {"description": "It was not.", "content": {"application/json": {"schema": FAILURE}}},
            }
    schema["paths"]["/post_processing_request"]["post"]["requestBody"] = {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"engine": {"type": "integer"}, "images": {"type": "object"}},
                },
                "example": {"engine": 1, "images": {"a": None}},
            }
        }
    }
    return schema


def fuzz(where: str, key: str, header: str, *more: str) -> None:
    command = [str(Path(sys.executable).with_name("st")), "run", where, "-H", f"{header}: {key}"]
    options = ["--checks", ",".join(CHECKS), "--phases", "examples,coverage", "--seed", "1", "--no-color"]
    paths = ["--exclude-path-regex", "events$"]  # They have no end.
    done = subprocess.run(
        [*command, *options, *paths, "--continue-on-failure", "--suppress-health-check", "all", *more],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]


def test_nothing_that_is_made_up_meets_a_bug(roles: Roles, gateway: RunningGateway) -> None:
    begun = len(gateway.log())
    fuzz(f"{gateway.url}/v1/openapi.json", roles.admin.key, "X-API-Key")
    assert "Traceback" not in gateway.log()[begun:]


def test_nothing_that_is_made_up_meets_a_bug_in_the_old_api(
    roles: Roles, gateway: RunningGateway, tmp_path: Path
) -> None:
    begun = len(gateway.log())
    description = tmp_path / "legacy.json"
    description.write_text(json.dumps(legacy_description()))
    fuzz(str(description), roles.worker.key, "api-key", "--url", gateway.url)
    assert "Traceback" not in gateway.log()[begun:]
