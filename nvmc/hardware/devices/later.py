"""Settings that came later: left out of files where they are at their defaults.

So a network that does not use them has the manifest, and its results the keys, that it had before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler, model_serializer

from nvmc.hardware.devices.laws import Strict

__all__ = ["Later"]


class Later(Strict, frozen=True):
    """A model, some of whose fields are not written where they are at their defaults."""

    later: ClassVar[tuple[str, ...]] = ()

    def changed(self, name: str) -> bool:
        """Whether a field is not at its default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @model_serializer(mode="wrap")
    def _as_before(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        found = dump(self)
        return {k: v for k, v in found.items() if k not in self.later or self.changed(k)}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """That of the fields, of which a serialised one may lack some."""
        return handler(_without_serializer(schema))


def _without_serializer(schema: Any) -> Any:
    """A schema without its serializer, which may lie within those of validators."""
    found = {key: value for key, value in schema.items() if key != "serialization"}
    if schema["type"].startswith("function-"):
        found["schema"] = _without_serializer(schema["schema"])
    return found
