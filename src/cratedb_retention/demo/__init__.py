"""The demonstration: the toolkit's main job from start to end, on the flights and the weather of New York in 2013."""
