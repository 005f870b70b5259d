"""Accuracy of a whole recipe on rendered videos whose truth is known, one file per measured stage.

Every measuring function is pure: cases (what the run wrote, beside what is true) in, figures out.
None of them asks a stage how it works, so any recipe can be measured by what it wrote.
"""
