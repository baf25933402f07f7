"""Does a port compute what its original computes, to within what float32 itself leaves open?

No tolerance is chosen: the error of the port is divided by the error that legitimate float32 evaluations of the same
model show on the same input. `floor` measures the latter, `ratio` divides, `ladder` says which rung is reached, and
`reference` keeps float64 answers and floors in the bundle. What no comparison of outputs can see is asked by
`parameters` (is every weight there, bit for bit?), `sweeps` (inputs that touch every weight) and `decisions` (inputs
where a decision is closest). `localisation` names the first operator that diverges. docs/equivalence.md is the
definition; it stands on numpy, onnx and onnxruntime alone.
"""
