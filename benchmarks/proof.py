"""Does a search find better networks than the published structures? The study of docs/proof.md, stage by stage.

    python benchmarks/proof.py --data-dir DIR

Before the first stage, the images and hours of all are printed. Studies and results of full trainings are kept in
`--kept` every few minutes, and a run goes on from these files alone. `--stage judge` only reads them, writes proof.json
beside them, and writes the results into the page.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import proof_page
import torch
from header import note
from proof_full import full, twins
from proof_judge import digest, judge
from proof_plan import begin, in_words, plan, record
from proof_studies import STUDIES, Proof

from nas.spaces import load_space
from spikformer.errors import SpikformerError

REPOSITORY = Path(__file__).parent.parent
STAGES: dict[str, Callable[[Proof], None]] = {**STUDIES, "full": full, "twins": twins}
PLAN, JUDGE = "plan", "judge"


def main() -> None:
    arguments = _parser().parse_args()
    torch.set_num_threads(1)
    proof = Proof(
        load_space(arguments.space),
        arguments.data_dir,
        arguments.device,
        arguments.cache,
        arguments.kept,
        arguments.networks,
        arguments.seeds,
        arguments.full_images,
        arguments.full_epochs,
    )
    try:
        run(proof, arguments.stage, arguments.images_per_second, arguments.page)
    except SpikformerError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        note("interrupted; the same command continues")
        raise SystemExit(130) from None


def run(proof: Proof, stage: str | None, images_per_second: float, page: Path) -> None:
    """Run one stage, or all in their order."""
    claims = digest(proof_page.claims(page))
    chosen = [stage] if stage is not None else [*STAGES, JUDGE]
    if chosen != [JUDGE]:
        planned = plan(proof, images_per_second, claims)
        note(f"{in_words(planned['stages'])}\n")
    for name in chosen:
        if name == JUDGE:
            proof_page.write(page, judge(proof, claims))
            note(f"wrote {page}")
        elif name != PLAN:
            begin(proof, planned)
            STAGES[name](proof)
            record(proof, name, planned["stages"][name])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="cifar10_cpu")
    parser.add_argument("--data-dir", help="CIFAR-10 in folders train/<class>/ and test/<class>/")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stage", choices=[PLAN, *STAGES, JUDGE], help="only this one; by default all, in this order")
    parser.add_argument("--networks", type=int, default=200, help="of the search")
    parser.add_argument("--seeds", type=int, default=3, help="further trainings of each network of a front")
    parser.add_argument("--full-images", type=int, default=10_000, help="training images in full; 0 takes all")
    parser.add_argument("--full-epochs", type=int, default=40, help="epochs in full, without the cool-down")
    parser.add_argument(
        "--images-per-second", type=float, default=0.0, help="for the plan; by default it is measured in a few steps"
    )
    parser.add_argument("--cache", type=Path, default=REPOSITORY / "results" / "proof", help="folder of the studies")
    parser.add_argument("--kept", type=Path, default=REPOSITORY / "benchmarks" / "results" / "proof")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "proof.md")
    return parser


if __name__ == "__main__":
    main()
