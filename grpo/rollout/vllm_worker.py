"""What vLLM's worker learns from us: to take over new weights, all of them, and to say which it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from grpo.rollout.transfer import Entry, checksum, unpack
from grpo.rollout.vllm_adapter import AdapterTaker

if TYPE_CHECKING:
    from torch import Tensor, nn


class WeightTaker(AdapterTaker):
    """Mixed into vLLM's worker class (`worker_extension_cls`); reached by `collective_rpc`."""

    def take_weights(self, path: str, entries: Sequence[Entry]) -> dict[str, str]:
        """Reloads the model from a parcel.

        Args:
            path: the open parcel, as `/proc/<pid>/fd/<n>`.
            entries: its table of contents.

        Returns:
            Checksum of each tensor that the model's loader consumed.
        """
        received: dict[str, str] = {}
        self.load_weights_from(self.incoming(path, entries, received))
        self.repack()
        return received

    def incoming(
        self, path: str, entries: Sequence[Entry], received: dict[str, str]
    ) -> Iterator[tuple[str, Tensor]]:
        """The parcel's tensors; one counts as received when the loader asks for the next."""
        for name, tensor in unpack(path, entries):
            yield name, tensor
            received[name] = checksum(tensor)

    def load_weights_from(self, weights: Iterator[tuple[str, Tensor]]) -> None:
        """Hands the tensors to vLLM's layerwise reload, which packs each layer anew."""
        self.model_runner.reload_weights(weights_iterator=weights, is_checkpoint_format=True)

    def repack(self) -> None:
        """Packs anew what vLLM's reload leaves stale on CPU: a tied output head, and routed experts."""
        from vllm.platforms import current_platform

        if not current_platform.is_cpu():
            return
        model = self.model_runner.get_model()
        if self.model_runner.model_config.hf_text_config.tie_word_embeddings:
            repack_heads(model)
        repack_experts(model)


def repack_heads(model: nn.Module) -> None:
    """A tied head shares the embedding's weight but multiplies by a packed copy made at the first load."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


def repack_experts(model: nn.Module) -> None:
    """A reload copies plain expert weights over the packed layout that the kernel reads."""
    from vllm.model_executor.layers.fused_moe.routed_experts import RoutedExperts

    for module in model.modules():
        if isinstance(module, RoutedExperts):
            kernel: Any = module.quant_method.moe_kernel
            kernel.fused_experts.process_weights_after_loading(module)
