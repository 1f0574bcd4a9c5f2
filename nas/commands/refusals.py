"""What commands refuse before torch is imported, which takes seconds."""

from pathlib import Path


def check_training(bundle: str, weights: str | None, recipe: str, settings: tuple[str, ...], device: str) -> None:
    """
    Args:
        weights: file that authors released; the bundle is then a name or a config file.

    Raises:
        SpikformerError: no such bundle, recipe, setting or device.
    """
    from nas.bundles import check_name, config_of
    from nas.bundles import recipe as recipes
    from nas.engines import check_device

    if weights is None:
        check_name(bundle)
    else:
        config_of(bundle)
    if recipe:
        recipes.read(recipe)
    recipes.settings_of(settings)
    check_device(device)


def check_evaluation(networks: tuple[str, ...], settings: tuple[str, ...], device: str) -> None:
    """
    Raises:
        SpikformerError: no such network, setting or device.
    """
    from nas.bundles import check_name
    from nas.bundles import recipe as recipes
    from nas.engines import check_device

    for network in networks:
        if not Path(network).is_file():
            check_name(network)
    recipes.settings_of(settings, recipes.EVALUATION)
    check_device(device)


def check_prices(convention: str, unit_costs: str, chip: str | None = None, memory: str | None = None) -> None:
    """
    Raises:
        CostError: no such convention, preset, chip or model of memory.
    """
    from nas.costs import chip as chips
    from nas.costs import energy
    from nas.costs import memory as memories

    energy.convention(convention, unit_costs)
    if chip is not None:
        chips.load(chip)
    if memory is not None:
        memories.load(memory)


def check_network(network: str, image_size: int | None, rates: str | None) -> None:
    """
    Raises:
        ConfigError: no such network, or not at that image size.
        CostError: firing rates that are none.
    """
    from nas.costs import rates as firing
    from nas.reports import structure

    structure.config_at(network, image_size)
    if rates is not None:
        firing.read(rates)


__all__ = ["check_evaluation", "check_network", "check_prices", "check_training"]
