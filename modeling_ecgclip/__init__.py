"""ECG encoders, classifier and dual encoder for transformers, with their preprocessing and pipelines.

Importing this package makes the Auto classes and `pipeline` know its models; folders saved by it load without it, as
remote code.
"""

from typing import Any

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoProcessor,
    PreTrainedConfig,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .clip_ecgclip import EcgClipConfig, EcgClipForSignalClassification, EcgClipModel, EcgClipOutput
from .configuration_ecgclip import EcgEncoderConfig, EcgResNetConfig
from .encoder_ecgclip import EcgEncoderOutput, EcgForSignalClassification
from .exported_ecgclip import ExportedEcgClassifier, ExportedEcgConfig
from .feature_extraction_ecgclip import EcgFeatureExtractor, StandardEcg
from .hub_ecgclip import MEASUREMENT_TASK, save_for_hub
from .labels_ecgclip import CODE_LABELS, LABEL_NAMES, Label
from .measure_ecgclip import measure_ecg, measure_ecgs
from .measure_record_ecgclip import measure_record
from .measurements_ecgclip import EcgMeasurements
from .modeling_ecgclip import EcgResNetForSignalClassification, EcgResNetModel
from .pipeline_ecgclip import (
    EcgClassificationPipeline,
    EcgFeatureExtractionPipeline,
    EcgMeasurementPipeline,
    ZeroShotEcgClassificationPipeline,
)
from .pretrained_ecgclip import classify, example_ecg, pretrained_folder
from .processing_ecgclip import EcgClipProcessor
from .reading_ecgclip import read_ecg
from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES, N_SAMPLES, SAMPLING_RATE, SignalSpec
from .stated_ecgclip import ImplausibleEcgError, UnstatedError
from .towers_ecgclip import PRESETS, TOWERS, build_tower, encoder_config
from .visualization_ecgclip import plot_ecg


__version__ = "0.2.0"

# So that `save_pretrained` copies the code; feature extractor and processor say so in their own files.
for _tower in TOWERS.values():
    _tower.config_class.register_for_auto_class()
    _tower.model_class.register_for_auto_class("AutoModel")
    _tower.classifier_class.register_for_auto_class("AutoModelForAudioClassification")
    AutoModel.register(_tower.config_class, _tower.model_class, exist_ok=True)
    AutoModelForAudioClassification.register(_tower.config_class, _tower.classifier_class, exist_ok=True)
EcgClipConfig.register_for_auto_class()
EcgClipModel.register_for_auto_class("AutoModel")

_configs: list[type[PreTrainedConfig]] = [EcgClipConfig, ExportedEcgConfig]
for _config in (*(_tower.config_class for _tower in TOWERS.values()), *_configs):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoFeatureExtractor.register(_config, EcgFeatureExtractor, exist_ok=True)
AutoModel.register(EcgClipConfig, EcgClipModel, exist_ok=True)
AutoModelForAudioClassification.register(EcgClipConfig, EcgClipForSignalClassification, exist_ok=True)
AutoModelForAudioClassification.register(ExportedEcgConfig, ExportedEcgClassifier, exist_ok=True)
AutoProcessor.register(EcgClipConfig, EcgClipProcessor, exist_ok=True)

PIPELINE_REGISTRY.register_pipeline(
    "ecg-classification", EcgClassificationPipeline, pt_model=AutoModelForAudioClassification
)
PIPELINE_REGISTRY.register_pipeline(
    "zero-shot-ecg-classification", ZeroShotEcgClassificationPipeline, pt_model=AutoModel
)
PIPELINE_REGISTRY.register_pipeline("ecg-feature-extraction", EcgFeatureExtractionPipeline, pt_model=AutoModel)
_any_model: Any = (AutoModel, AutoModelForAudioClassification)  # transformers states a tuple of one
PIPELINE_REGISTRY.register_pipeline(MEASUREMENT_TASK, EcgMeasurementPipeline, pt_model=_any_model)


__all__ = [
    "CODE_LABELS",
    "LABEL_NAMES",
    "LEAD_NAMES",
    "N_SAMPLES",
    "PRESETS",
    "SAMPLING_RATE",
    "TOWERS",
    "EcgClassificationPipeline",
    "EcgClipConfig",
    "EcgClipModel",
    "EcgClipOutput",
    "EcgClipProcessor",
    "EcgEncoderConfig",
    "EcgEncoderOutput",
    "EcgFeatureExtractionPipeline",
    "EcgFeatureExtractor",
    "EcgForSignalClassification",
    "EcgMeasurementPipeline",
    "EcgMeasurements",
    "EcgRecord",
    "EcgResNetConfig",
    "EcgResNetForSignalClassification",
    "EcgResNetModel",
    "ExportedEcgClassifier",
    "ExportedEcgConfig",
    "ImplausibleEcgError",
    "Label",
    "SignalSpec",
    "StandardEcg",
    "UnstatedError",
    "ZeroShotEcgClassificationPipeline",
    "build_tower",
    "classify",
    "encoder_config",
    "example_ecg",
    "measure_ecg",
    "measure_ecgs",
    "measure_record",
    "plot_ecg",
    "pretrained_folder",
    "read_ecg",
    "save_for_hub",
]
