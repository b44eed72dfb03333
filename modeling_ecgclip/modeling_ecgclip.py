"""The residual ECG encoder, its classifier, and the dual encoder that pre-trains it against report text.

Inside the encoder a signal is an image of height 1, (batch, channels, 1, samples), with the channels innermost in
memory: processors convolve, normalise and pool this layout faster than (batch, channels, samples); see
`benchmarks/training_speed`.
"""

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import ModelOutput, can_return_tuple, logging

from .configuration_ecgclip import EcgClipConfig, EcgResNetConfig
from .hub_ecgclip import state_offers
from .losses_ecgclip import clip_loss, multilabel_loss, siglip_loss


logger = logging.get_logger(__name__)


@dataclass
class EcgResNetOutput(ModelOutput):
    """
    Output of [`EcgResNetModel`].

    Args:
        last_hidden_state (`torch.Tensor` of shape `(batch, block_channels[-1], final_samples)`): Last feature map.
        pooler_output (`torch.Tensor` of shape `(batch, hidden_size)`): The feature map flattened: the ECG's embedding.
        hidden_states (`tuple(torch.Tensor)`, *optional*, with `output_hidden_states=True`):
            Skip streams behind the stem and behind each block, `(batch, channels, samples)`.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


@dataclass
class EcgClipOutput(ModelOutput):
    """
    Output of [`EcgClipModel`].

    Args:
        loss (`torch.Tensor`, *optional*, with `return_loss=True`): Contrastive loss, scalar.
        logits_per_ecg (`torch.Tensor` of shape `(ecg_batch, text_batch)`): Scaled cosine similarities.
        logits_per_text (`torch.Tensor` of shape `(text_batch, ecg_batch)`): Their transpose.
        ecg_embeds (`torch.Tensor` of shape `(ecg_batch, projection_dim)`): L2-normalised.
        text_embeds (`torch.Tensor` of shape `(text_batch, projection_dim)`): L2-normalised.
    """

    loss: torch.Tensor | None = None
    logits_per_ecg: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    ecg_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None


class EcgConv1d(nn.Conv1d):
    """Convolution that turns n samples into n / stride, zero-padded by either published rule."""

    def __init__(
        self,
        config: EcgResNetConfig,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        bias: bool = False,
        kernel_size: int | None = None,
    ):
        kernel_size = config.kernel_size if kernel_size is None else kernel_size
        excess = kernel_size - stride
        symmetric = config.padding == "symmetric" or excess % 2 == 0
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=(excess + 1) // 2 if symmetric else 0,
            bias=bias,
        )
        # TensorFlow's "same" puts the odd zero on the right, which a convolution's own padding cannot state.
        self.uneven_padding = None if symmetric else (excess // 2, excess - excess // 2)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch, in_channels, 1, samples) -> (batch, out_channels, 1, samples / stride)."""
        if self.uneven_padding is not None:
            hidden_states = F.pad(hidden_states, self.uneven_padding)
        # One copy to the input's layout and precision; left to themselves, autocast and convolution make four.
        weight = self.weight[:, :, None].to(dtype=hidden_states.dtype, memory_format=torch.channels_last)
        return F.conv2d(hidden_states, weight, self.bias, stride=(1, *self.stride), padding=(0, *self.padding))


