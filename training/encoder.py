"""Where the ECG encoder of a run comes from."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from modeling_ecgclip import EcgFeatureExtractor, EcgForSignalClassification
from modeling_ecgclip.hub_ecgclip import check_preprocessing, verify_settings
from modeling_ecgclip.signal_ecgclip import SignalSpec, check_same_signal
from modeling_ecgclip.towers_ecgclip import classifier_class, load_tower
from modeling_ecgclip.towers_ecgclip import encoder_config as preset_config
from training.arguments import EncoderArguments
from training.loop import HEAD_PREFIX
from training.targets import Targets


def encoder_config(args: EncoderArguments, signal: SignalSpec) -> PreTrainedConfig:
    """
    Returns the configuration of `--model_name_or_path`, or of `--encoder_preset` for the exam table's signal; with the
    dropout asked for.

    Args:
        args (`EncoderArguments`): The command line's.
        signal (`SignalSpec`): Of the exam table.

    Raises:
        `ValueError`: for a model that is no ECG encoder, one that reads another signal than the table holds, or one
            without the dropout that is to change.
    """
    changes = {} if args.dropout is None else {"dropout": args.dropout}
    if args.model_name_or_path is None:
        return preset_config(args.encoder_preset, **vars(signal), **changes)
    verify_settings(args.model_name_or_path, revision=args.model_revision)
    config = AutoConfig.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
    config = getattr(config, "ecg_config", config)
    for name in ("lead_names", "hidden_size", *changes):
        if not hasattr(config, name):
            raise ValueError(
                f"{args.model_name_or_path} holds a model of type {config.model_type}: expected an ECG encoder, whose "
                f"configuration states {name}"
            )
    parts = (("the exam table", signal), (args.model_name_or_path, SignalSpec.of(config)))
    check_same_signal(parts, "--model_name_or_path")
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def load_encoder(args: EncoderArguments, config: PreTrainedConfig) -> PreTrainedModel:
    """Returns the encoder of `--model_name_or_path`, with its configuration from [`encoder_config`]."""
    return load_tower(args.model_name_or_path, config, revision=args.model_revision or "main")


def load_classifier(args: EncoderArguments, config: PreTrainedConfig, targets: Targets) -> EcgForSignalClassification:
    """
    Returns a classifier from `--model_name_or_path`, whose head may be new, or with random weights.

    Args:
        args (`EncoderArguments`): The command line's.
        config (`PreTrainedConfig`): From [`encoder_config`]; it takes on the outputs.
        targets (`Targets`): What the outputs are to say, which knows the training exams. A head for the same is kept.
    """
    other_head = not targets.fits(config)
    targets.describe(config)
    model_class = classifier_class(config)
    if args.model_name_or_path is None:
        return model_class(config)
    # A pair, of which transformers' types do not know.
    loaded: Any = model_class.from_pretrained(
        args.model_name_or_path,
        config=config,
        revision=args.model_revision or "main",
        ignore_mismatched_sizes=other_head,
        output_loading_info=True,
    )
    model, found = loaded
    if other_head:
        # A head for something else, such as the age of lima2021 or six other labels: its weights mean nothing here.
        model.classifier = model_class(config).classifier
    is_new = other_head or any(name.startswith(HEAD_PREFIX) for name in found["missing_keys"])
    targets.begin(model.classifier, trained=not is_new)
    return model


def load_feature_extractor(args: EncoderArguments, config: PreTrainedConfig) -> EcgFeatureExtractor:
    """
    Returns the preprocessing that belongs to `--model_name_or_path`, or to a model that starts from random weights.

    Args:
        args (`EncoderArguments`): The command line's.
        config (`PreTrainedConfig`): From [`encoder_config`].

    Raises:
        `ValueError`: where it gives another signal than the encoder reads.
    """
    if args.model_name_or_path is None:
        return EcgFeatureExtractor.for_model(config)
    extractor = EcgFeatureExtractor.from_pretrained(args.model_name_or_path, revision=args.model_revision or "main")
    check_preprocessing(config, extractor, args.model_name_or_path)
    return extractor
