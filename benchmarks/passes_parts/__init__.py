"""The parts of ``python benchmarks/passes.py``, which measures one transformer pass against diffusers'.

``rows``     sizes of networks and canvases, and the arithmetic of a pass
``networks`` the same random weights for both networks, and what both are given
``works``    diffusers as it is and tuned; ours with all exact optimisations, and with each disabled
``where``    where the time of one pass goes, by kind of kernel
``exact``    the gate: how far from float32 both are in bfloat16, block by block and as a whole
``rule``     one batch or two passes for a guided step, by tokens
"""
