"""The labels layer (FORMAT.md, section 11): integer volumes of few values against their flat neighbourhoods, exact."""
