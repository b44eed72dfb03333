"""ECG encoders, classifier and dual encoder for transformers, with their preprocessing and pipelines.

Importing this package makes the Auto classes and `pipeline` know its models; folders saved by it load without it, as
remote code.
"""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_ecgclip import (
    LABEL_NAMES,
    LEAD_NAMES,
    N_SAMPLES,
    PRESETS,
    SAMPLING_RATE,
    EcgClipConfig,
    EcgResNetConfig,
)
from .exported_ecgclip import ExportedEcgClassifier, ExportedEcgConfig
from .feature_extraction_ecgclip import EcgFeatureExtractor, StandardEcg
from .hub_ecgclip import save_for_hub
from .modeling_ecgclip import (
    EcgClipModel,
    EcgClipOutput,
    EcgResNetForSignalClassification,
    EcgResNetModel,
    EcgResNetOutput,
)
from .pipeline_ecgclip import (
    EcgClassificationPipeline,
    EcgFeatureExtractionPipeline,
    ZeroShotEcgClassificationPipeline,
)
from .processing_ecgclip import EcgClipProcessor
from .reading_ecgclip import read_ecg
from .record_ecgclip import EcgRecord
from .visualization_ecgclip import plot_ecg


# So that `save_pretrained` copies the code; feature extractor and processor say so in their own files.
EcgResNetConfig.register_for_auto_class()
EcgClipConfig.register_for_auto_class()
EcgResNetModel.register_for_auto_class("AutoModel")
EcgClipModel.register_for_auto_class("AutoModel")
EcgResNetForSignalClassification.register_for_auto_class("AutoModelForAudioClassification")

for _config in (EcgResNetConfig, EcgClipConfig, ExportedEcgConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoFeatureExtractor.register(_config, EcgFeatureExtractor, exist_ok=True)
AutoModel.register(EcgResNetConfig, EcgResNetModel, exist_ok=True)
AutoModel.register(EcgClipConfig, EcgClipModel, exist_ok=True)
AutoModelForAudioClassification.register(EcgResNetConfig, EcgResNetForSignalClassification, exist_ok=True)
AutoModelForAudioClassification.register(ExportedEcgConfig, ExportedEcgClassifier, exist_ok=True)
AutoProcessor.register(EcgClipConfig, EcgClipProcessor, exist_ok=True)

PIPELINE_REGISTRY.register_pipeline(
    "ecg-classification", EcgClassificationPipeline, pt_model=AutoModelForAudioClassification
)
PIPELINE_REGISTRY.register_pipeline(
    "zero-shot-ecg-classification", ZeroShotEcgClassificationPipeline, pt_model=AutoModel
)
PIPELINE_REGISTRY.register_pipeline("ecg-feature-extraction", EcgFeatureExtractionPipeline, pt_model=AutoModel)


__all__ = [
    "LABEL_NAMES",
    "LEAD_NAMES",
    "N_SAMPLES",
    "PRESETS",
    "SAMPLING_RATE",
    "EcgClassificationPipeline",
    "EcgClipConfig",
    "EcgClipModel",
    "EcgClipOutput",
    "EcgClipProcessor",
    "EcgFeatureExtractionPipeline",
    "EcgFeatureExtractor",
    "EcgRecord",
    "EcgResNetConfig",
    "EcgResNetForSignalClassification",
    "EcgResNetModel",
    "EcgResNetOutput",
    "ExportedEcgClassifier",
    "ExportedEcgConfig",
    "StandardEcg",
    "ZeroShotEcgClassificationPipeline",
    "plot_ecg",
    "read_ecg",
    "save_for_hub",
]
