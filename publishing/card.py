"""The model card of a finished run, from its own records: nothing in it is typed by hand that the run knows."""

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from common.files import write_text
from common.project import project_file
from publishing import card_sections as sections
from publishing.card_text import ecg_kind
from publishing.real_ecgs import real_tables
from publishing.run_folder import RunFolder, read_run
from publishing.source_facts import source_facts


logger = logging.getLogger(__name__)

TEMPLATE = "model_card.md"
# The card's last line. Where the text above it has another sum, somebody has changed it by hand.
SEAL = "<!-- Written by ecgclip from the run's records. sha256 of the text above: {} -->"
CARD = "README.md"
EVAL_RESULTS = ".eval_results/ecgclip.yaml"
# Of the Hub's tasks none reads an ECG. Any other tag would have its page offer a pipeline of transformers that takes
# sound or text, and a widget for these; with this one it offers the Auto class, which is right.
PIPELINE_TAG = "other"
LICENSE, LICENSE_NAME = "apache-2.0", "Apache-2.0"
DIGITS = 4  # of the values in the metadata
TAGS = ("ecg", "electrocardiogram", "cardiology", "medical", "ecgclip", "custom_code")
PAPER = """@misc{fernandes2024enhancing,
  title = {Enhancing automated {ECG} diagnosis through multimodal pre-training with text reports},
  author = {Fernandes and others},
  year = {2024}
}"""


def model_card(
    run: RunFolder, repo_id: str | None = None, dataset_id: str | None = None, base_model: str | None = None
) -> ModelCard:
    """
    Returns the card of a finished run.

    Args:
        run (`RunFolder`): Of [`read_run`].
        repo_id (`str`, *optional*): Where it is published; the card's code loads it from there. Left out: from the
            folder.
        dataset_id (`str`, *optional*): Where the exam table is published, if it was a folder for the run.
        base_model (`str`, *optional*): Where the model that training started from is published, likewise.
    """
    name = (repo_id or run.path.resolve().name).split("/")[-1]
    note, tables = run.stage.results(run) if run.is_measured else (sections.NOT_MEASURED, [])
    tables = [*tables, *real_tables(run)]
    facts = [source_facts(source) for source in run.sources]
    cited = {fact.title: fact.bibtex for fact in facts if fact.bibtex}
    return ModelCard.from_template(
        card_metadata(run, name, dataset_id, base_model),
        template_path=str(project_file(TEMPLATE)),
        title=name,
        data_statement=sections.data_statement(run),
        summary=run.stage.summary(run),
        install=sections.install(run),
        snippet=sections.snippet(run, repo_id or name),
        use_note=sections.use_note(run),
        input_table=sections.input_table(run),
        results_note=note,
        results=[*sections.recalibration(run), *tables],
        figures=sections.figures(run),
        data_note=sections.data_note(run, dataset_id or _hub_id(run.record["data"]["name"])),
        split_table=sections.split_table(run),
        data_details=sections.data_details(run),
        training_table=sections.training_table(run),
        intended=sections.intended(run),
        out_of_scope=sections.out_of_scope(run),
        limits=sections.limits(run),
        sources_to_cite=", ".join(cited),
        bibtex="\n\n".join([PAPER, *cited.values()]),
        license_name=LICENSE_NAME,
        data_licences="; ".join(f"{fact.title}: {fact.licence}" for fact in facts) + ".",
    )


def card_metadata(
    run: RunFolder, name: str, dataset_id: str | None = None, base_model: str | None = None
) -> ModelCardData:
    """
    Returns the metadata at the top of the card.

    Ids are those of repositories on the Hub: a folder's name is none, and is left out.

    Args:
        run (`RunFolder`): Of [`read_run`].
        name (`str`): The model's.
        dataset_id, base_model (`str`, *optional*): As for [`model_card`].
    """
    facts = [source_facts(source) for source in run.sources]
    has_reports = any(run.record["data"]["exams_with_report"].values())
    languages = sorted(run.reports.get("languages", ()) or {one for fact in facts for one in fact.report_languages})
    dataset = dataset_id or _hub_id(run.record["data"]["name"])
    origin = base_model or (_hub_id(run.origins[0]["name"]) if run.origins else None)
    bases = [base for base in (origin, *map(_hub_id, run.stage.base_models(run))) if base]
    tags = [*TAGS, ecg_kind(run.signal).lower().replace(" ", "-"), *run.stage.tags]
    if any(fact.simulated for fact in facts):
        tags.append("simulated-data")
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=PIPELINE_TAG,
        inference=False,  # no service of the Hub runs a model's own code, and no widget takes an ECG
        license=LICENSE,
        language=(languages if has_reports else None) or None,
        datasets=[dataset] if dataset else None,
        base_model=bases or None,
        tags=tags,
        metrics=list(run.stage.metrics),
        model_name=name,
        eval_results=_eval_results(run, dataset) or None,
    )


