"""Cells that crystals do not have, by what makes them mistakable for the right one."""

from benchmarks.shots_to_index import RECEPTOR, THAUMATIN, THERMOLYSIN, Cell

CUNIR: Cell = ("96.4 96.4 96.4 90 90 90", "P213")
PHOTOSYSTEM: Cell = ("281 281 165.2 90 90 120", "P63")

FOR_LYSOZYME: dict[str, Cell] = {
    "all lengths +5 %": ("83.16 83.16 39.9 90 90 90", "P43212"),
    "all lengths -5 %": ("75.24 75.24 36.1 90 90 90", "P43212"),
    "a = b +5 %": ("83.16 83.16 38 90 90 90", "P43212"),
    "a = b -5 %": ("75.24 75.24 38 90 90 90", "P43212"),
    "c +5 %": ("79.2 79.2 39.9 90 90 90", "P43212"),
    "c -5 %": ("79.2 79.2 36.1 90 90 90", "P43212"),
    "c +10 %": ("79.2 79.2 41.8 90 90 90", "P43212"),
    "c -10 %": ("79.2 79.2 34.2 90 90 90", "P43212"),
    "a +5 %, c -5 %": ("83.16 83.16 36.1 90 90 90", "P43212"),
    "b +5 %, orthorhombic": ("79.2 83.16 38 90 90 90", "P212121"),
    "b -5 %, orthorhombic": ("79.2 75.24 38 90 90 90", "P212121"),
    "beta +5 degrees, monoclinic": ("79.2 38 79.2 90 95 90", "P21"),
    "c doubled": ("79.2 79.2 76 90 90 90", "P43212"),
    "a doubled, orthorhombic": ("158.4 79.2 38 90 90 90", "P212121"),
    "a diagonal": ("112.006 112.006 38 90 90 90", "P43212"),
    "c halved": ("79.2 79.2 19 90 90 90", "P43212"),
    "a halved, orthorhombic": ("39.6 79.2 38 90 90 90", "P212121"),
    "body-centred": ("79.2 79.2 38 90 90 90", "I422"),
    "cubic, two axes right": ("79.2 79.2 79.2 90 90 90", "P213"),
    "hexagonal, same lengths": ("79.2 79.2 38 90 90 120", "P6122"),
    "orthorhombic lysozyme": ("30.6 56.0 73.3 90 90 90", "P212121"),
    "triclinic lysozyme": ("27.3 32 34.3 88.5 108.6 111.9", "P1"),
    "thaumatin": THAUMATIN,
    "thermolysin": THERMOLYSIN,
    "CuNiR": CUNIR,
    "receptor": RECEPTOR,
    "photosystem I": PHOTOSYSTEM,
}
OFTEN = (
    "c +5 %",
    "c -5 %",
    "b +5 %, orthorhombic",
    "beta +5 degrees, monoclinic",
    "c doubled",
    "cubic, two axes right",
    "thermolysin",
)
"""Of which there are enough to try on many shots."""
FOR_RECEPTOR: dict[str, Cell] = {
    "all lengths +5 %": ("64.47 128.73 176.4 90 90 90", "C2221"),
    "a +5 %": ("64.47 122.6 168 90 90 90", "C2221"),
    "a -5 %": ("58.33 122.6 168 90 90 90", "C2221"),
    "b +5 %": ("61.4 128.73 168 90 90 90", "C2221"),
    "b -5 %": ("61.4 116.5 168 90 90 90", "C2221"),
    "c +5 %": ("61.4 122.6 176.4 90 90 90", "C2221"),
    "c -5 %": ("61.4 122.6 159.6 90 90 90", "C2221"),
    "a doubled": ("122.8 122.6 168 90 90 90", "P212121"),
    "without centring": ("61.4 122.6 168 90 90 90", "P212121"),
    "thaumatin": THAUMATIN,
    "thermolysin": THERMOLYSIN,
    "CuNiR": CUNIR,
}
FOR_THERMOLYSIN: dict[str, Cell] = {
    "a = b +5 %": ("97.86 97.86 130.7 90 90 120", "P6122"),
    "a = b -5 %": ("88.54 88.54 130.7 90 90 120", "P6122"),
    "c +5 %": ("93.2 93.2 137.2 90 90 120", "P6122"),
    "c -5 %": ("93.2 93.2 124.2 90 90 120", "P6122"),
    "c doubled": ("93.2 93.2 261.4 90 90 120", "P6122"),
    "thaumatin": THAUMATIN,
}
FOR_THAUMATIN: dict[str, Cell] = {
    "a = b +5 %": ("60.9 60.9 150 90 90 90", "P41212"),
    "a = b -5 %": ("55.1 55.1 150 90 90 90", "P41212"),
    "c +5 %": ("58 58 157.5 90 90 90", "P41212"),
    "c -5 %": ("58 58 142.5 90 90 90", "P41212"),
    "c doubled": ("58 58 300 90 90 90", "P41212"),
    "c halved": ("58 58 75 90 90 90", "P41212"),
    "thermolysin": THERMOLYSIN,
}
