"""Colours and symbols that mean the same in the page's charts, which plotly draws, and in matplotlib's figures."""

# Okabe & Ito's colours, which most kinds of colour vision tell apart; shapes say the same again.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    "#8a94a0",
)
INK = "#222222"
FRONT, DOMINATED, REFERENCE, LIMIT, MEANS, TWINS = BLUE, GREY, GREEN, VERMILLION, INK, VERMILLION
DIM = 0.45  # opacity of what is dominated
COMPARED = (PURPLE, ORANGE, SKY, "#7a5ca8")
"""Of other studies, whose fronts are squares on dotted lines."""
REFERENCES = (
    *(("diamond-open", "D"), ("triangle-up-open", "^"), ("triangle-down-open", "v"), ("star-open", "*")),
    *(("cross-open", "P"), ("pentagon-open", "p")),
)
"""Symbols of references by trial number: plotly's name, and matplotlib's."""

__all__ = [
    *("BLUE", "COMPARED", "DIM", "DOMINATED", "FRONT", "GREEN", "GREY", "INK", "LIMIT", "MEANS", "ORANGE"),
    *("REFERENCE", "REFERENCES", "TWINS", "VERMILLION"),
]
