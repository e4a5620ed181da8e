"""A run: the folder that one training fills, and what can be done with it afterwards."""

from airscene.runs.crops import with_object_size
from airscene.runs.folder import (
    CONFIG,
    EVALUATION,
    check_folder,
    check_kinds,
    differences,
    holds_run,
    own_files,
    owned,
)
from airscene.runs.pictures import Record, load_record, load_shrunk
from airscene.runs.results import evaluate_run, in_time, report_run, save_evaluation
from airscene.runs.run import EARLY, Run, load_run
from airscene.runs.sources import (
    TEST_SEED,
    VALIDATION_SEED,
    composed,
    make_sources,
    own_scenes,
    test_scenes,
)
from airscene.runs.train import make_accelerator, train_run
from airscene.runs.whole import find_in, infer_whole

__all__ = [
    "CONFIG",
    "EARLY",
    "EVALUATION",
    "TEST_SEED",
    "VALIDATION_SEED",
    "Record",
    "Run",
    "check_folder",
    "check_kinds",
    "composed",
    "differences",
    "evaluate_run",
    "find_in",
    "holds_run",
    "in_time",
    "infer_whole",
    "load_record",
    "load_run",
    "load_shrunk",
    "make_accelerator",
    "make_sources",
    "own_files",
    "own_scenes",
    "owned",
    "report_run",
    "save_evaluation",
    "test_scenes",
    "train_run",
    "with_object_size",
]
