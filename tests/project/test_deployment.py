"""The files in packaging/: what they name is there, what they call is what our programs take, and their schemas hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import typer
import yaml

from pero_worker.cli import app
from pero_worker.cluster.setup.templates import Ports, compose

HOME = Path(__file__).parents[2]
PACKAGING = HOME / "packaging"
CHART = PACKAGING / "helm/pero-worker"
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
SCHEMA = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor/compose-spec.json"


def assert_taken(words: Sequence[str]) -> None:
    """That our command line knows the command and its options."""
    group: Any = typer.main.get_command(app)
    command = group.get_command(group.context_class(group, info_name="pero-worker"), words[0])
    assert command is not None, words
    context = command.context_class(command, info_name=words[0])
    _values, rest, _order = command.make_parser(context).parse_args(list(words[1:]))
    assert not rest, (words, rest)


# -- containers ---------------------------------------------------------------------------------------------------


def instructions() -> Iterator[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (PACKAGING / "Containerfile").read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, " ".join(rest.split())


def test_the_containerfile_copies_what_is_there_and_ends_as_nobody() -> None:
    found = list(instructions())
    sources = [word for name, rest in found if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    allowed = [line[1:] for line in (HOME / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources == allowed and all((HOME / source).exists() for source in sources)
    assert [rest for name, rest in found if name == "USER"][-1] == "10001:10001"
    assert [rest for name, rest in found if name == "VOLUME"] == ['["/data", "/models"]']
    (entry,) = [json.loads(rest) for name, rest in found if name == "ENTRYPOINT"]
    assert entry == ["pero-worker"] and entry[0] in PROJECT["scripts"]
    assert any(name == "HEALTHCHECK" for name, _ in found)


def test_containers_have_the_torch_and_the_extras_of_the_project() -> None:
    pinned = next(one for one in PROJECT["optional-dependencies"]["pero"] if one.startswith("torch=="))
    arguments = dict(rest.split("=", 1) for name, rest in instructions() if name == "ARG" and "=" in rest)
    assert arguments["TORCH"] == f"{pinned}+cpu"
    assert set(arguments["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"])
    recipe = (PACKAGING / "pero-worker.def").read_text()
    assert f"TORCH={pinned}\n" in recipe and f"--build-arg TORCH={pinned} " in (PACKAGING / "Containerfile").read_text()


@pytest.mark.parametrize("path", [HOME / "compose.yaml", PACKAGING / "cluster.yaml", PACKAGING / "cuda.yaml"])
def test_compose_files_are_what_their_specification_says(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(SCHEMA.read_text()))


def merged() -> dict[str, Any]:
    """The servers of `set-up` and the parts."""
    services: dict[str, Any] = {}
    for text in (compose(Ports()), (PACKAGING / "cluster.yaml").read_text(), (PACKAGING / "cuda.yaml").read_text()):
        for name, service in yaml.safe_load(text)["services"].items():
            services[name] = {**services.get(name, {}), **service}
    return services


def test_compose_files_name_what_is_there() -> None:
    jsonschema.validate(yaml.safe_load(compose(Ports())), json.loads(SCHEMA.read_text()))
    services, made = merged(), {"client.toml", "ca.pem", "known_hosts"}
    ours = {name: one for name, one in services.items() if "pero-worker" in one["image"]}
    assert set(ours) == {"worker", "watchdog", "gateway", "metrics"}
    for name, service in ours.items():
        assert_taken(service["command"])
        assert set(service["depends_on"]) <= set(services), name
        mounts = [volume.split(":")[0] for volume in service["volumes"] if isinstance(volume, str)]
        assert {Path(mount).name for mount in mounts} == made
    for name in ("prometheus", "grafana"):
        for mount in (volume.split("}")[1].split(":")[0] for volume in services[name]["volumes"][:-1]):
            assert (HOME / mount.lstrip("/")).is_file(), mount


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    shutil.copy(PACKAGING / "prometheus.yaml", tmp_path / "prometheus.yml")
    shutil.copy(HOME / "monitoring/alerts.yaml", tmp_path)
    promtool = HOME / "build/prometheus/usr/bin/promtool"
    command: list[str | Path] = [promtool, "check", "config", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -- Kubernetes ---------------------------------------------------------------------------------------------------

EXPRESSION = re.compile(r"\{\{ \.([A-Za-z.]+) \}\}")
BLOCK = re.compile(
    r"^ *\{\{- (if (?P<no>not )?\.(?P<of>[A-Za-z.]+)|end|toYaml \.(?P<yaml>[A-Za-z.]+) \| nindent (?P<by>\d+)) \}\}$"
)


def value_of(values: Mapping[str, Any], path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def rendered(template: Path, values: Mapping[str, Any]) -> list[Any]:
    """What Helm makes of a template that uses no more of its language than ours do."""
    lines, shown = [], [True]
    for line in template.read_text().splitlines():
        if found := BLOCK.match(line):
            if found["of"]:
                shown.append(shown[-1] and bool(value_of(values, found["of"])) != bool(found["no"]))
            elif found["yaml"]:
                text = yaml.safe_dump(value_of(values, found["yaml"]))
                lines += [" " * int(found["by"]) + part for part in text.splitlines() if shown[-1]]
            else:
                shown.pop()
        elif shown[-1]:
            lines.append(EXPRESSION.sub(lambda name: str(value_of(values, name[1])), line))
    text = "\n".join(lines)
    assert shown == [True] and "{{" not in text, template
    return [one for one in yaml.safe_load_all(text) if one]


def resources(**keda: object) -> dict[tuple[str, str], Any]:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    values["keda"] |= keda
    context = {"Values": values, "Release": {"Name": "here"}}
    made = [one for path in sorted((CHART / "templates").iterdir()) for one in rendered(path, context)]
    return {(one["kind"], one["metadata"]["name"]): one for one in made}


def test_the_chart_runs_commands_that_are_there_as_nobody() -> None:
    found = resources()
    deployments = [one for (kind, _), one in found.items() if kind == "Deployment"]
    assert {one["metadata"]["name"] for one in deployments} == {
        "here-worker", "here-watchdog", "here-metrics", "here-gateway"
    }  # fmt: skip
    for one in deployments:
        template = one["spec"]["template"]
        assert one["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        (container,) = template["spec"]["containers"]
        assert_taken(container["args"])
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        assert {mount["name"] for mount in container["volumeMounts"]} <= {
            volume["name"] for volume in template["spec"]["volumes"]
        }
    for name in ("gateway", "metrics"):
        service, deployment = found["Service", f"here-{name}"], found["Deployment", f"here-{name}"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == PROJECT["version"]


def test_with_keda_the_number_of_workers_is_its_alone() -> None:
    found = resources(enabled=True)
    assert "replicas" not in found["Deployment", "here-worker"]["spec"]
    scaled = found["ScaledObject", "here-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "here-worker"
    exported = (HOME / "monitoring/dashboard.json").read_text()
    asked = set(re.findall(r"pero_worker_\w+", scaled["triggers"][0]["metadata"]["query"]))
    assert asked and all(name in exported + (HOME / "monitoring/alerts.yaml").read_text() for name in asked)


# -- clusters of computers ----------------------------------------------------------------------------------------


def test_the_job_script_leases_with_options_that_are_there(tmp_path: Path) -> None:
    """Its programs are played: what it has them do is what our command takes."""
    tool = tmp_path / "srun"
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    tool.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "USER": "me", "SLURM_JOB_ID": "7",
        "PERO_WORKER_GATEWAY": "https://ocr.example.org",
    }  # fmt: skip
    script = ["bash", str(PACKAGING / "lease.sbatch")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    words = done.stdout.split()
    assert_taken(words[words.index("worker") :])
    environment.pop("PERO_WORKER_GATEWAY")
    refused = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode != 0 and "say where the gateway is" in refused.stderr
