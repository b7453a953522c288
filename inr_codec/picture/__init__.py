"""Pictures of what compression did. matplotlib draws them (extra `picture`), without a display or pyplot's state."""

from inr_codec.picture.comparison import save_comparison
from inr_codec.picture.panels import figure_png, new_figure
from inr_codec.picture.scene import Box, Scene

__all__ = ["Box", "Scene", "figure_png", "new_figure", "save_comparison"]
