"""The routes by path, for what has to know the route before Litestar has found it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from litestar.handlers import HTTPRouteHandler

__all__ = ["UNMATCHED", "Table"]

UNMATCHED = "unmatched"
_PARAMETER = re.compile(r"\{(\w+):(\w+)\}")
_FORMS = {"str": "[^/]+", "path": ".+"}


class Table:
    """Finds the template of a path (`/v1/memories/{id}`): the endpoint of rate limits, metrics and spans."""

    def __init__(self, handlers: Iterable[HTTPRouteHandler]) -> None:
        methods: dict[str, set[str]] = defaultdict(set)
        for handler in handlers:
            for path in handler.paths:
                methods[path] |= set(handler.http_methods)
                if "GET" in handler.http_methods:
                    methods[path].add("HEAD")
        self._plain = {path: path for path in methods if "{" not in path}
        self._patterns = [(self._pattern(path), template_of(path)) for path in methods if "{" in path]
        self._methods = {template_of(path): frozenset(found) for path, found in methods.items()}
        self.template = lru_cache(4096)(self._template)

    @staticmethod
    def _pattern(path: str) -> re.Pattern[str]:
        return re.compile(_PARAMETER.sub(lambda found: _FORMS[found[2]], path))

    def _template(self, path: str) -> str:
        path = path.rstrip("/") or "/"
        if path in self._plain:
            return path
        return next((template for pattern, template in self._patterns if pattern.fullmatch(path)), UNMATCHED)

    def methods(self, template: str) -> frozenset[str]:
        """Return the methods that `template` answers to."""
        return self._methods.get(template, frozenset())


def template_of(path: str) -> str:
    """Return a Litestar path as OpenAPI writes it."""
    return _PARAMETER.sub(r"{\1}", path)
