"""Results of full trainings in the study that their networks came from, so that reports show both accuracies."""

from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.studies import FullTraining, Study
from nas.studies import study as studies

if TYPE_CHECKING:
    from nas.full_training.loop import Trained


def opened(bundle: str, name: str, storage: str | None, results_dir: str) -> tuple[Study, int]:
    """The study that a bundle came from, and the number of its trial; asked before anything is trained.

    Raises:
        StudyError: no such study, or the bundle is not from it.
    """
    study = studies.load_study(name, storage=storage, results_dir=results_dir)
    from nas.bundles import bundle as bundles  # torch, only now

    origin = bundles.read(bundle).document.get("study", {})
    if origin.get("name") != study.name or "trial" not in origin:
        came = f"came from study {origin['name']}" if "name" in origin else "was not exported from a study"
        raise StudyError(f"{bundle} {came}, not from {study.name}. Name that study, or leave --study out")
    return study, int(origin["trial"])


def attach(target: tuple[Study, int], trained: "Trained") -> None:
    """Record a result in its study; the same training again replaces it."""
    from spikformer import checkpoints

    study, trial = target
    document = checkpoints.read_document(trained.folder)
    result = document["training"]
    config = checkpoints.config_of(trained.folder, document)
    study.attach(
        FullTraining(
            trial=trial,
            config_id=config.config_id,
            test_top1=result["test_top1"],
            test_images=result["test_images"],
            epochs=result["epochs"],
            seed=result["seed"],
            images=result["images"],
            folder=str(trained.folder.resolve()),
        )
    )


__all__ = ["attach", "opened"]
