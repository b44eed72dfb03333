"""What all ECG encoders share: their output, saving and loading, the copy for inference, and the classifier on top.

An encoder is any `PreTrainedModel` that takes `input_values` and gives `pooler_output`, and whose configuration states
`hidden_size`; those of this package are listed in `towers_ecgclip.py`.
"""

import copy
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_ecgclip import EcgEncoderConfig
from .hub_ecgclip import load_verified, state_offers, state_saved_model
from .labels_ecgclip import calibrated
from .losses_ecgclip import labelled_loss


if TYPE_CHECKING:
    # Named here, where no other file of the package is imported by them, so that `save_pretrained` of any model copies
    # these files too, also when a loaded model is saved again. Inference Endpoints looks for `handler.py`.
    from .feature_extraction_ecgclip import EcgFeatureExtractor  # noqa: F401
    from .handler import EndpointHandler  # noqa: F401
    from .pipeline_ecgclip import EcgClassificationPipeline  # noqa: F401
    from .processing_ecgclip import EcgClipProcessor  # noqa: F401


@dataclass
class EcgEncoderOutput(ModelOutput):
    """
    Output of an encoder.

    Args:
        last_hidden_state (`torch.Tensor` of shape `(batch, channels, samples)`): Last feature map.
        pooler_output (`torch.Tensor` of shape `(batch, hidden_size)`): The ECG's embedding.
        hidden_states (`tuple(torch.Tensor)`, *optional*, with `output_hidden_states=True`):
            Feature maps behind the stem and behind each block, `(batch, channels, samples)`.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


def hidden_states_wanted(output_hidden_states: bool | None, config: Any) -> bool:
    """Returns whether a call asks for feature maps, or, where it does not say, the configuration."""
    return config.output_hidden_states if output_hidden_states is None else output_hidden_states


class EcgPreTrainedModel(PreTrainedModel):
    """Weight initialisation and loading, shared by towers, classifiers and dual encoder."""

    config_class: Any = EcgEncoderConfig
    base_model_prefix = "ecg_model"
    main_input_name = "input_values"
    _supports_sdpa = True
    # Recomputing a block would move BatchNorm's running statistics twice.
    supports_gradient_checkpointing = False
    # The loss is a mean over this batch: Trainer must divide it by the steps of accumulation.
    accepts_loss_kwargs = False
    # What a saved folder offers: the Auto classes with the class that each loads, and the pipelines' tasks.
    auto_classes: ClassVar[dict[str, str]] = {}
    tasks: ClassVar[tuple[str, ...]] = ()
    _is_for_inference = False

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *args: Any, **kwargs: Any
    ) -> Any:
        """
        As in transformers, after a look at the files: those that are not what was saved are refused.

        Raises:
            [`DamagedFileError`]: naming the file, the digest that the folder's `SHA256SUMS` states, and the one found.
        """
        name = pretrained_model_name_or_path
        load = partial(super().from_pretrained, name, *args, **kwargs)
        return load() if name is None else load_verified(load, name, **kwargs)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], is_main_process: bool = True, *args: Any, **kwargs: Any
    ) -> None:
        """As in transformers; the configuration also says which pipelines the folder serves, `SHA256SUMS` digests."""
        if self._is_for_inference:
            raise ValueError(
                "a copy made by for_inference() lacks the batch normalisations that its class has: save the model "
                "that it was made from"
            )
        if self.auto_classes:  # the code of other towers does not travel
            state_offers(self)
        super().save_pretrained(save_directory, is_main_process, *args, **kwargs)
        if is_main_process:
            state_saved_model(save_directory)

    def _upload_modified_files(self, working_dir: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """With `push_to_hub=True` the upload is the end of transformers' saving: the digests must be there by then."""
        state_saved_model(working_dir)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    def for_inference(self, dtype: torch.dtype | None = None) -> "EcgPreTrainedModel":
        """
        Returns a copy that computes the same faster, in eval mode, and can be neither trained nor saved.

        Batch normalisations that follow a convolution are folded into it, where the encoder knows how, and its weights
        are laid out once and not at every call. This model stays as it is.

        Args:
            dtype (`torch.dtype`, *optional*):
                Of the copy's weights, such as `torch.bfloat16` for a processor or GPU that computes in it; what is
                left of the batch normalisations stays in float32. Left out: this model's.

        Returns:
            A model of the same class, without gradients; pipelines take it as they take this one.
        """
        if self._is_for_inference:
            raise ValueError("this is a copy made by for_inference() already: make another from the original model")
        model = copy.deepcopy(self).float().eval().requires_grad_(False)
        for module in model.modules():
            if hasattr(module, "fold_norms_"):
                module.fold_norms_()
        model.to(self.dtype if dtype is None else dtype)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.float()
            elif hasattr(module, "lay_out_"):
                module.lay_out_()
        model._is_for_inference = True
        return model.requires_grad_(False)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv1d):
            # He et al. 2015 for ReLU networks, as the Keras original has it (kernel_initializer="he_normal").
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)


