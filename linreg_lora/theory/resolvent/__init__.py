"""The machine behind the equivalent: cuts, contours and their functionals. One door: `theory.equivalent`."""
