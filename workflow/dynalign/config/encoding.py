"""The section `encoding`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dynalign.config.fields import Grid, Natural, Positive, Section, powers_of_ten, unique


class Encoding(Section):
    """Predicting every voxel by ridge regression (METHOD section 7)."""

    delays: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(unique)] = Field(
        (1, 2, 3, 4, 5), description="delays in TRs: delay d pairs TR t with the words of TR t-d"
    )
    alphas: Grid = Field(powers_of_ten(-6, 10), description="penalties tried, chosen per voxel")
    folds: Annotated[int, Field(ge=2)] | Literal["runs", "stories"] = Field(
        5, description="contiguous outer folds; or each of a subject's `runs`, or each of its `stories`, is one"
    )
    inner_folds: Annotated[int, Field(ge=2)] = Field(10, description="contiguous inner folds that choose the penalty")
    gap: Natural = Field(5, description="TRs left out of training on both sides of a test or validation block")
    pca_components: Positive | None = Field(
        None, description="reduce word vectors to this many principal components, fitted on training words"
    )
    test_scaling: Literal["training", "own"] = Field(
        "training", description="statistics that standardise test rows: the training rows' (correct) or their own"
    )
    block_voxels: Positive = Field(
        4096, description="voxels solved at a time on a GPU's stream (memory, not results); a CPU thread takes 1024"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: a GPU if there is one, in float32")
    tf32: bool = Field(False, description="round products on a GPU to TF32; the log tells how far that moves r")
