"""``chipmend design``: the cheapest protection of a network, before tape-out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipmend.cli.app import Json, app, check_outputs, finish, print_whole, say

if TYPE_CHECKING:
    from rich.table import Table

    from chipmend.hardware.array import Array
    from chipmend.protect.study import DesignOutcome, Study
    from chipmend.simulate.flips import BitErrors

REPORT, OUTCOME, VERILOG = "report.html", "design.json", "verilog"


@app.command
def design(plan: Path, /, *, json: Json = None) -> None:
    """Find the smallest protection that keeps a network right while bits flip.

    The same command resumes it. It writes a report, and the Verilog of the protected PE.

    Args:
        plan: The plan, a TOML file with [errors].
        json: Also write a machine-readable summary here.
    """
    from chipmend.cli.bars import Bars
    from chipmend.files import write_bytes
    from chipmend.fleet.design import design as designed
    from chipmend.fleet.store.sqlite import FILE as STORE
    from chipmend.plan import read_design_plan
    from chipmend.report.design import write_design_report

    read, tables = read_design_plan(plan)
    run = read.execution.run
    made = run / REPORT
    beside = [*(run / n for n in (REPORT, OUTCOME, STORE)), *_verilog(run, read.errors.rates())]
    check_outputs(json, inputs=[plan, *read.files(), *beside])
    with Bars() as bars:
        outcome = designed(
            read.task(),
            array=read.array,
            errors=read.errors.rates(),
            targets=read.targets,
            space=read.space,
            searching=read.search,
            seed=read.seed,
            run=run,
            workers=read.execution.workers,
            threads=read.execution.threads,
            progress=bars,
            plan=tables,
        )
    write_bytes(run / OUTCOME, _as_json(outcome))
    _write_verilog(outcome, run)
    write_design_report(outcome, made)
    finish(made, lambda: _summary(outcome, str(made)), json, lambda: _show(outcome))
    outcome.check_met()


def _as_json(outcome: "DesignOutcome") -> bytes:
    import json

    from chipmend.records import plain

    return json.dumps(plain(outcome)).encode()


def _verilog(run: Path, rates: "Sequence[BitErrors]") -> list[Path]:
    """Where the sources go, and for each rate a module that gives the PE its parameters."""
    from chipmend.protect.circuit.yosys import SOURCES

    names = [source.name for source in SOURCES]
    names += [f"protected_pe_{number}.v" for number in range(1, len(rates) + 1)]
    return [run / VERILOG / name for name in names]


def _write_verilog(outcome: "DesignOutcome", run: Path) -> None:
    from chipmend.files import write_bytes
    from chipmend.fleet.design import pe_parameters
    from chipmend.protect.circuit.yosys import SOURCES

    content = [source.read_bytes() for source in SOURCES]
    for number, study in enumerate(outcome.studies, 1):
        parameters = pe_parameters(study, outcome.array)
        content.append(_module(number, parameters, study).encode())
    rates = [study.errors for study in outcome.studies]
    for path, text in zip(_verilog(run, rates), content, strict=True):
        write_bytes(path, text)


def _module(number: int, parameters: dict[str, int], study: "Study") -> str:
    from chipmend.report.design import rate_in_words

    weight, bits = parameters["WEIGHT_BITS"], parameters["BITS"]
    given = ", ".join(f".{name}({value})" for name, value in parameters.items())
    return (
        f"// The PE of the design that was found for {rate_in_words(study.errors)}.\n"
        f"module protected_pe_{number} (\n"
        "    input clock, input shift, input take,\n"
        f"    input signed [{weight - 1}:0] weight_in, output signed [{weight - 1}:0] weight_out,\n"
        "    input signed [8:0] activation_in, output signed [8:0] activation_out,\n"
        f"    input [{bits - 1}:0] sum_in, output [{bits - 1}:0] sum_out\n"
        ");\n"
        f"    pe #({given}) element (\n"
        "        .clock(clock), .shift(shift), .take(take), .weight_in(weight_in),\n"
        "        .weight_out(weight_out), .activation_in(activation_in),\n"
        "        .activation_out(activation_out), .sum_in(sum_in), .sum_out(sum_out)\n"
        "    );\n"
        "endmodule\n"
    )


def _summary(outcome: "DesignOutcome", report: str) -> dict[str, Any]:
    from chipmend.records import plain

    return {
        "float_accuracy": outcome.float_accuracy,
        "clean_accuracy": outcome.clean_accuracy,
        "targets": plain(outcome.targets),
        "method": outcome.method,
        "report": report,
        "notes": list(outcome.notes),
        "studies": [
            {
                "errors": plain(study.errors),
                "evaluations": len(study.searched),
                "found_by": study.by,
                "unmet": study.unmet,
                "designs": [
                    {
                        "name": row.name,
                        "design": plain(row.evaluation.design),
                        "overhead": row.evaluation.costs.overhead,
                        "overhead_over_full_tmr": row.evaluation.costs.overhead
                        / study.row("full TMR").evaluation.costs.overhead,
                        "slowdown": row.evaluation.costs.slowdown,
                        "power": row.evaluation.costs.power,
                        "drop_on_validation": plain(row.evaluation.fall),
                        "drop_on_test": plain(row.test),
                        "lost_without_faults": row.evaluation.lost,
                        "lost_without_faults_on_test": row.lost_on_test,
                        "meets": row.evaluation.meets,
                        "masked": plain(row.masked),
                    }
                    for row in study.rows
                ],
            }
            for study in outcome.studies
        ],
    }


def _show(outcome: "DesignOutcome") -> None:
    for study in outcome.studies:
        print_whole(_table(study, outcome.array))
    for note in outcome.notes:
        say(note)


def _table(study: "Study", array: "Array") -> "Table":
    """The designs of one rate."""
    from rich.table import Table

    from chipmend.report.design import design_in_words, rate_in_words

    full = study.row("full TMR").evaluation.costs.overhead
    shown = Table(title=f"protection at {rate_in_words(study.errors)}")
    shown.add_column("")
    for column in ("design", "area / full TMR", "drop (test)", "more cycles", "meets"):
        shown.add_column(column, justify="left" if column == "design" else "right")
    for row in study.rows:
        found = row.evaluation
        shown.add_row(
            row.name,
            design_in_words(found, array),
            f"{100 * found.costs.overhead / full:.1f} %",
            f"{100 * row.test.drop:.2f} points" if row.test else "",
            f"{100 * found.costs.slowdown:.2f} %",
            "yes" if found.meets else "no",
        )
    return shown
