"""HTTP: problems, probes, bodies, and the stages that a request passes."""
