"""The ECG towers of this package, and how any tower is built: `TOWERS` is the one place that lists them."""

from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from .configuration_ecgclip import EcgEncoderConfig, EcgResNetConfig
from .encoder_ecgclip import EcgForSignalClassification
from .modeling_ecgclip import EcgResNetForSignalClassification, EcgResNetModel
from .xresnet_ecgclip import EcgXResNetConfig, EcgXResNetForSignalClassification, EcgXResNetModel


@dataclass(frozen=True)
class Tower:
    """
    One kind of encoder.

    Args:
        config_class (`type`): Its `presets` are the published networks of this kind.
        model_class (`type`): Takes `input_values`, gives `pooler_output`.
        classifier_class (`type`): The same with a linear head.
    """

    config_class: type[EcgEncoderConfig]
    model_class: type[PreTrainedModel]
    classifier_class: type[EcgForSignalClassification]


# A further tower is a file like `xresnet_ecgclip.py`, and a line here.
TOWERS = {
    tower.config_class.model_type: tower
    for tower in (
        Tower(EcgResNetConfig, EcgResNetModel, EcgResNetForSignalClassification),
        Tower(EcgXResNetConfig, EcgXResNetModel, EcgXResNetForSignalClassification),
    )
}
# Published networks of all kinds, by name: the configuration class, whose `presets` say what differs in them.
PRESETS = {name: tower.config_class for tower in TOWERS.values() for name in tower.config_class.presets}


def encoder_config(preset: str, **kwargs: Any) -> EcgEncoderConfig:
    """
    Returns the configuration of a published encoder.

    Args:
        preset (`str`): One of `PRESETS`.
        kwargs: Fields that differ.

    Raises:
        `ValueError`: for an unknown name.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown encoder preset {preset!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[preset].from_preset(preset, **kwargs)


def tower_config(config: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig:
    """
    Returns a tower's configuration, from what a dual encoder's configuration holds.

    Args:
        config (`PreTrainedConfig`, `dict` or None):
            A dictionary's `model_type` decides: a tower of this package (the default: the residual network), or any
            other that `AutoConfig` knows.
    """
    if isinstance(config, PreTrainedConfig):
        return config
    fields = dict(config or {})
    model_type = fields.pop("model_type", EcgResNetConfig.model_type)
    if model_type in TOWERS:
        return TOWERS[model_type].config_class(**fields)
    return AutoConfig.for_model(model_type, **fields)


def build_tower(config: PreTrainedConfig) -> PreTrainedModel:
    """Returns a tower with random weights: one of this package, or what `AutoModel` makes of its configuration."""
    tower = TOWERS.get(config.model_type)
    return AutoModel.from_config(config) if tower is None else tower.model_class._from_config(config)


def load_tower(name_or_path: str, config: PreTrainedConfig | None = None, **kwargs: Any) -> PreTrainedModel:
    """
    Returns the tower of a folder or repository that holds a tower, a classifier or a dual encoder.

    Args:
        name_or_path (`str`): Folder or repository id.
        config (`PreTrainedConfig`, *optional*): The tower's own; read from there where left out.
        kwargs: For `from_pretrained` (`revision`, ...).

    Raises:
        `ValueError`: where weights of the tower are missing there.
    """
    if config is None:
        config = AutoConfig.from_pretrained(name_or_path, **kwargs)
        config = getattr(config, "ecg_config", config)
    tower = TOWERS.get(config.model_type)
    # A tower from elsewhere does not know under which name its weights lie in another model's folder.
    model_class = EcgForSignalClassification if tower is None else tower.model_class
    loaded: Any = model_class.from_pretrained(name_or_path, config=config, output_loading_info=True, **kwargs)
    model, report = loaded
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("classifier."))
    if missing:
        raise ValueError(
            f"{name_or_path} lacks {len(missing)} weights of its ECG encoder ({config.model_type}), such as "
            f"{missing[0]}"
        )
    return model.ecg_model if tower is None else model


def classifier_class(config: PreTrainedConfig) -> type[EcgForSignalClassification]:
    """Returns the classifier of a tower, by the tower's configuration."""
    tower = TOWERS.get(config.model_type)
    return EcgForSignalClassification if tower is None else tower.classifier_class


__all__ = [
    "PRESETS",
    "TOWERS",
    "Tower",
    "build_tower",
    "classifier_class",
    "encoder_config",
    "load_tower",
    "tower_config",
]
