"""What is known of how small proxies foretell networks on ImageNet: said on cards and at the end of `export`.

The figures are those of `benchmarks/results/validate_published.md` and `benchmarks/results/target_energy.txt`.
"""

from nas.costs import target
from nas.exports.picking import PICKS, by_family, pick
from nas.exports.sizing import Size, why_as_is
from nas.studies import Study

ACCURACY = (
    "**Which family is best on ImageNet is not shown by a proxy.** Proxies of CIFAR size rank 23 published networks as "
    "their printed ImageNet accuracy with Kendall's tau 0.03 (-0.29 to 0.32) across families. Their dense MACs alone, "
    "without any training, have tau 0.68 (0.47 to 0.85). Within a family, the proxies have tau 0.83 (0.52 to 1.00) "
    "(`benchmarks/results/validate_published.md`)."
)
ENERGY = (
    f"The interval of {100 * target.PREDICTION_ERROR:.0f} % covers the errors of two such predictions, both of the one "
    "network here whose firing rates on ImageNet are known: they were 25 and 31 % too low "
    "(`benchmarks/results/target_energy.txt`). How many networks it covers is not known. Calibrating it takes at least "
    "ten networks with known rates, so for another network the error may be larger."
)


def notes(study: Study, which: str, size: Size) -> list[str]:
    """Sentences for the end of `export`; none where the searched networks themselves were written.

    Args:
        which, size: as they were given to `export`.

    Raises:
        StudyError: there is nothing to export under that name.
        TrainingError: as `why_as_is`.
    """
    if size.as_is or why_as_is(study, size):
        return []
    known = (
        f"{ACCURACY.replace('**', '')} The predicted energy on ImageNet was 25 and 31 % too low where it was checked"
    )
    families = sorted(by_family(pick(study, which, per_family=True)))
    if which not in PICKS or len(families) < 2:
        return [known]
    exported = "the front" if which == "front" else f"the best of each family by --pick {which}"
    return [
        known,
        f"The front has networks of {len(families)} families ({', '.join(families)}), and proxies do not tell which of "
        f"them is best on ImageNet. Therefore {exported} was exported: train one network of each family",
    ]


__all__ = ["ACCURACY", "ENERGY", "notes"]
