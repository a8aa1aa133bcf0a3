"""Installs what the test servers need and no Python package holds: system packages by apt-get, the Kafka broker by Maven."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sfm_core.testing.servers.found import COMMAND, KAFKA_VERSION, Missing, installed, jars_folder, missing

__all__ = ["install", "report"]

PACKAGES = {"PostgreSQL 15": "postgresql-15", "Redis 7": "redis-server", "OpenSSL": "openssl"}
GROUP = {"PostgreSQL 18", "Redis 8", "Java"}

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sfm</groupId><artifactId>test-servers</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


def _run(*command: str, **environment: str) -> None:
    # This program's output is for people; what the tools say goes beside it.
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, **environment})


def _system(packages: list[str]) -> list[str]:
    """Install system packages; return what is left for somebody who may."""
    if not packages:
        return []
    command = f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return [f"needs root on Debian or Ubuntu: {command}"]
    _run("apt-get", "update", "--quiet=2")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    _run("apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *packages, **quiet)
    return []


def _broker() -> list[str]:
    """Fetch the jars of the Kafka broker into the cache, whole or not at all."""
    maven = shutil.which("mvn")
    if maven is None:
        return [f"Maven (`mvn`) has to be on the PATH for Kafka {KAFKA_VERSION}"]
    target = jars_folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        project, jars = Path(work) / "pom.xml", Path(work) / "jars"
        project.write_text(POM, encoding="utf-8")
        _run(maven, "-q", "-B", "-f", str(project), "dependency:copy-dependencies", f"-DoutputDirectory={jars}")
        # Another run may have been faster; its jars are the same.
        if not target.exists():
            jars.rename(target)
    return []


def report() -> list[str]:
    """Return a line for every server: its name and where its program is, or what is missing."""
    return [f"{name}: {place}" for name, place in installed()]


def install() -> list[str]:
    """Install what is missing and return what could not be, each as a line that says what is to be done."""
    gaps = set(missing())
    packages = [package for name, package in PACKAGES.items() if name in gaps]
    if "Kafka" in gaps and shutil.which("mvn") is None:
        packages.append("maven")
    left = _system(packages)
    if "Kafka" in gaps:
        left += _broker()
    still = set(missing())
    if still & GROUP:
        left.append(f"Python packages of the group `servers` ({', '.join(sorted(still & GROUP))}): {COMMAND}")
    return left or [str(Missing(name)) for name in sorted(still)]
