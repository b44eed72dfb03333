"""One ECG through the pipelines: probabilities, saliency, similarity to the user's own words, nearest reports."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import pipeline
from transformers.utils import cached_file

from common.files import public_name
from modeling_ecgclip import (
    EcgClassificationPipeline,
    EcgFeatureExtractor,
    EcgMeasurements,
    EcgRecord,
    Label,
    ZeroShotEcgClassificationPipeline,
    measure_record,
    read_ecg,
)
from modeling_ecgclip.hub_ecgclip import verify_settings
from modeling_ecgclip.labels_ecgclip import labels_of
from modeling_ecgclip.saliency_ecgclip import integrated_gradients, lead_shares, smooth_saliency
from space.example_list import EXAMPLES
from space.findings import Findings
from space.measures import Measure, measures_of
from space.nearest import INDEX_FILE, ReportIndex, embed_reports
from space.words import UNRELATED, Yardstick, phrases_of, sentences


DISCLAIMER = "Research software, not a medical device. Nothing shown here may decide on anybody's treatment."
SALIENCY_METHOD = "integrated gradients from a flat ECG, smoothed over 20 ms"
NEAREST = 5
STRONGEST = 3  # leads that are named
REMEMBERED = 32  # sets of phrases whose places in the joint space are remembered; users mostly leave the page's own


@dataclass(frozen=True)
class Saliency:
    """
    What moved one label's output.

    Args:
        label (`str`): The label's name.
        strength (`np.ndarray` float32 of shape `(leads, samples)`): For drawing, -1 to 1, of the samples shown.
        shares (`dict[str, float]`): Each lead's share, the largest first.
    """

    label: str
    strength: np.ndarray
    shares: dict[str, float]

    @property
    def strongest(self) -> str:
        """The leads with most of it, in words; nothing of a single lead."""
        shares = [f"{lead} {100 * share:.0f} %" for lead, share in self.shares.items()]
        return f"most in {', '.join(shares[:STRONGEST])}" if len(shares) > 1 else ""


@dataclass(frozen=True)
class ClipView:
    """
    An ECG in the joint space of a dual encoder.

    Args:
        embeds (`torch.Tensor` of shape `(1, projection_dim)`): Its place.
        quality (`list[dict]`): What is doubtful about it, as the pipelines say it.
    """

    embeds: torch.Tensor
    quality: list[dict[str, str]]


@dataclass(frozen=True)
class Analysis:
    """
    What is known about one ECG, as far as the page shows it or a later click needs it; not the recording itself, which
    may be a hundred times as large.

    Args:
        name (`str`): Of the file, or of the example.
        model, clip_model (`str`, *optional*): Names of the models.
        signal (`np.ndarray` float32 of shape `(leads, samples)`): Millivolts, what the model saw before padding.
        lead_names (`tuple[str]`), sampling_rate (`float`): Leads and Hz of `signal`.
        recording (`dict`): What the file holds: `sampling_rate`, `duration_s`, `analysed_from_s`, `analysed_to_s`.
        notes (`list[str]`): What was assumed about the file, is doubtful about it, or was done to it.
        quality (`list[dict]`): What is doubtful about it, as the pipelines say it.
        findings ([`Findings`]): What the pipeline gives for it.
        input_values (`torch.Tensor` of shape `(1, leads, input_samples)`): The model's input.
        measurements ([`EcgMeasurements`]): Of the whole recording.
        stated_measurements (`dict[str, float]`): What the recorder measured, as far as the file states it.
        clip ([`ClipView`], *optional*): What the dual encoder made of it.
        created (`str`): Time of the analysis, UTC.
        saliency ([`Saliency`], *optional*), words (`list[dict]`, *optional*), nearest (`list[dict]`, *optional*):
            As they are computed. `words` holds `label`, `score` and those of [`Fit`], `nearest` holds `report`
            and `similarity`.
        reports_source (`str`, *optional*): Where the nearest reports come from.
    """

    name: str
    model: str
    clip_model: str | None
    signal: np.ndarray
    lead_names: tuple[str, ...]
    sampling_rate: float
    recording: dict[str, float]
    notes: list[str]
    quality: list[dict[str, str]]
    findings: Findings
    input_values: torch.Tensor
    measurements: EcgMeasurements
    stated_measurements: dict[str, float]
    clip: ClipView | None
    created: str
    saliency: Saliency | None = None
    words: list[dict[str, Any]] | None = None
    nearest: list[dict[str, Any]] | None = None
    reports_source: str | None = None

    @property
    def marked_measurements(self) -> EcgMeasurements:
        """What the drawing marks: the measurements, their times from the first sample of `signal` on."""
        marks_s = self.measurements.marks_s - self.recording["analysed_from_s"]
        return replace(self.measurements, marks_s=marks_s)

    @property
    def n_bytes(self) -> int:
        """Memory that its arrays take."""
        measured = self.measurements
        arrays = [self.signal, measured.marks_s, measured.beats_s, measured.spikes_s, *measured.amplitudes.values()]
        if self.saliency is not None:
            arrays.append(self.saliency.strength)
        return sum(array.nbytes for array in arrays) + self.input_values.nbytes

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measurements as they are shown, beside the recorder's own."""
        return measures_of(self.measurements, self.stated_measurements)

    @property
    def marked_label(self) -> str | None:
        """Name of the label whose saliency is shown unasked: the first that is positive."""
        return next((finding.name for finding in self.findings.entries if finding.is_called), None)

    def to_dict(self) -> dict[str, Any]:
        """Returns what the JSON file holds."""
        saliency = self.saliency
        return {
            "disclaimer": DISCLAIMER,
            "file": self.name,
            "created": self.created,
            "model": self.model,
            "clip_model": self.clip_model,
            "recording": self.recording,
            "notes": self.notes,
            "quality": self.quality,
            "values" if self.findings.are_values else "probabilities": self.findings.to_list(),
            "measurements": self.measurements.to_dict(),
            "measurements_by_recorder": self.stated_measurements,
            "saliency": saliency
            and {"label": saliency.label, "method": SALIENCY_METHOD, "lead_shares": saliency.shares},
            "own_words": self.words,
            "nearest_reports": self.nearest,
            "nearest_reports_source": self.reports_source,
        }


