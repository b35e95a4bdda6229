#!/usr/bin/env python3
"""Makes dpm_solver.safetensors: steps of diffusers' DPM-Solver++(2M), the reference of DpmSolverStep.

Needs torch, diffusers and safetensors. For each prediction P in eps, v, x0 (config `predictions`), of
a process of `num_train_steps` linear betas respaced to `timesteps` (noisiest first):
  in.x         [1, 4, 3, 3]     latents at the first timestep
  in.output    [n, 1, 4, 3, 3]  what the network says at each timestep
  out.P.x      [n, 1, 4, 3, 3]  latents after each step
The solver is of second order but for its first step; diffusers' last step goes to sigma 0.
"""
import json
import sys

import diffusers
import torch
from diffusers import DPMSolverMultistepScheduler
from safetensors.torch import save_file

NUM_TRAIN_STEPS, TIMESTEPS = 1000, [999, 856, 714, 571, 428, 285, 143, 0]
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}

torch.manual_seed(41)
n = len(TIMESTEPS)
tensors = {"in.x": torch.randn(1, 4, 3, 3), "in.output": torch.randn(n, 1, 4, 3, 3)}
for name, prediction in PREDICTIONS.items():
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=NUM_TRAIN_STEPS, beta_start=1e-4, beta_end=0.02, beta_schedule="linear",
        prediction_type=prediction, algorithm_type="dpmsolver++", solver_order=2, lower_order_final=False)
    scheduler.set_timesteps(timesteps=TIMESTEPS)
    x, steps = tensors["in.x"].double(), []
    for t, output in zip(scheduler.timesteps, tensors["in.output"].double()):
        x = scheduler.step(output, t, x).prev_sample
        steps.append(x)
    # v as in progressive distillation: alpha * noise - sigma * x_0, which is diffusers' as well.
    tensors[f"out.{name}.x"] = torch.stack(steps).float()
save_file(tensors, sys.argv[1] if len(sys.argv) > 1 else "dpm_solver.safetensors", {
    "config": json.dumps({"num_train_steps": NUM_TRAIN_STEPS, "timesteps": TIMESTEPS, "predictions": list(PREDICTIONS)}),
    "made_with": json.dumps({"diffusers": diffusers.__version__, "torch": torch.__version__}), "seed": "41"})
