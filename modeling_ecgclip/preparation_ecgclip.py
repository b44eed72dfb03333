"""What is made of one ECG before a model sees it: its input, what is doubtful about it, its measurements."""

from dataclasses import dataclass, replace
from typing import Any

from .feature_extraction_ecgclip import EcgFeatureExtractor, StandardEcg
from .measure_record_ecgclip import measure_record
from .record_ecgclip import EcgRecord
from .training_statistics_ecgclip import input_properties, unlike_training


@dataclass(frozen=True)
class EcgPreparation:
    """
    Prepares ECGs for a model, without the model: pipelines do it so, and processes that read for a server.

    Args:
        config (`PreTrainedConfig`): The model's.
        feature_extractor ([`EcgFeatureExtractor`]): The model's.
    """

    config: Any
    feature_extractor: EcgFeatureExtractor

    def standardize(
        self, record: EcgRecord, allow_missing_leads: bool | None = None, repair_nan: bool | None = None
    ) -> StandardEcg:
        """
        Returns an ECG as the feature extractor standardizes it; its findings also say what is unlike the exams that
        the model was trained on, where the configuration knows what these were like.

        Args:
            record (`EcgRecord`): From `read_ecg`.
            allow_missing_leads, repair_nan (`bool`, *optional*): As in [`EcgFeatureExtractor`].
        """
        standard = self.feature_extractor.standardize(
            record.signal,
            record.sampling_rate,
            record.lead_names,
            record.unit,
            record.name,
            allow_missing_leads,
            repair_nan,
        )
        statistics = getattr(getattr(self.config, "ecg_config", self.config), "training_statistics", None)
        if statistics is None:
            return standard
        found = input_properties(self.feature_extractor.window(standard.signal), standard.sampling_rate)
        unlike = unlike_training(found, self.feature_extractor.lead_names, statistics)
        return replace(standard, findings=[*standard.findings, *unlike])

    def model_input(
        self,
        record: EcgRecord,
        allow_missing_leads: bool | None = None,
        repair_nan: bool | None = None,
        with_measurements: bool = False,
    ) -> dict[str, Any]:
        """
        Returns `input_values` float32 `(1, leads, samples)`, the ECG's `name`, its `quality`, a list of what is
        doubtful, and `measurements` where they are wanted.

        Args: as [`standardize`].
        """
        standard = self.standardize(record, allow_missing_leads, repair_nan)
        values = self.feature_extractor.features([standard])["input_values"]
        prepared = {"input_values": values, "quality": standard.quality, "name": record.name}
        if with_measurements:
            prepared["measurements"] = self.measured(record, repair_nan)["measurements"]
        return prepared

    def measured(self, record: EcgRecord, repair_nan: bool | None = None) -> dict[str, Any]:
        """Returns the `measurements` of an ECG as JSON has them, and `quality`, a list of what is doubtful."""
        repair_nan = self.feature_extractor.repair_nan if repair_nan is None else repair_nan
        measurements, standard = measure_record(record, repair_nan)
        return {"measurements": measurements.to_dict(), "quality": standard.quality}


__all__ = ["EcgPreparation"]