@dataclass
class Analyser:
    """
    The models of one page.

    Args:
        classifier (`EcgClassificationPipeline`): Of a fine-tuned model.
        zero_shot (`ZeroShotEcgClassificationPipeline`, *optional*): Of a dual encoder.
        reports ([`ReportIndex`], *optional*): Of the same dual encoder.
    """

    classifier: EcgClassificationPipeline
    zero_shot: ZeroShotEcgClassificationPipeline | None = None
    reports: ReportIndex | None = None

    def __post_init__(self) -> None:
        self._places = lru_cache(REMEMBERED)(self._embed)
        self._example_places = cache(self._embed_examples)

    @classmethod
    def load(cls, model: str, clip_model: str | None = None, report_index: str | Path | None = None) -> "Analyser":
        """
        Returns an analyser of saved models. Their code is this package's: none is run that a repository brings.

        Args:
            model (`str`): Folder or Hub id of a classifier.
            clip_model (`str`, *optional*): Folder or Hub id of a dual encoder.
            report_index (`str` or `Path`, *optional*): The one in the dual encoder's repository where left out.

        Raises:
            `ValueError`: for a model that only code of its own could load, or an index without its dual encoder.
        """
        if report_index is not None and clip_model is None:
            raise ValueError(f"{report_index}: nearest reports need the dual encoder that embedded them")
        if report_index is None and clip_model is not None:
            report_index = cached_file(
                clip_model,
                INDEX_FILE,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
        classifier = _pipeline("ecg-classification", model, EcgClassificationPipeline)
        zero_shot: Any = None
        if clip_model is not None:
            zero_shot = _pipeline("zero-shot-ecg-classification", clip_model, ZeroShotEcgClassificationPipeline)
        reports = None if report_index is None else ReportIndex.load(report_index, zero_shot.model)
        return cls(classifier, zero_shot, reports)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classifier's labels, in its order."""
        return labels_of(self.classifier.model.config)

    @property
    def extractor(self) -> EcgFeatureExtractor:
        """What feeds the classifier."""
        return cast(EcgFeatureExtractor, self.classifier.feature_extractor)

    @property
    def lead_names(self) -> tuple[str, ...]:
        """The leads that the classifier reads, in its order."""
        return tuple(self.extractor.lead_names)

    def analyse(
        self,
        record: EcgRecord,
        notes: Sequence[str] = (),
        repair_nan: bool = False,
        allow_missing_leads: bool = False,
    ) -> Analysis:
        """
        Returns probabilities, and with a dual encoder and its reports the nearest ones.

        Args:
            record (`EcgRecord`): With its sampling rate.
            notes (`list[str]`): What was assumed about it.
            repair_nan, allow_missing_leads (`bool`): As in `EcgFeatureExtractor`.

        Raises:
            `ValueError`, `TypeError`: for an ECG that is not usable.
        """
        options: dict[str, Any] = {"repair_nan": repair_nan, "allow_missing_leads": allow_missing_leads}
        extractor = self.extractor
        standard = self.classifier.standardize(record, **options)
        rate = extractor.sampling_rate
        recorded = standard.signal.shape[1]
        first = max(0, (recorded - extractor.n_samples) // 2)
        signal = standard.signal[:, first : first + extractor.n_samples]
        recording = {
            "sampling_rate": float(record.sampling_rate),
            "duration_s": recorded / rate,
            "analysed_from_s": first / rate,
            "analysed_to_s": (first + signal.shape[1]) / rate,
        }
        notes = [*notes, *(_sentence(one.message) for one in standard.findings), *_flag_notes(standard.flags)]
        if recorded > extractor.n_samples:
            notes.append(
                f"Of {recorded / rate:.1f} s the middle {signal.shape[1] / rate:.1f} s are analysed and shown."
            )
        prepared = self.classifier.preprocess(record, **options)
        input_values = prepared["input_values"]
        results = self.classifier.postprocess(self.classifier.forward(prepared))
        analysis = Analysis(
            name=record.name,
            model=_public_name(self.classifier.model),
            clip_model=None if self.zero_shot is None else _public_name(self.zero_shot.model),
            signal=signal.copy(),  # and not a view that holds the whole recording
            lead_names=self.lead_names,
            sampling_rate=float(rate),
            recording=recording,
            notes=notes,
            quality=standard.quality,
            findings=Findings.of(results, self.classifier.model.config),
            input_values=input_values,
            measurements=measure_record(record, repair_nan)[0],
            stated_measurements=dict(record.metadata.get("measurements", {})),
            clip=None if self.zero_shot is None else self._clip_view(record, options),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        if analysis.clip is None or self.reports is None:
            return analysis
        place = analysis.clip.embeds[0].float().numpy()
        return replace(analysis, nearest=self.reports.nearest(place, NEAREST), reports_source=self.reports.source)

    def _clip_view(self, record: EcgRecord, options: dict[str, Any]) -> ClipView:
        """Runs the dual encoder's ECG tower, once for nearest reports and for all words that follow."""
        of_pair: Any = self.zero_shot
        prepared = of_pair.preprocess(record, **options)
        with torch.inference_mode():
            embeds = of_pair.model.get_ecg_features(prepared["input_values"].to(of_pair.device))
        return ClipView(embeds.cpu(), prepared["quality"])

    def _embed(self, texts: tuple[str, ...]) -> torch.Tensor:
        """(texts, projection_dim)."""
        of_pair: Any = self.zero_shot
        return torch.from_numpy(embed_reports(of_pair.model, of_pair.tokenizer, texts))

    def explain(self, analysis: Analysis, label: str) -> Analysis:
        """Returns the analysis with the saliency of one label."""
        attributions = integrated_gradients(self.classifier.model, analysis.input_values, label)
        extractor = self.extractor
        n = analysis.signal.shape[1]
        # Zeros are put around a short recording, and then around the window: the smaller half on the left each time.
        left = (extractor.n_samples - n) // 2 + (extractor.input_samples - extractor.n_samples) // 2
        strength = smooth_saliency(attributions, extractor.sampling_rate)[:, left : left + n]
        return replace(analysis, saliency=Saliency(label, strength, lead_shares(attributions, extractor.lead_names)))

    def compare(self, analysis: Analysis, words: str, language: str) -> Analysis:
        """
        Returns the analysis with the probability of each of the user's phrases, by the zero-shot pipeline, and with
        how much its similarity means.

        Args:
            analysis ([`Analysis`]): Of the ECG.
            words (`str`): One phrase a line.
            language (`str`): Key of `TEMPLATES` of `space.words`.

        Raises:
            `ValueError`: for fewer than two phrases, too many, too long or equal ones.
        """
        phrases = phrases_of(words)
        of_pair: Any = self.zero_shot
        clip: Any = analysis.clip
        places = self._places(sentences(phrases, language))
        with torch.inference_mode():
            logits = of_pair.model.logit_scale.exp().cpu() * clip.embeds @ places.T
        outputs = {"logits_per_ecg": logits, "quality": clip.quality}
        fits = dict(zip(phrases, self.yardstick(language).fits(clip.embeds, places), strict=True))
        results = [{**one, **fits[one["label"]].to_dict()} for one in of_pair.postprocess(outputs, phrases)]
        return replace(analysis, words=results)

    def yardstick(self, language: str) -> Yardstick:
        """Returns what similarities are measured with: the simulated examples, and unrelated words of a language."""
        return Yardstick(self._example_places(), self._places(sentences(UNRELATED[language], language)))

    def _embed_examples(self) -> torch.Tensor:
        """(examples, projection_dim)."""
        options = {"allow_missing_leads": True}
        return torch.cat([self._clip_view(read_ecg(example.paths[0]), options).embeds for example in EXAMPLES])


def _pipeline(task: Any, model: str, kind: type) -> Any:
    """A pipeline of a saved model, by this package's code and never by the model's own."""
    verify_settings(model)
    try:
        return pipeline(task, model=model, pipeline_class=kind, trust_remote_code=False)
    except (ValueError, KeyError) as error:
        reason = " ".join(str(error).split()).split(". ")[0]
        raise ValueError(
            f"{model}: expected a model that ecgclip's own code loads for {task}, since code that comes with a model "
            f"is never run here: {reason}"
        ) from error


def _flag_notes(flags: Sequence[str]) -> list[str]:
    """What the feature extractor did, in sentences."""
    notes = []
    for kind, sentence in (
        ("derived:", "Computed from I and II: {}."),
        ("missing:", "Not recorded, set to 0 mV: {}."),
    ):
        leads = [flag.removeprefix(kind) for flag in flags if flag.startswith(kind)]
        if leads:
            notes.append(sentence.format(", ".join(leads)))
    if "resampled" in flags:
        notes.append("Resampled to the model's rate.")
    return notes


def _sentence(message: str) -> str:
    """A message as a sentence of its own; names of leads keep their case."""
    first, _, rest = message.partition(" ")
    first = first.capitalize() if first.islower() else first
    message = f"{first} {rest}"
    return message if message.endswith((".", "?")) else f"{message}."


def _public_name(model: Any) -> str:
    """A model's Hub id, or its folder's name: where that folder lies concerns nobody."""
    return public_name(model.config._name_or_path)


__all__ = ["DISCLAIMER", "SALIENCY_METHOD", "Analyser", "Analysis", "Saliency"]