class EcgDropout(nn.Dropout):
    """
    Dropout whose mask costs a processor a quarter of torch's, which draws 32 random bits for each value.

    Here a value takes 16, so that `p` is rounded to a multiple of 1/65536 (0.2 to 0.199997); what is kept is scaled by
    the rounded probability, so that the expected value does not change. Other devices use torch's own.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape, without gaps in memory."""
        dropped = round(self.p * 2**16)
        if not self.training or dropped == 0 or hidden_states.device.type != "cpu":
            return super().forward(hidden_states)
        n_words = -(-hidden_states.numel() // 4)
        bits = torch.empty(n_words, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        bits = bits.as_strided(hidden_states.shape, hidden_states.stride())
        scale = (bits >= dropped - 2**15).to(hidden_states.dtype).mul_(2**16 / (2**16 - dropped))
        return hidden_states * scale


class EcgBatchNorm1d(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` for (batch, channels, 1, samples)."""

    def __init__(self, config: EcgResNetConfig, channels: int):
        super().__init__(channels, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.ndim != 4:
            raise ValueError(f"expected (batch, channels, 1, samples): found {tuple(input.shape)}")


@torch.no_grad()
def _fold(norm: EcgBatchNorm1d, conv: EcgConv1d) -> None:
    """Makes a convolution do what its batch normalisation does to its output in eval mode."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (channels,)
    bias = 0 if conv.bias is None else conv.bias
    conv.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale)
    conv.weight.mul_(scale[:, None, None])


class EcgResNetStem(nn.Module):
    """First convolutions: leads to channels, without a skip stream."""

    def __init__(self, config: EcgResNetConfig):
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(config.stem_convs):
            first, last = i == 0, i == config.stem_convs - 1
            in_channels, stride = (config.n_leads, config.stem_stride) if first else (config.stem_channels, 1)
            layers.append(EcgConv1d(config, in_channels, config.stem_channels, stride, bias=not first))
            layers.append(EcgBatchNorm1d(config, config.stem_channels))
            if config.stem_activation and (first or not last):
                layers.append(nn.ReLU())
            if not first:
                layers.append(EcgDropout(config.dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """(batch, leads, 1, n_samples) -> (batch, stem_channels, 1, n_samples / stem_stride)."""
        return self.layers(input_values)

    def fold_norms_(self) -> None:
        """Folds each batch normalisation into the convolution before it."""
        for i, layer in enumerate(self.layers):
            if isinstance(layer, EcgBatchNorm1d):
                _fold(layer, self.layers[i - 1])
                self.layers[i] = nn.Identity()


class EcgResNetBlock(nn.Module):
    """Residual block in two streams; Ribeiro et al. 2020, figure 3."""

    def __init__(self, config: EcgResNetConfig, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = EcgConv1d(config, in_channels, out_channels, bias=config.conv_bias)
        self.norm1 = EcgBatchNorm1d(config, out_channels)
        self.conv2 = EcgConv1d(config, out_channels, out_channels, stride, bias=config.conv_bias)
        self.norm2 = EcgBatchNorm1d(config, out_channels)
        self.dropout = EcgDropout(config.dropout)
        skip: list[nn.Module] = [nn.MaxPool2d((1, stride))] if stride > 1 else []
        if in_channels != out_channels:
            skip.append(EcgConv1d(config, in_channels, out_channels, bias=config.conv_bias, kernel_size=1))
        self.skip = nn.Sequential(*skip)

    def forward(self, lower: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two streams (batch, in_channels, 1, samples) -> two streams (batch, out_channels, 1, samples / stride)."""
        lower = self.dropout(F.relu(self.norm1(self.conv1(lower))))
        skip = self.conv2(lower) + self.skip(skip)
        return self.dropout(F.relu(self.norm2(skip))), skip

    def fold_norms_(self) -> None:
        """Folds the first batch normalisation; the second has the skip stream, which stays as it is, before it."""
        _fold(self.norm1, self.conv1)
        self.norm1 = nn.Identity()


class EcgPreTrainedModel(PreTrainedModel):
    """Weight initialisation and loading, shared by tower, classifier and dual encoder."""

    config_class = EcgResNetConfig
    base_model_prefix = "ecg_model"
    main_input_name = "input_values"
    _supports_sdpa = True
    # Recomputing a block would move BatchNorm's running statistics twice.
    supports_gradient_checkpointing = False
    _is_for_inference = False

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """As in transformers; the saved configuration also says which pipelines the folder serves."""
        if self._is_for_inference:
            raise ValueError(
                "a copy made by for_inference() lacks the batch normalisations that its class has: save the model "
                "that it was made from"
            )
        state_offers(self)
        super().save_pretrained(save_directory, **kwargs)

    def for_inference(self, dtype: torch.dtype | None = None) -> "EcgPreTrainedModel":
        """
        Returns a copy that computes the same faster, in eval mode, and can be neither trained nor saved.

        Batch normalisations that follow a convolution are folded into it. This model stays as it is.

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
            if isinstance(module, EcgResNetStem | EcgResNetBlock):
                module.fold_norms_()
        model.to(self.dtype if dtype is None else dtype)
        for module in model.modules():
            if isinstance(module, EcgBatchNorm1d):
                module.float()
            elif isinstance(module, EcgConv1d):
                # Channels innermost once and for all: of a single ECG's time, laying out the weights is a good part.
                module.weight.data = module.weight.transpose(1, 2).contiguous().transpose(1, 2)
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
        elif isinstance(module, EcgClipModel):
            init.constant_(module.logit_scale, module.config.logit_scale_init_value)
            if module.logit_bias is not None:
                init.constant_(module.logit_bias, module.config.logit_bias_init_value)
            init.zeros_(module.text_center)
        else:
            super()._init_weights(module)


class EcgResNetModel(EcgPreTrainedModel):
    """
    The ECG encoder: a residual 1D network in two streams, whose last feature map is flattened into the embedding.

    Source: Ribeiro et al. 2020 (https://doi.org/10.1038/s41467-020-15432-4); the variants are in `PRESETS`.
    """

    def __init__(self, config: EcgResNetConfig):
        super().__init__(config)
        self.stem = EcgResNetStem(config)
        in_channels = (config.stem_channels, *config.block_channels)
        self.blocks = nn.ModuleList(
            EcgResNetBlock(config, in_channels[i], out_channels, stride)
            for i, (out_channels, stride) in enumerate(zip(config.block_channels, config.block_strides, strict=True))
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        ecg_attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> EcgResNetOutput:
        """
        Returns the feature map and the embedding of each ECG.

        Args:
            input_values (`torch.Tensor` of shape `(batch, 12, 4096)`): Millivolts, from [`EcgFeatureExtractor`].
            ecg_attention_mask (`torch.Tensor` of shape `(batch, 12, 4096)`, *optional*):
                1 where a sample was recorded; what is 0 (padding, missing leads) is set to 0 mV.
            output_hidden_states (`bool`, *optional*): Return the skip streams as well.

        Raises:
            `ValueError`: where leads or samples differ from the configuration.
        """
        expected = (self.config.n_leads, self.config.n_samples)
        if input_values.ndim != 3 or tuple(input_values.shape[1:]) != expected:
            raise ValueError(
                f"input_values must have shape (batch, {expected[0]}, {expected[1]}): (batch, leads, samples); "
                f"found {tuple(input_values.shape)}. EcgFeatureExtractor makes this shape from any ECG"
            )
        if ecg_attention_mask is not None:
            input_values = input_values * ecg_attention_mask
        image = input_values.to(self.dtype)[:, :, None]  # (batch, leads, 1, n_samples)
        lower = skip = self.stem(image.contiguous(memory_format=torch.channels_last))
        hidden_states = (skip[:, :, 0],)  # (batch, stem_channels, samples)
        for block in self.blocks:
            lower, skip = block(lower, skip)
            hidden_states += (skip[:, :, 0],)
        lower = lower[:, :, 0].contiguous()  # (batch, channels, final_samples)
        feature_map = lower if self.config.flatten == "channels_first" else lower.transpose(1, 2)
        return EcgResNetOutput(
            last_hidden_state=lower,
            pooler_output=feature_map.flatten(1),  # (batch, hidden_size)
            hidden_states=hidden_states if output_hidden_states else None,
        )


class EcgResNetForSignalClassification(EcgPreTrainedModel):
    """
    The encoder with a linear head. Each label has a probability of its own (sigmoid of its logit).

    `from_pretrained` takes the folder of a classifier, of an [`EcgResNetModel`], or of an [`EcgClipModel`], whose text
    tower and projections it reports as unexpected, and the head as new.
    """

    def __init__(self, config: EcgResNetConfig):
        super().__init__(config)
        self.ecg_model = EcgResNetModel._from_config(config)
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
        Returns logits, and the loss where labels are given.

        Args:
            input_values (`torch.Tensor` of shape `(batch, 12, 4096)`): Millivolts.
            labels (`torch.Tensor` of shape `(batch, num_labels)`, *optional*):
                1, 0, or -1 where unknown; with `problem_type="regression"` the target values.
            ecg_attention_mask, output_hidden_states: As in [`EcgResNetModel`].
        """
        outputs = self.ecg_model(input_values, ecg_attention_mask, output_hidden_states=output_hidden_states)
        logits = self.classifier(outputs.pooler_output)  # (batch, num_labels)
        loss = None
        if labels is not None and self.config.problem_type == "regression":
            loss = F.mse_loss(logits.float(), labels.float())
        elif labels is not None:
            loss = multilabel_loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


def pool_tokens(last_hidden_state: torch.Tensor, attention_mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """
    Returns one vector for each text: H_t of the paper, not normalised.

    Args:
        last_hidden_state (`torch.Tensor` of shape `(batch, tokens, width)`): Of the text tower.
        attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*): 1 for tokens, 0 for padding.
        pooling (`str`): `"mean"` over the tokens that the mask shows, or `"cls"`, the first token.

    Returns:
        `torch.Tensor` of shape `(batch, width)`.
    """
    if pooling == "cls":
        return last_hidden_state[:, 0]
    if pooling != "mean":
        raise ValueError(f"text pooling must be 'mean' or 'cls': found {pooling!r}")
    if attention_mask is None:
        return last_hidden_state.mean(dim=1)
    mask = attention_mask[:, :, None].to(last_hidden_state.dtype)  # (batch, tokens, 1)
    return (last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


class EcgClipModel(EcgPreTrainedModel):
    """
    ECG tower and text tower with a joint space, trained by the contrastive loss.

    The text tower may be any encoder of transformers; its pooled output (see [`pool_tokens`]) can be computed once and
    passed as `text_embeds`, so that training never runs it.
    """

    config_class = EcgClipConfig
    base_model_prefix = ""

    def __init__(self, config: EcgClipConfig):
        super().__init__(config)
        self.ecg_model = EcgResNetModel._from_config(config.ecg_config)
        self.text_model = AutoModel.from_config(config.text_config, **_without_pooler(config.text_config))
        self.ecg_projection = nn.Linear(config.ecg_config.hidden_size, config.projection_dim)
        self.text_projection = (
            nn.Identity()
            if config.text_projection == "identity"
            else nn.Linear(config.text_config.hidden_size, config.projection_dim)
        )
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        bias = config.logit_bias_init_value
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))
        self.register_buffer("text_center", torch.zeros(config.text_config.hidden_size))
        self.post_init()

    @classmethod
    def from_ecg_text_pretrained(
        cls,
        ecg: str | EcgResNetModel | EcgResNetConfig,
        text_model_name_or_path: str,
        text_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> "EcgClipModel":
        """
        Returns a dual encoder from an ECG tower and a text encoder; projections and temperature are new.

        Args:
            ecg (`str`, `EcgResNetModel` or `EcgResNetConfig`):
                Folder or Hub id of a tower or classifier, a tower, or a configuration (random weights).
            text_model_name_or_path (`str`): Folder or Hub id of a text encoder, such as `"pucpr/biobertpt-all"`.
            text_kwargs (`dict`, *optional*): For `AutoModel.from_pretrained` of the text encoder (`revision`, ...).
            kwargs: Fields of [`EcgClipConfig`].
        """
        text_kwargs = text_kwargs or {}
        if isinstance(ecg, str):
            ecg = EcgResNetModel.from_pretrained(ecg)
        text_config = AutoConfig.from_pretrained(text_model_name_or_path, **text_kwargs)
        ecg_config = ecg if isinstance(ecg, EcgResNetConfig) else ecg.config
        config = cls.config_class(ecg_config=ecg_config.to_dict(), text_config=text_config.to_dict(), **kwargs)
        model = cls(config)
        # In place, so that both towers read the joined configuration's parts.
        text_model = AutoModel.from_pretrained(
            text_model_name_or_path, dtype=model.dtype, **_without_pooler(text_config), **text_kwargs
        )
        model.text_model.load_state_dict(text_model.state_dict())
        if not isinstance(ecg, EcgResNetConfig):
            model.ecg_model.load_state_dict(ecg.state_dict())
        return model

    def get_ecg_features(
        self, input_values: torch.Tensor, ecg_attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Returns the ECGs' places in the joint space, (batch, projection_dim), L2-normalised.

        Args:
            input_values (`torch.Tensor` of shape `(batch, 12, 4096)`): Millivolts.
            ecg_attention_mask (`torch.Tensor` of shape `(batch, 12, 4096)`, *optional*): 1 where recorded.
        """
        embeds = self.ecg_model(input_values, ecg_attention_mask).pooler_output  # (batch, ecg hidden_size)
        return F.normalize(self.ecg_projection(embeds), dim=-1)

    def get_text_features(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """
        Returns the texts' places in the joint space, (batch, projection_dim), L2-normalised.

        Args:
            input_ids, attention_mask (`torch.Tensor` of shape `(batch, tokens)`): From the tokenizer.
            text_embeds (`torch.Tensor` of shape `(batch, text width)`, *optional*):
                Pooled output of the text tower, computed before; then the tower does not run.
            kwargs: Further inputs of the text tower (`token_type_ids`, ...).
        """
        if text_embeds is None:
            if input_ids is None:
                raise ValueError("get_text_features needs input_ids or text_embeds: found neither")
            tokens = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
            text_embeds = pool_tokens(tokens, attention_mask, self.config.text_pooling)  # (batch, text width)
        text_embeds = text_embeds.to(self.text_center.dtype)
        if self.config.center_text:
            text_embeds = text_embeds - self.text_center
        return F.normalize(self.text_projection(text_embeds), dim=-1)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> EcgClipOutput:
        """
        Returns both embeddings and their similarities, and the loss where it is asked for.

        Args:
            input_values (`torch.Tensor` of shape `(ecg_batch, 12, 4096)`): Millivolts.
            input_ids, attention_mask (`torch.Tensor` of shape `(text_batch, tokens)`): From the tokenizer.
            text_embeds (`torch.Tensor` of shape `(text_batch, text width)`, *optional*):
                Pooled output of the text tower in place of `input_ids`.
            ecg_attention_mask (`torch.Tensor` of shape `(ecg_batch, 12, 4096)`, *optional*): 1 where recorded.
            report_ids (`torch.Tensor` of shape `(batch,)`, *optional*):
                Exams with equal ids become positives of each other.
            return_loss (`bool`, *optional*):
                Compute the loss, [`siglip_loss`] for a model with a bias or else [`clip_loss`]; then both batches are
                pairs.
        """
        ecg_embeds = self.get_ecg_features(input_values, ecg_attention_mask)
        text_embeds = self.get_text_features(input_ids, attention_mask, text_embeds, **kwargs)
        logits_per_ecg = self.logit_scale.exp() * ecg_embeds @ text_embeds.T  # (ecg_batch, text_batch)
        if self.logit_bias is not None:
            logits_per_ecg = logits_per_ecg + self.logit_bias
        loss = self.contrastive_loss(ecg_embeds, text_embeds, report_ids) if return_loss else None
        return EcgClipOutput(
            loss=loss,
            logits_per_ecg=logits_per_ecg,
            logits_per_text=logits_per_ecg.T,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
        )

    def contrastive_loss(
        self,
        ecg_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        report_ids: torch.Tensor | None = None,
        gather: bool = False,
    ) -> torch.Tensor:
        """Returns the loss of embeddings of this model; arguments as in [`clip_loss`]."""
        if self.logit_bias is None:
            return clip_loss(ecg_embeds, text_embeds, self.logit_scale, report_ids, gather)
        return siglip_loss(ecg_embeds, text_embeds, self.logit_scale, self.logit_bias, report_ids, gather)

    @torch.no_grad()
    def clamp_logit_scale_(self) -> None:
        """Keeps the temperature in bounds; called after each optimizer step."""
        self.logit_scale.clamp_(max=self.config.max_logit_scale)


def _without_pooler(text_config: Any) -> dict[str, bool]:
    """A pooler that no loss reaches gives wrong gradients under DistributedDataParallel: build without."""
    text_class = MODEL_MAPPING.get(type(text_config), None)
    takes_it = text_class is not None and "add_pooling_layer" in inspect.signature(text_class.__init__).parameters
    return {"add_pooling_layer": False} if takes_it else {}


__all__ = [
    "EcgClipModel",
    "EcgClipOutput",
    "EcgResNetForSignalClassification",
    "EcgResNetModel",
    "EcgResNetOutput",
    "pool_tokens",
]
