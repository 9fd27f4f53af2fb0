"""The section `training`: a small model trained inside the workflow."""

from typing import Annotated

from pydantic import Field

from dynalign.config.fields import FilePath, Positive, Section


class Training(Section):
    """Train a small GPT-NeoX with its own tokenizer inside the workflow, into results/<study>/model."""

    texts: tuple[FilePath, ...] = Field((), description="text files; none: text generated from `grammar`")
    grammar: FilePath = Field("resources/demo/grammar.yaml", description="rules and words of generated text")
    characters: Positive = Field(600_000, description="characters of generated text")
    steps: Annotated[int, Field(ge=16)] = Field(512, description="training steps; saved are 0, 1, 2, 4, … and the last")
    vocabulary: Positive = Field(2048, description="tokens of the byte-pair vocabulary")
    depth: Positive = Field(4, description="transformer layers")
    hidden: Positive = Field(96, description="hidden size")
    heads: Positive = Field(4, description="attention heads")
    batch: Positive = Field(16, description="sequences per step")
    sequence: Positive = Field(128, description="tokens per sequence")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate (linear warm-up, cosine decay)")

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps at which a checkpoint is saved: 0, the powers of two, the last."""
        powers = [2**k for k in range(self.steps.bit_length()) if 2**k < self.steps]
        return (0, *powers, self.steps)
