"""Painters of whole scenes: kinds, poses and a camera give pictures.

A painter is any callable as `painters.base.Painter` describes it, such as `painters.base.OneByOne`
of a function that draws one scene. Nothing is imported here: render processes import modules of
this package and do without torch.
"""
