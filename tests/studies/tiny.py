"""A study whose trainings take a moment: nets of a few channels, pictures of 16 pixels, four steps."""

from __future__ import annotations

STUDY = """
defaults: [_study, _self_]
name: tiny
question: Does light matter?
task: denoise
base: [experiment=denoise_simulated, backbone.width=4, backbone.depth=1, data.simulator.size=16,
  data.validation=2, train.batch=2, train.steps=4, train.validate_every=4, train.checkpoint_every=2]
factors:
  light: {label: light, unit: photons, log: true, set: ["data.simulator.photons={}"], levels: [5, 20], reference: 20}
train: [light]
helps:
  range: ["data.simulator.photons=[5.0,20.0]"]
  two: [fit.members=2]
test: [light]
metric: psnr_db
small: {seeds: 2, items: 3}
"""
