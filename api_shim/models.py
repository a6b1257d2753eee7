"""What bodies and queries are made of: strict pydantic models, and every mistake in them found at once, located."""

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from api_shim.problems import BadJson, FieldError, Invalid

__all__ = ["Model", "Query", "dump", "read_body", "read_query"]

M = TypeVar("M", bound=BaseModel)

_MOST_ERRORS = 100
_POSITION = re.compile(r" at line (\d+) column (\d+)$")


class Model(BaseModel):
    """The base of bodies and answers: types as declared (no `"1"` for 1), unknown fields refused, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=False)


class Query(BaseModel):
    """The base of query parameters: text that reads as the declared type; unknown parameters refused.

    A field that is a list takes its parameter repeated; `Field(alias="filter[kind]")` names a filter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_by_name=False)


def dump(value: BaseModel) -> bytes:
    """A model as JSON."""
    return value.__pydantic_serializer__.to_json(value, by_alias=True)


def read_body(model: type[M], raw: bytes) -> M:
    """Read a JSON body; raises BadJson (400) where it is not JSON, Invalid (422) with every field that is wrong.

    A name that an object holds twice is refused: readers differ in which of the two they see.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson(f"The body is not UTF-8: byte {error.start} is wrong.", byte=error.start) from None
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BadJson(
            f"{error.msg} at line {error.lineno} column {error.colno}.", line=error.lineno, column=error.colno
        ) from None
    except RecursionError:
        raise BadJson("The body is nested too deeply.") from None
    except ValueError as error:
        raise BadJson(str(error)) from None
    if "\\u0000" in text and (found := [_nul(at) for at in _nuls(data, "")]):
        raise Invalid(errors=found[:_MOST_ERRORS])
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=True)
    if wrong[0]["type"] == "json_invalid":
        # What the first reader allowed and this one does not: half a surrogate pair, or depth in between.
        message = wrong[0]["msg"].removeprefix("Invalid JSON: ")
        if at := _POSITION.search(message):
            raise BadJson(f"{message}.", line=int(at[1]), column=int(at[2]))
        raise BadJson(f"{message}.")
    raise Invalid(errors=[_body_error(model, one, data) for one in wrong[:_MOST_ERRORS]])


def read_query(model: type[M], pairs: Sequence[tuple[str, str]]) -> M:
    """Read query parameters as sent, in order; raises Invalid (422) with every one that is wrong."""
    lists = {name for name, many in _parameters(model).items() if many}
    values: dict[str, Any] = {}
    errors = []
    for name, value in pairs:
        if "\0" in value:
            errors.append(FieldError(parameter=name, code="nul", detail="May not hold the character NUL."))
        elif name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            errors.append(FieldError(parameter=name, code="repeated", detail="Is given more than once."))
        else:
            values[name] = value
    try:
        found = model.model_validate(values)
        if not errors:
            return found
    except ValidationError as error:
        for one in error.errors(include_url=False)[:_MOST_ERRORS]:
            name = str(one["loc"][0]) if one["loc"] else ""
            guess = _guess(name, _parameters(model)) if one["type"] == "extra_forbidden" else None
            errors.append(
                FieldError(parameter=name, code=one["type"], detail=_sentence(one, "parameter"), did_you_mean=guess)
            )
    raise Invalid(errors=errors)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"An object holds the name {json.dumps(name[:100])} twice.")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


def _nuls(data: Any, at: str) -> Iterator[str]:
    """Where strings hold NUL, which PostgreSQL's text can't."""
    if isinstance(data, str):
        if "\0" in data:
            yield at
    elif isinstance(data, dict):
        for key, value in data.items():
            if "\0" in key:
                yield at
            yield from _nuls(value, f"{at}/{_escape(key)}")
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _nuls(value, f"{at}/{index}")


def _nul(at: str) -> FieldError:
    return FieldError(pointer=at, code="nul", detail="May not hold the character NUL.")


def _body_error(model: type[BaseModel], error: Any, data: Any) -> FieldError:
    location: tuple[str | int, ...] = error["loc"]
    pointer = _pointer(location, data, error["type"] == "missing")
    guess = None
    if error["type"] == "extra_forbidden":
        names = {name for one in _models_at(model, location[:-1]) for name in _names(one)}
        guess = _guess(str(location[-1]), names)
    return FieldError(pointer=pointer, code=error["type"], detail=_sentence(error, "field"), did_you_mean=guess)


def _pointer(location: Sequence[Any], data: Any, missing: bool) -> str:
    """The JSON pointer (RFC 6901) of a pydantic location, which also names the branches of unions on its way."""
    parts: list[str] = []
    at: Any = data
    for n, part in enumerate(location):
        if (isinstance(at, dict) and part in at) or (isinstance(at, list) and isinstance(part, int) and part < len(at)):
            at = at[part]
        elif not (missing and n == len(location) - 1):
            continue
        parts.append(_escape(str(part)))
    return "".join(f"/{part}" for part in parts)


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _sentence(error: Any, what: str) -> str:
    if error["type"] == "extra_forbidden":
        return f"There is no such {what}."
    if error["type"] == "missing":
        return f"This {what} is needed."
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].upper() + message[1:]
    return message if message.endswith(".") else f"{message}."


def _guess(name: str, known: Collection[str]) -> str | None:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return close[0] if close else None


def _names(model: type[BaseModel]) -> Mapping[str, Any]:
    return {field.validation_alias if isinstance(field.validation_alias, str) else name: field.annotation
            for name, field in model.model_fields.items()}  # fmt: skip


def _models_at(model: type[BaseModel], location: Sequence[str | int]) -> list[type[BaseModel]]:
    """The models that the value at a location may be of."""
    models = [model]
    for part in location:
        annotations = [names[part] for one in models if isinstance(part, str) and part in (names := _names(one))]
        if annotations:
            models = [found for annotation in annotations for found in _models_in(annotation)]
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _models_in(part)


_KNOWN: dict[type[BaseModel], dict[str, bool]] = {}


def _parameters(model: type[BaseModel]) -> dict[str, bool]:
    """The names that a query takes, and whether each may be repeated."""
    if (found := _KNOWN.get(model)) is None:
        found = _KNOWN[model] = {name: _is_list(annotation) for name, annotation in _names(model).items()}
    return found


def _is_list(annotation: Any) -> bool:
    origin = getattr(annotation, "__origin__", annotation)
    return origin in (list, tuple, set, frozenset) or any(_is_list(part) for part in get_args(annotation))