def recorded_values(input_values: torch.Tensor, ecg_attention_mask: torch.Tensor | None, config: Any) -> torch.Tensor:
    """
    Returns a batch of the signal that a configuration states, with 0 mV where nothing was recorded.

    Raises:
        `ValueError`: where leads or samples differ; the message gives both shapes.
    """
    expected = (config.n_leads, config.input_samples)
    if input_values.ndim != 3 or tuple(input_values.shape[1:]) != expected:
        raise ValueError(
            f"input_values must have shape (batch, {expected[0]}, {expected[1]}): (batch, leads, samples); "
            f"found {tuple(input_values.shape)}. EcgFeatureExtractor makes this shape from any ECG"
        )
    return input_values if ecg_attention_mask is None else input_values * ecg_attention_mask


class EcgForSignalClassification(EcgPreTrainedModel):
    """
    An encoder with a linear head. Each label has a probability of its own (sigmoid of its logit), unless
    `problem_type` says that one label alone holds (softmax) or that the outputs are numbers (regression).

    `from_pretrained` takes the folder of a classifier, of an encoder, or of an [`EcgClipModel`], whose text tower and
    projections it reports as unexpected, and the head as new.

    A tower of this package has a subclass that names its configuration; for any other, this class builds what
    `AutoModel` knows.
    """

    config_class: Any = AutoConfig
    tower_class: ClassVar[Any] = AutoModel
    tasks = ("ecg-classification", "ecg-feature-extraction")

    def __init__(self, config: Any):
        tower = self.tower_class
        # First, since both share the configuration: the tower decides which attention it has.
        ecg_model = tower.from_config(config) if tower is AutoModel else tower._from_config(config)
        super().__init__(config)
        self.ecg_model = ecg_model
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """
        Returns logits, calibrated where the configuration says how, and the loss where labels are given.

        Args:
            input_values (`torch.Tensor` of shape `(batch, leads, samples)`): Millivolts, from [`EcgFeatureExtractor`].
            labels (`torch.Tensor`, *optional*):
                `(batch, num_labels)` of 1, 0, or -1 or -100 where unknown; with
                `problem_type="single_label_classification"` `(batch,)` of whole numbers; with `"regression"` the
                target values, `(batch, num_labels)` or for one output `(batch,)`, NaN where unknown.
            ecg_attention_mask, output_hidden_states: For the encoder.

        Raises:
            `ValueError`: for labels that these outputs cannot have.
        """
        if ecg_attention_mask is not None:
            kwargs["ecg_attention_mask"] = ecg_attention_mask
        if output_hidden_states is not None:
            kwargs["output_hidden_states"] = output_hidden_states
        outputs = self.ecg_model(input_values, **kwargs)
        logits = calibrated(self.classifier(outputs.pooler_output), self.config)  # (batch, num_labels)
        problem_type = self.config.problem_type or "multi_label_classification"
        loss = None if labels is None else labelled_loss(logits, labels, problem_type)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=getattr(outputs, "hidden_states", None)
        )


__all__ = ["EcgEncoderOutput", "EcgForSignalClassification", "EcgPreTrainedModel", "recorded_values"]
