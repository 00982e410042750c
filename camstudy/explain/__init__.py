"""Explanation methods: functions that make maps, `engine` that runs them on models, the store of their maps.

Nothing is imported here: a stage then depends on the code that it runs, and on no other.
`camstudy.explain.methods` registers the methods that explain a model, `camstudy.explain.methods.controls` the controls.
"""
