"""chipmend: repair pretrained neural networks for accelerator chips with permanent faults.

Names are imported when they are first used, so that ``import chipmend`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chipmend.version import __version__

if TYPE_CHECKING:
    from chipmend.confidence import Accuracy, Drop
    from chipmend.data import cifar10, cifar100, fashion_mnist, image_folders
    from chipmend.errors import ChipmendError
    from chipmend.faults import (
        BitLines,
        Chip,
        Clustered,
        FaultMap,
        Lines,
        Lot,
        MacsAt,
        Margin,
        RegionalSpares,
        Scattered,
        Screening,
        StuckAt,
        StuckBits,
        StuckMacs,
        Uniform,
        WordLines,
        bypass_mixed,
        bypass_rows_or_cols,
        make_chips,
        read_csv,
        spares_cover,
        write_csv,
    )
    from chipmend.faults import read_lot as read_chips
    from chipmend.faults import write_lot as write_chips
    from chipmend.fleet import Outcome, analyze, mend
    from chipmend.fleet.design import design
    from chipmend.hardware import Accumulators, Array, PeShare, Throughput, WeightMemory
    from chipmend.network import Task, accuracy, gemm_sizes
    from chipmend.network.integer.onnx.writing import write_onnx
    from chipmend.policy import Cascade, EFat, Fixed, FixedSteps, Looks, Reduce, UntilMet
    from chipmend.protect import DesignOutcome, Searching, Space, Targets
    from chipmend.repairs.calibration import Calibration
    from chipmend.repairs.chip import Repaired, repair
    from chipmend.repairs.conversion import converted_codes
    from chipmend.report import write_design_report, write_report
    from chipmend.resilience import Analysis, ResilienceTable, TrialFile, TrialLot
    from chipmend.simulate import BitErrors
    from chipmend.steps import (
        FAQ,
        Anytime,
        Assess,
        ClosedForm,
        Compensate,
        CompensatedFAQ,
        Decaying,
        Distill,
        KeepBetter,
        Labels,
        LeastSquares,
        Magnitude,
        Match,
        Measure,
        Naive,
        OneShot,
        Percentile,
        Prune,
        Quantize,
        Recalibrate,
        Reestimate,
        Remap,
        Retrain,
        Sequential,
        SequentialFAQ,
    )
    from chipmend.zoo import alexnet, mobilenet_v2, resnet18, trained, vgg11, vgg16, vit

_HOMES = {
    "chipmend.confidence": ("Accuracy", "Drop"),
    "chipmend.data": ("cifar10", "cifar100", "fashion_mnist", "image_folders"),
    "chipmend.errors": ("ChipmendError",),
    "chipmend.faults": (
        "BitLines",
        "Chip",
        "Clustered",
        "FaultMap",
        "Lines",
        "Lot",
        "MacsAt",
        "Margin",
        "RegionalSpares",
        "Scattered",
        "Screening",
        "StuckAt",
        "StuckBits",
        "StuckMacs",
        "Uniform",
        "WordLines",
        "bypass_mixed",
        "bypass_rows_or_cols",
        "make_chips",
        "read_csv",
        "spares_cover",
        "write_csv",
    ),
    "chipmend.fleet": ("Outcome", "analyze", "mend"),
    "chipmend.fleet.design": ("design",),
    "chipmend.hardware": ("Accumulators", "Array", "PeShare", "Throughput", "WeightMemory"),
    "chipmend.network": ("Task", "accuracy", "gemm_sizes"),
    "chipmend.network.integer.onnx.writing": ("write_onnx",),
    "chipmend.policy": ("Cascade", "EFat", "Fixed", "FixedSteps", "Looks", "Reduce", "UntilMet"),
    "chipmend.protect": ("DesignOutcome", "Searching", "Space", "Targets"),
    "chipmend.repairs.calibration": ("Calibration",),
    "chipmend.repairs.chip": ("Repaired", "repair"),
    "chipmend.repairs.conversion": ("converted_codes",),
    "chipmend.report": ("write_design_report", "write_report"),
    "chipmend.resilience": ("Analysis", "ResilienceTable", "TrialFile", "TrialLot"),
    "chipmend.simulate": ("BitErrors",),
    "chipmend.steps": (
        "Anytime",
        "Assess",
        "ClosedForm",
        "Compensate",
        "CompensatedFAQ",
        "Decaying",
        "Distill",
        "FAQ",
        "KeepBetter",
        "Labels",
        "LeastSquares",
        "Magnitude",
        "Match",
        "Measure",
        "Naive",
        "OneShot",
        "Percentile",
        "Prune",
        "Quantize",
        "Recalibrate",
        "Reestimate",
        "Remap",
        "Retrain",
        "Sequential",
        "SequentialFAQ",
    ),
    "chipmend.zoo": ("alexnet", "mobilenet_v2", "resnet18", "trained", "vgg11", "vgg16", "vit"),
}
_RENAMED = {
    "read_chips": ("chipmend.faults", "read_lot"),
    "write_chips": ("chipmend.faults", "write_lot"),
}
_HOME_OF = {name: (home, name) for home, names in _HOMES.items() for name in names} | _RENAMED

__all__ = [
    "FAQ",
    "Accumulators",
    "Accuracy",
    "Analysis",
    "Anytime",
    "Array",
    "Assess",
    "BitErrors",
    "BitLines",
    "Calibration",
    "Cascade",
    "Chip",
    "ChipmendError",
    "ClosedForm",
    "Clustered",
    "Compensate",
    "CompensatedFAQ",
    "Decaying",
    "DesignOutcome",
    "Distill",
    "Drop",
    "EFat",
    "FaultMap",
    "Fixed",
    "FixedSteps",
    "KeepBetter",
    "Labels",
    "LeastSquares",
    "Lines",
    "Looks",
    "Lot",
    "MacsAt",
    "Magnitude",
    "Margin",
    "Match",
    "Measure",
    "Naive",
    "OneShot",
    "Outcome",
    "PeShare",
    "Percentile",
    "Prune",
    "Quantize",
    "Recalibrate",
    "Reduce",
    "Reestimate",
    "RegionalSpares",
    "Remap",
    "Repaired",
    "ResilienceTable",
    "Retrain",
    "Scattered",
    "Screening",
    "Searching",
    "Sequential",
    "SequentialFAQ",
    "Space",
    "StuckAt",
    "StuckBits",
    "StuckMacs",
    "Targets",
    "Task",
    "Throughput",
    "TrialFile",
    "TrialLot",
    "Uniform",
    "UntilMet",
    "WeightMemory",
    "WordLines",
    "__version__",
    "accuracy",
    "alexnet",
    "analyze",
    "bypass_mixed",
    "bypass_rows_or_cols",
    "cifar10",
    "cifar100",
    "converted_codes",
    "design",
    "fashion_mnist",
    "gemm_sizes",
    "image_folders",
    "make_chips",
    "mend",
    "mobilenet_v2",
    "read_chips",
    "read_csv",
    "repair",
    "resnet18",
    "spares_cover",
    "trained",
    "vgg11",
    "vgg16",
    "vit",
    "write_chips",
    "write_csv",
    "write_design_report",
    "write_onnx",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'chipmend' has no attribute {name!r}")
    home, original = _HOME_OF[name]
    value = getattr(import_module(home), original)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
