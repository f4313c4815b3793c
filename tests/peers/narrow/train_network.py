"""sd-scripts' own train_network.py on a base model of any width, everything else as it is."""

import logging
import os
import runpy
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

logging.disable(logging.NOTSET)
torch.set_grad_enabled(True)

words = sys.argv[1:]
peers.narrow_sd_scripts(words[words.index("--pretrained_model_name_or_path") + 1], 4)
script = os.path.join(os.environ["LX_PEERS"], "sd-scripts", "train_network.py")
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
