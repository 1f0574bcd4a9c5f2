"""What a finished training says of itself: the record that goes into its bundle, and its card."""

import datetime

from nas.bundles import TrainingRecipe
from nas.datasets import Source
from nas.full_training.evaluation import Scores
from nas.full_training.process_group import ProcessGroup
from nas.training import provenance
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable


def result_of(recipe: TrainingRecipe, source: Source, scores: Scores, group: ProcessGroup) -> PlainTable:
    """Plain values, for `config.json`."""
    return {
        "test_top1": scores.top1,
        "test_top5": scores.top5,
        "test_balanced": scores.balanced,
        "test_images": scores.images,
        "test_part": source.test_part,
        "train_images": len(source.train),
        "images": source.fingerprint,
        "epochs": recipe.all_epochs,
        "seed": recipe.seed,
        "processes": group.size,
        **provenance.machine(group.device),
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def card(name: str, config: SpikformerConfig, recipe: TrainingRecipe, result: PlainTable, parameters: int) -> str:
    """What the folder is, its accuracy and how it came about."""
    average = f"the moving average of weights (decay {recipe.ema_decay:g})" if recipe.ema_decay else "the last weights"
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    return f"""# {name}, trained

| | |
|---|---|
| top-1 accuracy, {result["test_images"]:,} images of `{result["test_part"]}` | {100 * result["test_top1"]:.2f} % |
| top-5 accuracy | {100 * result["test_top5"]:.2f} % |
| balanced accuracy, the mean over the classes | {100 * result["test_balanced"]:.2f} % |
| parameters | {parameters:,} |

{average[0].upper() + average[1:]} after {result["epochs"]} epochs of {result["train_images"]:,} images, at
{config.stem.image_size} x {config.stem.image_size} pixels and T = {config.time_steps}, seed {result["seed"]}, one
training. Nothing was chosen by test images: this is the last epoch, not the best.

Recipe (`recipe.toml`): {recipe.source or "no source is named"}. Changed: {recipe.changes or "nothing"}.

{result["processes"]} process(es) on {result["device"]} ({result["processor"]}, {result["threads"]} thread(s) each);
{versions}; {result["finished_at"]}.

```python
import spikformer

model = spikformer.load(".")  # this folder, in eval mode
```
"""


__all__ = ["card", "result_of"]
