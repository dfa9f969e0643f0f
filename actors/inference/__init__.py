"""Statistics that stay valid however often anybody looks: e-values and confidence sequences. Pure, streaming, exact.

An e-value is the wealth of a gambler who bets against the null hypothesis in a fair game: where the null holds, the
chance that it *ever* reaches 1/level is at most ``level`` (Ville's inequality). Ramdas, Grünwald, Vovk, Shafer:
"Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38 (2023).
"""
