"""What things cost, as formulas; and with those, what 10,000 to 250,000 users take.

python -m benchmarks.model                                    measure, fit, extrapolate: under four minutes
python -m benchmarks.model --no-measure --active 0.2          another workload, with the formulas there are
"""
