"""Reading a plan from TOML: all of its mistakes at once, or the plan."""

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from chipmend.errors import PlanError
from chipmend.files import write_bytes
from chipmend.plan.design import DesignPlan
from chipmend.plan.mistakes import mistake
from chipmend.plan.tables import Plan

KEPT = "plan.json"
Kind = TypeVar("Kind", Plan, DesignPlan)
_PATHS = (
    *(("model", "weights"), ("data", "path"), ("chips", "file"), ("execution", "run")),
    ("analysis", "trial", "file"),
)


def read_plan(path: str | Path) -> tuple[Plan, dict[str, Any]]:
    """Read a plan for mending; paths in it are taken from the plan's folder.

    Modules that it names may lie there too: the folder is put at the end of ``sys.path``.

    Args:
        path: A TOML file.

    Returns:
        The plan, and the tables as written, for the report.

    Raises:
        PlanError: Not to be read, or every mistake in it.
    """
    tables = _tables(Path(path))
    return parse_plan(tables, str(path), Path(path).parent), tables


def read_design_plan(path: str | Path) -> tuple[DesignPlan, dict[str, Any]]:
    """Read a plan for protection, as ``read_plan`` does one for mending."""
    tables = _tables(Path(path))
    return _parsed(DesignPlan, tables, tables, str(path), Path(path).parent), tables


def _tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, beside which modules may lie."""
    try:
        tables = tomllib.loads(path.read_text())
    except UnicodeDecodeError as error:
        raise PlanError(
            f"cannot read {path}: it is no text",
            hint="give the path of a plan in TOML; a lot goes into its table [chips], as 'file'",
        ) from error
    except OSError as error:
        raise PlanError(
            f"cannot read {path}: {error}", hint="give the path of a plan in TOML"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path} is not TOML: {error}", hint="mend that line") from error
    _let_import_from(path.parent)
    return tables


def keep_plan(run: Path, tables: Mapping[str, Any], folder: Path) -> Path:
    """Keep a plan in its run folder, so that what the run made can be used later.

    Args:
        run: The run folder.
        tables: The tables as written.
        folder: What relative paths in them are relative to.

    Returns:
        The file.

    Raises:
        StoreError: It cannot be written.
    """
    kept = {"folder": str(folder.absolute()), "tables": tables}
    return write_bytes(run / KEPT, json.dumps(kept, default=str).encode())


def read_kept_plan(run: Path) -> Plan:
    """Read the plan that is kept in a run folder.

    Raises:
        PlanError: There is none, or it has mistakes.
    """
    path = run / KEPT
    try:
        kept = json.loads(path.read_bytes())
        folder, tables = Path(kept["folder"]), dict(kept["tables"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(
            f"{run} is no run folder with a plan: {error}", hint="give the plan with --plan"
        ) from error
    _let_import_from(folder)
    return parse_plan(tables, str(path), folder)


def _let_import_from(folder: Path) -> None:
    """Let modules that a plan names lie beside it."""
    if (named := str(folder.absolute())) not in sys.path:
        sys.path.append(named)


def parse_plan(tables: Mapping[str, Any], where: str, folder: Path = Path()) -> Plan:
    """Make a plan of tables as TOML gives them.

    Args:
        tables: The tables; ``[policy]`` stands for a list of one.
        where: The file's name, for errors.
        folder: What relative paths are relative to.

    Raises:
        PlanError: Every mistake, with its place and what to write instead.
    """
    whole = dict(tables)
    if "policy" in whole and "policies" not in whole:
        alone = whole.pop("policy")
        whole["policies"] = alone if isinstance(alone, list) else [alone]
    return _parsed(Plan, whole, tables, where, folder)


def _parsed(
    kind: type[Kind],
    whole: Mapping[str, Any],
    written: Mapping[str, Any],
    where: str,
    folder: Path,
) -> Kind:
    """Make a plan of some kind of tables.

    Raises:
        PlanError: Every mistake, with its place and what to write instead.
    """
    plans, whole = TypeAdapter(kind), _from(folder, dict(whole))
    try:
        # strictly first, which JSON allows for lists and paths too: true is no number, nor is "1"
        plans.validate_json(json.dumps(whole, default=str), strict=True)
        return plans.validate_python(whole)
    except ValidationError as error:
        found = [mistake(dict(e), whole, written, kind) for e in error.errors()]
        mistakes = list(dict.fromkeys(found))
        raise PlanError(
            "\n  ".join([f"{where} has {len(mistakes)} mistake(s):", *mistakes]),
            hint=f"every table and field is described in docs/reference/{kind.described}",
        ) from error


def _from(folder: Path, tables: dict[str, Any]) -> dict[str, Any]:
    """Take relative paths from the plan's folder.

    Raises:
        PlanError: One of them is no path.
    """
    for path in _PATHS:
        tables = _with_path(folder, tables, path, ".".join(path))
    return tables


def _with_path(
    folder: Path, tables: dict[str, Any], place: Sequence[str], said: str
) -> dict[str, Any]:
    """Tables in which one path, if it is there, is taken from a folder."""
    name, found = place[0], tables.get(place[0])
    if isinstance(found, dict) and place[1:]:
        return {**tables, name: _with_path(folder, found, place[1:], said)}
    if not isinstance(found, str) or place[1:]:
        return tables
    if "\0" in found:
        raise PlanError(f"{said} is no path: {found!r}", hint="leave out its null character")
    return {**tables, name: folder / found}
