"""The classroom: submissions in, answers run in a sandbox, verdicts, grades.

    archives, submissions -> extract -> judge (sandbox, wire, inside/) -> grades -> reports, gradebooks

Learner code runs in a child that knows no answers; inputs, references, tolerances and scores stay in the grader.
"""