def eval_result_file(run: RunFolder, dataset_id: str | None = None) -> str | None:
    """
    Returns the text of `.eval_results/ecgclip.yaml`, or None without an exam table on the Hub to name.

    The Hub shows it where that data set is registered as a benchmark with this task; see
    https://huggingface.co/docs/hub/eval-results.

    Args:
        run (`RunFolder`): Of [`read_run`].
        dataset_id (`str`, *optional*): As for [`model_card`].
    """
    dataset = dataset_id or _hub_id(run.record["data"]["name"])
    value, what = run.stage.main_result(run) if run.is_measured else (None, "")
    if dataset is None or value is None:
        return None
    revision = run.record["data"]["revision"] if dataset_id is None else None
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id=run.stage.task,
        value=round(value, DIGITS),
        dataset_revision=revision,
        notes=f"{what}, simulated ECGs" if run.simulated else what,
    )
    return yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)


def write_card(
    folder: str | os.PathLike,
    repo_id: str | None = None,
    dataset_id: str | None = None,
    base_model: str | None = None,
) -> Path:
    """
    Writes `README.md` into the folder of a finished run, and `.eval_results/` where its exam table is on the Hub.

    A card that was changed by hand stays as it is.

    Args:
        folder (`str` or `os.PathLike`): Of the run.
        repo_id, dataset_id, base_model: As for [`model_card`].

    Returns:
        `Path`: The card.

    Raises:
        `FileNotFoundError`, `ValueError`: as [`read_run`].
    """
    run = read_run(folder)
    path = run.path / CARD
    if path.is_file() and not is_sealed(path.read_text(encoding="utf-8")):
        logger.warning(f"{path} was changed by hand: it stays as it is")
    else:
        write_text(path, sealed(str(model_card(run, repo_id, dataset_id, base_model))))
    entries = eval_result_file(run, dataset_id)
    if entries is None:
        (run.path / EVAL_RESULTS).unlink(missing_ok=True)
    else:
        write_text(run.path / EVAL_RESULTS, entries)
    return path


def sealed(text: str) -> str:
    """Returns a card with a last line that tells whether it was changed since."""
    text = text.rstrip()
    return f"{text}\n\n{SEAL.format(hashlib.sha256(text.encode()).hexdigest())}\n"


def is_sealed(text: str) -> bool:
    """Tells whether a card is as [`sealed`] left it."""
    body, _, last = text.rstrip().rpartition("\n")
    return bool(re.search(r"[0-9a-f]{64}", last)) and sealed(body).rstrip() == text.rstrip()


def _eval_results(run: RunFolder, dataset: str | None) -> list[EvalResult]:
    """The defined results of the test split for `model-index`."""
    data = run.record["data"]
    shared: dict[str, Any] = {
        "task_type": PIPELINE_TAG,
        "task_name": run.stage.task_title,
        "dataset_type": dataset or data["name"],
        "dataset_name": f"{data['name']} (simulated)" if run.simulated else data["name"],
        "dataset_split": "test",
        "dataset_revision": data["revision"],
    }
    return [
        EvalResult(**shared, metric_type=metric, metric_name=title, metric_value=round(value, DIGITS))
        for metric, title, value in (run.stage.eval_results(run) if run.is_measured else ())
        if value is not None
    ]


def _hub_id(name: str) -> str | None:
    """The name where it is that of a repository; run records keep of a folder its last part."""
    return name if "/" in name else None
